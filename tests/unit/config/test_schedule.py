from datetime import timedelta

import pytest
from pydantic import ValidationError

from switchyard.config.models import Project
from switchyard.config.schedule import Schedule


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15 minutes", 900),
        ("1 minute", 60),
        ("30seconds", 30),
        ("2 hours", 7_200),
        ("1 day", 86_400),
        ("1 days", 86_400),
    ],
)
def test_an_interval_is_a_number_and_a_unit(text, seconds):
    assert Schedule.model_validate({"every": text}).every == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("cron", "kept"),
    [
        ("0 6 * * *", "0 6 * * *"),
        ("  */15  6-18 * * MON-FRI ", "*/15 6-18 * * mon-fri"),
        ("0 0 1,15 jan *", "0 0 1,15 jan *"),
    ],
)
def test_a_cron_expression_has_five_fields(cron, kept):
    assert Schedule.model_validate({"cron": cron}).cron == kept


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"every": "15 minuets"}, "unknown unit 'minuets'; did you mean 'minutes'?"),
        ({"every": "often"}, "write a number and a unit"),
        ({"every": 15}, "write a number and a unit"),
        ({"every": "0 seconds"}, "greater than or equal"),
        ({"every": "400 days"}, "must not be longer than 366 days"),
        ({"cron": "0 6 * *"}, "has five fields"),
        ({"cron": "60 6 * * *"}, "the minute is from 0 to 59, not 60"),
        ({"cron": "0 24 * * *"}, "the hour is from 0 to 23"),
        ({"cron": "0 6 * * mno"}, "'mno' is no weekday; did you mean 'mon'?"),
        ({"cron": "0 6 * * 5-1"}, "'5-1' ends before it begins"),
        ({"cron": "0 6 ? * *"}, "'?' is no day"),
        ({"cron": "0 6 1 * mon"}, "give a day of the month or a weekday, not both"),
        ({"cron": "0 6 31 2,4 *"}, "there is no such day in these months"),
        ({"cron": "0 6 * * *", "every": "1 day"}, "say either `every` or `cron`"),
        ({}, "say either `every` or `cron`"),
        ({"every": "1 day", "timezone": "Europe/Paris"}, "`timezone` goes with `cron`"),
        ({"cron": "0 6 * * *", "timezone": "Paris"}, "no such time zone"),
    ],
)
def test_what_no_schedule_is_says_why(schedule, said):
    with pytest.raises(ValidationError) as error:
        Schedule.model_validate(schedule)
    assert said in str(error.value)


@pytest.mark.parametrize("serve", [{"port": 70_000}, {"public_url": "hub.example.com"}, {"host": ""}, {"max_body": 0}])
def test_where_to_listen_is_checked(serve):
    with pytest.raises(ValidationError):
        Project.model_validate({"serve": serve})
