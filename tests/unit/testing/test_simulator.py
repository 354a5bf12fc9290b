from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.testing.simulator import (
    Answer,
    DailyQuota,
    Fault,
    ManualClock,
    RateWindow,
    Refusal,
    Request,
    Route,
    Simulator,
    Slow,
)
from switchyard.testing.simulator_delays import Delayed


class Counter(Simulator):
    """A vendor with one number that calls raise."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.value = 0
        self.route("POST", "/count", self._raise)
        self.route("GET", "/named/{name}", lambda request: Answer(body=request.params["name"]))
        self.route("GET", "/bug", lambda _: Answer(body=1 / 0))

    def _raise(self, request: Request) -> Answer:
        step = request.json()["by"]
        if step < 0:
            raise Refusal(Answer(422, {"message": "only upwards"}))
        self.value += step
        return Answer(body={"value": self.value})

    def admit(self, request: Request, route: Route) -> Answer | None:
        return None if request.headers.get("authorization") != "wrong" else Answer(401)

    def state(self) -> dict[str, int]:
        return {"value": self.value}

    def edits(self):
        return {"set": self._set}

    def _set(self, value: int) -> int:
        self.value = value
        return value


@pytest.fixture
def counter():
    with Counter() as simulator:
        yield simulator


@pytest.fixture
def client(counter):
    with httpx.Client(base_url=counter.url, timeout=5) as client:
        yield client


def test_handlers_answer_refuse_and_are_journaled(counter, client):
    assert client.post("/count", json={"by": 2}).json() == {"value": 2}
    assert client.post("/count/", json={"by": -1}).status_code == 422
    assert client.post("/count", content=b"{").status_code == 400
    assert client.post("/count", headers={"authorization": "wrong"}).status_code == 401
    assert client.get("/absent").status_code == 404
    assert [call.status for call in counter.calls()] == [200, 422, 400, 401, 404]
    assert counter.calls("POST", "^/count$")[0].json() == {"by": 2}


def test_a_parameter_is_decoded_and_may_hold_a_slash(client):
    assert client.get("/named/a%2Fb%20%C3%A9").text == "a/b é"


def test_scripted_steps_are_taken_in_order_then_the_vendor_answers(counter, client):
    counter.script("POST", "/count", [Answer(503, "busy", {"Retry-After": "1"}), None])
    first = client.post("/count", json={"by": 1})
    assert (first.status_code, first.text, first.headers["retry-after"]) == (503, "busy", "1")
    assert [client.post("/count", json={"by": 1}).json()["value"] for _ in range(2)] == [1, 2]


def test_an_endless_script_holds_until_it_is_forgotten(counter, client):
    counter.script(None, "/count", itertools.repeat(Answer(503)))
    assert {client.post("/count", json={"by": 1}).status_code for _ in range(5)} == {503}
    counter.forget_script()
    assert client.post("/count", json={"by": 1}).json() == {"value": 1}


@pytest.mark.parametrize(("when", "value"), [("before", 0), ("after", 5)])
def test_a_dropped_connection_applies_the_call_or_not(counter, client, when, value):
    counter.script("POST", "/count", [Fault(drop=when)])
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/count", json={"by": 5})
    assert counter.value == value
    assert counter.calls()[-1].status == 0
    assert client.post("/count", json={"by": 0}).json() == {"value": value}


def test_a_truncated_answer_was_applied(counter, client):
    counter.script("POST", "/count", [Fault(truncate=4)])
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/count", json={"by": 5})
    assert counter.value == 5


def test_a_delay_outlasts_the_client(counter, client):
    counter.script("POST", "/count", [Fault(delay=0.3)])
    with pytest.raises(httpx.ReadTimeout):
        client.post("/count", json={"by": 5}, timeout=0.05)


def test_callbacks_come_at_the_moment_they_were_asked_for(counter, client):
    seen: dict[str, int] = {}
    for moment in ("before", "applied", "answered"):
        counter.at_call(2, lambda moment=moment: seen.setdefault(moment, counter.value), moment)
    counter.script("POST", "/count", [Fault(call=lambda: seen.setdefault("scripted", counter.value))])
    client.post("/count", json={"by": 1})
    client.post("/count", json={"by": 1})
    client.get("/named/x")
    assert seen == {"scripted": 0, "before": 1, "applied": 2, "answered": 2}


@pytest.mark.parametrize(("moment", "value", "status"), [("before", 1, 0), ("applied", 2, 200), ("answered", 2, 200)])
def test_the_caller_is_killed_at_one_of_three_moments_of_its_nth_call(counter, client, moment, value, status):
    killed = []
    counter.kill_at(2, lambda: killed.append(counter.value), moment)
    client.post("/count", json={"by": 1})
    # The one who calls here lives on, and sees what a dead one does not.
    if moment == "before":
        with pytest.raises(httpx.RemoteProtocolError):
            client.post("/count", json={"by": 1})
    else:
        client.post("/count", json={"by": 1})
    client.get("/named/x")
    assert (killed, counter.value, counter.calls()[1].status) == ([value], value, status)


def test_a_request_whose_sender_dies_in_the_middle_of_it_never_was(counter, client):
    address = ("127.0.0.1", int(counter.url.rpartition(":")[2]))
    with socket.create_connection(address) as connection:
        connection.sendall(b'POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{"by": 1}')
    client.get("/named/x")
    assert counter.value == 0
    assert [call.route for call in counter.calls()] == ["/named/{name}"]


def test_calls_are_slow_by_the_first_rule_that_matches(counter):
    counter.latency = 5.0
    counter.slow = [Slow(0.0, 0.001, "POST", "^/count$"), Slow(0.0, path="named")]
    with httpx.Client(base_url=counter.url, timeout=0.5) as client:
        assert client.post("/count", json={"by": 1}).status_code == 200
        assert client.get("/named/x").status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            client.get("/bug")


def test_who_is_refused_does_not_wait(counter):
    counter.latency = 5.0
    with httpx.Client(base_url=counter.url, timeout=2) as client:
        assert client.post("/count", headers={"authorization": "wrong"}).status_code == 401


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), max_size=30), st.integers(0, 10))
def test_what_shows_late_is_the_past(steps, lag):
    truth, delayed, past, now = {}, Delayed({}), [(-10, {})], 0
    for pause, key, gone in steps:
        now += pause
        delayed.note(now, key, None if gone else now)
        truth = {name: value for name, value in truth.items() if name != key} | ({} if gone else {key: now})
        past.append((now, truth))
        assert delayed.until(now - lag) == next(state for at, state in reversed(past) if at <= now - lag)


def test_the_journal_keeps_the_newest_bodies_only():
    with Counter(keep_bodies=2) as counter, httpx.Client(base_url=counter.url) as client:
        for step in range(4):
            client.post("/count", json={"by": step})
        bodies = [call.body for call in counter.calls()]
        assert bodies[:2] == [None, None]
        assert [json.loads(body) for body in bodies[2:]] == [{"by": 2}, {"by": 3}]
        with pytest.raises(LookupError, match="keep_bodies"):
            counter.calls()[0].json()


def test_a_fault_of_the_simulator_itself_is_raised_when_it_stops():
    counter = Counter().start()
    assert httpx.get(counter.url + "/bug").status_code == 500
    with pytest.raises(ZeroDivisionError):
        counter.stop()


def test_the_control_api_counts_scripts_and_edits(counter, client):
    client.post("/_simulator/script", json={"method": "POST", "path": "/count", "steps": [{"status": 418}]})
    assert client.post("/count", json={"by": 1}).status_code == 418
    assert client.post("/_simulator/edit/set", json={"value": 7}).json() == {"result": 7}
    assert client.post("/_simulator/edit/unset").status_code == 404
    assert client.post("/_simulator/edit/set", json={"worth": 7}).status_code == 400
    assert client.get("/_simulator/edit").json() == {"set": ["value"]}
    assert client.get("/_simulator/state").json() == {"value": 7}
    client.get("/named/one")
    client.get("/named/two")
    assert client.get("/_simulator/calls").json() == {
        "last": 3,
        "total": 3,
        "calls": [
            {"method": "GET", "route": "/named/{name}", "count": 2},
            {"method": "POST", "route": "/count", "count": 1},
        ],
    }
    assert client.get("/_simulator/calls", params={"since": 2}).json()["total"] == 1
    paths = [call["path"] for call in client.get("/_simulator/journal", params={"since": 1}).json()["calls"]]
    assert paths == ["/named/one", "/named/two"]


def test_the_control_api_sets_latencies(counter, client):
    rules = [{"seconds": 0.1, "jitter": 0.2, "path": "^/count$"}]
    assert client.post("/_simulator/settings", json={"latency": 0.5, "slow": rules}).status_code == 204
    assert (counter.latency, counter.slow) == (0.5, [Slow(0.1, 0.2, None, "^/count$")])
    assert client.post("/_simulator/settings", json={"mood": 1}).status_code == 404
    assert client.post("/_simulator/settings", json={"latency": "long"}).status_code == 400


def test_a_window_lets_through_its_calls_and_rolls():
    window = RateWindow(2, 10)
    assert [window.take(at) for at in (0, 4, 9.9, 10, 11, 14)] == [True, True, False, True, False, True]


def test_a_daily_quota_resets_at_midnight_of_its_zone():
    clock = ManualClock(1_793_491_200.0)  # 2026-11-01 00:00 UTC; in New York the day has 4 hours left, in summer time
    quota = DailyQuota(1, "America/New_York")
    assert quota.take(clock())
    clock.advance(4 * 3600 - 1)
    assert not quota.take(clock())
    clock.advance(1)
    assert quota.take(clock())


def test_served_in_a_process_it_announces_its_address_and_stops_on_sigint():
    code = "from switchyard.testing.simulator import Simulator; Simulator().serve(lambda url: print(url, flush=True))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        url = run.stdout.readline().strip()
        assert httpx.get(url + "/_simulator/calls").json()["total"] == 0
        run.send_signal(2)
        run.wait(timeout=10)


def test_simulators_need_no_test_packages():
    code = "import sys, switchyard.testing.simulator; print('pytest' in sys.modules, 'hypothesis' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]
