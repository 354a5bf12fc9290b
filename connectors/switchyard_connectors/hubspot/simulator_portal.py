"""What the simulated resources of one HubSpot account share: a clock, randomness, and the shape of errors."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from switchyard.testing.simulator import Answer, Refusal


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of records.

    Args:
        id: such as 0-1.
        name: plural, as paths have it.
        single: as types of webhooks have it.
        changed: the property that holds the instant of the last change.
        shown: properties that are answered unless others are asked for.
        always: properties that are answered whatever is asked for.
    """

    id: str
    name: str
    single: str
    changed: str = "hs_lastmodifieddate"
    shown: tuple[str, ...] = ()
    always: tuple[str, ...] = ("createdate", "hs_lastmodifieddate", "hs_object_id")

    @property
    def names(self) -> tuple[str, ...]:
        """What paths may call it."""
        return tuple(dict.fromkeys((self.name, self.single, self.id)))


CONTACT = Kind(
    "0-1",
    "contacts",
    "contact",
    "lastmodifieddate",
    ("firstname", "lastname"),
    ("createdate", "email", "hs_object_id", "lastmodifieddate"),
)
COMPANY = Kind("0-2", "companies", "company", shown=("domain", "name"))
DEAL = Kind("0-3", "deals", "deal", shown=("amount", "closedate", "dealname", "dealstage", "pipeline"))
CONTACT_TYPE = CONTACT.id


def custom_kind(number: int, name: str) -> Kind:
    """The type of custom objects that was made as the account's so manieth."""
    return Kind(f"2-{number}", name, f"p1_{name}")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one input is refused; `errors` are the details HubSpot gives per property."""

    category: str
    message: str
    errors: Sequence[Mapping[str, Any]] = ()
    context: Mapping[str, Sequence[str]] | None = None

    @property
    def status(self) -> int:
        return {"CONFLICT": 409, "OBJECT_NOT_FOUND": 404}.get(self.category, 400)


@dataclass(frozen=True, slots=True)
class Portal:
    """The account. `clock` gives epoch seconds."""

    clock: Callable[[], float]
    random: random.Random

    def now(self) -> str:
        return iso(self.clock())

    def error(self, status: int, problem: Problem) -> Answer:
        """An error's body (vendor documentation, error-handling); every field but `status` may be absent."""
        body: dict[str, Any] = {
            "status": "error",
            "message": problem.message,
            "correlationId": self.correlation_id(),
            "category": problem.category,
        }
        if problem.errors:
            body["errors"] = list(problem.errors)
        if problem.context:
            body["context"] = dict(problem.context)
        return Answer(status, body)

    def invalid(self, message: str, **context: Sequence[str]) -> Refusal:
        return Refusal(self.error(400, Problem("VALIDATION_ERROR", message, context=context)))

    def absent(self, message: str) -> Refusal:
        return Refusal(self.error(404, Problem("OBJECT_NOT_FOUND", message)))

    def correlation_id(self) -> str:
        digits = f"{self.random.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def iso(at: float) -> str:
    """Epoch seconds as HubSpot writes instants."""
    return _iso(int(at * 1000))


@lru_cache(maxsize=4_096)
def _iso(milliseconds: int) -> str:
    at = datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
