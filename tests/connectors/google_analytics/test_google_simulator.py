"""The simulator as others see it: Google's own client, its descriptions, and the limits."""

from __future__ import annotations

import json
from datetime import date

import httpx
import jwt
import pytest

from switchyard_connectors.google_analytics.auth import parsed_key
from switchyard_connectors.google_analytics.config import ServiceAccount
from switchyard_connectors.google_analytics.simulator import GoogleAnalyticsSimulator, Property
from switchyard_connectors.google_analytics.simulator_collect import MEASUREMENT_ID, SECRET
from switchyard_connectors.google_analytics.simulator_signin import EDIT, READ

from .discovery import Discovery

REPORT = {
    "dimensions": [{"name": "date"}, {"name": "country"}],
    "metrics": [{"name": "activeUsers"}, {"name": "totalRevenue"}],
    "dateRanges": [{"startDate": "30daysAgo", "endDate": "yesterday"}],
}


def _assertion(simulator, **claims):
    key = json.loads(simulator.service_account())
    now = int(simulator.clock())
    said = {"iss": key["client_email"], "scope": f"{READ} {EDIT}", "aud": f"{simulator.url}/token", "iat": now}
    headers = {"kid": key["private_key_id"]}
    return jwt.encode({**said, "exp": now + 3_600, **claims}, key["private_key"], algorithm="RS256", headers=headers)


def _token(simulator, **claims):
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": _assertion(simulator, **claims),
    }
    return httpx.post(f"{simulator.url}/token", data=form, trust_env=False)


@pytest.fixture
def simulator(desk):
    return desk.simulator


@pytest.fixture
def call(simulator):
    """Call a method of the Data API with a good token."""
    headers = {"authorization": f"Bearer {_token(simulator).json()['access_token']}"}
    base = f"{simulator.url}/v1beta/properties/{simulator.property.id}"
    return lambda path, body: httpx.post(f"{base}{path}", json=body, headers=headers, trust_env=False)


@pytest.fixture
def google(simulator, shared_folder):
    """Google's client, built from Google's description, on its way over loopback."""
    discovery = pytest.importorskip("googleapiclient.discovery")
    import httplib2
    from google.oauth2.credentials import Credentials
    from google_auth_httplib2 import AuthorizedHttp

    described = json.loads((shared_folder / "specs" / "google" / "analyticsdata.v1beta.json").read_text())
    described |= {"rootUrl": f"{simulator.url}/", "baseUrl": f"{simulator.url}/"}
    token = _token(simulator).json()["access_token"]
    http = httplib2.Http(proxy_info=None)
    client = discovery.build_from_document(described, http=AuthorizedHttp(Credentials(token), http=http))
    yield client.properties()
    http.close()
    client.close()


@pytest.mark.shared
def test_google_s_client_runs_reports(simulator, google):
    name = f"properties/{simulator.property.id}"
    said = google.runReport(property=name, body=REPORT | {"limit": "5", "returnPropertyQuota": True}).execute()
    assert [header["name"] for header in said["dimensionHeaders"]] == ["date", "country"]
    assert (len(said["rows"]), said["rowCount"]) == (5, 30)
    assert said["propertyQuota"]["tokensPerDay"]["remaining"] < 200_000
    both = google.batchRunReports(property=name, body={"requests": [REPORT, REPORT]}).execute()["reports"]
    assert [report["rowCount"] for report in both] == [30, 30]
    fits = google.checkCompatibility(property=name, body={"metrics": [{"name": "sessions"}]}).execute()
    assert {each["compatibility"] for each in fits["metricCompatibilities"]} == {"COMPATIBLE"}
    assert "sessions" in {each["apiName"] for each in google.getMetadata(name=f"{name}/metadata").execute()["metrics"]}


@pytest.mark.shared
def test_google_s_client_exports_audiences(simulator, google):
    name, exports = f"properties/{simulator.property.id}", google.audienceExports()
    wanted = {"audience": f"{name}/audiences/2", "dimensions": [{"dimensionName": "deviceId"}]}
    made = exports.create(parent=name, body=wanted).execute()["name"]
    assert exports.get(name=made).execute()["state"] == "CREATING"
    simulator.clock.advance(60)
    assert exports.get(name=made).execute()["state"] == "ACTIVE"
    page = exports.query(name=made, body={"offset": "0", "limit": "3"}).execute()
    assert (len(page["audienceRows"]), page["rowCount"]) == (3, page["audienceExport"]["rowCount"])
    assert exports.list(parent=name).execute()["audienceExports"][0]["name"] == made


