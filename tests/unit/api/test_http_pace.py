"""Many threads on one account, against a vendor that counts: no call too many, none lost, none twice."""

from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from switchyard.api import AuthError, Limits, Window
from switchyard.api.http import Budget, HttpClient, concurrently
from switchyard.testing.simulator import Answer, RateWindow, Request, Route, Simulator, Slow

ALLOWED = Window(25, 0.5)


class Strict(Simulator):
    """Keeps what it is sent, and refuses whoever is too fast."""

    def __init__(self) -> None:
        super().__init__()
        self._window = RateWindow(ALLOWED.calls, ALLOWED.seconds)
        self.kept: list[str] = []
        self.route("PUT", "/things/{name}", self._keep)

    def admit(self, request: Request, route: Route) -> Answer | None:
        return None if self._window.take(self.clock()) else Answer(429)

    def _keep(self, request: Request) -> Answer:
        self.kept.append(request.params["name"])
        return Answer(body={"kept": request.params["name"]})


@pytest.fixture
def strict() -> Iterator[Strict]:
    with Strict() as simulator:
        yield simulator


@pytest.fixture
def client(strict: Strict) -> Iterator[HttpClient]:
    budget = Budget(Limits(windows={"default": [ALLOWED]}, concurrency=16))
    with HttpClient(strict.url, bearer=None, budget=budget) as client:
        yield client


def put(client: HttpClient, number: int) -> httpx.Response:
    return client.put(f"/things/{number}")


@pytest.mark.parametrize("slow", [[], [Slow(0.0, 0.2)]], ids=["at once", "jittered"])
def test_sixteen_threads_are_never_told_to_slow_down(strict: Strict, client: HttpClient, slow: list[Slow]) -> None:
    strict.slow = slow
    answers = list(concurrently((partial(put, client, number) for number in range(110)), 16))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(strict.kept, key=int) == [str(number) for number in range(110)]
    assert {call.status for call in strict.calls()} == {200}
    assert strict.count() == len(answers) == 110


def test_after_a_refusal_no_call_is_begun_and_every_answer_is_given(strict: Strict, client: HttpClient) -> None:
    strict.script("PUT", "/things/10$", [Answer(401)])
    answers = []
    with pytest.raises(AuthError):
        for answer in concurrently((partial(put, client, number) for number in range(110)), 4):
            answers.append(answer)
    assert len(answers) == len(strict.kept)
    assert strict.count() < 110
