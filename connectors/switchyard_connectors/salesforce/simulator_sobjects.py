"""Single records and descriptions in the Salesforce simulator (vendor documentation, sObject resources)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from switchyard.testing.simulator import Answer, Refusal, Request
from switchyard_connectors.salesforce.simulator_describe import described, summary
from switchyard_connectors.salesforce.simulator_fields import Fields
from switchyard_connectors.salesforce.simulator_org import Org, RowError, absent, error, long_id, refusal
from switchyard_connectors.salesforce.simulator_query import record_json
from switchyard_connectors.salesforce.simulator_records import Row, Store, Table
from switchyard_connectors.salesforce.simulator_writes import Mode, Writes

OLDEST, NEWEST = 41, 68
_STATUS = {"NOT_FOUND": 404, "ENTITY_IS_DELETED": 404, "MALFORMED_ID": 400}


class SObjects:
    """Answers what is asked of one record or of one object."""

    def __init__(self, org: Org, store: Store, writes: Writes) -> None:
        self._org = org
        self._store = store
        self._writes = writes
        self._described_at: dict[str, float] = {}

    def table(self, request: Request) -> Table:
        return self.named(request.params["object"])

    def named(self, name: str) -> Table:
        """Raises the 404 of an object that is none."""
        table = self._store.find(name)
        if table is None:
            raise absent()
        return table

    def altered(self, name: str) -> None:
        """An object's fields are others from now on."""
        self._described_at[name] = self._org.clock()

    def versions(self, _: Request) -> Answer:
        return Answer(
            body=[
                {"label": f"Version {each}", "url": f"/services/data/v{each}.0", "version": f"{each}.0"}
                for each in range(OLDEST, NEWEST + 1)
            ]
        )

    def directory(self, _: Request) -> Answer:
        kinds = [table.kind for name, table in self._store.tables.items() if self._store.find(name)]
        return Answer(body={"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": [summary(each) for each in kinds]})

    def describe(self, request: Request) -> Answer:
        """Describe an object, unless it is as it was at `If-Modified-Since`."""
        table = self.table(request)
        changed = self._described_at.get(table.kind.name, self._org.created)
        headers = {"last-modified": format_datetime(datetime.fromtimestamp(int(changed), UTC), usegmt=True)}
        since = request.headers.get("if-modified-since")
        if since and parsedate_to_datetime(since).timestamp() >= int(changed):
            return Answer(304, None, headers)
        return Answer(body=described(table.kind), headers=headers)

    def create(self, request: Request) -> Answer:
        table = self.table(request)
        try:
            made = self._writes.create(table.kind.name, _body(request), mode_of(request))
        except RowError as problem:
            return refused(problem)
        return Answer(201, {"id": made, "success": True, "errors": []})

    def read(self, request: Request) -> Answer:
        table = self.table(request)
        return self._record(request, table, self._row(table, request.params["id"]))

    def update(self, request: Request) -> Answer:
        table = self.table(request)
        try:
            self._writes.update(table.kind.name, request.params["id"], _body(request), mode_of(request))
        except RowError as problem:
            return refused(problem)
        return Answer(204)

    def delete(self, request: Request) -> Answer:
        table = self.table(request)
        try:
            self._writes.delete(table.kind.name, request.params["id"])
        except RowError as problem:
            return refused(problem)
        return Answer(204)

    def read_by(self, request: Request) -> Answer:
        table = self.table(request)
        found = self._by_key(request, table)
        if not found:
            raise absent()
        return self._record(request, table, found[0])

    def upsert_by(self, request: Request) -> Answer:
        table, key = self.table(request), request.params["field"]
        self._by_key(request, table)
        given = {**_body(request), key: request.params["value"]}
        try:
            made, created = self._writes.upsert(table.kind.name, key, given, mode_of(request))
        except RowError as problem:
            return refused(problem)
        return Answer(201 if created else 200, {"id": made, "success": True, "errors": [], "created": created})

    def _by_key(self, request: Request, table: Table) -> list[Row]:
        """The rows with this external id. Raises the 300 that lists them where there are several."""
        known = table.kind.field(request.params["field"])
        if known is None or not known.external:
            raise absent("Provided external ID field does not exist or is not accessible: " + request.params["field"])
        found = table.find(known.name, request.params["value"])
        if len(found) > 1:
            root = root_of(request.path)
            raise Refusal(Answer(300, [f"{root}/sobjects/{table.kind.name}/{row['Id']}" for row in found]))
        return found

    def _row(self, table: Table, record_id: str) -> Row:
        known = long_id(record_id)
        if known is None or known[:3] != table.kind.prefix:
            raise absent()
        row = table.get(known)
        if row is None:
            raise absent()
        if row["IsDeleted"]:
            raise refusal(404, "ENTITY_IS_DELETED", "entity is deleted")
        return row

    def _record(self, request: Request, table: Table, row: Row) -> Answer:
        wanted = request.arguments().get("fields")
        names = wanted.split(",") if wanted else list(table.kind.fields)
        fields = Fields(self._store, table)
        columns = [fields.column(name) for name in names]
        return Answer(body=record_json(row, table.kind.name, columns, root_of(request.path)))


def refused(problem: RowError) -> Answer:
    return error(_STATUS.get(problem.code, 400), problem.code, problem.message, problem.fields)


def mode_of(request: Request) -> Mode:
    """How the request wants rows to be written."""
    header = request.headers.get("sforce-duplicate-rule-header", "")
    version = version_of(request)
    return Mode(version, allow_save=version >= 52 and re.search(r"allowSave\s*=\s*true", header, re.I) is not None)


def version_of(request: Request) -> float:
    return float(root_of(request.path).rpartition("/v")[2])


def root_of(path: str) -> str:
    """The beginning of a path, up to the version. Raises the 404 of a version that is none."""
    match = re.match(r"/services/data/v(\d\d)\.0(?=/|$)", path)
    if match is None or not OLDEST <= int(match[1]) <= NEWEST:
        raise absent("The requested resource does not exist")
    return match[0]


def _body(request: Request) -> Mapping[str, Any]:
    body = request.json()
    if not isinstance(body, dict):
        raise refusal(400, "JSON_PARSER_ERROR", "the body is no object")
    return body
