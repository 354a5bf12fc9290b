"""Custom objects of the Marketo simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.marketo.simulator_instance import (
    PAGE,
    Arguments,
    Instance,
    asks_to_read,
    is_form,
    iso,
    only,
    position,
    skipped,
    token,
)

ACTIONS = ("createOnly", "updateOnly", "createOrUpdate")
_FIXED = ("marketoGUID", "createdAt", "updatedAt")


@dataclass(slots=True)
class Record:
    """A record; times in epoch seconds."""

    guid: str
    created: float
    updated: float
    values: dict[str, Any]

    def shown(self) -> Mapping[str, Any]:
        """Its fields as the API names them."""
        times = {"createdAt": iso(self.created), "updatedAt": iso(self.updated)}
        return {**self.values, **times, "marketoGUID": self.guid}


@dataclass(slots=True)
class ObjectType:
    """An approved type. `fields` are names and data types; `key` the names that together identify a record; `link` is
    the field that leads to a lead, by the field of the lead that it holds.
    """

    api_name: str
    fields: Mapping[str, str]
    key: tuple[str, ...]
    link: tuple[str, str] | None
    created: float
    records: dict[str, Record] = field(default_factory=dict)
    by_key: dict[tuple[str, ...], str] = field(default_factory=dict)

    def key_of(self, values: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The key of a record with these values, None where a part of it is missing."""
        parts = [values.get(name) for name in self.key]
        return None if None in parts or "" in parts else tuple(str(part) for part in parts)


