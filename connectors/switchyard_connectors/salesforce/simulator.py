"""A stand-in for a Salesforce org: sign-in, records, queries, bulk jobs, campaigns, and what people do inside."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import wraps
from typing import Any, Unpack

from switchyard.testing.simulator import Answer, Handler, Request, Route, Simulator, SimulatorOptions
from switchyard.testing.simulator_jobs import Jobs
from switchyard.testing.simulator_messages import Router
from switchyard_connectors.salesforce.simulator_auth import App, Auth
from switchyard_connectors.salesforce.simulator_bulk_ingest import BulkIngest
from switchyard_connectors.salesforce.simulator_bulk_query import BulkQueries
from switchyard_connectors.salesforce.simulator_campaigns import Campaigns, Locks, Members, Statuses
from switchyard_connectors.salesforce.simulator_jobs import KEPT
from switchyard_connectors.salesforce.simulator_keeping import dumped, loaded
from switchyard_connectors.salesforce.simulator_life import Life
from switchyard_connectors.salesforce.simulator_limits import Limits
from switchyard_connectors.salesforce.simulator_org import Org, absent, error
from switchyard_connectors.salesforce.simulator_pushes import Pushes, Subscription
from switchyard_connectors.salesforce.simulator_query import Queries
from switchyard_connectors.salesforce.simulator_records import Row, Store
from switchyard_connectors.salesforce.simulator_replication import Replication
from switchyard_connectors.salesforce.simulator_routes import OPEN, routes
from switchyard_connectors.salesforce.simulator_schema import custom_field, object_type
from switchyard_connectors.salesforce.simulator_seeds import Seed, Template
from switchyard_connectors.salesforce.simulator_sobjects import SObjects, root_of
from switchyard_connectors.salesforce.simulator_stages import Opportunities, Tasks
from switchyard_connectors.salesforce.simulator_touch import touched
from switchyard_connectors.salesforce.simulator_writes import DuplicateRule, RowRule, Writes


@dataclass(frozen=True, slots=True)
class Account:
    """The org that is simulated.

    Args:
        app: who may sign in.
        daily: API calls in any 24 hours.
    """

    app: App = field(default_factory=App)
    daily: int = 100_000


class SalesforceSimulator(Simulator):
    """One Salesforce org.

    `store` holds its rows and `writes` changes them; what a person would do inside Salesforce is in `life`, in the
    methods below, and in `edits` over the control API.
    """

    def __init__(self, account: Account = Account(), **options: Unpack[SimulatorOptions]) -> None:
        super().__init__(**options)
        self.org = Org(self.clock, self.random, self.clock())
        self.store = Store(self.org)
        self.auth = Auth(self.org, account.app)
        self.limits = Limits(self.org, account.daily)
        self.writes = Writes(self.org, self.store)
        self.locks = Locks()
        self.members = Members(self.org, self.store, self.locks)
        self.writes.custom = {
            "CampaignMember": self.members,
            "Campaign": Campaigns(self.store, self.writes, self.members),
            "CampaignMemberStatus": Statuses(self.store),
            "Opportunity": Opportunities(),
            "Task": Tasks(self.org),
        }
        self.queries = Queries(self.org, self.store)
        self.objects = SObjects(self.org, self.store, self.writes)
        self.replication = Replication(self.org, self.store, self.objects)
        self.life = Life(self.org, self.store, self.writes)
        self.pushes = Pushes(self.org, self.store)
        self.jobs = Jobs(self.clock, keep=KEPT)
        self.bulk_queries = BulkQueries(self.org, self.store, self.jobs)
        self.bulk_ingest = BulkIngest(self.org, self.store, self.writes, self.objects, self.jobs)
        for name in (account.app.username, "person@example.com"):
            self.add("User", Username=name)
        self.store.changes.clear()
        self._inside = Router()
        for method, pattern, handler in routes(self, self._dispatch):
            self.route(method, pattern, handler)

    def seed(self, name: str, count: int, *, per_second: int = 200, **values: Template) -> Seed:
        """Give an object this many rows that need no memory; `values` are templates by field (see `Seed`)."""
        return self.store.seed(name, count, per_second, values)

    def add(self, name: str, **values: Any) -> str:
        """Create a record by hand: its id."""
        return self.writes.create(name, values)

    def row(self, record_id: str) -> Row:
        """The record as it is, deleted or not."""
        table = self.store.of_id(record_id)
        row = table.get(record_id) if table else None
        if row is None:
            raise LookupError(f"no record {record_id}")
        return row

    def add_field(self, name: str, field_name: str, kind: str = "string", **more: Any) -> None:
        """Add a field to an object; `more` are those of `Field`."""
        self.store[name].add_field(custom_field(field_name, kind, **more))
        self.objects.altered(name)

    def add_object(self, name: str, prefix: str, fields: Mapping[str, str]) -> None:
        """Add an object with these fields, name → kind."""
        made = object_type(name, prefix, [custom_field(each, kind) for each, kind in fields.items()])
        self.store.add(made)
        self.objects.altered(name)

    def refuse_rows(
        self, name: str, code: str, *, times: int = 1, message: str = "", match: Mapping[str, Any] | None = None
    ) -> None:
        """Refuse the next rows of this object that have these values, with this code."""
        self.writes.rules.append(RowRule(name, code, message, match or {}, times))

    def find_duplicates(self, name: str, field_name: str, *, blocks: bool = True) -> None:
        """A duplicate rule: two records of this object with one value of an indexed field."""
        self.writes.duplicate_rules.append(DuplicateRule(name, field_name, blocks))

    def member_ids(self, campaign: str) -> set[str]:
        """The people on a campaign: ids of contacts and leads."""
        return {row["LeadOrContactId"] for row in self.members.of(campaign)}

    def route(self, method: str, pattern: str, handler: Handler) -> None:
        def answer(request: Request) -> Answer:
            self.locks.current = id(request)
            self.store.origin = _origin(request)
            try:
                return handler(request)
            finally:
                self.locks.current, self.store.origin = 0, ""

        super().route(method, pattern, answer)
        self._inside.add(Route(method, pattern, handler))

    def admit(self, request: Request, route: Route) -> Answer | None:
        if route.pattern in OPEN:
            return None
        root_of(request.path)
        self.auth.check(request)
        self.jobs.advance()
        self.store.sweep()
        if (refused := self.limits.refusal(request)) is not None:
            return refused
        self.locks.take(id(request), touched(request, self.store))
        return None

    def decorate(self, request: Request, route: Route, answer: Answer) -> Answer:
        date = {"date": format_datetime(datetime.fromtimestamp(self.clock(), UTC), usegmt=True)}
        if route.pattern in OPEN:
            return Answer(answer.status, answer.body, {**date, **answer.headers})
        self.limits.ended(request)
        self.locks.release(id(request))
        self.pushes.flush()
        headers = {**date, "sforce-limit-info": self.limits.header(), **answer.headers}
        csv = headers.get("content-type", "").startswith("text/csv")
        if not csv or "gzip" not in request.headers.get("accept-encoding", ""):
            return Answer(answer.status, answer.body, headers)
        return Answer(answer.status, gzip.compress(answer.body, 1), {**headers, "content-encoding": "gzip"})

    def not_found(self, _: Request) -> Answer:
        return absent().answer

    def malformed(self, reason: str) -> Answer:
        return error(400, "JSON_PARSER_ERROR", reason)

    def state(self) -> dict[str, Any]:
        campaigns = [
            {"id": row["Id"], "name": row["Name"], "members": self.members.count(row["Id"])}
            for row in self.store["Campaign"].rows.values()
            if not row["IsDeleted"]
        ]
        counts = {name: count for name, table in self.store.tables.items() if (count := table.count())}
        return {"records": counts, "campaigns": campaigns, "api_usage": self.limits.used}

    def stop(self) -> None:
        self.pushes.sender.close()
        super().stop()

    def dump(self) -> dict[str, Any]:
        """The whole org but its jobs and cursors, as JSON. It shares parts with the org: write it down before the next
        call.
        """
        return {
            "rows": dumped(self.store),
            "issued": self.org.issued,
            "auth": self.auth.dump(),
            "api_usage": self.limits.used,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Be the org that `dump` gave."""
        self.org.issued = dict(state["issued"])
        loaded(self.store, state["rows"])
        self.auth.load(state["auth"])
        self.limits.used = state["api_usage"]

    def settings(self) -> Mapping[str, Callable[[Any], object]]:
        return {
            **super().settings(),
            "session_seconds": lambda seconds: setattr(self.auth, "life", float(seconds)),
            "visible_after": lambda seconds: setattr(self.store, "lag", float(seconds)),
            "api_usage": lambda calls: setattr(self.limits, "used", int(calls)),
            "daily": lambda calls: setattr(self.limits, "daily", int(calls)),
            "app": lambda app: setattr(self.limits, "app", (app["name"], int(app["calls"])) if app else None),
            "hidden": lambda names: setattr(self.store, "hidden", frozenset(names)),
            "log_lag": lambda seconds: setattr(self.replication, "lag", float(seconds)),
            "page": lambda rows: setattr(self.queries, "page", int(rows)),
            "bulk_page": lambda rows: setattr(self.bulk_queries, "page", int(rows)),
            "job_wait": lambda seconds: setattr(self.jobs, "wait", float(seconds)),
            "job_takes": lambda seconds: setattr(self.jobs, "takes", float(seconds)),
        }

    def edits(self) -> Mapping[str, Callable[..., Any]]:
        """Contacts and leads may be named by id or e-mail, campaigns by id or name."""
        life = self.life
        by_hand: dict[str, Callable[..., Any]] = {
            "create": lambda name, values: self.add(name, **values),
            "update": life.update,
            "delete": life.delete,
            "undelete": life.undelete,
            "hard_delete": life.hard_delete,
            "empty_bin": life.empty_bin,
            "merge": life.merge,
            "convert_lead": life.convert_lead,
            "recalculate": lambda record_id, values: life.recalculate(record_id, **values),
            "add_members": life.add_members,
            "remove_members": life.remove_members,
            "add_field": self.add_field,
            "add_object": self.add_object,
            "seed": lambda name, count, values=None: self.seed(name, count, **(values or {})).count,
            "refuse_rows": self.refuse_rows,
            "find_duplicates": self.find_duplicates,
            "expire_sessions": self.auth.expire,
            "expire_cursors": self.queries.expire,
            "subscribe": lambda **given: self.pushes.subscribe(Subscription(**given)),
            "gap": self.pushes.gap,
        }
        return {name: self._pushed(act) for name, act in by_hand.items()}

    def _pushed(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """A change by hand, of which is told at once."""

        @wraps(act)
        def pushed(*given: Any, **named: Any) -> Any:
            result = act(*given, **named)
            self.pushes.flush()
            return result

        return pushed

    def _dispatch(self, request: Request) -> Answer:
        """Answer a request within another one."""
        found = self._inside.find(request.method, request.path)
        if found is None:
            return self.not_found(request)
        route, params = found
        return route.handler(
            Request(request.method, request.path, request.query, request.headers, request.body, params)
        )


def _origin(request: Request) -> str:
    """How change events name who wrote: the client calls itself something in `Sforce-Call-Options`."""
    client = re.search(r"client\s*=\s*([^,;\s]+)", request.headers.get("sforce-call-options", ""))
    return "com/salesforce/api/rest" + (f";client={client[1]}" if client else "")
