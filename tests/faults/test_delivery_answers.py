"""A vendor that answers badly, late, in part or not at all: the list is the segment once it is well again, every call
that went wrong was repeated at most once for each time it did, and nobody else was touched.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.faults.deliveries import UPSERTS, Shop, Snapshot, Writes, changed_segment, emptied, open_shop, people
from tests.faults.waiting import paced_by

from switchyard.api.budget import Budget
from switchyard.api.http import HttpClient, RetryPolicy
from switchyard.testing.simulator import Answer, Fault, ManualClock, Request, Route
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import OAuthApp

APP = OAuthApp()


class Refusing(HubSpotSimulator):
    """A HubSpot that refuses some rows: `refused` maps an e-mail to the category of its refusal."""

    refused: Mapping[str, str] = {}

    def admit(self, request: Request, route: Route) -> Answer | None:
        if not self.refused or not request.path.endswith("/batch/upsert"):
            return super().admit(request, route)
        inputs = request.json()["inputs"]
        good = [each for each in inputs if each["id"] not in self.refused]
        answer = route.handler(replace(request, body=_json({"inputs": good})))
        errors = [
            {"status": "error", "category": self.refused[each["id"]], "message": "refused", "errors": []}
            | {"context": {"objectWriteTraceId": [each["objectWriteTraceId"]]}}
            for each in inputs
            if each["id"] in self.refused
        ]
        return Answer(207 if errors else 200, {**answer.body, "numErrors": len(errors), "errors": errors})


def _json(value: Any) -> bytes:
    return Answer(body=value).encoded()[0]


@pytest.fixture(scope="module")
def clock() -> Iterator[ManualClock]:
    """The vendor's clock and the hub's; nobody waits."""
    # The sink itself finds the account's midnight by the real time.
    clock = ManualClock(time.time())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Budget.__init__, "__kwdefaults__", paced_by(clock))
        yield clock


@pytest.fixture(scope="module")
def crm(clock: ManualClock) -> Iterator[Refusing]:
    with Refusing(Account(tier=None), clock=clock) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, crm: Refusing) -> tuple[Snapshot, Writes]:
    oauth = {name: getattr(APP, name) for name in ("client_id", "client_secret", "refresh_token")}
    shop = open_shop(tmp_path_factory.mktemp("answers") / "shop", emptied(crm), token=None, oauth=oauth)
    least = changed_segment(shop)
    return Snapshot.of(shop), least


@pytest.fixture
def least(start: tuple[Snapshot, Writes]) -> Writes:
    return start[1]


@pytest.fixture
def shop(start: tuple[Snapshot, Writes], crm: Refusing, clock: ManualClock) -> Shop:
    snapshot, _ = start
    crm.refused = {}
    snapshot.restore()
    clock.now = time.time()
    return snapshot.shop


POLICY = {"status": "error", "errorType": "RATE_LIMIT", "message": "You have reached your limit."}


def too_many(policy: str = "TEN_SECONDLY_ROLLING", **headers: str) -> Answer:
    return Answer(
        429, POLICY | {"policyName": policy}, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def instant(clock: ManualClock, seconds: float, form: str = "") -> str:
    """A time so many seconds from now as an HTTP date: of today's form, or of one that servers may still write."""
    at = datetime.fromtimestamp(clock() + seconds, UTC)
    return at.strftime(form) if form else format_datetime(at, usegmt=True)


def storms(clock: ManualClock) -> Mapping[str, Sequence[Answer | Fault]]:
    return {
        "too many": [
            too_many(),
            too_many("SECONDLY"),
            Answer(
                429, {"status": "error", "category": "RATE_LIMITS", "message": "You have reached your secondly limit."}
            ),
            Answer(429, "Too many requests"),
            *(too_many(retry_after=said) for said in ("7", "0.5", "0", "-3", "nan", "soon", "")),
            too_many(retry_after=instant(clock, 20)),
            too_many(retry_after=instant(clock, 20, "%A, %d-%b-%y %H:%M:%S GMT")),
            too_many(retry_after=instant(clock, 20, "%a %b %d %H:%M:%S %Y")),
            too_many(retry_after=instant(clock, -1_000)),
        ],
        "failing": [
            Answer(500, {"status": "error", "message": "internal error"}),
            Answer(502, "<html>bad gateway</html>"),
            Answer(503, None, {"retry-after": "5"}),
            Answer(504, "upstream timed out"),
            Answer(423, {"status": "error", "category": "LOCKED"}),
        ],
        "cut off": [Fault(drop="before"), Fault(drop="after"), Fault(truncate=30)],
    }


