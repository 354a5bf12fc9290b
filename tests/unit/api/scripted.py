"""A vendor with scripted answers, and a client for it that never really waits."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from switchyard.api import Limits
from switchyard.api.errors import SwitchyardError
from switchyard.api.http import Budget, HttpClient

BASE = "https://crm.example.com"
TOKEN = "t0p-s3cret"
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
NO_LIMITS = Limits()
Answer = httpx.Response | Exception | int


class Vendor:
    """Gives the answers in turn, the last one for ever, and keeps the requests; nobody really waits."""

    def __init__(self, *answers: Answer, limits: Limits = NO_LIMITS, **options: Any) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []
        self._at = 0.0
        self.budget = Budget(limits, clock=lambda: self._at, sleep=self._sleep, wall=lambda: NOW.timestamp() + self._at)
        bearer = options.pop("bearer", TOKEN)
        base = options.pop("base", BASE)
        self.http = HttpClient(
            base, bearer=bearer, budget=self.budget, transport=httpx.MockTransport(self._answer), **options
        )

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._at += seconds

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer) if isinstance(answer, int) else answer


def refusal(vendor: Vendor, method: str = "GET", path: str = "/people", **options: Any) -> SwitchyardError:
    with pytest.raises(SwitchyardError) as raised:
        vendor.http.request(method, path, **options)
    return raised.value
