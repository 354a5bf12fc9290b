"""Which runs a clock gives: through daylight saving time, set back, set forward, and after a time down."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from switchyard.app.jobs import Job
from switchyard.config.schedule import Schedule
from switchyard.scheduling.timetable import Timetable

PARIS = "Europe/Paris"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Clock:
    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


def job(name: str = "shop/orders", zone: str = "UTC", **schedule: object) -> Job:
    return Job("sync", name, Schedule.model_validate(schedule), zone)


def runs(table: Timetable, clock: Clock, until: datetime, took: timedelta = timedelta()) -> Iterator[datetime]:
    """Do what is due until then, looking every minute; gives when each run began."""
    while clock.at < until:
        if due := table.due():
            yield clock.at
            table.begun(due.kind, due.name)
            clock.at += took
            table.ended(due.kind, due.name)
        clock.at += MINUTE


def planned(clock: Clock, *jobs: Job, last: datetime | None = None, chance: float = 0.0) -> Timetable:
    table = Timetable(clock, lambda: chance)
    table.plan(dict.fromkeys(jobs, last))
    return table


def local(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    """An instant by a clock on a wall in Paris, as the hub has it."""
    from zoneinfo import ZoneInfo

    at = datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(PARIS))
    return at.astimezone(UTC).replace(tzinfo=None)


def test_an_interval_begins_at_once_and_goes_on():
    clock = Clock(datetime(2026, 6, 1, 12))
    begun = list(runs(planned(clock, job(every="15 minutes")), clock, datetime(2026, 6, 1, 13)))
    assert begun == [datetime(2026, 6, 1, 12, minute) for minute in (0, 15, 30, 45)]


def test_a_time_of_the_day_is_waited_for():
    clock = Clock(datetime(2026, 6, 1, 12))
    begun = list(runs(planned(clock, job(cron="0 6 * * *")), clock, datetime(2026, 6, 4)))
    assert begun == [datetime(2026, 6, 2, 6), datetime(2026, 6, 3, 6)]


@pytest.mark.parametrize("schedule", [{"every": "15 minutes"}, {"cron": "0 6 * * *"}])
def test_of_what_was_missed_while_the_hub_was_down_one_run_is_made_up_for(schedule):
    clock = Clock(datetime(2026, 6, 4, 12, 1))
    table = planned(clock, job(**schedule), last=clock.at - 3 * DAY)
    assert len(list(runs(table, clock, clock.at + 14 * MINUTE))) == 1


def test_after_a_short_stop_nothing_is_made_up_for():
    clock = Clock(datetime(2026, 6, 4, 12))
    table = planned(clock, job(every="1 hour"), last=clock.at - 20 * MINUTE)
    assert list(runs(table, clock, clock.at + 2 * HOUR)) == [datetime(2026, 6, 4, 12, 40), datetime(2026, 6, 4, 13, 40)]


@pytest.mark.parametrize(
    ("cron", "day", "count"),
    [
        # In Paris the clocks go from 02:00 to 03:00 on 29 March and from 03:00 back to 02:00 on 25 October 2026.
        ("30 2 * * *", (2026, 3, 29), 1),
        ("30 2 * * *", (2026, 10, 25), 1),
        ("0 3 * * *", (2026, 3, 29), 1),
        ("0 2 * * *", (2026, 10, 25), 1),
        ("0 * * * *", (2026, 3, 29), 23),
        ("0 * * * *", (2026, 10, 25), 25),
        ("*/15 * * * *", (2026, 3, 29), 92),
        ("*/15 * * * *", (2026, 10, 25), 100),
        ("30 1,2,3 * * *", (2026, 10, 25), 3),
    ],
)
def test_daylight_saving_time(cron, day, count):
    begins = local(*day)
    clock = Clock(begins - MINUTE)
    table = planned(clock, job(cron=cron, zone=PARIS), last=begins - 2 * MINUTE)
    ends = local(day[0], day[1], day[2] + 1)
    assert len(list(runs(table, clock, ends))) == count


def test_an_interval_knows_no_daylight_saving_time():
    clock = Clock(local(2026, 10, 25))
    assert len(list(runs(planned(clock, job(every="1 hour", zone=PARIS)), clock, local(2026, 10, 26)))) == 25


def test_the_zone_of_a_schedule_goes_before_that_of_the_hub():
    clock = Clock(datetime(2026, 6, 1))
    at = list(runs(planned(clock, job(cron="0 6 * * *", timezone="Asia/Tokyo", zone=PARIS)), clock, clock.at + DAY))
    assert at == [datetime(2026, 6, 1, 21)]


def test_weekdays_are_those_of_cron():
    clock = Clock(datetime(2026, 6, 1))
    for cron, days in {"0 6 * * 0": [7], "0 6 * * 7": [7], "0 6 * * 5-7": [5, 6, 7], "0 6 * * mon": [1]}.items():
        clock.at = datetime(2026, 6, 1)
        begun = list(runs(planned(clock, job(cron=cron)), clock, datetime(2026, 6, 8)))
        assert [at.day for at in begun] == days, cron


@pytest.mark.parametrize(("schedule", "count"), [({"every": "15 minutes"}, 1), ({"cron": "0 6 * * *"}, 0)])
def test_a_clock_set_back_by_an_hour_repeats_nothing_and_stops_nothing(schedule, count):
    clock = Clock(datetime(2026, 6, 1, 5, 50))
    table = planned(clock, job(**schedule), last=datetime(2026, 6, 1, 5, 45))
    assert len(list(runs(table, clock, datetime(2026, 6, 1, 6, 5)))) == 1
    clock.at -= HOUR
    # What was done at six is not done again at the second six.
    assert len(list(runs(table, clock, clock.at + 20 * MINUTE))) == count
    assert len(list(runs(table, clock, clock.at + DAY + HOUR))) == (100 if count else 1)


@pytest.mark.parametrize("schedule", [{"every": "15 minutes"}, {"cron": "0 6 * * *"}])
def test_a_clock_set_forward_by_a_day_gives_one_run(schedule):
    clock = Clock(datetime(2026, 6, 1, 6, 10))
    table = planned(clock, job(**schedule), last=datetime(2026, 6, 1, 6))
    clock.at += DAY
    assert len(list(runs(table, clock, clock.at + 14 * MINUTE))) == 1


def test_a_clock_that_was_wrong_by_years_does_not_stop_the_hub():
    clock = Clock(datetime(2036, 6, 1, 6, 10))
    table = planned(clock, job(cron="0 6 * * *"), last=datetime(2036, 6, 1, 6))
    clock.at = datetime(2026, 6, 1, 12)
    assert len(list(runs(table, clock, clock.at + 2 * DAY))) == 2


def test_what_is_under_way_does_not_begin_again():
    clock = Clock(datetime(2026, 6, 1))
    table = planned(clock, job(every="1 minute"))
    table.begun("sync", "shop/orders")
    clock.at += HOUR
    assert table.due() is None
    assert table.next() is None
    table.ended("sync", "shop/orders")
    assert table.due() is not None


def test_a_run_that_takes_long_is_followed_by_one():
    clock = Clock(datetime(2026, 6, 1))
    begun = list(runs(planned(clock, job(every="15 minutes")), clock, clock.at + 3 * HOUR, took=HOUR))
    assert begun == [datetime(2026, 6, 1, 0, 0), datetime(2026, 6, 1, 1, 1), datetime(2026, 6, 1, 2, 2)]


def test_what_is_to_be_done_again_is_so_when_it_was_said():
    clock = Clock(datetime(2026, 6, 1))
    table = planned(clock, job(every="1 hour"))
    table.begun("sync", "shop/orders")
    table.ended("sync", "shop/orders", again_in=120)
    assert table.next() == clock.at + 2 * MINUTE
    assert len(list(runs(table, clock, clock.at + 70 * MINUTE))) == 2


def test_jitter_puts_each_time_off():
    clock = Clock(datetime(2026, 6, 1))
    table = planned(clock, job(cron="0 * * * *", jitter="10 minutes"), chance=0.5)
    assert list(runs(table, clock, clock.at + 3 * HOUR)) == [
        datetime(2026, 6, 1, hour, minute) for hour, minute in ((1, 5), (2, 5))
    ]


def test_the_job_that_is_due_longest_comes_first():
    clock = Clock(datetime(2026, 6, 1))
    often, seldom = job("shop/a", every="10 minutes"), job("shop/b", every="1 hour")
    table = Timetable(clock)
    table.plan({often: clock.at - 11 * MINUTE, seldom: clock.at - 2 * HOUR})
    assert table.due() == seldom


def test_a_new_plan_keeps_what_is_under_way_and_takes_up_what_changed():
    clock = Clock(datetime(2026, 6, 1))
    kept, changed = job("shop/a", every="10 minutes"), job("shop/b", every="10 minutes")
    table = planned(clock, kept, changed)
    table.begun("sync", "shop/a")
    table.plan({kept: None, job("shop/b", every="1 day"): clock.at - HOUR})
    assert table.due() is None
    assert table.next() == clock.at + 23 * HOUR
