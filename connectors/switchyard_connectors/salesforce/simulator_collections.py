"""Up to 200 records a call in the Salesforce simulator (vendor documentation, sObject Collections)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.salesforce.simulator_fields import Fields
from switchyard_connectors.salesforce.simulator_org import RowError, long_id, refusal
from switchyard_connectors.salesforce.simulator_query import record_json
from switchyard_connectors.salesforce.simulator_records import Store
from switchyard_connectors.salesforce.simulator_sobjects import SObjects, mode_of, root_of
from switchyard_connectors.salesforce.simulator_writes import Mode, Writes

MOST, MOST_READ = 200, 2_000
_ID_WITH_FAILED_UPSERT = 53

Record: TypeAlias = Mapping[str, Any]


class Collections:
    """Answers per row, in the order of the request. A refused row hides nothing of its neighbours."""

    def __init__(self, store: Store, writes: Writes, objects: SObjects) -> None:
        self._store = store
        self._writes = writes
        self._objects = objects

    def create(self, request: Request) -> Answer:
        mode = mode_of(request)

        def one(record: Record) -> dict[str, Any]:
            return {"id": self._writes.create(self._type(record), record, mode)}

        return self._each(request, _records(request), one)

    def update(self, request: Request) -> Answer:
        mode = mode_of(request)

        def one(record: Record) -> dict[str, Any]:
            record_id = str(record.get("Id") or record.get("id") or "")
            if not record_id:
                raise RowError("MISSING_ARGUMENT", "Id not specified in an update call")
            try:
                self._writes.update(self._type(record), record_id, record, mode)
            except RowError as error:
                if error.code == "NOT_FOUND":
                    raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id") from error
                raise
            return {"id": long_id(record_id)}

        return self._each(request, _records(request), one)

    def upsert(self, request: Request) -> Answer:
        name, key = self._objects.table(request).kind.name, request.params["field"]
        records, mode = _records(request), mode_of(request)
        many = _many(records, key)

        def one(record: Record) -> dict[str, Any]:
            if self._type(record) != name:
                raise RowError("INVALID_TYPE", f"all records must be of type {name}")
            if (value := _key(record, key)) in many:
                raise RowError("DUPLICATE_EXTERNAL_ID", f"Duplicate external id specified: {value}", [key])
            record_id, created = self._writes.upsert(name, key, record, mode)
            return {"id": record_id, "created": created}

        return self._each(request, records, one)

    def delete(self, request: Request) -> Answer:
        arguments = request.arguments()
        ids = [each.strip() for each in arguments.get("ids", "").split(",") if each.strip()]
        _few(ids, MOST)

        def one(record_id: str) -> dict[str, Any]:
            table = self._store.of_id(record_id)
            if table is None:
                raise RowError("MALFORMED_ID", f"malformed id {record_id}")
            self._writes.delete(table.kind.name, record_id)
            return {"id": long_id(record_id)}

        return self._answers(ids, one, mode_of(request), all_or_none=arguments.get("allOrNone") == "true")

    def read(self, request: Request) -> Answer:
        """Named in the body; or, as far as they fit, in the address."""
        table = self._objects.table(request)
        wanted = request.json() if request.method == "POST" else _listed(request)
        ids = wanted.get("ids") or []
        _few(ids, MOST_READ)
        fields = Fields(self._store, table)
        columns = [fields.column(name) for name in wanted.get("fields") or ["Id"]]
        rows = [table.live(long_id(each) or "") for each in ids]
        root = root_of(request.path)
        return Answer(body=[row and record_json(row, table.kind.name, columns, root) for row in rows])

    def _each(self, request: Request, records: Sequence[Record], one: Callable[[Record], dict[str, Any]]) -> Answer:
        return self._answers(records, one, mode_of(request), all_or_none=request.json().get("allOrNone") is True)

    def _answers(
        self, rows: Iterable[Any], one: Callable[[Any], dict[str, Any]], mode: Mode, *, all_or_none: bool
    ) -> Answer:
        found: list[dict[str, Any]] = []
        with self._store.transaction() as roll_back:
            for row in rows:
                try:
                    found.append({**one(row), "success": True, "errors": []})
                except RowError as error:
                    found.append(_failed(error, mode))
            if all_or_none and not all(each["success"] for each in found):
                roll_back()
                found = [each if not each["success"] else dict(_ROLLED_BACK) for each in found]
        return Answer(body=found)

    def _type(self, record: Record) -> str:
        name = (record.get("attributes") or {}).get("type")
        if not name:
            raise RowError("INVALID_TYPE", "attributes.type is not specified")
        table = self._store.find(str(name))
        if table is None:
            raise RowError("INVALID_TYPE", f"sObject type '{name}' is not supported.")
        return table.kind.name


_ROLLED_BACK = {
    "success": False,
    "errors": [
        {
            "statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK",
            "message": "Record rolled back because not all records were valid and the request was using AllOrNone "
            "header",
            "fields": [],
        }
    ],
}


def _failed(error: RowError, mode: Mode) -> dict[str, Any]:
    body: dict[str, Any] = {
        "success": False,
        "errors": [{"statusCode": error.code, "message": error.message, "fields": error.fields}],
    }
    if error.id and mode.version >= _ID_WITH_FAILED_UPSERT:
        body["id"] = error.id
    return body


def _records(request: Request) -> Sequence[Record]:
    body = request.json()
    records = body.get("records") if isinstance(body, dict) else None
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise refusal(400, "JSON_PARSER_ERROR", "records must be a list of objects")
    _few(records, MOST)
    return records


def _listed(request: Request) -> Mapping[str, Sequence[str]]:
    return {name: [each.strip() for each in text.split(",")] for name, text in request.arguments().items()}


def _few(rows: Sequence[Any], most: int) -> None:
    if not rows:
        raise refusal(400, "INVALID_INPUT", "at least one record is needed")
    if len(rows) > most:
        raise refusal(400, "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {most} records")


def _key(record: Record, key: str) -> str | None:
    value = next((value for name, value in record.items() if name.lower() == key.lower()), None)
    return None if value in (None, "") else str(value).lower()


def _many(records: Iterable[Record], key: str) -> set[str]:
    """The external ids that more than one record has: all of these fail."""
    seen: set[str] = set()
    twice: set[str] = set()
    for record in records:
        if (value := _key(record, key)) is not None:
            (twice if value in seen else seen).add(value)
    return twice
