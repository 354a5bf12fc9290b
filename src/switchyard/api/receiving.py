"""Receiving: what others push to the hub is checked, kept as it came, and then read like any other source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from switchyard.api.records import Cursor


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came.

    Args:
        method: upper case.
        url: as the sender called it: the configured public address, with path and query.
        headers: names in lower case; a name that came twice has its values joined by ", ".
        body: the raw bytes, still compressed where `content-encoding` says so.
        at: when it came, UTC.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Accepted:
    """To be kept.

    Args:
        id: the sender's name for the delivery, the same whenever it sends it again; None where it gives none.
        body: what to keep, for instance unpacked.
        headers: those worth keeping beside it. None that authenticates.
        answer: the body of the answer, once the delivery is durable, where the sender wants a certain one.
        answer_type: its content type.
    """

    id: str | None
    body: bytes
    headers: Mapping[str, str]
    answer: bytes | None = None
    answer_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Refused:
    """Not to be kept: the answer's status (400, 401, 413, 415, 429) and a reason that holds nothing of the request."""

    status: int
    reason: str
    retry_after: float | None = None


Verdict: TypeAlias = Accepted | Refused


class Receiver(Protocol):
    """Decides what a connection accepts. Pure: no I/O, no store; called for every request, so it has to be quick."""

    def check(self, incoming: Incoming) -> Verdict:
        """Whatever the bytes are, the answer is a verdict and never an error."""


def standing(sequence: int) -> Cursor:
    """The cursor of a page whose last row of the inbox has this number."""
    return {"sequence": sequence}


def read_up_to(cursor: Cursor) -> int | None:
    """The number of the last row of the inbox that was read, None where none was."""
    sequence = (cursor or {}).get("sequence")
    return sequence if isinstance(sequence, int) else None
