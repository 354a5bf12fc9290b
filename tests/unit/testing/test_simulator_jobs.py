from __future__ import annotations

import math

import pytest

from switchyard.testing.simulator import ManualClock
from switchyard.testing.simulator_jobs import Job, JobError, JobFault, Jobs, JobStates, QueueFull

STATES = JobStates("Open", "UploadComplete", "InProgress", "JobComplete", "Failed", "Aborted")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000.0)


def nothing(_: Job[None]) -> None:
    pass


def slow_jobs(clock: ManualClock, **limits: int | float | None) -> Jobs:
    jobs = Jobs(clock, **limits)  # type: ignore[arg-type]
    jobs.wait, jobs.takes = 5.0, 10.0
    return jobs


def made(jobs: Jobs, count: int = 1, kind: str = "export") -> list[Job[None]]:
    found = [jobs.create(kind, STATES, nothing, None) for _ in range(count)]
    for job in found:
        jobs.enqueue(job)
    return found


def test_a_job_goes_through_its_states_by_the_clock(clock):
    jobs = slow_jobs(clock)
    job = jobs.create("export", STATES, lambda job: job.files.update(rows=b"Id\n1\n"), None, "750A")
    seen = [job.state]
    jobs.enqueue(job)
    for _ in range(4):
        found = jobs.find("750A")
        seen.append(found.state)
        clock.advance(5)
    assert seen == ["Open", "UploadComplete", "InProgress", "InProgress", "JobComplete"]
    assert (job.created, job.queued, job.started, job.ended) == (1_000.0, 1_000.0, 1_005.0, 1_015.0)
    assert job.over
    assert job.files == {"rows": b"Id\n1\n"}


def test_without_delays_a_job_is_over_when_it_is_looked_at(clock):
    jobs = Jobs(clock)
    (job,) = made(jobs)
    assert jobs.all() == [job]
    assert job.phase == "complete"


def test_two_are_processed_at_once_and_the_next_starts_when_one_ends(clock):
    jobs = slow_jobs(clock, processing=2)
    found = made(jobs, 5)
    clock.advance(1_000)
    jobs.advance()
    assert [job.started for job in found] == [1_005.0, 1_005.0, 1_015.0, 1_015.0, 1_025.0]
    assert [job.ended for job in found] == [1_015.0, 1_015.0, 1_025.0, 1_025.0, 1_035.0]


def test_the_queue_is_shared_by_all_kinds_and_refuses_what_is_too_many(clock):
    jobs = slow_jobs(clock, processing=2, queued=10)
    made(jobs, 6, "export")
    made(jobs, 4, "import")
    late = jobs.create("import", STATES, nothing, None)
    with pytest.raises(QueueFull):
        jobs.enqueue(late)
    assert late.phase == "created"
    clock.advance(5)
    jobs.enqueue(late)
    assert late.phase == "queued"


def test_work_sees_the_instant_at_which_it_happened_and_the_order(clock):
    order: list[tuple[str, float | None]] = []
    jobs = slow_jobs(clock, processing=1)
    for name in ("first", "second"):
        jobs.enqueue(jobs.create(name, STATES, lambda job: order.append((job.kind, job.ended)), None))
    clock.advance(100)
    jobs.advance()
    assert order == [("first", 1_015.0), ("second", 1_025.0)]


def test_work_that_raises_fails_the_job_with_its_words(clock):
    def refuse(_: Job[None]) -> None:
        raise JobError("LineEnding is invalid on user data")

    jobs = Jobs(clock)
    job = jobs.create("ingest", STATES, refuse, None)
    jobs.enqueue(job)
    assert (job.state, job.error) == ("Failed", "LineEnding is invalid on user data")


def test_scripts_fail_hold_and_cut_short_the_next_jobs_of_a_kind(clock):
    done: list[tuple[int, int | None]] = []
    jobs = Jobs(clock)
    jobs.script("export", [JobFault("no"), None, JobFault(takes=math.inf), JobFault("cut", rows=3)])
    jobs.script(None, [JobFault("any")])
    found = [
        jobs.create(kind, STATES, lambda job: done.append((job.number, job.fault.rows)), None)
        for kind in ("export", "export", "export", "export", "other", "other")
    ]
    for job in found:
        jobs.enqueue(job)
    clock.advance(1e9)
    jobs.advance()
    assert [job.phase for job in found] == ["failed", "complete", "processing", "failed", "failed", "complete"]
    assert [job.error for job in found] == ["no", None, None, "cut", "any", None]
    assert done == [(2, None), (4, 3), (6, None)]


def test_a_cancelled_job_never_does_its_work_and_frees_its_place(clock):
    done: list[int] = []
    jobs = slow_jobs(clock, processing=1)
    first, second = (jobs.create("x", STATES, lambda job: done.append(job.number), None) for _ in range(2))
    jobs.enqueue(first)
    jobs.enqueue(second)
    clock.advance(6)
    jobs.cancel(first)
    assert (first.state, first.ended) == ("Aborted", 1_006.0)
    clock.advance(10)
    jobs.advance()
    assert done == [2]
    jobs.cancel(second)
    assert second.phase == "complete"


def test_jobs_are_forgotten_some_time_after_their_end(clock):
    jobs = slow_jobs(clock, keep=100.0)
    (job,) = made(jobs)
    clock.advance(114.9)
    assert jobs.find(job.id) is job
    clock.advance(0.1)
    assert jobs.find(job.id) is None
    (again,) = made(jobs)
    jobs.forget(again)
    assert jobs.all() == []
