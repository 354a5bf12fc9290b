"""Reads what was pushed: the inbox holds ids, and the records are fetched by them in batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from switchyard.api import Context
from switchyard_connectors.salesforce import soql
from switchyard_connectors.salesforce.describe import Shape
from switchyard_connectors.salesforce.org import IDS_AT_ONCE, IN_ONE_CALL, Org, checked, get
from switchyard_connectors.salesforce.place import Place
from switchyard_connectors.salesforce.refusals import ApiError
from switchyard_connectors.salesforce.rows import gone, nothing, table

OVERFLOW = "GAP_OVERFLOW"
"""Salesforce lost count of the changes: only a pull tells what they were."""
_NO_IDS = frozenset({"INVALID_QUERY_FILTER_OPERATOR", "MALFORMED_ID", "INVALID_ID_FIELD"})
"""A condition's id is none."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What stands in one table of the inbox about one object."""

    ids: Sequence[str]
    overflowed: bool


def pushed(rows: pa.Table, name: str) -> Pushed:
    """The ids of one object, each once."""
    ids: dict[str, None] = {}
    overflowed = False
    for body in rows["body"].to_pylist():
        for change in json.loads(body)["changes"]:
            if change["object"] == name:
                ids.update(dict.fromkeys(change["ids"]))
                overflowed |= change["type"] == OVERFLOW
    return Pushed(list(ids), overflowed)


class Inbox:
    """Drains the inbox for one object; afterwards `came` and `overflowed` say what there was."""

    def __init__(self, context: Context, org: Org, shape: Shape, where: str, *, by_id: bool) -> None:
        self._context = context
        self._org = org
        self._shape = shape
        self._where = where
        self._by_id = by_id
        self.came = False
        self.overflowed = False

    def pages(self, place: Place) -> Iterator[tuple[pa.Table, Place]]:
        """Records as they are now, with the place that is true once they are committed."""
        for rows in self._context.inbox(place.sequence):
            found = pushed(rows, self._shape.name)
            self.came = True
            self.overflowed |= found.overflowed
            done = replace(place, sequence=rows["sequence"][-1].as_py())
            if found.overflowed:
                # Also where this run ends before it has pulled.
                done = replace(done, pulled=None)
            last = nothing(self._shape)
            for one in self._fetched(found.ids):
                if last.num_rows:
                    yield last, place
                last = one
            yield last, done
            place = done

    def _fetched(self, ids: Sequence[str]) -> Iterator[pa.Table]:
        parts = list(soql.chunks(ids, IDS_AT_ONCE))
        while parts:
            asked, parts = parts[:IN_ONE_CALL], parts[IN_ONE_CALL:]
            answers = self._org.together([get(self._url(part)) for part in asked], exact=True)
            for part, answer in zip(asked, answers, strict=True):
                try:
                    records = self._all(checked(answer))
                except ApiError as error:
                    if error.code not in _NO_IDS:
                        raise
                    # One that is no id spoils the question, and must not stop those that come after it.
                    parts += _halves(part)
                    continue
                if records:
                    yield table(records, self._shape, self._org.session().user_id)
                # Those that a condition keeps out are missing as well, and not gone.
                known = {str(record["Id"])[:15] for record in records}
                lost = [each for each in part if each[:15] not in known and len(each) == 18]
                if lost and self._by_id and not self._where:
                    yield gone(lost, self._shape)

    def _all(self, page: Any) -> list[Any]:
        return [record for each in self._org.onward(page) for record in each["records"]]

    def _url(self, ids: Sequence[str]) -> str:
        conditions = (f"Id IN {soql.listed(ids)}", f"({self._where})" if self._where else "")
        resource = "queryAll" if self._shape.has_deleted else "query"
        query = soql.select(self._shape.fields, self._shape.name, conditions)
        return f"{self._org.path}/{resource}?q={quote(query, safe='')}"


def _halves(ids: Sequence[str]) -> list[Sequence[str]]:
    """The ids in two parts; nothing of a single one."""
    middle = len(ids) // 2
    return [ids[:middle], ids[middle:]] if middle else []
