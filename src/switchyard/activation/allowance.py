"""What an account's budget allows a delivery."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from switchyard.api.connectors import Costed, ListSink
from switchyard.api.errors import QuotaExhausted
from switchyard.api.sinks import Member


class Account(Protocol):
    """The account of the vendor that an audience's connection uses."""

    def calls(self) -> int:
        """Calls made so far."""

    def left(self) -> int | None:
        """Calls that today's quota still allows, None for no quota."""

    def until(self) -> datetime:
        """When the quota begins anew (UTC)."""


class Parts(NamedTuple):
    """The parts of `ListChanges`."""

    upsert: Sequence[Member] = ()
    add: Sequence[Member] = ()
    remove: Sequence[Member] = ()

    @property
    def sizes(self) -> tuple[int, int, int]:
        return len(self.upsert), len(self.add), len(self.remove)

    @property
    def rows(self) -> int:
        """Rows of the segment or the list that change; one that is written and added counts once."""
        return len({member.key for part in self for member in part})


@dataclass(frozen=True)
class Allowance:
    """What of a delivery today's quota covers. A sink that is not `Costed` is taken to be covered until it is not."""

    sink: ListSink
    account: Account

    def minimum(self, upsert: int, add: int, remove: int, held: int) -> int | None:
        return self.sink.calls(upsert, add, remove, held) if isinstance(self.sink, Costed) else None

    def covers(self, upsert: int = 0, add: int = 0, remove: int = 0, *, held: int) -> bool:
        """Whether changes of these sizes and a read-back of `held` members are within it."""
        left, calls = self.account.left(), self.minimum(upsert, add, remove, held)
        return left is None or calls is None or calls <= left

    def require_reading(self, held: int) -> None:
        """Raises QuotaExhausted where the list cannot be read back today."""
        if not self.covers(held=held):
            until = self.account.until()
            raise QuotaExhausted(
                f"what the account's quota leaves is too little to read the list back before {until:%Y-%m-%d %H:%M} "
                "UTC; the next delivery after that goes on",
                until=until,
            )

    def within(self, parts: Parts) -> Parts:
        """As much of the changes as the quota covers without a read-back: removals first, then people whose record is
        known, then new people, then changed fields.
        """
        left, sink = self.account.left(), self.sink
        if left is None or not isinstance(sink, Costed):
            return parts
        reading = sink.calls(0, 0, 0, 0)
        written, added = {member.key for member in parts.upsert}, {member.key for member in parts.add}
        joins = [member for member in parts.add if member.key not in written]
        joining = [member for member in parts.add if member.key in written]
        new = [member for member in parts.upsert if member.key in added]
        changed = [member for member in parts.upsert if member.key not in added]

        def first(count: int) -> Parts:
            taken = []
            for some in (parts.remove, joins, new, changed):
                taken.append(min(count, len(some)))
                count -= taken[-1]
            gone, joined, made, updated = taken
            return Parts([*new[:made], *changed[:updated]], [*joins[:joined], *joining[:made]], parts.remove[:gone])

        def cost(count: int) -> int:
            return sink.calls(*first(count).sizes, 0) - reading

        total = len(parts.remove) + len(joins) + len(new) + len(changed)
        return first(bisect_right(range(total + 1), left, key=cost) - 1)
