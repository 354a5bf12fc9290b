"""Bulk extract: its queue, its quota, its files."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise

import pytest

from switchyard.api import PermanentError, QuotaExhausted, TransientError
from switchyard.testing.bench import records_of
from switchyard.testing.simulator import Answer, Fault
from switchyard.testing.simulator_jobs import JobFault
from switchyard_connectors.marketo.exported import parts
from switchyard_connectors.marketo.windows import AHEAD, instant_of

from .conftest import DAY


@pytest.fixture
def desk(open_desk):
    """One lead, made an hour ago, to be read in one window."""
    desk = open_desk(since="2026-09-20")
    desk.simulator.people.create({"email": "a@x.example"})
    desk.clock.advance(3_600)
    return desk


def emails(records):
    return [record["email"] for record in records if record.get("email")]


def test_a_window_takes_four_calls_and_a_question_a_minute(desk):
    desk.simulator.extracts.jobs.takes = 150
    before = desk.simulator.journal.total
    desk.read("leads")
    calls = [call for call in desk.simulator.calls(since=before) if "/bulk/" in call.route]
    names = [call.route.rpartition("/")[2] for call in calls]
    assert names == ["create.json", "enqueue.json", *["status.json"] * 4, "file.json"]
    asked = [call.at for call in calls if call.route.endswith("status.json")]
    assert all(later - earlier >= 60 for earlier, later in pairwise(asked))


def test_a_full_queue_is_waited_for(desk):
    desk.simulator.script("POST", "/enqueue.json", [desk.simulator.failed("1029", "Too many jobs (10) in queue")] * 2)
    assert emails(desk.read("leads")[0]) == ["a@x.example"]
    assert desk.simulator.count("POST", "/create.json") == 1


def test_a_job_that_is_queued_already_is_no_fault(desk):
    steps = [Fault(drop="after"), desk.simulator.failed("1029", "Job already queued")]
    desk.simulator.script("POST", "/enqueue.json", steps)
    assert emails(desk.read("leads")[0]) == ["a@x.example"]


@pytest.mark.parametrize("path", ["/create.json", "/enqueue.json"])
def test_the_days_bytes_stop_the_extract_and_nothing_else(desk, path):
    desk.simulator.script("POST", path, [desk.simulator.failed("1029", "Export daily quota 500MB exceeded.")])
    with pytest.raises(QuotaExhausted):
        desk.read("leads")
    desk.source.check()


def test_the_queue_may_stay_full_until_the_next_run(desk):
    desk.simulator.extracts.jobs.takes = math.inf
    pages = []
    with pytest.raises(TransientError):
        for page in desk.source.read(desk.stream("leads"), None):
            pages.append(page)  # an error must not take along what came before it
    assert len(pages[-1].cursor["span"]["jobs"]) == 1


def test_a_first_load_has_several_jobs_at_once_and_takes_minutes(open_desk):
    desk = open_desk(since="2024-01-01")
    desk.simulator.seed(900, over=900 * DAY)
    desk.simulator.extracts.jobs.takes = 10
    begun = desk.clock()
    assert len({each["id"] for each in desk.read("leads")[0]}) == 900
    windows = desk.simulator.count("POST", "/leads/export/create.json")
    assert windows == 33
    assert desk.clock() - begun < math.ceil(windows / AHEAD) * 70
    assert desk.simulator.limits.dump()["errors"] == {}


def test_a_first_load_that_is_killed_goes_on_with_all_its_jobs(open_desk):
    desk = open_desk(since="2026-01-01")
    desk.simulator.seed(900, over=200 * DAY)
    pages = desk.pages("leads")
    windows = desk.simulator.count("POST", "/leads/export/create.json")
    seen = set()
    for page in pages[:-1]:
        seen |= {each["id"] for each in records_of([page])}
        rest, _ = desk.read("leads", page.cursor)
        assert len(seen | {each["id"] for each in rest}) == 900
    # The jobs that there are serve.
    before = desk.simulator.count("POST", "/leads/export/create.json")
    desk.read("leads", pages[0].cursor)
    assert desk.simulator.count("POST", "/leads/export/create.json") - before == windows - AHEAD


def test_places_in_the_queue_that_others_hold_are_waited_for(open_desk):
    desk = open_desk(since="2026-01-01")
    desk.simulator.seed(90, over=200 * DAY)
    full = desk.simulator.failed("1029", "Too many jobs (10) in queue")
    desk.simulator.script("POST", "/enqueue.json", [full] * 5)
    assert len({each["id"] for each in desk.read("leads")[0]}) == 90


def test_a_job_that_is_lost_amid_others_is_made_anew(open_desk):
    desk = open_desk(since="2026-01-01")
    desk.simulator.seed(90, over=200 * DAY)
    desk.simulator.extracts.jobs.script("leads", [None, None, JobFault("Internal error")])
    reading = desk.source.read(desk.stream("leads"), None)
    pages = []
    with pytest.raises(TransientError):
        for page in reading:
            pages.append(page)  # what came before the error counts
    rest, _ = desk.read("leads", pages[-1].cursor)
    assert len({each["id"] for each in (*records_of(pages), *rest)}) == 90


def test_a_killed_run_goes_on_with_its_job(desk):
    reading = desk.source.read(desk.stream("leads"), None)
    cursor = next(reading).cursor
    reading.close()
    late = desk.simulator.people.create({"email": "late@x.example"}).id
    desk.clock.advance(600)
    records, cursor = desk.read("leads", cursor)
    assert {"a@x.example"} <= set(emails(records)) <= {"a@x.example", "late@x.example"}
    assert desk.simulator.count("POST", "/leads/export/create.json") == 1
    assert str(late) in [each["id"] for each in desk.read("leads", cursor)[0]]
    assert desk.simulator.count("POST", "/leads/export/create.json") == 1


def test_a_job_that_failed_is_made_anew(desk):
    desk.simulator.extracts.jobs.script("leads", [JobFault("Internal error")])
    reading = desk.source.read(desk.stream("leads"), None)
    cursor = next(reading).cursor
    with pytest.raises(TransientError):
        list(reading)
    assert emails(desk.read("leads", cursor)[0]) == ["a@x.example"]


def test_a_job_from_last_week_is_made_anew(desk):
    reading = desk.source.read(desk.stream("leads"), None)
    cursor = next(reading).cursor
    reading.close()
    desk.clock.advance(8 * DAY)
    assert emails(desk.read("leads", cursor)[0]) == ["a@x.example"]
    assert desk.simulator.count("POST", "/leads/export/create.json") == 2


def test_a_job_is_completed_and_its_file_is_not_there_yet(desk):
    desk.simulator.extracts.file_lag = 90
    assert emails(desk.read("leads")[0]) == ["a@x.example"]
    assert desk.simulator.count("GET", "/file.json") > 1


def test_a_file_that_breaks_off_goes_on_where_it_did(desk):
    for each in range(2_000):
        desk.simulator.people.create({"email": f"p{each}@x.example"})
    desk.clock.advance(60)
    desk.simulator.script("GET", "/file.json", [Fault(truncate=30_000)])
    assert len(emails(desk.read("leads")[0])) == 2_001


def test_a_file_that_is_not_what_its_checksum_says_is_not_read(desk):
    desk.simulator.script(
        "GET", "/file.json", [Answer(200, b"id,email\n1,z@x.example\n", {"content-type": "text/csv"})]
    )
    with pytest.raises(TransientError):
        desk.read("leads")


def test_a_token_that_expires_while_a_job_works_is_renewed(desk):
    desk.simulator.identity.lifetime = 90
    desk.simulator.extracts.jobs.takes = 200
    assert emails(desk.read("leads")[0]) == ["a@x.example"]


def test_windows_are_31_days_at_most_and_share_a_second(open_desk):
    desk = open_desk(since="2026-06-01")
    desk.read("leads")
    spans = [call.json()["filter"]["updatedAt"] for call in desk.simulator.calls("POST", "/leads/export/create.json")]
    ends = [span["endAt"] for span in spans]
    assert len(spans) == 4
    for span, following in pairwise(spans):
        assert instant_of(span["endAt"]) - instant_of(span["startAt"]) < timedelta(days=31)
        # Whether the last second is in its window, or only the instant at which it begins, is said nowhere.
        assert following["startAt"] == span["endAt"]
    assert len(set(ends)) == len(ends)


def test_an_id_that_would_name_another_file_is_refused(desk, tmp_path):
    answer = Answer(200, {"requestId": "1", "success": True, "result": [{"exportId": "../../x", "status": "Created"}]})
    desk.simulator.script("POST", "/create.json", [answer])
    with pytest.raises(TransientError):
        desk.read("leads")


def rows(path, text, skip=0):
    path.write_bytes(text)
    return [row for table, _ in parts(path, skip) for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"null", None),
        (b'"null"', "null"),
        (b"", ""),
        (b"a\0b\rc", "abc"),
        (b'"two\nlines"', "two\nlines"),
        (b'"he said ""no"""', 'he said "no"'),
        ("a\u2028b".encode(), "a\u2028b"),
        (b"007", "007"),
        (b"12.50", "12.50"),
        (b"9007199254740993", "9007199254740993"),
        (b"NaN", "NaN"),
        ("Zoë 🧑🏽‍🚀".encode(), "Zoë 🧑🏽‍🚀"),
    ],
)
def test_values_come_as_they_were_written(tmp_path, written, read):
    assert rows(tmp_path / "x.csv", b"id,name\n1," + written + b"\n2,x\n")[0] == {"id": "1", "name": read}


