"""The client against scripted answers: what each status, header and body leads to."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import httpx
import pytest
from tests.unit.api.scripted import BASE, NOW, TOKEN, Vendor, refusal

from switchyard.api import (
    AuthError,
    ConfigError,
    Limits,
    PermanentError,
    QuotaExhausted,
    TransientError,
    Window,
)
from switchyard.api.errors import SwitchyardError
from switchyard.api.http import CachedToken, RetryPolicy, UnknownOutcome, json_of, pages

ATTEMPTS = RetryPolicy().attempts
OUTCOMES: list[tuple[str, Iterable[int], type[SwitchyardError], int]] = [
    ("GET", (400, 402, 403, 404, 409, 410, 413, 414, 418, 422, 451, 501, 505), PermanentError, 1),
    ("GET", (300, 301, 302, 303, 304, 307, 308), PermanentError, 1),
    ("GET", (401,), AuthError, 1),
    ("GET", (408, 423, 425, 429, 477, 500, 502, 503, 504, 520, 521, 522, 523, 524), TransientError, ATTEMPTS),
    ("POST", (408, 423, 425, 429, 477, 503, 521, 522, 523), TransientError, ATTEMPTS),
    ("POST", (500, 502, 504, 520, 524), UnknownOutcome, 1),
    ("POST", (400, 404, 501), PermanentError, 1),
]
TABLE = [(method, status, *rest) for method, statuses, *rest in OUTCOMES for status in statuses]


@pytest.mark.parametrize(("method", "status", "error", "calls"), TABLE)
def test_every_status_has_one_meaning(method: str, status: int, error: type[SwitchyardError], calls: int) -> None:
    vendor = Vendor(status)
    raised = refusal(vendor, method)
    assert type(raised) is error
    assert f"{method} /people answered {status}" in str(raised)
    assert len(vendor.requests) == calls


@pytest.mark.parametrize("status", [503, 500])
def test_a_passing_fault_passes(status: int) -> None:
    vendor = Vendor(status, status, 204)
    assert vendor.http.get("/people").status_code == 204
    assert len(vendor.requests) == 3


def test_the_author_may_say_that_a_post_can_be_repeated_and_a_put_cannot() -> None:
    vendor = Vendor(500, 200)
    vendor.http.post("/people/search", json={}, repeatable=True)
    assert len(vendor.requests) == 2
    assert type(refusal(Vendor(500), "PUT", repeatable=False)) is UnknownOutcome


def test_a_status_may_be_accepted() -> None:
    vendor = Vendor(404)
    assert vendor.http.get("/people", accept=(404,)).status_code == 404


RETRY_AFTER: list[tuple[str | None, float, float]] = [
    ("7", 7.0, 7.7),
    ("0.5", 0.5, 0.55),
    ("Tue, 10 Mar 2026 12:00:30 GMT", 30.0, 33.0),
    ("Tue, 10 Mar 2026 14:00:30 +0200", 30.0, 33.0),
    ("Tue, 10 Mar 2026 11:00:00 GMT", 0.0, 1.0),
    (" 7 ", 7.0, 7.7),
    ("0", 0.0, 1.0),
    ("-5", 0.0, 1.0),
    (None, 0.0, 1.0),
    ("", 0.0, 1.0),
    ("soon", 0.0, 1.0),
    ("nan", 0.0, 1.0),
    ("1;drop", 0.0, 1.0),
]


@pytest.mark.parametrize(("header", "least", "most"), RETRY_AFTER)
def test_retry_after_is_obeyed_in_every_form(header: str | None, least: float, most: float) -> None:
    headers = {} if header is None else {"retry-after": header}
    vendor = Vendor(httpx.Response(503, headers=headers), 200)
    vendor.http.get("/people")
    assert len(vendor.waits) == 1
    assert least <= vendor.waits[0] <= most


@pytest.mark.parametrize("header", ["1000000000", "inf", "1e308", "Fri, 31 Dec 9999 23:59:59 GMT", "90000"])
def test_a_wait_too_long_ends_the_call_at_once_and_is_told(header: str) -> None:
    vendor = Vendor(httpx.Response(429, headers={"retry-after": header}))
    raised = refusal(vendor)
    assert isinstance(raised, TransientError)
    assert raised.retry_after == 86_400
    assert (len(vendor.requests), vendor.waits) == (1, [])


def test_a_storm_of_429_is_bounded_and_each_wait_is_kept() -> None:
    vendor = Vendor(httpx.Response(429, headers={"retry-after": "9"}))
    raised = refusal(vendor)
    assert isinstance(raised, TransientError)
    assert raised.retry_after == 9
    assert len(vendor.requests) == ATTEMPTS
    assert all(9 <= wait <= 9.9 for wait in vendor.waits)


def test_a_429_holds_back_the_accounts_other_calls_too() -> None:
    vendor = Vendor(httpx.Response(429, headers={"retry-after": "200"}), 200)
    refusal(vendor)
    vendor.http.get("/people")
    assert vendor.waits == [200]


def test_a_call_ends_at_its_deadline_however_many_attempts_are_left() -> None:
    vendor = Vendor(httpx.Response(503, headers={"retry-after": "50"}), policy=RetryPolicy(attempts=99, deadline=120))
    refusal(vendor)
    assert len(vendor.requests) == 3


def test_waits_for_the_accounts_limits_end_at_the_deadline_as_well() -> None:
    limits = Limits(windows={"default": [Window(1, 60.0)]})
    vendor = Vendor(200, limits=limits, policy=RetryPolicy(deadline=30))
    vendor.http.get("/people")
    assert isinstance(refusal(vendor), TransientError)
    assert len(vendor.requests) == 1


def test_calls_count_in_their_bucket() -> None:
    vendor = Vendor(503, 200)
    vendor.http.get("/people", bucket="search")
    vendor.http.get("/people")
    assert vendor.budget.used == {"search": 2, "default": 1}


def test_a_used_up_quota_is_never_asked_again() -> None:
    def classify(answer: httpx.Response) -> SwitchyardError | None:
        if answer.json().get("policyName") == "DAILY":
            return QuotaExhausted("the day's calls are used up", until=datetime(2026, 3, 11))
        return None

    vendor = Vendor(httpx.Response(429, json={"policyName": "DAILY"}))
    assert isinstance(refusal(vendor, classify=classify), QuotaExhausted)
    assert isinstance(refusal(vendor), QuotaExhausted)
    assert len(vendor.requests) == 1


def test_the_connectors_own_reading_of_a_status_comes_first() -> None:
    vendor = Vendor(httpx.Response(400), 200)
    vendor.http.post("/people", classify=lambda _: TransientError("locked", retry_after=2))
    assert len(vendor.requests) == 2
    assert 2 <= vendor.waits[0] <= 2.2
    assert type(refusal(Vendor(500), classify=lambda _: PermanentError("no such list"))) is PermanentError


def test_an_error_says_what_the_vendor_calls_it_and_nothing_personal() -> None:
    body = {
        "message": "ann@x.org exists",
        "category": "VALIDATION_ERROR",
        "correlationId": "3f2a-77",
        "token": TOKEN,
    }
    vendor = Vendor(httpx.Response(400, json=body))
    raised = refusal(vendor, "PATCH", "/crm/v3/contacts/ann@x.org/lists/42/2026-03?email=ann@x.org")
    assert str(raised) == (
        "PATCH /crm/v3/contacts/{id}/lists/{id}/2026-03 answered 400 (category VALIDATION_ERROR, correlationId 3f2a-77)"
    )


@pytest.mark.parametrize("category", ["ann@x.org", "a b", "x" * 65, "\x1b[31m", 7, None, {"a": 1}])
def test_a_category_that_is_no_code_is_left_out(category: object) -> None:
    assert str(refusal(Vendor(httpx.Response(400, json={"category": category})))) == "GET /people answered 400"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[" * 100_000, b"\xff\xfe"])
def test_an_error_whose_body_is_anything_is_still_an_error(body: bytes) -> None:
    assert str(refusal(Vendor(httpx.Response(400, content=body)))) == "GET /people answered 400"


ELSEWHERE = [
    "https://evil.example.com/people",
    "http://crm.example.com/people",
    "https://crm.example.com:8443/people",
    "https://crm.example.com@evil.example.com/people",
    "https://user:pass@crm.example.com/people",
    "https://crm.example.com.evil.example.com/people",
    "//evil.example.com/people",
    "HTTPS://EVIL.example.com",
    "https:/evil.example.com",
    "https:evil.example.com",
    "file:///etc/passwd",
    "https://[::1",
    "/people\x00",
]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_url_elsewhere_is_refused_before_anything_is_sent(path: str) -> None:
    vendor = Vendor(200)
    raised = refusal(vendor, path=path)
    assert isinstance(raised, PermanentError)
    assert "nothing was sent" in str(raised)
    assert "evil" not in str(raised)
    assert vendor.requests == []
    assert vendor.budget.used == {}


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        (BASE, "/people", "https://crm.example.com/people"),
        (BASE, "people", "https://crm.example.com/people"),
        (f"{BASE}/rest/", "/v1/leads", "https://crm.example.com/rest/v1/leads"),
        (BASE, "https://crm.example.com:443/people?after=7", "https://crm.example.com/people?after=7"),
        (BASE, "https://CRM.example.com/people", "https://crm.example.com/people"),
        (BASE, ".evil.example.com/people", "https://crm.example.com/.evil.example.com/people"),
        (BASE, "@evil.example.com/people", "https://crm.example.com/@evil.example.com/people"),
        (BASE, "/\\evil.example.com", "https://crm.example.com/\\evil.example.com"),
    ],
)
def test_paths_start_at_the_base(base: str, path: str, url: str) -> None:
    vendor = Vendor(200, base=base)
    vendor.http.get(path)
    assert str(vendor.requests[0].url) == url


@pytest.mark.parametrize(
    "base",
    ["", "crm.example.com", "ftp://crm.example.com", "https://", "https://u:p@crm.example.com", "https://0177.0.0.1"],
)
def test_a_base_that_is_none_is_a_configuration_error(base: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Vendor(200, base=base)
    assert "u:p" not in str(refused.value)


def test_parameters_are_laid_over_a_url_and_none_leaves_one_out() -> None:
    vendor = Vendor(200)
    vendor.http.get("/people?limit=5", params={"after": "a b", "before": None})
    assert vendor.requests[0].url.query == b"limit=5&after=a+b"


def test_bodies_and_headers() -> None:
    vendor = Vendor(200)
    vendor.http.put("/people", json={"name": "Zoë 🙂", "big": 2**53 + 1}, headers={"Idempotency-Key": "7"})
    vendor.http.post("/token", form={"grant_type": "client credentials"})
    vendor.http.delete("/people/7", content=b"raw")
    put, post, delete = vendor.requests
    assert json.loads(put.content) == {"name": "Zoë 🙂", "big": 2**53 + 1}
    assert (put.headers["content-type"], put.headers["idempotency-key"]) == ("application/json", "7")
    assert put.headers["authorization"] == f"Bearer {TOKEN}"
    assert put.headers["host"] == "crm.example.com"
    assert (post.content, post.headers["content-type"]) == (
        b"grant_type=client+credentials",
        "application/x-www-form-urlencoded",
    )
    assert (delete.method, delete.content) == ("DELETE", b"raw")


@pytest.mark.parametrize("body", [{"n": float("nan")}, {"at": NOW}, {"s": {1, 2}}])
def test_a_body_that_is_no_json_is_refused_without_quoting_it(body: object) -> None:
    vendor = Vendor(200)
    assert str(refusal(vendor, "POST", json=body)) == "the body for POST /people cannot be written as JSON"
    assert vendor.requests == []


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN}\r\nX-Evil: 1", f"{TOKEN} ", f"{TOKEN}é"])
def test_a_token_that_no_header_can_carry_is_not_quoted(token: str) -> None:
    vendor = Vendor(200, bearer=token)
    raised = refusal(vendor)
    assert isinstance(raised, AuthError)
    assert TOKEN not in str(raised)
    assert raised.__cause__ is None
    assert vendor.requests == []


def test_answers_carry_no_credentials_on() -> None:
    vendor = Vendor(httpx.Response(200, headers={"set-cookie": "session=1"}, json=[]))
    answer = vendor.http.get("/people")
    assert "authorization" not in answer.request.headers
    assert "set-cookie" not in answer.headers
    vendor.http.get("/people")
    assert "cookie" not in vendor.requests[1].headers


class Tokens:
    """A bearer with its own idea of when to give another token."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)

    def __call__(self) -> str:
        return self._tokens.pop(0) if len(self._tokens) > 1 else self._tokens[0]


