"""What the simulated resources of one Marketo instance share: a clock, randomness, arguments, and the envelope."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qs

from switchyard.testing.simulator import Answer, Refusal, Request
from switchyard.testing.simulator_messages import Malformed

PAGE = 300
"""Records of a page, and of a write, at most and by default."""
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Instance:
    """The instance. `clock` gives epoch seconds."""

    clock: Callable[[], float]
    random: random.Random

    def now(self) -> str:
        return iso(self.clock())

    def answer(self, result: Any = None, **more: Any) -> Answer:
        """A success of the lead database API; `result` None leaves it away."""
        body: dict[str, Any] = {"requestId": self.request_id(), "success": True}
        if result is not None:
            body["result"] = result
        return Answer(body=body | more)

    def asset(self, result: Sequence[Any]) -> Answer:
        """A success of the asset API, which leaves an empty result away and warns instead."""
        body: dict[str, Any] = {"success": True, "errors": [], "requestId": self.request_id(), "warnings": []}
        if result:
            body["result"] = result
        else:
            body["warnings"] = ["No assets found for the given search criteria."]
        return Answer(body=body)

    def failed(self, code: str, message: str) -> Answer:
        """A failure, which is HTTP 200 as well (vendor documentation, error-codes)."""
        errors = [{"code": code, "message": message}]
        return Answer(body={"requestId": self.request_id(), "success": False, "errors": errors})

    def failure(self, code: str, message: str) -> Refusal:
        return Refusal(self.failed(code, message))

    def request_id(self) -> str:
        return f"{self.random.getrandbits(16):x}#{int(self.clock() * 1000):x}"

    def guid(self) -> str:
        digits = f"{self.random.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def inputs(self, request: Request) -> list[Mapping[str, Any]]:
        """The rows of a write."""
        body = request.json() if request.body else {}
        rows = body.get("input") if isinstance(body, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
            raise self.failure("609", "Invalid JSON: input must be a list of objects")
        if len(rows) > PAGE:
            raise self.failure("1003", f"Too many records: at most {PAGE}")
        return rows

    def page(self, request: Request, rows: Sequence[Row]) -> tuple[Sequence[Row], dict[str, Any]]:
        """The rows that `nextPageToken` and `batchSize` ask for, and what the answer says of the next page."""
        arguments = Arguments(request)
        start, size = self.place(arguments, "page") or 0, arguments.size()
        more = {"nextPageToken": token("page", start + size)} if start + size < len(rows) else {}
        return rows[start : start + size], more

    def place(self, arguments: Arguments, kind: str) -> int | None:
        """The place that `nextPageToken` stands for, None where there is none. Raises the failure 1003."""
        value = arguments.text("nextPageToken")
        place = position(value, kind)
        if value and place is None:
            raise self.failure("1003", "Invalid value for parameter 'nextPageToken'")
        return place


class Arguments:
    """The arguments of a request, from its query, and from its body where that is a form.

    Marketo takes lists repeated and comma-separated alike; a comma inside a value cannot be escaped.
    """

    def __init__(self, request: Request) -> None:
        self._values = parse_qs(request.query, keep_blank_values=True)
        if is_form(request):
            try:
                for name, values in parse_qs(request.body.decode(), keep_blank_values=True).items():
                    self._values.setdefault(name, []).extend(values)
            except ValueError as error:
                raise Malformed("the body is not a form") from error

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name, [default])[-1]

    def texts(self, name: str) -> list[str]:
        return [part for value in self._values.get(name, ()) for part in value.split(",") if part]

    def integers(self, name: str) -> list[int]:
        return [int(value) for value in self.texts(name) if value.lstrip("-").isdigit()]

    def size(self, name: str = "batchSize", most: int = PAGE, default: int = PAGE) -> int:
        value = self.text(name, str(default))
        return min(max(int(value), 1), most) if value.isdigit() else default


def is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def asks_to_read(request: Request) -> bool:
    """Whether this POST is a GET in disguise, as queries longer than 8 KB are sent."""
    return Arguments(request).text("_method").upper() == "GET"


def skipped(code: str, message: str, **more: Any) -> dict[str, Any]:
    """The verdict on a row that was refused."""
    return {**more, "status": "skipped", "reasons": [{"code": code, "message": message}]}


def token(kind: str, place: int) -> str:
    """An opaque place to go on from."""
    return f"{kind.encode().hex().upper()}{place:012X}===="


def position(value: str, kind: str) -> int | None:
    """What `token` was given, or None where this is none of that kind."""
    head = kind.encode().hex().upper()
    digits = value.removeprefix(head).removesuffix("====")
    if not value.startswith(head) or not value.endswith("====") or len(digits) != 12:
        return None
    try:
        return int(digits, 16)
    except ValueError:
        return None


def only(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """These fields, None where there is none."""
    return {name: values.get(name) for name in names}


def iso(at: float) -> str:
    """Epoch seconds as Marketo writes instants."""
    return _iso(int(at))


@lru_cache(maxsize=8_192)
def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19] + "Z"


def asset_iso(at: float) -> str:
    """Epoch seconds as the asset API writes instants."""
    return f"{iso(at)}+0000"


def instant(text: str, *, whole: bool = False) -> float:
    """Epoch seconds of an instant as Marketo takes them; `whole`: without milliseconds. Raises ValueError."""
    at = datetime.fromisoformat(text.strip().replace(" ", "+").removesuffix("+0000"))
    if whole and "." in text:
        raise ValueError("milliseconds are not taken")
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