@pytest.mark.shared
def test_google_s_client_reads_errors(simulator, google):
    from googleapiclient.errors import HttpError

    wrong = REPORT | {"metrics": [{"name": "sesions"}]}
    with pytest.raises(HttpError, match="sesions is not a valid metric") as error:
        google.runReport(property=f"properties/{simulator.property.id}", body=wrong).execute()
    assert error.value.status_code == 400
    with pytest.raises(HttpError, match="permissions"):
        google.runReport(property="properties/1", body=REPORT).execute()


@pytest.mark.shared
def test_what_is_not_as_described_is_noticed(shared_folder):
    """The judge of every other test has teeth."""
    discovery = Discovery.of(shared_folder / "specs" / "google")
    path = "/v1beta/properties/1:runReport"
    assert discovery.described("POST", path)
    assert not discovery.faults("POST", path, json.dumps(REPORT | {"limit": "5"}).encode(), b'{"rowCount": 3}')
    for request, answer in (
        ({"limit": 5}, {}),
        ({"dimension": []}, {}),
        ({"dimensions": ["date"]}, {}),
        ({}, {"rowCount": "3"}),
        ({}, {"rows": [{"dimensionValues": [{"value": 3}]}]}),
        ({}, {"metadata": {"samplingMetadatas": [{"samplesReadCount": 3}]}}),
    ):
        assert discovery.faults("POST", path, json.dumps(request).encode(), json.dumps(answer).encode()), request


def test_reports_add_up(simulator, call):
    body = call(
        ":runReport", REPORT | {"dimensions": [], "metrics": [{"name": "eventCount"}, {"name": "totalRevenue"}]}
    ).json()
    ((count, revenue),) = simulator.events.ask("SELECT count(*), sum(value) FROM seen WHERE day < '2026-09-22'")
    assert [cell["value"] for cell in body["rows"][0]["metricValues"]] == [str(count), str(revenue)]


