"""How a list compares with its segment, and what a delivery reports of it."""

from collections.abc import Sequence
from collections.abc import Set as AnySet
from dataclasses import dataclass
from datetime import datetime

from switchyard.activation.ledger import Ledger
from switchyard.activation.members import APPLIED, LOST, RETRY
from switchyard.activation.wanted import Difference


@dataclass(frozen=True)
class Report:
    """How an audience stands after a delivery, or would after a dry run.

    Args:
        list: its name at the vendor.
        segment: people in the segment; of whom `skipped` cannot be delivered and `rejected` were refused.
        wanted: the rest: those who have to be on the list.
        held: members of the list; without a read-back, those the vendor confirmed.
        missing, extra: wanted and not there, there and not wanted. None without a read-back, as `settling`.
        settling: changes that the vendor confirmed so recently that its list need not show them yet. They are neither
            missing nor extra, and not proven either.
        upserted, added, removed: what the vendor confirmed; on a dry run, what would be asked of it.
        blocked: removals that the guard holds back until a person confirms them.
        waiting: people whose change has to wait until `waits_until`, when the account's quota begins anew. Where only
            the instant is set, the read-back waits; where only the people are, the sink did not take their changes now.
        calls: spent on the account; `minimum` would have sufficed (None where the sink cannot tell).
        read_at: when the read-back began, None where there was none.
        is_list: False of a sink that is told of changes: there is nothing to read back.
    """

    audience: str
    list: str
    segment: int
    skipped: int
    rejected: int
    wanted: int
    held: int
    missing: int | None = None
    extra: int | None = None
    settling: int | None = None
    upserted: int = 0
    added: int = 0
    removed: int = 0
    blocked: int = 0
    waiting: int = 0
    calls: int = 0
    minimum: int | None = None
    read_at: datetime | None = None
    waits_until: datetime | None = None
    notes: Sequence[str] = ()
    is_list: bool = True

    @property
    def exact(self) -> bool | None:
        """Whether the list was seen to be its segment; None where nobody can know."""
        if not self.is_list:
            return None
        return self.read_at is not None and not (self.missing or self.extra or self.settling or self.blocked)


@dataclass(frozen=True)
class Standing:
    """A list beside its segment, by the vendor's ids.

    Args:
        lost: wanted people whom the list does not show and whose record is known; they are to be added again.
        unclear: of these and of those worth another try, whoever may have become another record over there.
        extra: on the list and not wanted; `strangers` are those whom the hub never put there.
    """

    people: int
    refused: int
    held: int
    missing: int
    settling: int
    lost: Sequence[int]
    unclear: Sequence[int]
    extra: AnySet[str]
    strangers: AnySet[str]


def compare(ledger: Ledger, wanted: Difference, remote: AnySet[str], *, keep: bool) -> Standing:
    """Compare what a read-back showed, after the ledger observed it.

    Args:
        keep: whether strangers may stay.
    """
    refused = ledger.refused(wanted.digests.keys())
    people = wanted.digests.keys() - wanted.skipped.keys() - refused
    places = [place for profile in people if (place := ledger.places.get(profile))]
    known = ledger.remote_ids()
    held = [place for place in places if place.remote_id in remote]
    settling = sum(place.state == APPLIED for place in places)
    extra = remote - {place.remote_id for place in held} - ledger.removals.keys()
    return Standing(
        people=len(people),
        refused=len(refused),
        held=len(remote),
        missing=len(people) - len(held) - settling,
        settling=settling + len(ledger.removals),
        lost=sorted(place.profile_id for place in places if place.state == LOST and place.remote_id),
        unclear=sorted(place.profile_id for place in places if place.state in (LOST, RETRY) and place.remote_id),
        extra=extra & known if keep else extra,
        strangers=extra - known,
    )
