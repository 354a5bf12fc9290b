"""What one delivery knows of its members while it goes on."""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AnySet
from dataclasses import dataclass
from operator import attrgetter

import pyarrow as pa

from switchyard.activation.members import (
    ACCEPTED,
    APPLIED,
    LOST,
    PLACED,
    REJECTED,
    RETRY,
    SAME_RECORD,
    SCHEMA,
    SENT,
    VERIFIED,
)
from switchyard.api.sinks import ListReceipt, Rejection

STRANGER = "remote "
"""Begins the key of a record that the hub never put on the list; the vendor's id follows."""

_ROW = attrgetter(*SCHEMA.names)


@dataclass(slots=True)
class Place:
    """A person's place on the list, or the lack of it: a row of `members.SCHEMA`."""

    profile_id: int
    remote_id: str | None = None
    digest: str = ""
    sending: str | None = None
    state: str = SENT
    code: str | None = None
    reason: str | None = None
    applied_us: int | None = None
    verified_us: int | None = None


@dataclass(frozen=True)
class News:
    """What the store does not know yet: rows as `members.SCHEMA`, profiles and removals to forget, new removals.

    `seen_us`: set where everybody who was `APPLIED` and is not in `rows` was seen by the read-back of that instant.
    """

    rows: pa.Table
    seen_us: int | None
    gone: Collection[int]
    removed: dict[str, int]
    over: Collection[str]


