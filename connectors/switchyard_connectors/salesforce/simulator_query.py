"""SOQL over REST in the Salesforce simulator, and its cursors, which expire (vendor documentation, Query)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.salesforce.simulator_fields import Column
from switchyard_connectors.salesforce.simulator_org import DAY, Org, refusal
from switchyard_connectors.salesforce.simulator_records import Store
from switchyard_connectors.salesforce.simulator_select import Select, Selection
from switchyard_connectors.salesforce.simulator_soql import parse

CURSOR_LIFE = 2 * DAY
_PAGE, _SMALLEST = 2_000, 200


@dataclass(frozen=True, slots=True)
class _Cursor:
    kind: str
    columns: Sequence[Column]
    found: Selection
    opened: float


class Queries:
    """Answers queries. `page`: rows of a page at most, whatever the client asks for; the vendor may give fewer too."""

    def __init__(self, org: Org, store: Store) -> None:
        self.page = _PAGE
        self._org = org
        self._select = Select(store)
        self._cursors: dict[str, _Cursor] = {}

    def query(self, request: Request) -> Answer:
        return self._answer(request, everything=False)

    def query_all(self, request: Request) -> Answer:
        return self._answer(request, everything=True)

    def more(self, request: Request) -> Answer:
        """The next page of a cursor: its locator and the place of the row, joined by a dash."""
        locator, _, place = request.params["locator"].rpartition("-")
        cursor = self._cursors.get(locator)
        if cursor is None or not place.isdecimal() or self._org.clock() >= cursor.opened + CURSOR_LIFE:
            raise refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(request, locator, cursor, int(place))

    def expire(self) -> None:
        """End every cursor now."""
        self._cursors.clear()

    def _answer(self, request: Request, *, everything: bool) -> Answer:
        query = parse(request.arguments().get("q", ""))
        columns = self._select.columns(query)
        found = self._select.run(query, everything=everything)
        if query.counts:
            return Answer(body={"totalSize": len(found), "done": True, "records": []})
        locator = self._org.new_id("01g")
        cursor = _Cursor(self._select.table(query).kind.name, columns, found, self._org.clock())
        self._cursors[locator] = cursor
        return self._page(request, locator, cursor, 0)

    def _page(self, request: Request, locator: str, cursor: _Cursor, start: int) -> Answer:
        stop = start + self._size(request)
        root = re.match(r"/services/data/[^/]+", request.path)
        assert root is not None  # noqa: S101  # the route says so
        body: dict[str, Any] = {"totalSize": len(cursor.found), "done": stop >= len(cursor.found)}
        if body["done"]:
            self._cursors.pop(locator, None) if start == 0 else None
        else:
            body["nextRecordsUrl"] = f"{root[0]}/query/{locator}-{stop}"
        rows = cursor.found.rows(start, stop)
        body["records"] = [record_json(row, cursor.kind, cursor.columns, root[0]) for row in rows]
        return Answer(body=body)

    def _size(self, request: Request) -> int:
        asked = re.search(r"batchSize\s*=\s*(\d+)", request.headers.get("sforce-query-options", ""))
        wanted = min(max(int(asked[1]), _SMALLEST), _PAGE) if asked else _PAGE
        return min(wanted, self.page)


def record_json(row: Any, kind: str, columns: Sequence[Column], root: str) -> dict[str, Any]:
    """A record as queries answer it: what follows a relationship is nested."""
    url = f"{root}/sobjects/{kind}/{row.get('Id')}"
    found: dict[str, Any] = {"attributes": {"type": kind, "url": url}}
    for column in columns:
        value = column.read(row)
        before, dot, name = column.name.partition(".")
        if not dot:
            found[column.name] = value
        elif value is not None or found.get(before) is not None:
            found[before] = {**(found.get(before) or {"attributes": {"type": before}}), name: value}
        else:
            found[before] = None
    return found
