"""What an object has: fields that can be read, and the one by which changes are found."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switchyard.api import ConfigError, PermanentError, TransientError
from switchyard.api.http import json_of
from switchyard_connectors.salesforce.config import ObjectConfig
from switchyard_connectors.salesforce.org import Org
from switchyard_connectors.salesforce.refusals import api_error, first_error

_BATCH = 25
"""Requests of one batch call (vendor documentation, composite/batch)."""
_FRESH = 3_600.0
"""Seconds that a description on disk is used. A field that is gone meanwhile is noticed by its refusal."""
_STAMPS = ("SystemModstamp", "LastModifiedDate", "CreatedDate", "LoginTime", "LoginDate")
_UNREADABLE = frozenset({"address", "location", "base64", "complexvalue"})
"""Types left out: compound fields are refused by the Bulk API and their parts are read; files are no attributes."""
_LINKS = (
    "IsDeleted",
    "MasterRecordId",
    "IsConverted",
    "ConvertedContactId",
    "PersonContactId",
    "ContactId",
    "LeadId",
    "WhoId",
    "CreatedById",
)
"""Read whatever fields are asked for: whom a record is about, what became of it, and who made it."""
_NUMBERS = frozenset({"int", "long", "double", "currency", "percent"})


@dataclass(frozen=True, slots=True)
class Shape:
    """How an object is read.

    Args:
        fields: to select, `Id` first. known: all that the user sees.
        stamp: the field by which changes are found; None where the object has none to filter by.
        numbers, instants: which of the fields hold such.
        has_deleted: whether the object has `IsDeleted`.
        writable: fields that a call may set. keys: fields by which a record may be found.
    """

    name: str
    fields: tuple[str, ...]
    known: frozenset[str]
    stamp: str | None
    numbers: frozenset[str]
    instants: frozenset[str]
    has_deleted: bool
    writable: frozenset[str]
    keys: frozenset[str]


class Descriptions:
    """Shapes of the objects of one connection: those not yet known are asked for together.

    Args:
        wanted: the objects that the connection reads or writes.
        folder: where answers are kept, so that a sync each minute does not ask each minute.
    """

    def __init__(self, org: Org, wanted: Sequence[str], folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._org = org
        self._wanted = wanted
        self._folder = folder / f"describe-{org.version}"
        self._clock = clock
        self._known: dict[str, Sequence[Mapping[str, Any]]] = {}

    def shape(self, name: str, only: ObjectConfig | None = None) -> Shape:
        """How to read an object.

        Raises:
            PermanentError: the user does not see it.
            ConfigError: the configuration names fields that it does not have.
        """
        if name not in self._known:
            self._load(name)
        return _shape(name, self._known[name], only)

    def forget(self, name: str) -> None:
        """What is known of it is out of date."""
        self._known.pop(name, None)
        self._file(name).unlink(missing_ok=True)

    def _load(self, name: str) -> None:
        stale = [each for each in dict.fromkeys((name, *self._wanted)) if not self._kept(each)]
        if name in stale:
            self._ask(stale[:_BATCH])
        if name not in self._known:
            raise PermanentError(
                f"Salesforce shows this user no object {name}; grant the user access to it (campaigns need the "
                "permission Marketing User), or switch the stream off"
            )

    def _kept(self, name: str) -> bool:
        if name in self._known:
            return True
        file = self._file(name)
        try:
            # Of another time than now, also of one to come: a clock may have been put back.
            if abs(self._clock() - file.stat().st_mtime) > _FRESH:
                return False
            self._known[name] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return True

    def _ask(self, names: Sequence[str]) -> None:
        requests = [{"method": "GET", "url": f"{self._org.version}/sobjects/{name}/describe"} for name in names]
        body: Any = {"haltOnError": False, "batchRequests": requests}
        answer = self._org.request("POST", "composite/batch", json=body, repeatable=True)
        results = json_of(answer).get("results") or []
        if len(results) != len(names):
            raise TransientError("Salesforce's batch answer does not fit the question")
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, result in zip(names, results, strict=True):
            status = int(result.get("statusCode") or 0)
            if status == 200:
                fields = result["result"].get("fields")
                if not fields:
                    # Reading nothing but ids would take everything else back.
                    raise TransientError(f"Salesforce describes {name} without its fields")
                self._known[name] = [_brief(each) for each in fields]
                self._file(name).write_text(json.dumps(self._known[name]), encoding="utf-8")
            elif status not in (400, 403, 404):
                code, _ = first_error(result.get("result"))
                raise api_error(f"Salesforce does not describe {name}", code or "UNKNOWN", status=status)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"


_LOOKED_AT = ("name", "type", "filterable", "createable", "updateable", "externalId", "idLookup")


def _brief(field: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: field.get(name) for name in _LOOKED_AT}


def _shape(name: str, described: Sequence[Mapping[str, Any]], only: ObjectConfig | None) -> Shape:
    kinds = {str(each["name"]): str(each["type"]) for each in described}
    filterable = {str(each["name"]) for each in described if each.get("filterable")}
    stamp = next((each for each in _STAMPS if each in filterable), None)
    readable = [each for each, kind in kinds.items() if kind not in _UNREADABLE]
    if only is not None and only.fields:
        if missing := sorted(set(only.fields) - set(readable)):
            raise ConfigError(f"Salesforce's {name} has no field {', '.join(missing)} that this user can read")
        needed = [each for each in (stamp, *_LINKS) if each in kinds]
        readable = list(dict.fromkeys((*only.fields, *needed)))
    return Shape(
        name=name,
        fields=tuple(dict.fromkeys(("Id", *readable))),
        known=frozenset(kinds),
        stamp=stamp,
        numbers=frozenset(each for each in readable if kinds[each] in _NUMBERS),
        instants=frozenset(each for each in readable if kinds[each] == "datetime"),
        has_deleted="IsDeleted" in filterable,
        writable=frozenset(str(each["name"]) for each in described if each.get("updateable") or each.get("createable")),
        keys=frozenset(str(each["name"]) for each in described if each.get("externalId")),
    )