class Ledger:
    """The members of an audience, brought up to date by receipts and read-backs, in whatever order these come.

    Args:
        members: as `members.held` gives them.
        removals: the vendor's id → when its removal was confirmed, in microseconds, where it was not seen gone yet.
        lag: microseconds after which a read-back shows what was confirmed.
    """

    def __init__(self, members: pa.Table, removals: Mapping[str, int], lag: int = 0) -> None:
        columns = [column.to_pylist() for column in members.columns]
        self.places = {row[0]: Place(*row) for row in zip(*columns, strict=True)}
        self.removals = dict(removals)
        self.wanted: AnySet[int] = frozenset()
        self._lag = lag
        owners = (place for place in self.places.values() if place.code != SAME_RECORD)
        self._owner = {place.remote_id: place.profile_id for place in owners if place.remote_id}
        self._changed: set[int] = set()
        self._seen_us: int | None = None
        self._gone: set[int] = set()
        self._removed: dict[str, int] = {}
        self._over: set[str] = set()

    def table(self) -> pa.Table:
        """All members, as `members.SCHEMA`."""
        return _table(self.places.values())

    def news(self) -> News:
        """What changed since this was last asked."""
        rows = _table(self.places[profile] for profile in sorted(self._changed) if profile in self.places)
        # Not by `-`: that walks through all keys of a dict.
        gone = [profile for profile in self._gone if profile not in self.places]
        over = [remote_id for remote_id in self._over if remote_id not in self.removals]
        found = News(rows, self._seen_us, gone, self._removed, over)
        self._seen_us = None
        self._changed, self._gone, self._removed, self._over = set(), set(), {}, set()
        return found

    def sending(self, upserts: Iterable[int], adds: Iterable[int], digests: Mapping[int, str]) -> None:
        """These are about to be sent: until a receipt comes, the outcome is unknown.

        A member already on the list stays so, with its fields in doubt.
        """
        for profile in upserts:
            place = self._changing(profile)
            place.sending, place.digest, place.code, place.reason = digests[profile], "", None, None
        for profile in adds:
            place = self._changing(profile)
            if place.state == RETRY:
                place.code = place.reason = None
            place.state, place.verified_us = SENT, None

    def confirm(self, receipt: ListReceipt, now: int) -> None:
        """Take a receipt in. `now` is in microseconds."""
        for key, remote_id in receipt.upserted.items():
            if (place := self._known(key)) is not None:
                self._upserted(place, remote_id)
        for key in receipt.added:
            if (place := self._known(key)) is not None and place.code != SAME_RECORD:
                place.state, place.applied_us, place.verified_us = APPLIED, now, None
        for key, refusal in receipt.rejected.items():
            if (place := self._known(key)) is not None:
                _refuse(place, refusal)
        for key in receipt.removed:
            if (place := self._known(key)) is not None:
                self._removed_from_list(place.remote_id, now)
                self.forget([place.profile_id])
            elif key.startswith(STRANGER):
                self._removed_from_list(key.removeprefix(STRANGER), now)

    def accept(self) -> None:
        """The vendor is at work on all that is on its way."""
        self._restate(SENT, ACCEPTED)

    def doubt(self) -> None:
        """What the vendor was at work on ended without a verdict: the outcome is unknown."""
        self._restate(ACCEPTED, SENT)

    def forget(self, profiles: Iterable[int]) -> None:
        """These have no place on the list any more."""
        for profile in profiles:
            if self.places.pop(profile, None) is not None:
                self._gone.add(profile)

    def lose(self) -> None:
        """The list is another one: nobody is on it yet, what was refused stays so."""
        for place in self.places.values():
            if place.state not in (REJECTED, RETRY):
                place.state, place.applied_us, place.verified_us = LOST, None, None
                self._changed.add(place.profile_id)
        self.removals.clear()

    def observe(self, remote: AnySet[str], begun: int) -> None:
        """Take a read-back in: who is on the list, by reading that began at `begun` (microseconds).

        Afterwards, whoever is `APPLIED` was confirmed too recently to be shown, and every one of `removals` too
        recently to be gone.
        """
        seen: list[int] = []
        for place in self.places.values():
            state = place.state
            if place.remote_id in remote:
                if state != VERIFIED and place.code != SAME_RECORD:
                    place.state, place.verified_us, place.applied_us = VERIFIED, begun, place.applied_us or begun
            elif state == VERIFIED or (state == APPLIED and self._is_shown(place.applied_us, begun)):
                # Whoever was seen before is not late but gone.
                place.state, place.verified_us = LOST, None
            elif state == SENT and place.remote_id and not self._lag:
                place.state = LOST
            if place.state != state:
                arrived = state == APPLIED and place.state == VERIFIED
                (seen.append if arrived else self._changed.add)(place.profile_id)
        if self.count(APPLIED):
            self._changed.update(seen)
        else:
            # All at once: a list is mostly people who arrived.
            self._seen_us = begun
        placed = self.remote_ids()
        for remote_id, at in list(self.removals.items()):
            if remote_id not in remote or remote_id in placed or self._is_shown(at, begun):
                del self.removals[remote_id]
                self._over.add(remote_id)

    def shown_at(self) -> int:
        """When the list shows all that was confirmed at the latest, in microseconds."""
        applied = (place.applied_us or 0 for place in self.places.values() if place.state == APPLIED)
        return max((*applied, *self.removals.values()), default=0) + self._lag

    def unclear(self) -> bool:
        """Whether someone wanted may have become a record under another id than the known one."""
        clear = (*PLACED, REJECTED)
        places = (self.places.get(profile) for profile in self.wanted)
        return any(place.remote_id is not None and place.state not in clear for place in places if place)

    def refused(self, among: AnySet[int]) -> set[int]:
        """Those of these people whom the vendor refused for good, and who are not on the list."""
        return {profile for profile in among if (place := self.places.get(profile)) and place.state == REJECTED}

    def remote_ids(self) -> set[str]:
        """The vendor's ids of everybody the hub knows."""
        return {place.remote_id for place in self.places.values() if place.remote_id}

    def count(self, *states: str) -> int:
        """How many members are in these states."""
        return sum(place.state in states for place in self.places.values())

    def _known(self, key: str) -> Place | None:
        return self._changing(int(key)) if key.isdecimal() and int(key) in self.places else None

    def _changing(self, profile: int) -> Place:
        self._changed.add(profile)
        if (place := self.places.get(profile)) is None:
            place = self.places[profile] = Place(profile)
        return place

    def _upserted(self, place: Place, remote_id: str) -> None:
        digest, place.sending = place.sending or place.digest, None
        owner = self._owner.setdefault(remote_id, place.profile_id)
        place.digest = digest
        if owner != place.profile_id and owner in self.places and owner in self.wanted:
            # Two people of ours are one record over there, by an address the vendor knows and we do not.
            reason = f"the vendor keeps one record, {remote_id}, for this profile and profile {owner}"
            place.state, place.code, place.reason, place.remote_id = REJECTED, SAME_RECORD, reason, remote_id
            return
        self._owner[remote_id] = place.profile_id
        if place.remote_id != remote_id and place.state == VERIFIED:
            # Another record than the one that was seen on the list.
            place.state = LOST
        place.remote_id = remote_id

    def _removed_from_list(self, remote_id: str | None, now: int) -> None:
        if self._lag and remote_id:
            self.removals[remote_id] = self._removed[remote_id] = now

    def _restate(self, old: str, new: str) -> None:
        for place in self.places.values():
            if place.state == old:
                place.state = new
                self._changed.add(place.profile_id)

    def _is_shown(self, confirmed: int | None, begun: int) -> bool:
        return confirmed is None or confirmed + self._lag <= begun


def _refuse(place: Place, refusal: Rejection) -> None:
    """A refusal for good stands until the fields change; one worth another try is sent again whole. New fields that
    are refused put no place on the list in question.
    """
    digest, place.sending = place.sending or place.digest, None
    place.digest = "" if refusal.retryable else digest
    if place.state not in PLACED:
        place.state = RETRY if refusal.retryable else REJECTED
    place.code, place.reason = refusal.code, refusal.reason


def _table(places: Iterable[Place]) -> pa.Table:
    columns = list(zip(*map(_ROW, places), strict=True)) or [()] * len(SCHEMA)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)
