"""A stand-in for Google Analytics: sign-in, Data API, Measurement Protocol and user deletion of one property."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from switchyard.testing.simulator import Answer, Request, Route, Simulator, SimulatorOptions
from switchyard_connectors.google_analytics.simulator_audiences import Exports
from switchyard_connectors.google_analytics.simulator_collect import Collector
from switchyard_connectors.google_analytics.simulator_events import Events, Seed, day_of
from switchyard_connectors.google_analytics.simulator_export import Format, export_day
from switchyard_connectors.google_analytics.simulator_plan import invalid
from switchyard_connectors.google_analytics.simulator_quota import Allowance, Quotas
from switchyard_connectors.google_analytics.simulator_reports import Reporting, with_rows
from switchyard_connectors.google_analytics.simulator_signin import EDIT, READ, SignIn

_OPEN = ("/token", "/mp/collect", "/debug/mp/collect")
_EDITING = ("submitUserDeletion", "userDeletionRequests:upsert")


@dataclass(frozen=True, slots=True)
class Property:
    """The property that is simulated.

    Args:
        id: its number.
        time_zone: the zone that its reports name. Days are cut at midnight UTC all the same.
        allowance: its quotas.
        export_seconds: how long an audience export takes.
        events: what people did there in the days before it was started; see `Seed`.
    """

    id: str = "123456789"
    time_zone: str = "UTC"
    allowance: Allowance = field(default_factory=Allowance)
    export_seconds: float = 5.0
    events: int = 2_000


class GoogleAnalyticsSimulator(Simulator):
    """One property of Google Analytics.

    `events`, `quality` (how exact reports are), `quotas`, `exports`, `collector` and `sign_in` hold its state. All of
    Google's hosts are one here.
    """

    def __init__(self, simulated: Property = Property(), **options: Unpack[SimulatorOptions]) -> None:
        super().__init__(**options)
        self.property = simulated
        self.events = Events(self.clock)
        self.sign_in = SignIn(self.clock, self.random, lambda: f"{self.url}/token")
        self.reporting = Reporting(self.events, simulated.id, simulated.time_zone, self.clock)
        self.quality = self.reporting.quality
        self.quotas = Quotas(simulated.allowance)
        self.exports = Exports(self.events, simulated.id, simulated.export_seconds)
        self.collector = Collector(self.events)
        self._edits: list[tuple[str, dict[str, Any]]] = []
        if simulated.events:
            self.seed(simulated.events)
        self._register()

    def stop(self) -> None:
        super().stop()
        self.events.close()

    def service_account(self) -> str:
        """The key of a service account that may do everything here, as JSON."""
        return self.sign_in.service_account()

    def seed(self, count: int, **more: Any) -> None:
        """Add events of the days before today, made up by chance; `more` as `Seed` takes it."""
        more = {"until": self.clock(), **more}
        self.events.seed(Seed(count, **more))
        self._edits.append(("seed", {"count": count, **more}))

    def export(self, folder: Path, days_ago: int = 1, form: Format = "parquet", *, intraday: bool = False) -> Path:
        """Write a day's file of the BigQuery export."""
        return export_day(self.events, folder, day_of(self.clock(), days_ago), form, intraday=intraday)

    def day(self, days_ago: int) -> str:
        """A day by how long ago it is, ISO."""
        return day_of(self.clock(), days_ago)

    def admit(self, request: Request, route: Route) -> Answer | None:
        if request.path in _OPEN:
            return None
        editing = route.pattern.endswith(_EDITING) or request.path.startswith("/v1alpha")
        self.sign_in.check(request, EDIT if editing else READ)
        if request.params.get("property", self.property.id) != self.property.id:
            message = "User does not have sufficient permissions for this property."
            return Answer(403, {"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}})
        if refusal := None if editing else self.quotas.refusal(self.clock()):
            return refusal
        self.quotas.under_way += 1
        return None

    def decorate(self, request: Request, route: Route, answer: Answer) -> Answer:  # noqa: ARG002
        if request.path not in _OPEN and answer.status not in (401, 403, 429):
            self.quotas.under_way -= 1
        if answer.status >= 500:
            self.quotas.failed(self.clock())
        return answer

    def not_found(self, _: Request) -> Answer:
        return Answer(404, "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", {"content-type": "text/html"})

    def malformed(self, reason: str) -> Answer:
        return invalid(f"Invalid JSON payload received. {reason}").answer

    def state(self) -> dict[str, Any]:
        counted = self.events.ask("SELECT CAST(day AS VARCHAR), count(*) FROM events GROUP BY ALL ORDER BY 1")
        return {
            "property": self.property.id,
            "service_account": self.service_account(),
            "events": dict(counted),
            "counted": len(self.collector.counted),
            "deleted": len(self.collector.deleted),
            "exports": [export.name for export in self.exports.made.values()],
        }

    def settings(self) -> Mapping[str, Callable[[Any], object]]:
        allowance = self.quotas.allowance
        own: dict[str, Callable[[Any], object]] = {
            **{name: partial(setattr, self.quality, name) for name in ("threshold", "other", "sampling")},
            **{each.name: partial(setattr, allowance, each.name) for each in fields(allowance)},
            "export_seconds": partial(setattr, self.exports, "seconds"),
            "token_life": partial(setattr, self.sign_in, "life"),
        }
        return {**super().settings(), **own}

    def edits(self) -> Mapping[str, Callable[..., Any]]:
        """What Google or people do. Days are ISO."""
        return {
            "seed": self.seed,
            "reattribute": lambda day, source, to: self._edit("reattribute", day=day, source=source, to=to),
            "drop": lambda day, source: self._edit("drop", day=day, source=source),
            "fail_next_export": lambda reason: setattr(self.exports, "fail_next", reason),
            "export": lambda folder, days_ago=1, form="parquet": str(self.export(Path(folder), days_ago, form)),
            "expire_tokens": self.sign_in.expire,
        }

    def dump(self) -> dict[str, Any]:
        """The property, as JSON; events as what they were made by, and exports of audiences not at all."""
        return {
            "sign_in": self.sign_in.dump(),
            "edits": self._edits,
            "quotas": self.quotas.dump(),
            "collector": self.collector.dump(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Be the property that `dump` gave."""
        self.sign_in.load(state["sign_in"])
        self.quotas.load(state["quotas"])
        self.collector.load(state["collector"])
        self.events.change("DELETE FROM events", [])
        self._edits = []
        for name, arguments in state["edits"]:
            if name == "seed":
                self.seed(**arguments)
            else:
                self._edit(name, **arguments)

    def _edit(self, name: str, **arguments: Any) -> None:
        getattr(self.events, name)(**arguments)
        self._edits.append((name, arguments))

    def _register(self) -> None:
        data, admin = "/v1beta/properties/{property}", "/v1alpha/properties/{property}"
        self.route("POST", "/token", self.sign_in.token)
        self.route("POST", f"{data}:runReport", self._report)
        self.route("POST", f"{data}:batchRunReports", self._reports)
        self.route("POST", f"{data}:checkCompatibility", lambda asked: self.reporting.compatibility(asked.json()))
        self.route("GET", f"{data}/metadata", lambda _: self.reporting.metadata())
        self.route("POST", f"{data}/audienceExports", self._create_export)
        self.route("GET", f"{data}/audienceExports", lambda asked: self.exports.listed(asked, self.clock()))
        self.route("POST", f"{data}/audienceExports/{{export}}:query", lambda a: self.exports.query(a, self.clock()))
        self.route("GET", f"{data}/audienceExports/{{export}}", lambda asked: self.exports.get(asked, self.clock()))
        self.route("POST", f"{admin}:submitUserDeletion", lambda asked: self.collector.delete(asked, self._instant()))
        self.route("GET", admin, self._property)
        self.route(
            "POST",
            "/analytics/v3/userDeletion/userDeletionRequests:upsert",
            lambda asked: self.collector.delete_legacy(asked, self._instant()),
        )
        self.route("POST", "/mp/collect", lambda asked: self.collector.collect(asked, self.clock()))
        self.route("POST", "/debug/mp/collect", lambda asked: self.collector.debug(asked, self.clock()))

    def _report(self, request: Request) -> Answer:
        return Answer(body=self._ran(request.json()))

    def _reports(self, request: Request) -> Answer:
        wanted = request.json().get("requests") or []
        if len(wanted) > 5:
            raise invalid("At most 5 requests are allowed.")
        reports = b",".join(self._ran(each) for each in wanted)
        return Answer(body=b'{"reports":[' + reports + b'],"kind":"analyticsData#batchRunReports"}')

    def _ran(self, wanted: Mapping[str, Any]) -> bytes:
        head, rows = self.reporting.run(wanted)
        returned = rows.count('"dimensionValues"')
        tokens = 1 + len(wanted.get("dimensions") or ()) + returned // 5_000
        quota = self.quotas.charge(tokens, self.clock())
        return with_rows(head | ({"propertyQuota": quota} if wanted.get("returnPropertyQuota") else {}), rows)

    def _create_export(self, request: Request) -> Answer:
        self.quotas.charge(51, self.clock())
        return self.exports.create(request, self.clock())

    def _property(self, _: Request) -> Answer:
        name = f"properties/{self.property.id}"
        return Answer(body={"name": name, "displayName": "Simulated", "timeZone": self.property.time_zone})

    def _instant(self) -> str:
        return datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