@pytest.mark.parametrize("name", ["too many", "failing", "cut off"])
def test_a_storm_in_which_every_call_goes_wrong_twice(shop, least, crm, clock, name):
    since, strangers = crm.journal.total, shop.strangers()
    one, other = itertools.tee(itertools.cycle(storms(clock)[name]))
    next(other)
    crm.script(None, "", itertools.chain.from_iterable(zip(one, other, itertools.repeat(None), strict=False)))
    (answer,) = shop.deliver()
    crm.forget_script()
    shop.assert_exact(answer)
    written = shop.writes(since)
    assert written.calls == 3 * least.calls
    assert written.rows == 3 * least.rows
    assert shop.strangers() == strangers


@pytest.mark.parametrize("name", ["too many", "failing", "cut off"])
def test_a_storm_that_outlasts_several_deliveries(shop, least, crm, clock, name):
    since, strangers = crm.journal.total, shop.strangers()
    # The token, three calls that go through, then nothing for as many calls as three deliveries have patience for.
    crm.script(None, "/crm/", [None, None, None, *itertools.repeat(storms(clock)[name][0], 15)])
    failed = 0
    for answer in iter(lambda: shop.deliver()[0], None):
        clock.advance(60)
        if "error" not in answer:
            break
        assert answer["exit_code"] == 4, answer["error"]
        failed += 1
    assert failed == 3
    shop.assert_exact(answer)
    written = shop.writes(since)
    assert written.calls <= least.calls + 15
    assert written.rows <= least.rows + 15 * UPSERTS
    assert shop.strangers() == strangers


@pytest.mark.parametrize("seconds", ["90", "3600"])
def test_a_wait_longer_than_anybody_waits_ends_the_delivery_and_no_call_is_made_before_it_is_over(
    shop, least, crm, clock, seconds
):
    since = crm.journal.total
    crm.script("POST", "batch/upsert", [None, too_many(retry_after=seconds)])
    (answer,) = shop.deliver()
    assert answer["exit_code"] == 4
    before = crm.journal.total
    clock.advance(float(seconds) - 45)
    shop.deliver()
    assert [call.at for call in crm.calls(since=before) if call.at < clock()] == []
    clock.advance(60)
    (answer,) = shop.deliver()
    shop.assert_exact(answer)
    assert shop.writes(since).calls <= least.calls + 1


@pytest.mark.parametrize("call", [1, 5, 8, 10])
def test_the_daily_limit_ends_a_delivery_at_any_call_until_midnight(shop, least, crm, clock, call):
    """Another program has used the account's calls up: the hub learns it from an answer."""
    since, strangers = crm.journal.total, shop.strangers()
    crm.script(None, "/crm/", [*itertools.repeat(None, call - 1), too_many("DAILY")])
    (answer,) = shop.deliver()
    assert answer["exit_code"] == 4
    assert "until" in answer["error"]
    before = crm.journal.total
    assert shop.deliver()[0]["exit_code"] == 4
    assert crm.journal.total == before, "a call was made that cannot succeed before midnight"
    clock.advance(86_400)
    (answer,) = shop.deliver()
    shop.assert_exact(answer)
    written = shop.writes(since)
    assert written.calls <= least.calls + 1
    assert written.rows <= least.rows + UPSERTS
    assert shop.strangers() == strangers


def test_a_token_that_expires_before_every_call_is_renewed_each_time(shop, least, crm):
    since = crm.journal.total
    crm.script(None, "/crm/", itertools.repeat(Fault(call=crm.auth.expire)))
    (answer,) = shop.deliver()
    # Each call met an expired token, was repeated with a fresh one, and that expired before it came, too.
    assert answer["exit_code"] == 3
    crm.forget_script()
    crm.script(None, "/crm/", itertools.cycle([Fault(call=crm.auth.expire), None]))
    (answer,) = shop.deliver()
    shop.assert_exact(answer)
    assert shop.writes(since).calls <= 2 * least.calls


@pytest.mark.parametrize("step", [Answer(503), Fault(truncate=20)])
def test_a_token_endpoint_that_fails_for_a_while(shop, least, crm, step):
    since = crm.journal.total
    crm.script("POST", "/oauth/", itertools.repeat(step, 7))
    crm.at_call(crm.journal.total + 12, crm.auth.expire)
    while "error" in (answer := shop.deliver()[0]):
        assert answer["exit_code"] == 4
    shop.assert_exact(answer)
    assert shop.writes(since).calls <= least.calls + 2


