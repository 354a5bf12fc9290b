"""Batches of the HubSpot simulator: a hundred records at once, each with a verdict of its own by its trace id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.hubspot.simulator_portal import Problem, iso
from switchyard_connectors.hubspot.simulator_properties import texts
from switchyard_connectors.hubspot.simulator_records import Records
from switchyard_connectors.hubspot.simulator_shelf import Record

BATCH = 100

Write: TypeAlias = "Callable[[], tuple[Record, bool] | None]"
Planner: TypeAlias = "Callable[[Mapping[str, Any], set[str]], Problem | Write]"


class Batches(Records):
    """The records of one type, and how they are read and written by the hundred."""

    def batch_read(self, request: Request) -> Answer:
        """Read by id or by a unique property. The id of a record that was merged away gives the one it became."""
        inputs = self._inputs(request)
        body = request.json()
        names, by = (*self.kind.always, *body.get("properties", ())), body.get("idProperty")
        archived = request.arguments().get("archived", "").lower() == "true"
        results, missing = [], []
        for item in inputs:
            record = self._read(str(item["id"]), by, archived=archived)
            if record is not None:
                results.append(self.json(record, names))
            else:
                missing.append(item["id"])
        single = self.kind.single.upper()
        message = f"Could not get some {single} objects, they may be deleted or not exist. Check that ids are valid."
        absent = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": message, "context": {"ids": missing}}
        return self._batch_answer(results, [absent] if missing else [], 200)

    def batch_create(self, request: Request) -> Answer:
        return self._batch(self._inputs(request, unique=False), self._plan_create, 201)

    def batch_update(self, request: Request) -> Answer:
        return self._batch(self._inputs(request), self._plan_update, 200)

    def batch_upsert(self, request: Request) -> Answer:
        return self._batch(self._inputs(request), self._plan_upsert, 200)

    def batch_archive(self, request: Request) -> Answer:
        for item in self._inputs(request):
            self.archive(item["id"])
        return Answer(204)

    def json(self, record: Record, names: Iterable[str]) -> dict[str, Any]:
        """The record as HubSpot answers it, with those of the named properties that it has."""
        properties = record.properties
        body: dict[str, Any] = {
            "id": record.id,
            "properties": {name: properties.get(name) for name in names if name in properties},
            "createdAt": iso(record.created),
            "updatedAt": iso(record.updated),
            "archived": record.archived is not None,
        }
        if record.archived is not None:
            body["archivedAt"] = iso(record.archived)
        return body

    def _read(self, wanted: str, by: str | None, *, archived: bool) -> Record | None:
        if archived:
            found = self.records.get(wanted)
            return found if found is not None and found.archived is not None else None
        return self.find(by, wanted) if by else self.live(self.resolved(wanted))

    def _inputs(self, request: Request, *, unique: bool = True) -> Sequence[Mapping[str, Any]]:
        body = request.json()
        inputs = body.get("inputs") if isinstance(body, dict) else None
        if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
            raise self._portal.invalid("Invalid input JSON: inputs must be a list of objects")
        if len(inputs) > BATCH:
            raise self._portal.invalid(f"The maximum number of inputs is {BATCH}; {len(inputs)} were given")
        if unique:
            ids = [str(item.get("id", "")).strip().lower() for item in inputs]
            if len(set(ids)) < len(ids):
                twice = sorted({key for key in ids if ids.count(key) > 1})
                message = f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique"
                raise self._portal.invalid(message, ids=twice)
        return inputs

    def _batch(self, inputs: Sequence[Mapping[str, Any]], plan: Planner, status: int) -> Answer:
        """Plan every input before the first is written: one bad input without a trace id refuses them all."""
        taken: set[str] = set()
        writes: list[Write] = []
        errors = []
        for item in inputs:
            planned = plan(item, taken)
            if not isinstance(planned, Problem):
                writes.append(planned)
                continue
            trace = item.get("objectWriteTraceId")
            if trace is None:
                return self._portal.error(planned.status, planned)
            error = {"status": "error", "category": planned.category, "message": planned.message}
            context = {**(planned.context or {}), "objectWriteTraceId": [trace]}
            errors.append(error | {"context": context, "errors": list(planned.errors), "links": {}})
        written = [done for write in writes if (done := write()) is not None]
        results = [self.json(record, record.properties) | {"new": new} for record, new in written]
        # HubSpot answers in an order of its own.
        self._portal.random.shuffle(results)
        return self._batch_answer(results, errors, status)

    def _batch_answer(self, results: list[dict[str, Any]], errors: list[dict[str, Any]], status: int) -> Answer:
        now = self._portal.now()
        body: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
        if errors:
            return Answer(207, body | {"numErrors": len(errors), "errors": errors})
        return Answer(status, body)

    def _plan_create(self, item: Mapping[str, Any], taken: set[str]) -> Problem | Write:
        values = texts(item.get("properties") or {})
        return self._problem(values, None) or self._creating(values, taken)

    def _creating(self, values: Mapping[str, str], taken: set[str]) -> Problem | Write:
        """Two inputs of a batch cannot both become the contact of one address."""
        if (address := values.get("email", "").strip().lower()) and address in taken:
            return Problem("CONFLICT", "Contact already exists.")
        taken.add(address)
        return lambda: self.create(values)

    def _plan_update(self, item: Mapping[str, Any], _: set[str]) -> Problem | Write:
        if item.get("idProperty") is not None:
            return self._not_unique(item["idProperty"])
        return self._plan_by_id(item)

    def _plan_upsert(self, item: Mapping[str, Any], taken: set[str]) -> Problem | Write:
        by = item.get("idProperty")
        if by is None:
            return self._plan_by_id(item)
        if by not in self._properties.unique:
            return self._not_unique(by)
        values = texts(item.get("properties") or {})
        key = str(item["id"]).strip().lower() if by == "email" else str(item["id"]).strip()
        record = self.find(by, key)
        values.setdefault(by, key)
        if record is not None and by == "email" and values["email"].strip().lower() == key:
            # An additional address names the contact; it does not become the main one.
            del values["email"]
        if problem := self._problem(values, record):
            return problem
        return self._writing(record, values) if record is not None else self._creating(values, taken)

    def _plan_by_id(self, item: Mapping[str, Any]) -> Problem | Write:
        record_id = str(item.get("id"))
        if self.live(self.resolved(record_id)) and record_id in self.merged:
            # Left out of the answer without a word.
            return lambda: None
        record = self.live(record_id)
        if record is None:
            return Problem("OBJECT_NOT_FOUND", "Could not find the object", context={"ids": [record_id]})
        values = texts(item.get("properties") or {})
        return self._problem(values, record) or self._writing(record, values)

    def _problem(self, values: Mapping[str, str], record: Record | None) -> Problem | None:
        if problem := self._properties.problem(values):
            return problem
        if self.is_blocked(values.get("email", "")):
            return Problem("VALIDATION_ERROR", "The email address is on the blocklist of deleted contacts")
        for name in values.keys() & self._properties.unique:
            other = self.find(name, values[name]) if values[name] else None
            if other is not None and (record is None or other.id != record.id):
                return Problem("CONFLICT", f"Contact already exists. Existing ID: {other.id}")
        return None

    def _writing(self, record: Record, values: Mapping[str, str]) -> Write:
        return lambda: self.store(record, values)

    def _not_unique(self, name: str) -> Problem:
        message = f"Unable to perform update/upsert by non-unique {self.kind.id} property: {name}"
        return Problem("VALIDATION_ERROR", message)