def test_after_a_401_the_bearer_is_asked_once_more_and_the_call_repeated() -> None:
    vendor = Vendor(401, 200, bearer=Tokens("old", "new"))
    vendor.http.post("/people", json={})
    assert [request.headers["authorization"] for request in vendor.requests] == ["Bearer old", "Bearer new"]


def test_a_second_401_is_believed() -> None:
    vendor = Vendor(401, bearer=Tokens("a", "b", "c", "d"))
    assert isinstance(refusal(vendor), AuthError)
    assert len(vendor.requests) == 2


@pytest.mark.parametrize("bearer", [TOKEN, Tokens("same"), None])
def test_without_another_token_a_401_is_believed_at_once(bearer: object) -> None:
    vendor = Vendor(401, bearer=bearer)
    assert isinstance(refusal(vendor), AuthError)
    assert len(vendor.requests) == 1


def test_a_cached_token_is_fetched_once_until_it_nears_its_end_or_is_refused() -> None:
    now = 0.0
    fetched = iter(["a", "b", "c"])
    token = CachedToken(lambda: (next(fetched), 3600.0), clock=lambda: now)
    assert [token(), token()] == ["a", "a"]
    now = 3539.0
    assert token() == "a"
    now = 3540.0
    assert token() == "b"
    token.refused("a")  # a thread that was late: the token has been renewed since
    assert token() == "b"
    token.refused("b")
    assert token() == "c"