def test_a_refused_sign_in_touches_nothing_until_it_is_mended(shop, least, crm):
    since, held = crm.journal.total, shop.held()
    refusal = Answer(400, {"status": "BAD_REFRESH_TOKEN", "message": "missing or unknown refresh token"})
    crm.script("POST", "/oauth/", itertools.repeat(refusal))
    (answer,) = shop.deliver()
    assert answer["exit_code"] == 3
    assert shop.held() == held
    crm.forget_script()
    (answer,) = shop.deliver()
    shop.assert_exact(answer)
    assert shop.writes(since) == least


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that wait for an answer a second only: long enough for every other call, also on a busy machine."""
    defaults = HttpClient.__init__.__kwdefaults__
    monkeypatch.setattr(HttpClient.__init__, "__kwdefaults__", {**defaults, "policy": RetryPolicy(read=1.0)})


@pytest.mark.parametrize("call", [4, 6, 8, 11])
@pytest.mark.usefixtures("impatient")
def test_a_call_that_the_vendor_carries_out_long_after_the_hub_gave_up(shop, least, crm, call):
    since, strangers = crm.journal.total, shop.strangers()
    crm.script(None, "", [*itertools.repeat(None, call - 1), Fault(delay=2.5)])
    (answer,) = shop.deliver()
    shop.assert_exact(answer)
    written = shop.writes(since)
    assert written.calls <= least.calls + 1
    assert written.rows <= least.rows + UPSERTS
    (answer,) = shop.deliver()
    shop.assert_exact(answer)
    assert shop.strangers() == strangers


REFUSALS = st.sampled_from(["VALIDATION_ERROR", "CONFLICT", "RATE_LIMITS", "INTERNAL_ERROR"])
COMING, RENAMED = people(230, 350), people(60, 150)


def check_refusals(shop: Shop, crm: Refusing, refused: Mapping[str, str], least: Writes) -> None:
    """Deliver with these rows refused, and again with none refused."""
    since, strangers = crm.journal.total, shop.strangers()
    crm.refused = refused
    (answer,) = shop.deliver()
    assert "error" not in answer
    kept = shop.buyers.keys() - (refused.keys() & set(COMING))
    assert shop.held() == kept, "a refused row took a neighbour with it"
    for_good = {email for email, category in refused.items() if category == "VALIDATION_ERROR"}
    passing = refused.keys() - for_good
    assert answer["exact"] == (not passing & set(COMING))
    crm.refused = {}
    (answer,) = shop.deliver()
    assert answer["exact"], answer
    assert shop.held() == shop.buyers.keys() - (for_good & set(COMING))
    shown = shop.shown()
    assert {email for email in shown if shown[email] != shop.buyers[email]} == for_good & set(RENAMED)
    written = shop.writes(since)
    assert written.calls <= least.calls + 2
    assert written.upserted == least.upserted + len(passing)
    assert written.added + written.removed <= least.added + least.removed
    assert shop.strangers() == strangers


def refusals(examples: int) -> Any:
    """So many examples of rows that are refused, the first of none and of all."""
    rows = st.dictionaries(st.sampled_from(COMING + RENAMED), REFUSALS, max_size=210)
    return lambda test: settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )(given(refused=rows)(test))


@refusals(6)
def test_any_subset_of_rows_may_be_refused(start, crm, clock, refused):
    snapshot, least = start
    snapshot.restore()
    check_refusals(snapshot.shop, crm, refused, least)


@pytest.mark.slow
@refusals(100)
def test_any_of_many_subsets_of_rows_may_be_refused(start, crm, clock, refused):
    snapshot, least = start
    snapshot.restore()
    check_refusals(snapshot.shop, crm, refused, least)


def test_what_was_refused_for_good_is_sent_again_when_it_changes(shop, crm):
    crm.refused = dict.fromkeys(people(230, 240), "VALIDATION_ERROR")
    (answer,) = shop.deliver()
    assert (answer["exact"], answer["rejected"]) == (True, 10)
    crm.refused = {}
    since = crm.journal.total
    shop.sell(people(230, 240), orders=1, name="Bea")
    shop.settle()
    (answer,) = shop.deliver()
    shop.assert_exact(answer)
    assert shop.writes(since) == Writes(2, upserted=10, added=10)
