"""Where a report stands: the days that are read, and those that are to be read again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any, cast

from switchyard.api import ConfigError, Cursor
from switchyard.api.records import JSON
from switchyard_connectors.google_analytics.config import Report

_RUN = ("begin", "end", "next")


@dataclass
class ReportProgress:
    """Where a report stands; written as the cursor.

    A run reads the days `begin` to `end`. Of those, the ones before `next` are committed, and `fresh` names what was
    kept of them. When all are, the run is over: its last day is `through`, and `kept` is what it kept. During a run
    `kept` is what was given before: by the last run, and of a day that this one has not read to its end.
    """

    dimensions: list[str]
    through: date | None = None
    kept: list[str] = field(default_factory=list)
    begin: date | None = None
    end: date = date.min
    next: date = date.min
    fresh: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, report: Report, cursor: Cursor) -> ReportProgress:
        """Read a cursor.

        Raises:
            ConfigError: it is of other dimensions, so that what was given then could not be taken back.
        """
        if cursor is None:
            return cls(list(report.dimensions))
        if cursor["dimensions"] != list(report.dimensions):
            raise ConfigError(
                f"the dimensions of the report {report.name} are not those it was read with; give it another name",
                key="reports",
            )
        run = cast("dict[str, Any]", cursor.get("run") or {})
        progress = cls(list(report.dimensions), _day(cursor["through"]), cast("list[str]", cursor["kept"]))
        if run:
            progress.begin, progress.end, progress.next = (date.fromisoformat(run[name]) for name in _RUN)
            progress.fresh = list(run["kept"])
        return progress

    def cursor(self) -> Cursor:
        """As a cursor."""
        cursor: dict[str, JSON] = {
            "dimensions": list(self.dimensions),
            "through": None if self.through is None else self.through.isoformat(),
            "kept": list(self.kept),
        }
        if self.begin is not None:
            days = zip(_RUN, (self.begin, self.end, self.next), strict=True)
            cursor["run"] = {"kept": list(self.fresh), **{name: day.isoformat() for name, day in days}}
        return cursor

    def start(self, begin: date, end: date) -> None:
        """Begin a run."""
        self.begin = self.next = begin
        self.end, self.fresh = end, []

    def finish(self) -> None:
        """End the run."""
        self.through, self.kept = self.end, self.fresh
        self.begin, self.fresh = None, []


def _day(text: JSON) -> date | None:
    return date.fromisoformat(text) if isinstance(text, str) else None
