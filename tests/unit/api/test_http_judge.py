"""Vendors that tell their errors with a 200: the connector's judge makes them what a status would be."""

import logging
from datetime import datetime
from typing import Any

import httpx
import pytest
from tests.unit.api.scripted import Vendor, refusal

from switchyard.api import AuthError, Limits, PermanentError, QuotaExhausted, TransientError
from switchyard.api.errors import SwitchyardError
from switchyard.api.http import CachedToken, RetryPolicy, UnknownOutcome

TOMORROW = datetime(2026, 3, 11)
ERRORS: dict[str, SwitchyardError] = {
    "601": AuthError("the token is refused"),
    "606": TransientError("too fast", retry_after=8.0),
    "607": QuotaExhausted("the day's calls are used up", until=TOMORROW),
    "611": UnknownOutcome("it may have been carried out"),
    "615": TransientError("too many at once"),
    "1003": PermanentError("no such list"),
}


def judge(answer: httpx.Response) -> SwitchyardError | None:
    return ERRORS.get(answer.json().get("code"))


def said(code: str | None = None, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json={"code": code})


def tokens(*values: str) -> CachedToken:
    fetched = iter(values)
    return CachedToken(lambda: (next(fetched), 3600.0))


def test_what_the_judge_does_not_object_to_is_returned() -> None:
    assert Vendor(said()).http.get("/leads", judge=judge).json() == {"code": None}


def test_a_refused_token_is_replaced_and_the_call_made_once_more() -> None:
    vendor = Vendor(said("601"), said(), bearer=tokens("old", "new"))
    vendor.http.post("/leads", json={}, judge=judge)
    assert [request.headers["authorization"] for request in vendor.requests] == ["Bearer old", "Bearer new"]


def test_a_second_refusal_of_the_token_is_believed() -> None:
    vendor = Vendor(said("601"), bearer=tokens("a", "b", "c"))
    assert isinstance(refusal(vendor, judge=judge), AuthError)
    assert len(vendor.requests) == 2


def test_what_was_not_carried_out_is_tried_again_even_where_it_is_not_repeatable() -> None:
    vendor = Vendor(said("615"), said("615"), said())
    vendor.http.post("/leads", json={}, judge=judge)
    assert len(vendor.requests) == 3


def test_attempts_are_bounded() -> None:
    vendor = Vendor(said("615"))
    assert str(refusal(vendor, "POST", judge=judge)) == "too many at once"
    assert len(vendor.requests) == RetryPolicy().attempts


def test_too_fast_holds_back_the_whole_bucket_and_busy_does_not() -> None:
    for code, held in (("606", 8.0), ("615", 0.0)):
        vendor = Vendor(said(code), said(), policy=RetryPolicy(attempts=1))
        refusal(vendor, judge=judge)
        vendor.http.get("/leads")
        assert sum(vendor.waits) == held


def test_a_used_up_quota_closes_the_account() -> None:
    vendor = Vendor(said("607"))
    for _ in range(2):
        assert isinstance(refusal(vendor, judge=judge), QuotaExhausted)
    assert len(vendor.requests) == 1


@pytest.mark.parametrize(("code", "error"), [("611", UnknownOutcome), ("1003", PermanentError)])
def test_other_errors_are_raised_at_once(code: str, error: type[SwitchyardError]) -> None:
    vendor = Vendor(said(code))
    assert type(refusal(vendor, "POST", judge=judge)) is error
    assert len(vendor.requests) == 1


def test_accepted_statuses_are_judged_too_and_others_are_not() -> None:
    assert isinstance(refusal(Vendor(said("1003", 404)), judge=judge, accept=(404,)), PermanentError)
    assert str(refusal(Vendor(said("1003", 404)), judge=judge)) == "GET /people answered 404"


def used(headers: httpx.Headers) -> tuple[int, int] | None:
    text = headers.get("limit-info")
    return None if text is None else (int(text.split("/")[0]), int(text.split("/")[1]))


def test_the_vendors_own_count_of_the_day_is_believed() -> None:
    vendor = Vendor(
        httpx.Response(200, headers={"limit-info": "99/100"}), httpx.Response(200), limits=Limits(daily=500)
    )
    vendor.http.get("/leads", usage=used)
    vendor.http.get("/leads", usage=used)
    assert isinstance(refusal(vendor, usage=used), QuotaExhausted)
    assert len(vendor.requests) == 2


SECRET = "4p1-s3cret"


@pytest.mark.parametrize("answer", [400, 500, httpx.ReadTimeout("slow"), httpx.ConnectError("refused"), 200])
def test_a_secret_of_the_query_is_in_no_log_message_or_repr(
    answer: httpx.Response | Exception | int, caplog: pytest.LogCaptureFixture
) -> None:
    vendor = Vendor(answer)
    query: dict[str, Any] = {"api_secret": SECRET, "measurement_id": "G-1"}
    told: list[object] = []
    with caplog.at_level(logging.DEBUG):
        try:
            found = vendor.http.post("/mp/collect", params=query, json={"client_id": "1"})
            told += [found.request.url, repr(found), str(found.headers)]
        except SwitchyardError as error:
            told += [error, repr(error), vars(error)]
    assert SECRET in str(vendor.requests[0].url)
    told += [f"{record.getMessage()} {record.args}" for record in caplog.records]
    assert SECRET not in "\n".join(map(str, told))
