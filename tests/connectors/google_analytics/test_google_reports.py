"""Reports: paging, restated days, quotas and flags."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, datetime
from math import ceil

import pytest

from switchyard.api import AuthError, ConfigError, QuotaExhausted, TransientError
from switchyard.testing.simulator import Answer, Fault

from .conftest import CHANNELS, alive, gone, rows


def _total(records, name="sessions"):
    return sum(row[name] for row in records)


def _truth(desk):
    return {
        (day, source, country): count
        for day, source, country, count in desk.simulator.events.ask(
            "SELECT day, source, country, count(DISTINCT client_id || ' ' || session) FROM seen GROUP BY ALL"
        )
    }


def _held(*syncs):
    """What a hub holds after these syncs."""
    held = {}
    for row in rows([page for pages in syncs for page in pages]):
        if row.get("_deleted"):
            del held[row["row_id"]]
        else:
            held[row["row_id"]] = ((row["date"], row["session_source"], row["country"]), row["sessions"])
    return dict(held.values())


def test_a_report_is_what_the_property_counts(desk):
    pages = desk.sync("channels", reports=[CHANNELS])
    assert _held(pages) == _truth(desk)
    row = alive(pages)[0]
    assert row["report"] == "channels"
    assert (row["thresholded"], row["other_row"], row["sampled"]) == (False, False, None)
    assert len({row["row_id"] for row in alive(pages)}) == len(alive(pages))


@pytest.mark.parametrize("rows_in_all", [1, 9, 10, 11, 45])
def test_the_calls_are_as_few_as_there_are_pages(desk, rows_in_all):
    desk.simulator.events.change("DELETE FROM events", [])
    for number in range(rows_in_all):
        desk.simulator.events.add(page=f"/{number}", us=int((desk.clock() - 86_400) * 1e6))
    pages = desk.sync("by_page", page_rows=10, reports=[{**CHANNELS, "name": "by_page", "dimensions": ["pagePath"]}])
    assert len(alive(pages)) == rows_in_all
    assert desk.calls("runReport") == ceil(rows_in_all / 10)
    assert desk.calls() == ceil(rows_in_all / 10) + 1


def test_restated_days_are_read_again_and_replaced(desk):
    first = desk.sync("channels", reports=[CHANNELS])
    yesterday, long_ago = desk.simulator.day(1), desk.simulator.day(6)
    desk.simulator.events.reattribute(yesterday, "bing", "chat.example")
    desk.simulator.events.drop(long_ago, "bing")
    again = desk.sync("channels", reports=[CHANNELS])
    days = {row["date"] for row in alive(again)}
    assert days == {date.fromisoformat(desk.simulator.day(back)) for back in (1, 2, 3, 4)}
    assert {(str(row["date"]), row["session_source"]) for row in gone(again)} == {(yesterday, "bing")}
    assert all(row["report"] == "channels" and "sessions" not in row for row in gone(again))
    expected = _truth(desk)
    held = _held(first, again)
    assert {key: held[key] for key in expected} == expected
    assert {str(key[0]) for key in held.keys() - expected.keys()} == {long_ago}


def test_a_day_that_nothing_is_left_of_is_taken_back_whole(desk):
    desk.sync("channels", reports=[CHANNELS])
    desk.simulator.events.change("DELETE FROM events WHERE day = ?", [desk.simulator.day(1)])
    again = desk.sync("channels", reports=[CHANNELS])
    assert {str(row["date"]) for row in gone(again)} == {desk.simulator.day(1)}
    assert desk.sync("channels", reports=[CHANNELS])[-1].cursor["through"] == desk.simulator.day(1)
    assert gone(desk.sync("channels", reports=[CHANNELS])) == []


def test_events_that_arrive_late_are_counted_in_the_end(desk, clock):
    desk.simulator.events.change("DELETE FROM events", [])
    desk.simulator.seed(2_000, days=8, late=True, salt=5)
    syncs = [desk.sync("channels", reports=[CHANNELS])]
    missing = desk.simulator.events.ask("SELECT count(*) FROM events WHERE arrives > getvariable('now')")[0][0]
    assert missing > 10
    for _ in range(4):
        clock.advance(86_400)
        syncs.append(desk.sync("channels", reports=[CHANNELS]))
    assert _held(*syncs) == _truth(desk)


def test_a_hub_that_was_off_for_weeks_reads_again_what_was_young_then(desk, clock):
    first = desk.sync("channels", reports=[CHANNELS])
    desk.simulator.events.reattribute(desk.simulator.day(2), "google", "chat.example")
    clock.advance(30 * 86_400)
    second = desk.sync("channels", reports=[CHANNELS])
    assert _held(first, second) == _truth(desk)


def test_a_killed_run_goes_on_where_it_was(desk):
    config = {"reports": [CHANNELS], "page_rows": 20}
    syncs = []
    while not (syncs and syncs[-1][-1].cursor.get("run") is None):
        syncs.append(desk.sync("channels", pages=1, **config))
        assert len(syncs) < 60
    assert _held(*syncs) == _truth(desk)
    read = Counter(row["row_id"] for row in rows([page for pages in syncs for page in pages]))
    assert len(read) < read.total() < 2 * len(read)


def test_a_killed_run_that_goes_on_days_later_forgets_nothing(desk, clock):
    config = {"reports": [CHANNELS], "page_rows": 20}
    syncs = [desk.sync("channels", pages=4, **config)]
    desk.simulator.events.reattribute(desk.simulator.day(1), "bing", "chat.example")
    clock.advance(3 * 86_400)
    syncs.append(desk.sync("channels", **config))
    assert _held(*syncs) == _truth(desk)


def test_rows_that_change_while_they_are_read_are_read_anew(desk):
    def restate():
        desk.simulator.events.reattribute(desk.simulator.day(2), "google", "chat.example")
        desk.simulator.events.add(source="new.example", us=int((desk.clock() - 86_400) * 1e6))

    desk.simulator.at_call(4, restate)
    assert _held(desk.sync("channels", reports=[CHANNELS], page_rows=20)) == _truth(desk)


def test_the_hour_s_tokens_and_the_day_s_end_a_run_until_they_are_back(desk, clock):
    said = {
        "Exhausted property tokens for a project per hour. These quota tokens will return in under an hour.": 10,
        "Exhausted property tokens per day. These quota tokens will return in under 24 hours.": None,
    }
    now = datetime.fromtimestamp(clock(), tz=None)
    for message, hour in said.items():
        error = {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}
        desk.simulator.script("POST", "runReport", [Answer(429, {"error": error})])
        with pytest.raises(QuotaExhausted) as refusal:
            desk.sync("channels", reports=[CHANNELS])
        if hour is not None:
            assert (refusal.value.until.hour, refusal.value.until.minute) == (hour, 0)
        else:
            # Midnight in California, which keeps summer time.
            assert (refusal.value.until.day, refusal.value.until.hour) == (now.day + 1, 7)
        desk.restart()
    assert _held(desk.sync("channels", reports=[CHANNELS])) == _truth(desk)


def test_a_run_that_the_quota_ends_goes_on_and_does_not_begin_anew(desk, clock):
    config = {"reports": [CHANNELS], "page_rows": 20}
    desk.simulator.quotas.allowance.project_hourly = 12
    syncs, refusals = [], 0
    while not (syncs and syncs[-1] and syncs[-1][-1].cursor.get("run") is None):
        read = []
        stream = desk.stream("channels", **config)
        try:
            for page in desk.source(**config).read(stream, desk.cursors.get("channels")):
                read.append(page)
                desk.cursors["channels"] = json.loads(json.dumps(page.cursor))
        except QuotaExhausted:
            refusals += 1
            clock.advance(3_600)
            desk.restart()
        syncs.append(read)
        assert len(syncs) < 20
    assert refusals > 1
    assert _held(*syncs) == _truth(desk)
    # Nobody was refused: the quota that answers tell ended each run before the request that would have been.
    assert {call.status for call in desk.simulator.calls(path="runReport")} == {200}


def test_too_many_requests_at_once_are_waited_out(desk):
    error = {"code": 429, "message": "Exhausted concurrent requests quota.", "status": "RESOURCE_EXHAUSTED"}
    desk.simulator.script("POST", "runReport", [Answer(429, {"error": error})])
    assert _held(desk.sync("channels", reports=[CHANNELS])) == _truth(desk)
    assert max(desk.context.waits) >= 5


def test_server_errors_are_not_repeated_until_they_close_the_property(desk):
    desk.simulator.script("POST", "runReport", [Answer(503)] * 9)
    with pytest.raises(TransientError):
        desk.sync("channels", reports=[CHANNELS])
    assert desk.calls("runReport") == 3


def test_one_server_error_passes(desk):
    desk.simulator.script("POST", "runReport", [Answer(500), Fault(drop="after")])
    assert _held(desk.sync("channels", reports=[CHANNELS])) == _truth(desk)


def test_withheld_rows_are_flagged(desk, caplog):
    desk.simulator.quality.threshold = 10
    report = {"name": "people", "dimensions": ["userGender", "city"], "metrics": ["activeUsers"]}
    pages = desk.sync("people", reports=[report])
    assert {row["thresholded"] for row in alive(pages)} == {True}
    assert "thresholded" in pages[0].origin
    assert "thresholded" in caplog.text


def test_rare_values_rolled_up_are_flagged(desk, caplog):
    desk.simulator.quality.other = 2
    pages = desk.sync("channels", reports=[CHANNELS])
    assert {row["other_row"] for row in alive(pages)} == {True}
    assert "(other)" in {row["session_source"] for row in alive(pages)}
    assert "(other)" in caplog.text


def test_sampling_is_flagged_with_its_share(desk):
    desk.simulator.quality.sampling = 0.25
    pages = desk.sync("channels", reports=[CHANNELS])
    assert {round(row["sampled"], 1) for row in alive(pages)} == {0.2}
    assert "days_per_request" in pages[0].origin


def test_fewer_days_to_a_request_make_more_requests(desk):
    report = {**CHANNELS, "days_per_request": 2, "start": desk.simulator.day(10)}
    assert _held(desk.sync("channels", reports=[report])) == _truth(desk)
    assert desk.calls("runReport") == 5


def test_a_filter_is_the_data_api_s(desk):
    only = {"filter": {"fieldName": "country", "stringFilter": {"value": "Austria"}}}
    pages = desk.sync("channels", reports=[{**CHANNELS, "filter": only}])
    assert _held(pages) == {key: count for key, count in _truth(desk).items() if key[2] == "Austria"}


def test_an_expired_token_is_renewed_in_the_middle(desk):
    desk.simulator.at_call(4, desk.simulator.sign_in.expire)
    assert _held(desk.sync("channels", reports=[CHANNELS], page_rows=20)) == _truth(desk)
    assert desk.calls("/token") == 2


def test_the_days_of_another_time_zone_are_refused(desk):
    with pytest.raises(ConfigError, match="time_zone: UTC"):
        desk.sync("channels", reports=[CHANNELS], time_zone="Europe/Vienna")


def test_other_dimensions_under_an_old_name_are_refused(desk):
    desk.sync("channels", reports=[CHANNELS])
    with pytest.raises(ConfigError, match="another name"):
        desk.sync("channels", reports=[{**CHANNELS, "dimensions": ["sessionSource"]}])


def test_an_unknown_dimension_is_named(desk):
    with pytest.raises(Exception, match="sessionSourc is not a valid dimension"):
        desk.sync("channels", reports=[{**CHANNELS, "dimensions": ["sessionSourc"]}])


def test_a_property_that_was_not_shared_is_an_auth_error(desk):
    with pytest.raises(AuthError, match="viewer"):
        desk.sync("channels", reports=[CHANNELS], property="987654321")


def test_an_answer_cut_short_is_read_anew(desk):
    desk.simulator.script("POST", "runReport", [Fault(truncate=500)])
    assert _held(desk.sync("channels", reports=[CHANNELS])) == _truth(desk)


def test_a_lost_workspace_takes_nothing_back(desk, caplog):
    desk.sync("channels", reports=[CHANNELS])
    for path in (desk.context.workspace / "reports" / "channels").iterdir():
        path.unlink()
    desk.simulator.events.drop(desk.simulator.day(1), "bing")
    assert gone(desk.sync("channels", reports=[CHANNELS])) == []
    assert "cannot be told" in caplog.text


def test_what_was_given_of_a_day_that_was_not_read_to_its_end_is_taken_back_too(desk):
    """A page ends within a day, the run is killed, and the day's first rows vanish before it is read again."""
    config = {"reports": [CHANNELS], "page_rows": 20}
    syncs = [desk.sync("channels", pages=7, **config)]
    last = syncs[0][-1].records
    day, source = last["date"][-1].as_py(), last["session_source"][-1].as_py()
    assert date.fromisoformat(syncs[0][-1].cursor["run"]["next"]) == day
    assert day >= date.fromisoformat(desk.simulator.day(4))
    desk.simulator.events.drop(day.isoformat(), source)
    syncs.append(desk.sync("channels", **config))
    assert {(row["date"], row["session_source"]) for row in gone(syncs[1])} == {(day, source)}
    assert _held(*syncs) == _truth(desk)


def test_wide_rows_are_asked_for_in_answers_that_fit(desk):
    wide = {
        "name": "wide",
        "dimensions": ["city", "country", "deviceCategory", "eventName", "pagePath", "sessionSource"],
    }
    desk.sync("channels", reports=[CHANNELS])
    desk.sync("wide", reports=[wide | {"metrics": ["eventCount", "sessions"]}])
    narrow, wide_one = (int(call.json()["limit"]) for call in desk.simulator.calls(path="runReport"))
    assert (narrow, wide_one) == (250_000, 145_635)
