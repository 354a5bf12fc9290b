"""Schedules: how often something is done, or at which times of the day."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from switchyard.config.errors import suggestion
from switchyard.config.mapping import Model

_UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_LONGEST = timedelta(days=366)
_FORMS = "write a number and a unit, such as 15 minutes, 1 hour or 2 days"
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_ITEM = re.compile(r"(?:\*|(?P<first>[0-9a-z]+)(?:-(?P<last>[0-9a-z]+))?)(?:/(?P<step>[1-9][0-9]?))?")
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _known_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("no such time zone; write an IANA name such as Europe/Paris") from error
    return zone


Zone: TypeAlias = Annotated[str, AfterValidator(_known_zone)]


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    words = re.fullmatch(r"([0-9]{1,9}) *([a-z]+)", str(value).strip())
    if words is None:
        raise ValueError(_FORMS)
    unit = words[2].removesuffix("s")
    if unit not in _UNITS:
        raise ValueError(f"unknown unit '{words[2]}'{suggestion(words[2], [f'{each}s' for each in _UNITS])}")
    length = timedelta(seconds=int(words[1]) * _UNITS[unit])
    if length > _LONGEST:
        raise ValueError("must not be longer than 366 days")
    return length


Duration: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+ *(second|minute|hour|day)s?$", "description": _FORMS}),
]


def values(field: str, name: str, first: int, last: int) -> frozenset[int]:
    """The numbers that one field of a cron expression names.

    Raises:
        ValueError: it is no such field.
    """
    found: set[int] = set()
    for item in field.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ValueError(f"'{item}' is no {name}; write a number, a range such as 1-5, a step such as */15, or *")
        low = first if match["first"] is None else _number(match["first"], name, first, last)
        high = _number(match["last"], name, first, last) if match["last"] else low
        if match["first"] is None or (match["step"] and not match["last"]):
            high = last
        if high < low:
            raise ValueError(f"'{item}' ends before it begins")
        found.update(range(low, high + 1, int(match["step"] or 1)))
    return frozenset(found)


def _number(text: str, name: str, first: int, last: int) -> int:
    names = {"weekday": _WEEKDAYS, "month": _MONTHS}.get(name, ())
    if text in names:
        return names.index(text) + first
    if not text.isdecimal():
        raise ValueError(f"'{text}' is no {name}{suggestion(text, names)}")
    if not first <= int(text) <= last:
        raise ValueError(f"the {name} is from {first} to {last}, not {int(text)}")
    return int(text)


def _cron(value: str) -> str:
    fields = value.lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError("a cron expression has five fields: minute, hour, day of the month, month, weekday")
    named = {about[0]: values(field, *about) for field, about in zip(fields, _FIELDS, strict=True)}
    if fields[2] != "*" and fields[4] != "*":
        raise ValueError("give a day of the month or a weekday, not both; one of them has to be *")
    if min(named["day"]) > max(_LONGEST_MONTH[month - 1] for month in named["month"]):
        raise ValueError("there is no such day in these months")
    return " ".join(fields)


class Schedule(Model):
    """When something is done while the hub serves. What was missed while it did not is made up for once.

    Args:
        every: how long from one time to the next, such as 15 minutes.
        cron: the times of the day instead, as five fields: minute, hour, day of the month, month, weekday (0 and 7 are
            Sunday). A time that the clocks skip in spring comes an hour later, one that comes twice in autumn counts
            once.
        jitter: each time is put off by up to so long, at random, so that not everything begins at once.
        timezone: the zone of `cron`; that of the hub without it.
    """

    every: Annotated[Duration, Field(ge=timedelta(seconds=1))] | None = None
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    jitter: Duration | None = None
    timezone: Zone | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Schedule:
        if (self.every is None) == (self.cron is None):
            raise ValueError("say either `every` or `cron`")
        if self.timezone is not None and self.cron is None:
            raise ValueError("`timezone` goes with `cron`")
        return self
