"""Reports of the simulated property."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from switchyard.testing.simulator import Answer
from switchyard_connectors.google_analytics.simulator_events import Events
from switchyard_connectors.google_analytics.simulator_plan import DIMENSIONS, METRICS, THRESHOLDED, Plan, Quality


class Reporting:
    """Answers reports of one property."""

    def __init__(self, events: Events, property_id: str, time_zone: str, now: Callable[[], float]) -> None:
        self.quality = Quality()
        self._events = events
        self._property = property_id
        self._zone = time_zone
        self._now = now
        self._held: tuple[Any, ...] | None = None

    def run(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """A report's head, and its rows as JSON text.

        Raises:
            Refusal: 400, as for a dimension that there is not.
        """
        plan = Plan(request, self._now())
        key = (self._events.version, self._events.waiting(), repr(self.quality), plan.identity())
        if key != self._held:
            # The pages of one report are cut from one result.
            self._events.run(f"CREATE OR REPLACE TABLE result AS {plan.query(self.quality)}")
            self._held = key
        total = int(self._events.ask("SELECT count(*) FROM result")[0][0])
        rows = self._events.ask(plan.rows())[0][0] or ""
        head: dict[str, Any] = {
            "dimensionHeaders": [{"name": name} for name in plan.dimensions],
            "metricHeaders": [{"name": name, "type": METRICS[name][0]} for name in plan.metrics],
            "metadata": self._metadata(plan),
            "kind": "analyticsData#runReport",
        }
        # What is 0 or empty is left out, as proto3 does.
        return head | ({"rowCount": total} if total else {}), rows

    def metadata(self) -> Answer:
        """`properties.getMetadata`."""
        return Answer(
            body={
                "name": f"properties/{self._property}/metadata",
                "dimensions": [_described(name) for name in DIMENSIONS],
                "metrics": [_described(name) | {"type": METRICS[name][0]} for name in METRICS],
            }
        )

    def compatibility(self, request: Mapping[str, Any]) -> Answer:
        """`properties.checkCompatibility`: everything that there is goes together."""
        Plan({"dateRanges": [{"startDate": "today", "endDate": "today"}], **request}, self._now())
        fits = {"compatibility": "COMPATIBLE"}
        return Answer(
            body={
                "dimensionCompatibilities": [fits | {"dimensionMetadata": _described(name)} for name in DIMENSIONS],
                "metricCompatibilities": [
                    fits | {"metricMetadata": _described(name) | {"type": METRICS[name][0]}} for name in METRICS
                ],
            }
        )

    def _metadata(self, plan: Plan) -> dict[str, Any]:
        said: dict[str, Any] = {"currencyCode": "EUR", "timeZone": self._zone}
        if self.quality.threshold and THRESHOLDED.intersection(plan.dimensions):
            said["subjectToThresholding"] = True
        if self.quality.other and self._events.ask(f"SELECT 1 FROM result WHERE {plan.rolled_up()} LIMIT 1"):  # noqa: S608
            said["dataLossFromOtherRow"] = True
        if self.quality.sampling < 1:
            there = int(self._events.ask(f"SELECT count(*) FROM seen WHERE {plan.where}")[0][0])  # noqa: S608
            read = int(there * self.quality.sampling)
            said["samplingMetadatas"] = [{"samplesReadCount": str(read), "samplingSpaceSize": str(there)}]
        return said


def with_rows(head: Mapping[str, Any], rows: str, name: str = "rows") -> bytes:
    """An answer's body: its head as JSON, with rows that are JSON already."""
    text = json.dumps(head, separators=(",", ":"))
    return (f'{text[:-1]},"{name}":[{rows}]}}' if rows else text).encode()


def _described(name: str) -> dict[str, Any]:
    return {
        "apiName": name,
        "uiName": re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize(),
        "description": f"The {name} of the simulated property.",
        "category": "Other",
        "customDefinition": name.startswith("custom"),
    }