class Objects:
    """The types with their records, by API name."""

    def __init__(self, instance: Instance) -> None:
        self.types: dict[str, ObjectType] = {}
        self._instance = instance

    def add_type(
        self, api_name: str, fields: Mapping[str, str], key: Sequence[str], link: tuple[str, str] | None = None
    ) -> ObjectType:
        """Define a type; see `ObjectType`."""
        made = ObjectType(api_name, dict(fields), tuple(key), link, self._instance.clock())
        self.types[api_name] = made
        return made

    def put(self, api_name: str, values: Mapping[str, Any]) -> str:
        """Make or change a record, as a person inside Marketo would; its GUID."""
        found = self.types[api_name]
        key, now = found.key_of(values), self._instance.clock()
        if key is None:
            raise LookupError(f"a record of {api_name} needs {', '.join(found.key)}")
        if key not in found.by_key:
            found.by_key[key] = self._instance.guid()
        guid = found.by_key[key]
        record = found.records.setdefault(guid, Record(guid, now, now, {}))
        record.values |= values
        record.updated = now
        return guid

    def drop(self, api_name: str, guid: str) -> None:
        """Delete a record."""
        found = self.types[api_name]
        key = found.key_of(found.records.pop(guid).values)
        if key is not None:
            found.by_key.pop(key, None)

    def list_types(self, request: Request) -> Answer:
        names = Arguments(request).texts("names")
        return self._instance.answer(
            [_described(each) for each in self.types.values() if names in ([], [each.api_name])]
        )

    def describe(self, request: Request) -> Answer:
        return self._instance.answer([_described(self._addressed(request))])

    def post(self, request: Request) -> Answer:
        """Sync records, or find them where the query is longer than a URL or its key has several parts."""
        return self.get(request) if asks_to_read(request) else self.sync(request)

    def get(self, request: Request) -> Answer:
        """A page of the records that a filter finds (vendor documentation, custom-objects)."""
        found, arguments = self._addressed(request), Arguments(request)
        body = request.json() if request.body and not is_form(request) else {}
        by = body.get("filterType") or arguments.text("filterType")
        names = body.get("fields") or arguments.texts("fields") or [*found.key, *_FIXED]
        if unknown := [name for name in names if name not in found.fields and name not in _FIXED]:
            raise self._instance.failure("1006", f"Field '{unknown[0]}' not found")
        wanted = body.get("input") or [{by: value} for value in arguments.texts("filterValues")]
        if not wanted or len(wanted) > PAGE:
            raise self._instance.failure("1003", f"Give 1 to {PAGE} values to filter on")
        records = self._found(found, by, wanted)
        size = min(int(body.get("batchSize") or arguments.size()), PAGE)
        start = position(body.get("nextPageToken") or arguments.text("nextPageToken"), "page") or 0
        rows = [
            {"seq": number, "marketoGUID": each.guid, **only(each.shown(), names)}
            for number, each in enumerate(records[start : start + size])
        ]
        more = {"nextPageToken": token("page", start + size)} if start + size < len(records) else {}
        return self._instance.answer(rows, **more)

    def sync(self, request: Request) -> Answer:
        """Create and update records, one verdict per row in their order."""
        found, rows, body = self._addressed(request), self._instance.inputs(request), request.json()
        action, by = body.get("action") or "createOrUpdate", body.get("dedupeBy") or "dedupeFields"
        if action not in ACTIONS or by not in ("dedupeFields", "idField"):
            raise self._instance.failure("1003", "Invalid value for field 'action' or 'dedupeBy'")
        verdicts = [self.write(found, row, action, by) for row in rows]
        return self._instance.answer([{"seq": number, **verdict} for number, verdict in enumerate(verdicts)])

    def write(self, found: ObjectType, row: Mapping[str, Any], action: str, by: str) -> dict[str, Any]:
        """Carry one row out: its verdict."""
        values = {name: value for name, value in row.items() if name != "marketoGUID"}
        if unknown := values.keys() - found.fields.keys():
            return skipped("1006", f"Field '{min(unknown)}' not found")
        if by == "idField":
            record = found.records.get(str(row.get("marketoGUID")))
            if record is None:
                return skipped("1013", "Record not found")
            record.values |= values
            record.updated = self._instance.clock()
            return {"marketoGUID": record.guid, "status": "updated"}
        key = found.key_of(values)
        if key is None:
            return skipped("1002", f"Missing value for required parameter '{', '.join(found.key)}'")
        there = key in found.by_key
        if there and action == "createOnly":
            return skipped("1005", "Record already exists", marketoGUID=found.by_key[key])
        if not there and action == "updateOnly":
            return skipped("1013", "Record not found")
        return {"marketoGUID": self.put(found.api_name, values), "status": "updated" if there else "created"}

    def delete(self, request: Request) -> Answer:
        """Delete records by `deleteBy` their key or their GUID."""
        found, by = self._addressed(request), request.json().get("deleteBy") or "dedupeFields"
        verdicts = []
        for number, row in enumerate(self._instance.inputs(request)):
            key = found.key_of(row)
            guid = str(row.get("marketoGUID")) if by == "idField" else found.by_key.get(key or (), "")
            if guid in found.records:
                self.drop(found.api_name, guid)
                verdicts.append({"seq": number, "marketoGUID": guid, "status": "deleted"})
            else:
                verdicts.append(skipped("1013", "Record not found", seq=number))
        return self._instance.answer(verdicts)

    def dump(self) -> list[dict[str, Any]]:
        """All types with their records, as JSON."""
        return [
            asdict(each) | {"records": [asdict(one) for one in each.records.values()], "by_key": None}
            for each in self.types.values()
        ]

    def load(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.types = {}
        for each in state:
            records = {one["guid"]: Record(**one) for one in each["records"]}
            link = tuple(each["link"]) if each["link"] else None
            known = ObjectType(**{**each, "key": tuple(each["key"]), "link": link, "records": records, "by_key": {}})
            known.by_key = {key: one.guid for one in records.values() if (key := known.key_of(one.values))}
            self.types[known.api_name] = known

    def _found(self, found: ObjectType, by: str, wanted: Iterable[Mapping[str, Any]]) -> list[Record]:
        if by == "dedupeFields":
            keys = [found.key_of(each) for each in wanted]
            return [found.records[found.by_key[key]] for key in keys if key in found.by_key]
        values = [str(each.get(by)) for each in wanted]
        if by in ("idField", "marketoGUID"):
            guids = [str(each.get("marketoGUID", value)) for each, value in zip(wanted, values, strict=True)]
            return [found.records[guid] for guid in guids if guid in found.records]
        if len(found.key) == 1 and by == found.key[0]:
            return [found.records[found.by_key[(each,)]] for each in values if (each,) in found.by_key]
        if found.link is None or by != found.link[0]:
            raise self._instance.failure("1003", f"Invalid value for field 'filterType' and value '{by}'")
        matches: Callable[[Record], bool] = lambda record: str(record.values.get(by)) in values  # noqa: E731
        return [each for each in found.records.values() if matches(each)]

    def _addressed(self, request: Request) -> ObjectType:
        found = self.types.get(request.params["api_name"])
        if found is None:
            raise self._instance.failure("1013", f"Object '{request.params['api_name']}' not found")
        return found


def _described(found: ObjectType) -> dict[str, Any]:
    kinds: dict[str, str] = {**dict.fromkeys(_FIXED, "datetime"), "marketoGUID": "string", **found.fields}
    made = iso(found.created)
    link = (
        [{"field": found.link[0], "type": "child", "relatedTo": {"name": "Lead", "field": found.link[1]}}]
        if found.link
        else []
    )
    return {
        "name": found.api_name,
        "apiName": found.api_name,
        "displayName": found.api_name,
        "pluralName": f"{found.api_name}s",
        "description": "",
        "createdAt": made,
        "updatedAt": made,
        "state": "approved",
        "version": "approved",
        "idField": "marketoGUID",
        "dedupeFields": list(found.key),
        "searchableFields": [list(found.key), ["marketoGUID"], *([[found.link[0]]] if found.link else [])],
        "relationships": link,
        "fields": [
            {
                "name": name,
                "displayName": name,
                "dataType": kind,
                **({"length": 255} if kind == "string" else {}),
                "updateable": name not in _FIXED,
                "crmManaged": False,
            }
            for name, kind in kinds.items()
        ],
    }
