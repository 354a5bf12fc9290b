"""Audience exports of the simulated property: snapshots that take their time, and are gone after three days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from switchyard.testing.simulator import Answer, Refusal, Request
from switchyard_connectors.google_analytics.simulator_events import Events
from switchyard_connectors.google_analytics.simulator_plan import MAX_ROWS, invalid
from switchyard_connectors.google_analytics.simulator_reports import with_rows

AUDIENCES: Mapping[str, tuple[str, str]] = {
    "1": ("All Users", "true"),
    "2": ("Purchasers", "bool_or(name = 'purchase')"),
    "3": ("Newsletter readers", "bool_or(source = 'newsletter')"),
}
"""Id → name, and who is in it: SQL over the events of one client."""
_LIFE = 72 * 3_600.0
_DIMENSIONS = {
    "deviceId": "client_id",
    "userId": "coalesce(user_id, '')",
    "isAdsPersonalizationAllowed": "['true', 'false', '(not set)'][1 + CAST(hash(client_id, 'ads') % 3 AS BIGINT)]",
}


@dataclass
class Export:
    """One export. `ready` is when it can be read; a failed one has a message instead."""

    name: str
    audience: str
    dimensions: list[str]
    begun: float
    ready: float
    rows: int
    table: str
    failure: str | None = None


class Exports:
    """The exports of one property.

    Args:
        events: whose people they are of.
        property_id: the property.
        seconds: how long one takes.
    """

    def __init__(self, events: Events, property_id: str, seconds: float) -> None:
        self.seconds = seconds
        self.fail_next: str | None = None
        self.made: dict[str, Export] = {}
        self._events = events
        self._parent = f"properties/{property_id}"

    def create(self, request: Request, now: float) -> Answer:
        """`audienceExports.create`."""
        wanted = request.json()
        audience = str(wanted.get("audience", "")).rpartition("/")[2]
        if wanted.get("audience") != f"{self._parent}/audiences/{audience}" or audience not in AUDIENCES:
            raise invalid("The audience is not one of the property.")
        dimensions = [each.get("dimensionName") for each in wanted.get("dimensions") or ()]
        if not dimensions or not set(dimensions) <= _DIMENSIONS.keys():
            raise invalid("At least one dimension is needed, and each has to be a dimension of audiences.")
        number = str(4_000 + len(self.made))
        table = f"export_{number}"
        columns = ", ".join(f"{_DIMENSIONS[name]} AS d{at}" for at, name in enumerate(dimensions))
        self._events.run(
            f"""
            CREATE OR REPLACE TABLE {table} AS SELECT {columns} FROM (
                SELECT client_id, max(user_id) AS user_id FROM seen WHERE consent GROUP BY client_id
                HAVING {AUDIENCES[audience][1]}
            ) ORDER BY client_id
            """  # noqa: S608  # names of our own
        )
        rows = int(self._events.ask(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608
        export = Export(
            f"{self._parent}/audienceExports/{number}", audience, dimensions, now, now + self.seconds, rows, table
        )
        export.failure, self.fail_next = self.fail_next, None
        self.made[number] = export
        described = {"@type": "type.googleapis.com/google.analytics.data.v1beta.AudienceExport"}
        return Answer(body={"name": export.name, "response": described | self._described(export, now), "done": False})

    def get(self, request: Request, now: float) -> Answer:
        """`audienceExports.get`."""
        return Answer(body=self._described(self._found(request, now), now))

    def listed(self, request: Request, now: float) -> Answer:
        """`audienceExports.list`, newest first."""
        arguments = request.arguments()
        size, at = int(arguments.get("pageSize", 200)), int(arguments.get("pageToken", 0))
        alive = [each for each in reversed(self.made.values()) if now - each.begun < _LIFE]
        body: dict[str, Any] = {"audienceExports": [self._described(each, now) for each in alive[at : at + size]]}
        if at + size < len(alive):
            body["nextPageToken"] = str(at + size)
        return Answer(body={name: value for name, value in body.items() if value})

    def query(self, request: Request, now: float) -> Answer:
        """`audienceExports.query`."""
        export = self._found(request, now)
        if self._state(export, now) != "ACTIVE":
            raise invalid("The audience export is not ready for querying.")
        window = request.json() if request.body else {}
        limit, offset = int(window.get("limit", 10_000)), int(window.get("offset", 0))
        cells = ", ".join(f"{{'value': d{at}}}" for at in range(len(export.dimensions)))
        page = f"SELECT * FROM {export.table} LIMIT {min(limit, MAX_ROWS)} OFFSET {offset}"  # noqa: S608
        text = f"SELECT string_agg(CAST(to_json({{'dimensionValues': [{cells}]}}) AS VARCHAR), ',') FROM ({page})"  # noqa: S608
        head = {"audienceExport": self._described(export, now)} | ({"rowCount": export.rows} if export.rows else {})
        return Answer(body=with_rows(head, self._events.ask(text)[0][0] or "", "audienceRows"))

    def _found(self, request: Request, now: float) -> Export:
        export = self.made.get(request.params["export"])
        if export is None or now - export.begun >= _LIFE:
            error = {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}
            raise Refusal(Answer(404, {"error": error}))
        return export

    def _state(self, export: Export, now: float) -> str:
        if now < export.ready:
            return "CREATING"
        return "ACTIVE" if export.failure is None else "FAILED"

    def _described(self, export: Export, now: float) -> dict[str, Any]:
        state = self._state(export, now)
        done = 100.0 if state == "ACTIVE" else 100 * min((now - export.begun) / (self.seconds or 1.0), 1.0)
        said: dict[str, Any] = {
            "name": export.name,
            "audience": f"{self._parent}/audiences/{export.audience}",
            "audienceDisplayName": AUDIENCES[export.audience][0],
            "dimensions": [{"dimensionName": name} for name in export.dimensions],
            "state": state,
            "beginCreatingTime": datetime.fromtimestamp(export.begun, UTC).isoformat().replace("+00:00", "123Z")
            if export.begun % 1
            else datetime.fromtimestamp(export.begun, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creationQuotaTokensCharged": 51,
            "percentageCompleted": done,
        }
        if state == "ACTIVE" and export.rows:
            said["rowCount"] = export.rows
        if state == "FAILED":
            said["errorMessage"] = export.failure
        return said