def test_pages_are_parts_of_one_whole(call):
    ordered = REPORT | {"orderBys": [{"metric": {"metricName": "activeUsers"}, "desc": True}]}
    whole = call(":runReport", ordered).json()["rows"]
    parts = [call(":runReport", ordered | {"limit": "7", "offset": str(at)}).json() for at in range(0, 35, 7)]
    assert [row for part in parts for row in part.get("rows", ())] == whole
    values = [int(row["metricValues"][0]["value"]) for row in whole]
    assert values == sorted(values, reverse=True)
    assert "rows" not in call(":runReport", REPORT | {"offset": "30"}).json()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (
            {"filter": {"fieldName": "country", "stringFilter": {"value": "Aust", "matchType": "BEGINS_WITH"}}},
            {"Austria"},
        ),
        (
            {"filter": {"fieldName": "country", "inListFilter": {"values": ["Austria", "Germany"]}}},
            {"Austria", "Germany"},
        ),
        (
            {"notExpression": {"filter": {"fieldName": "country", "stringFilter": {"value": "Austria"}}}},
            {"Germany", "Switzerland"},
        ),
    ],
)
def test_filters_filter(call, wanted, expected):
    rows = call(":runReport", REPORT | {"dimensionFilter": wanted}).json()["rows"]
    assert {row["dimensionValues"][1]["value"] for row in rows} == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"dimensions": [{"name": "nothing"}]},
        {"dateRanges": [{"startDate": "2014-01-01", "endDate": "today"}]},
        {"dateRanges": [{"startDate": "today", "endDate": "yesterday"}]},
        {"limit": "0"},
        {"limit": "x"},
        {"dimensions": [{"name": "country"}] * 10},
        {"orderBys": [{"dimension": {"dimensionName": "city"}}]},
    ],
)
def test_what_makes_no_sense_is_refused(call, wrong):
    answer = call(":runReport", REPORT | wrong)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_tokens_are_used_up_by_the_hour_and_by_the_day(simulator, call, clock):
    simulator.quotas.allowance.project_hourly = 9
    simulator.quotas.allowance.daily = 12
    statuses = [call(":runReport", REPORT).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert "per hour" in call(":runReport", REPORT).json()["error"]["message"]
    clock.advance(3_590)
    assert [call(":runReport", REPORT).status_code for _ in range(2)] == [200, 429]
    assert "per day" in call(":runReport", REPORT).json()["error"]["message"]


def test_ten_requests_at_once_are_too_many(simulator, call):
    simulator.quotas.under_way = 10
    assert "concurrent" in call(":runReport", REPORT).json()["error"]["message"]


@pytest.mark.parametrize(
    "claims",
    [{"iss": "somebody@else"}, {"aud": "https://elsewhere.example"}, {"exp": 1}, {"scope": ""}, {"exp": 9_999_999_999}],
)
def test_a_wrong_assertion_gets_no_token(simulator, claims):
    answer = _token(simulator, **claims)
    assert (answer.status_code, "error" in answer.json()) == (400, True)


def test_a_scope_has_to_be_granted(simulator):
    token = _token(simulator, scope=READ).json()["access_token"]
    answer = httpx.post(
        f"{simulator.url}/v1alpha/properties/{simulator.property.id}:submitUserDeletion",
        json={"userId": "u1"},
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
    )
    assert answer.status_code == 403


def test_the_old_deletion_works_too(simulator):
    token = _token(simulator).json()["access_token"]
    wanted = {
        "kind": "analytics#userDeletionRequest",
        "id": {"type": "CLIENT_ID", "userId": "1000.3"},
        "propertyId": simulator.property.id,
    }
    url = f"{simulator.url}/analytics/v3/userDeletion/userDeletionRequests:upsert"
    answer = httpx.post(url, json=wanted, headers={"authorization": f"Bearer {token}"}, trust_env=False).json()
    assert (answer["deletionRequestTime"][:4], answer["id"]) == ("2026", wanted["id"])
    assert simulator.events.ask("SELECT count(*) FROM seen WHERE client_id = '1000.3'") == [(0,)]


def test_collecting_says_nothing_and_debugging_says_why(simulator):
    def post(path, body, secret=SECRET):
        params = {"measurement_id": MEASUREMENT_ID, "api_secret": secret}
        return httpx.post(f"{simulator.url}{path}", params=params, json=body, trust_env=False)

    good = {"client_id": "1.1", "events": [{"name": "login", "params": {"method": "mail"}}]}
    for body in (good, good | {"client_id": ""}, good | {"events": [{"name": "session_start"}]}):
        assert post("/mp/collect", body).status_code == 204
    assert post("/mp/collect", good, secret="wrong").status_code == 204
    assert (len(simulator.collector.counted), simulator.collector.dropped) == (1, 3)
    assert post("/debug/mp/collect", good, secret="wrong").json() == {"validationMessages": []}
    bad = post("/debug/mp/collect", good | {"events": [{"name": "no name"}]}).json()["validationMessages"]
    assert bad[0]["validationCode"] == "NAME_INVALID"


def test_the_same_seed_is_the_same_property(clock):
    counts = []
    for salt in (1, 1, 2):
        simulator = GoogleAnalyticsSimulator(Property(events=0), clock=clock)
        simulator.seed(500, salt=salt)
        counts.append(simulator.events.ask("SELECT name, source, count(*) FROM seen GROUP BY ALL ORDER BY ALL"))
        simulator.stop()
    assert counts[0] == counts[1] != counts[2]


def test_a_restarted_simulator_is_the_same_property(simulator, clock):
    simulator.edits()["reattribute"](simulator.day(1), "google", "chat.example")
    httpx.post(f"{simulator.url}/_simulator/settings", json={"threshold": 3, "daily": 50}, trust_env=False)
    assert (simulator.quality.threshold, simulator.quotas.allowance.daily) == (3, 50)
    again = GoogleAnalyticsSimulator(Property(events=1), clock=clock)
    again.load(json.loads(json.dumps(simulator.dump())))
    query = "SELECT day, source, count(*) FROM seen GROUP BY ALL ORDER BY ALL"
    assert again.events.ask(query) == simulator.events.ask(query)
    with again:
        state = httpx.get(f"{again.url}/_simulator/state", trust_env=False).json()
    assert (
        parsed_key(ServiceAccount(key=state["service_account"]), None)["private_key"]
        == (json.loads(simulator.service_account())["private_key"])
    )


def test_days_are_those_of_the_clock(simulator):
    assert simulator.day(1) == "2026-09-21"
    ((first, last),) = simulator.events.ask("SELECT min(day), max(day) FROM seen")
    assert (first, last) == (date(2026, 9, 12), date(2026, 9, 21))