def test_a_cached_token_renews_within_a_call() -> None:
    fetched = iter(["old", "new"])
    vendor = Vendor(401, 200, bearer=CachedToken(lambda: (next(fetched), 3600.0)))
    vendor.http.get("/people")
    assert [request.headers["authorization"] for request in vendor.requests] == ["Bearer old", "Bearer new"]


def test_credentials_once_refused_are_not_tried_again() -> None:
    sign_in = Vendor(401, bearer=None)

    def fetch() -> tuple[str, float]:
        sign_in.http.post("/token", form={"grant_type": "refresh_token"})
        raise AssertionError

    vendor = Vendor(200, bearer=CachedToken(fetch))
    for _ in range(3):
        assert isinstance(refusal(vendor), AuthError)
    assert len(sign_in.requests) == 1
    assert vendor.requests == []


NOT_JSON = {
    "cut": (b'{"results": [', "application/json"),
    "sign-in page": (b"<html><form>", "text/html; charset=utf-8"),
    "charset": ('"ä"'.encode("latin-1"), "application/json"),
    "nan": (b'{"n": NaN}', "application/json"),
    "digits": (b"1" * 5000, "application/json"),
    "nested": (b"[" * 100_000, "application/json"),
    "nothing": (b"", "application/json"),
}


@pytest.mark.parametrize(("body", "kind"), NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_a_passing_fault_that_names_the_content_type(body: bytes, kind: str) -> None:
    vendor = Vendor(httpx.Response(200, content=body, headers={"content-type": kind}))
    answer = vendor.http.get("/people/7")
    with pytest.raises(TransientError) as raised:
        json_of(answer)
    named = kind.partition(";")[0]
    assert str(raised.value) == f"GET /people/{{id}} answered 200 with {named}, {len(body)} bytes that are not JSON"


def by_token(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return {"after": body["after"]} if "after" in body else None


def test_pages_follow_a_token() -> None:
    bodies = [{"n": 1, "after": "x"}, {"n": 2, "after": "y"}, {"n": 3}]
    vendor = Vendor(*[httpx.Response(200, json=body) for body in bodies])
    assert [body["n"] for body in pages(vendor.http, "/people", {"limit": 1}, onward=by_token)] == [1, 2, 3]
    assert [request.url.query for request in vendor.requests] == [b"limit=1", b"limit=1&after=x", b"limit=1&after=y"]


def test_pages_follow_links_but_not_out_of_the_house() -> None:
    links = [f"{BASE}/people?page=2", "https://evil.example.com/people?page=3"]
    vendor = Vendor(*[httpx.Response(200, json={"next": link}) for link in links])
    read: list[Any] = []
    with pytest.raises(PermanentError, match="nothing was sent"):
        read.extend(pages(vendor.http, "/people", onward=lambda body: body["next"]))
    assert [request.url.raw_path for request in vendor.requests] == [b"/people", b"/people?page=2"]


def test_pages_notice_a_circle() -> None:
    links = iter(["/people?page=2", "/people?page=3", "/people?page=2"])
    vendor = Vendor(httpx.Response(200, json={}))
    with pytest.raises(PermanentError, match="in a circle"):
        list(pages(vendor.http, "/people", onward=lambda _: next(links)))
    assert len(vendor.requests) == 3


@pytest.mark.parametrize(
    "fault", [httpx.ReadTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, httpx.WriteTimeout]
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_faults_after_sending(fault: Callable[[str], httpx.TransportError], method: str) -> None:
    vendor = Vendor(fault("quotes s3cret bytes"), 200)
    if method == "get":
        assert vendor.http.get("/people").is_success
    else:
        raised = refusal(vendor, "POST")
        assert isinstance(raised, UnknownOutcome)
        assert "s3cret" not in str(raised)


@pytest.mark.parametrize("fault", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
def test_faults_before_sending_are_always_tried_again(fault: Callable[[str], httpx.TransportError]) -> None:
    vendor = Vendor(fault("refused"), 200)
    assert vendor.http.post("/people").is_success