@pytest.mark.parametrize("text", [b"", b"id,name", b"id,name\n", b"\xef\xbb\xbfid,name\r\n"])
def test_a_file_without_rows_is_fine(tmp_path, text):
    assert rows(tmp_path / "x.csv", text) == []


def test_a_row_with_other_columns_is_rejected_alone(tmp_path):
    file = tmp_path / "x.csv"
    file.write_bytes(b"id,name\n1,a\n2,b,c\n3,d\n")
    read = list(parts(file, 0))
    assert [row["id"] for table, _ in read for row in table.to_pylist()] == ["1", "3"]
    assert [reject.code for _, rejects in read for reject in rejects] == ["column_count"]


def test_only_bad_rows_are_all_rejected(tmp_path):
    file = tmp_path / "x.csv"
    file.write_bytes(b"id,name\n2,b,c\n")
    assert [reject.code for _, rejects in parts(file, 0) for reject in rejects] == ["column_count"]


def test_a_file_goes_on_behind_any_row(tmp_path):
    text = b"id\n" + b"".join(b"%d\n" % each for each in range(1_000_000))
    whole = [row["id"] for row in rows(tmp_path / "x.csv", text)]
    assert len(whole) == 1_000_000
    for skip in (1, 500_000, 999_999, 1_000_000):
        table = [each for each, _ in parts(tmp_path / "x.csv", skip)]
        assert sum(each.num_rows for each in table) == 1_000_000 - skip
        assert not table or table[0]["id"][0].as_py() == str(skip)


def test_what_is_no_csv_is_told(tmp_path):
    with pytest.raises(PermanentError):
        rows(tmp_path / "x.csv", b"id,name\n1," + 5 * 2**20 * b"x" + b"\n")


def test_bytes_that_are_no_text_spoil_their_own_value_alone(tmp_path):
    read = rows(tmp_path / "x.csv", b"id,name\n1,a\xff\n2,Zo\xc3\xab\n")
    assert [row["name"] for row in read] == ["a\ufffd", "Zo\u00eb"]


def test_tables_of_long_rows_are_small(tmp_path):
    line = b"1," + 100_000 * b"x" + b"\n"
    (tmp_path / "x.csv").write_bytes(b"id,name\n" + 800 * line)
    sizes = [table.nbytes for table, _ in parts(tmp_path / "x.csv", 0)]
    assert len(sizes) > 1
    assert max(sizes) < 40 * 2**20


def test_no_file_stays_behind(desk, tmp_path):
    desk.read("leads")
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []


def test_tables_hold_texts_alone(desk):
    page = next(each for each in desk.pages("leads") if not isinstance(each.records, list) and len(each.records))
    assert {str(kind) for kind in page.records.schema.types} == {"string"}
    assert next(records_of([page]))["email"] == "a@x.example"
