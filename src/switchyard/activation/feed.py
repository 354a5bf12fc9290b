"""A sink that is told of changes, delivered to as if it kept a list: what it confirmed is who is on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal, TypeAlias

from sqlmodel import Session

from switchyard.activation.allowance import Parts
from switchyard.activation.changes import PENDING, REFUSED, TOLD, Kept, forget, of_people, put, unsettled
from switchyard.activation.members import microseconds
from switchyard.api.connectors import Sink
from switchyard.api.errors import PermanentError
from switchyard.api.records import JSON, Cursor, Page
from switchyard.api.sinks import (
    Batch,
    Change,
    ListChanges,
    ListReceipt,
    ListRef,
    Member,
    Receipt,
    Rejection,
    RemoteList,
)
from switchyard.config.models import Audience
from switchyard.store.tables import FEED

Kind: TypeAlias = Literal["entered", "left", "changed"]


class Feed:
    """A `Sink` as a `ListSink` that cannot be read back, for one audience.

    A change is kept word for word before it goes out. Until its outcome is known it is written again as it is, under
    the same id, before anything else is told of the person.

    Args:
        batch: rows the sink takes at once.
        name: of the audience.
    """

    def __init__(self, sink: Sink, batch: int, name: str, audience: Audience) -> None:
        self._sink = sink
        self._size = batch
        self._name = name
        self._audience = audience
        self._audience_id = self._run_id = 0
        self._unsettled: dict[int, Kept] = {}
        self._planned: dict[int, Kept] = {}
        self._again = False
        self._later: dict[int, Rejection] = {}
        self._news: dict[int, Kept | None] = {}

    @property
    def pending(self) -> frozenset[int]:
        """Profiles with a change that is not known to be told."""
        return frozenset(profile for profile, each in self._unsettled.items() if each.state == PENDING)

    @property
    def later(self) -> Mapping[int, Rejection]:
        """Profiles whose change was refused for now, in this delivery."""
        return self._later

    def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:  # noqa: ARG002
        """See `ListSink.ensure`: there is nothing to find or make."""
        return ListRef(FEED, wanted.name)

    def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:  # noqa: ARG002
        """See `ListSink.members`."""
        raise PermanentError("a sink that is told of changes keeps no list to read back")

    def open(self, session: Session, audience_id: int, run_id: int) -> None:
        """Begin a delivery by what is known of the audience."""
        self._audience_id, self._run_id = audience_id, run_id
        self._unsettled = unsettled(session, audience_id)
        self._planned, self._later, self._news = {}, {}, {}

    def plan(
        self, session: Session, at: datetime, parts: Parts, digests: Mapping[int, str]
    ) -> tuple[Parts, dict[int, str]]:
        """Decide what is told next: first, of each person, what is not known to be told; else what is wanted.

        A person with another key leaves under the old one, to enter under the new one afterwards; whose leaving was
        refused has changed.

        Args:
            at: when it is decided.
            parts, digests: what is wanted, as given to `Exchange.apply`.

        Returns:
            As much of it, and of what is pending, as this turn tells, with the digests of these fields.
        """
        entering, leaving = ({int(member.key) for member in part} for part in parts[1:])
        pending, stuck = self.pending, self._unsettled.keys() - self.pending
        self._reconsider(leaving)
        upserts = {int(member.key): member for member in parts.upsert if int(member.key) not in pending}
        gone = leaving - self._unsettled.keys()
        known = of_people(session, self._audience_id, [*(upserts.keys() - entering), *gone])
        planned = {
            profile: each for profile, each in self._unsettled.items() if profile in pending - self._later.keys()
        }
        rekeyed = {
            profile
            for profile in upserts.keys() - entering - stuck
            if known[profile].change.key != upserts[profile].fields[self._audience.key]
        }
        self._again = bool(planned or rekeyed)
        for profile, member in upserts.items():
            if profile not in rekeyed:
                kind: Kind = "entered" if profile in entering else "changed"
                key = str(member.fields[self._audience.key])
                planned[profile] = self._decided(at, kind, profile, (key, member.fields), digests[profile])
        for profile in sorted(gone | rekeyed):
            old = known[profile]
            said = old.change.key, old.change.fields
            planned[profile] = self._decided(at, "left", profile, said, old.digest)
        self._planned = planned
        return _parts(planned.values()), {profile: each.digest for profile, each in planned.items()}

    @property
    def has_more(self) -> bool:
        """Whether something else may be wanted of those who were told of something in the last turn."""
        return self._again

    def begin(self, session: Session) -> None:
        """Keep what is about to be told."""
        new = [each for profile, each in self._planned.items() if profile not in self._unsettled]
        put(session, self._audience_id, new)
        self._unsettled |= self._planned

    def assume(self, session: Session) -> ListReceipt:
        """Take what is planned as told."""
        some = list(self._planned.values())
        receipt = self._taken(some, Receipt())
        self.keep(session)
        return receipt

    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:  # noqa: ARG002
        """See `ListSink.apply`. The changes are those that were planned."""
        rows = list(self._planned.values())
        for start in range(0, len(rows), self._size):
            some = rows[start : start + self._size]
            told = [each.change for each in some]
            id = _id(*(change.id for change in told))
            batch = Batch(id, self._name, self._audience.segment, ref.name, self._audience.key, told)
            yield self._taken(some, self._sink.write(batch))

    @property
    def has_news(self) -> bool:
        """Whether there is something to `keep`."""
        return bool(self._news)

    def keep(self, session: Session) -> None:
        """Write what was learnt."""
        put(session, self._audience_id, [each for each in self._news.values() if each])
        forget(session, self._audience_id, [profile for profile, each in self._news.items() if each is None])
        self._news = {}

    def _decided(
        self, at: datetime, kind: Kind, profile: int, said: tuple[str, Mapping[str, JSON]], digest: str
    ) -> Kept:
        """A new change. Its id is of this delivery: decided again, by another one, it is another change."""
        about = self._name, self._audience.connection, str(profile), kind
        id = _id(*about, str(self._run_id), str(microseconds(at)))
        return Kept(Change(id, kind, *said, profile, at), digest, PENDING)

    def _reconsider(self, leaving: set[int]) -> None:
        """Whose leaving was refused, and who is to stay after all, may leave anew some day."""
        for profile, each in list(self._unsettled.items()):
            if each.state == REFUSED and profile not in leaving:
                self._settle(profile, replace(each, state=TOLD))

    def _taken(self, some: Sequence[Kept], receipt: Receipt) -> ListReceipt:
        """What a batch's receipt says, in the words of lists."""
        upserted: dict[str, str] = {}
        added, removed, rejected = set(), set(), {}
        for index, each in enumerate(some):
            profile, key, kind = each.change.profile, str(each.change.profile), each.change.kind
            refusal = receipt.rejected.get(index)
            if refusal is not None:
                rejected[key] = refusal
                self._refused(each, refusal)
                continue
            self._settle(profile, None if kind == "left" else replace(each, state=TOLD))
            if kind == "left":
                removed.add(key)
            else:
                upserted[key] = key
            if kind == "entered":
                added.add(key)
        return ListReceipt(upserted, frozenset(added), frozenset(removed), rejected)

    def _refused(self, each: Kept, refusal: Rejection) -> None:
        profile, kind = each.change.profile, each.change.kind
        if refusal.retryable:
            self._later[profile] = refusal
        elif kind == "entered":
            self._settle(profile, None)
        else:
            self._settle(profile, replace(each, state=REFUSED if kind == "left" else TOLD))

    def _settle(self, profile: int, each: Kept | None) -> None:
        self._news[profile] = each
        if each is not None and each.state == REFUSED:
            self._unsettled[profile] = each
        else:
            self._unsettled.pop(profile, None)


def _parts(planned: Iterable[Kept]) -> Parts:
    upsert, add, remove = [], [], []
    for change in (each.change for each in planned):
        key = str(change.profile)
        if change.kind == "left":
            remove.append(Member(key, key))
            continue
        upsert.append(Member(key, key, change.fields))
        if change.kind == "entered":
            add.append(Member(key, key))
    return Parts(upsert, add, remove)


def _id(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
