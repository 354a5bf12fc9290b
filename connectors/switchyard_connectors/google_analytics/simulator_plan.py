"""Requests of the Data API as SQL over the simulated property's events."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from switchyard.testing.simulator import Answer, Refusal

MAX_ROWS, DEFAULT_ROWS = 250_000, 10_000
DIMENSIONS: Mapping[str, str] = {
    "date": "strftime(day, '%Y%m%d')",
    "dateHour": "strftime(make_timestamp(us), '%Y%m%d%H')",
    "eventName": "name",
    "country": "country",
    "city": "city",
    "deviceCategory": "device",
    "pagePath": "page",
    "sessionSource": "source",
    "sessionMedium": "medium",
    "sessionSourceMedium": "source || ' / ' || medium",
    "sessionCampaignName": "campaign",
    "transactionId": "coalesce(transaction_id, '(not set)')",
    "customUser:crm_id": "coalesce(user_id, '(not set)')",
    "userGender": "CASE WHEN hash(client_id) % 2 = 0 THEN 'female' ELSE 'male' END",
}
"""API name → SQL over an event. `userGender` is one of those that rows about few people are withheld for."""
THRESHOLDED = frozenset({"userGender"})
_SESSIONS = "count(DISTINCT client_id || ' ' || session)"
METRICS: Mapping[str, tuple[str, str]] = {
    "activeUsers": ("TYPE_INTEGER", "count(DISTINCT client_id)"),
    "totalUsers": ("TYPE_INTEGER", "count(DISTINCT client_id)"),
    "sessions": ("TYPE_INTEGER", _SESSIONS),
    "engagedSessions": ("TYPE_INTEGER", _SESSIONS),
    "eventCount": ("TYPE_INTEGER", "count(*)"),
    "screenPageViews": ("TYPE_INTEGER", "count(*) FILTER (name = 'page_view')"),
    "transactions": ("TYPE_INTEGER", "count(DISTINCT transaction_id)"),
    "ecommercePurchases": ("TYPE_INTEGER", "count(*) FILTER (name = 'purchase')"),
    "totalRevenue": ("TYPE_CURRENCY", "sum(value)"),
    "purchaseRevenue": ("TYPE_CURRENCY", "sum(value)"),
    "eventCountPerUser": ("TYPE_FLOAT", "count(*) / count(DISTINCT client_id)"),
}
"""API name → type, and SQL over events."""


@dataclass
class Quality:
    """How exact reports are.

    Args:
        threshold: rows about fewer people are withheld, where a dimension could tell who they are; 0 for none.
        other: rows of a day beyond so many are rolled up into (other); 0 for none.
        sampling: the part of the events that is looked at.
    """

    threshold: int = 0
    other: int = 0
    sampling: float = 1.0


class Plan:
    """One request as SQL."""

    def __init__(self, request: Mapping[str, Any], now: float) -> None:
        self.dimensions = [
            _known(each.get("name"), DIMENSIONS, "dimension") for each in request.get("dimensions") or ()
        ]
        self.metrics = [_known(each.get("name"), METRICS, "metric") for each in request.get("metrics") or ()]
        if not self.metrics and not self.dimensions:
            raise invalid("At least one dimension or metric is required.")
        if len(self.dimensions) > 9 or len(self.metrics) > 10:
            raise invalid("A request can have 9 dimensions and 10 metrics at most.")
        ranges: Sequence[Mapping[str, str]] = request.get("dateRanges") or ()
        if len(ranges) != 1:
            raise invalid("The simulator takes exactly one date range.")
        first, last = (_date(ranges[0].get(name, ""), now) for name in ("startDate", "endDate"))
        if first > last:
            raise invalid("The start date is after the end date.")
        self._limit = _whole(request.get("limit", DEFAULT_ROWS), "limit")
        self._offset = _whole(request.get("offset", 0), "offset")
        if self._limit < 1:
            raise invalid("The limit has to be positive.")
        self._order = [_order(each, self.dimensions, self.metrics) for each in request.get("orderBys") or ()]
        self.where = f"day BETWEEN DATE '{first}' AND DATE '{last}' AND {_filter(request.get('dimensionFilter'))}"

    def identity(self) -> tuple[Any, ...]:
        """What makes the whole result, its pages aside."""
        return tuple(self.dimensions), tuple(self.metrics), tuple(self._order), self.where

    def query(self, quality: Quality) -> str:
        """All rows of the result, in order."""
        dimensions = [f"{DIMENSIONS[name]} AS d{at}" for at, name in enumerate(self.dimensions)]
        grouped = self._grouped(quality, dimensions)
        order = ", ".join([*self._order, *(f"d{at}" for at in range(len(self.dimensions)))])
        return f"SELECT * FROM ({grouped}) {f'ORDER BY {order}' if order else ''}"  # noqa: S608

    def rows(self) -> str:
        """The rows of the page, as one JSON text without its brackets."""
        values = {"dimensionValues": ("d", self.dimensions), "metricValues": ("m", self.metrics)}
        parts: list[str] = []
        for part, (prefix, names) in values.items():
            cells = ", ".join(f"{{'value': CAST({prefix}{at} AS VARCHAR)}}" for at in range(len(names)))
            parts += [f"'{part}': [{cells}]"] if names else []
        page = f"SELECT * FROM result LIMIT {min(self._limit, MAX_ROWS)} OFFSET {self._offset}"  # noqa: S608
        return f"SELECT string_agg(CAST(to_json({{{', '.join(parts)}}}) AS VARCHAR), ',') FROM ({page})"  # noqa: S608

    def rolled_up(self) -> str:
        """Which rows of the result are made of those that were too many."""
        named = [at for at, name in enumerate(self.dimensions) if name != "date"]
        return " AND ".join(f"d{at} = '(other)'" for at in named) or "false"

    def _grouped(self, quality: Quality, dimensions: Sequence[str]) -> str:
        sampled = f" AND hash(seq) % 1000 < {int(quality.sampling * 1000)}" if quality.sampling < 1 else ""
        source = f"SELECT *{''.join(f', {each}' for each in dimensions)} FROM seen WHERE {self.where}{sampled}"  # noqa: S608
        if quality.other:
            source = self._with_other(source, quality.other)
        keys = [f"d{at}" for at in range(len(self.dimensions))]
        scale = f" / {quality.sampling}" if sampled else ""
        metrics = [f"{_scaled(name, scale)} AS m{at}" for at, name in enumerate(self.metrics)]
        few = ""
        if quality.threshold and THRESHOLDED.intersection(self.dimensions):
            few = f" HAVING count(DISTINCT client_id) >= {quality.threshold}"
        return f"SELECT {', '.join([*keys, *metrics])} FROM ({source}) {'GROUP BY ALL' if keys else ''}{few}"  # noqa: S608

    def _with_other(self, source: str, most: int) -> str:
        named = [f"d{at}" for at, name in enumerate(self.dimensions) if name != "date"]
        if not named:
            return source
        ranked = f"SELECT *, dense_rank() OVER (PARTITION BY day ORDER BY {', '.join(named)}) AS place FROM ({source})"  # noqa: S608
        rolled = ", ".join(f"CASE WHEN place > {most} THEN '(other)' ELSE {name} END AS {name}" for name in named)
        return f"SELECT * REPLACE ({rolled}) FROM ({ranked})"  # noqa: S608


def invalid(message: str) -> Refusal:
    """400, as Google says it."""
    return Refusal(Answer(400, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}))


def _scaled(name: str, scale: str) -> str:
    kind, sql = METRICS[name]
    if scale and kind == "TYPE_INTEGER":
        return f"CAST(round({sql}{scale}) AS BIGINT)"
    return sql


def _known(name: Any, known: Mapping[str, Any], kind: str) -> str:
    if name not in known:
        raise invalid(
            f"Field {name} is not a valid {kind}. For a list of valid dimensions and metrics, see "
            "https://developers.google.com/analytics/devguides/reporting/data/v1/api-schema"
        )
    return str(name)


def _whole(value: Any, name: str) -> int:
    # int64 is a text in JSON; a number is taken too.
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,18}", str(value)):
        raise invalid(f"Invalid value at '{name}' (TYPE_INT64)")
    return int(value)


def _date(text: str, now: float) -> str:
    today = datetime.fromtimestamp(now, UTC).date()
    if match := re.fullmatch(r"(\d+)daysAgo", text):
        return (today - timedelta(days=int(match[1]))).isoformat()
    if text in ("today", "yesterday"):
        return (today - timedelta(days=text == "yesterday")).isoformat()
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()  # a day, and no instant
    except ValueError:
        raise invalid(f"Invalid date: {text}") from None
    if day.isoformat() < "2015-08-14":
        raise invalid("The start date is before 2015-08-14.")
    return day.isoformat()


def _order(order: Mapping[str, Any], dimensions: Sequence[str], metrics: Sequence[str]) -> str:
    down = " DESC" if order.get("desc") else ""
    if name := (order.get("dimension") or {}).get("dimensionName"):
        if name not in dimensions:
            raise invalid(f"The dimension {name} of orderBys is not among those of the request.")
        return f"d{dimensions.index(name)}{down}"
    name = (order.get("metric") or {}).get("metricName")
    if name not in metrics:
        raise invalid("orderBys names no dimension or metric of the request.")
    return f"m{metrics.index(name)}{down}"


def _filter(expression: Mapping[str, Any] | None) -> str:
    if not expression:
        return "true"
    if "notExpression" in expression:
        return f"NOT ({_filter(expression['notExpression'])})"
    for group, word in (("andGroup", " AND "), ("orGroup", " OR ")):
        if group in expression:
            parts: Sequence[Mapping[str, Any]] = expression[group].get("expressions") or ({},)
            return "(" + word.join(map(_filter, parts)) + ")"
    wanted = expression.get("filter") or {}
    column = DIMENSIONS[_known(wanted.get("fieldName"), DIMENSIONS, "dimension")]
    if "inListFilter" in wanted:
        values = ", ".join(_quoted(value) for value in wanted["inListFilter"].get("values") or ("",))
        return f"{column} IN ({values})"
    text = wanted.get("stringFilter") or {}
    value, kind = _quoted(text.get("value", "")), text.get("matchType", "EXACT")
    functions = {"BEGINS_WITH": "starts_with", "ENDS_WITH": "suffix", "CONTAINS": "contains"}
    if kind in functions:
        return f"{functions[kind]}({column}, {value})"
    if kind == "EXACT":
        return f"{column} = {value}"
    raise invalid(f"The simulator has no filter of type {kind}.")


def _quoted(value: str) -> str:
    return "'" + str(value).replace("'", "''") + "'"
