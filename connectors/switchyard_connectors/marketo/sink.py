"""The list sink: finds or creates a static list, changes who is on it, reads it back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import cast

from switchyard.api import (
    Context,
    Cursor,
    ListChanges,
    ListReceipt,
    ListRef,
    Member,
    Page,
    Rejection,
    RemoteList,
)
from switchyard_connectors.marketo import memberships
from switchyard_connectors.marketo.client import BATCH, Marketo, can_be_asked_for
from switchyard_connectors.marketo.config import MarketoConfig, account_of
from switchyard_connectors.marketo.envelope import NO_SUCH
from switchyard_connectors.marketo.imports import Imports
from switchyard_connectors.marketo.lists import StaticLists
from switchyard_connectors.marketo.rows import Row, rows_of
from switchyard_connectors.marketo.schema import Schema
from switchyard_connectors.marketo.upserts import BUSY, upsert

_NO_LEAD = Rejection("no_record", "no Marketo lead is known for the member, and none was to be written", True)


class MarketoLists:
    """Static lists of one Marketo instance. A `ListSink`, `Pollable`, `Costed` and `Checkable`."""

    def __init__(self, config: MarketoConfig, context: Context) -> None:
        self._marketo = Marketo(config, context)
        self._lists = StaticLists(self._marketo, config.folder)
        self._schema = Schema(self._marketo)
        self._imports = Imports(self._marketo, config.partition, context.workspace / "imports")
        self._partition = {"partitionName": config.partition} if config.partition else {}
        self._import_above = config.import_above
        self._concurrency = config.concurrency
        self._busy = BUSY[account_of(config)]
        self._wanted: dict[str, RemoteList] = {}

    def check(self) -> None:
        """Ask how many calls were made today."""
        self._marketo.get("/rest/v1/stats/usage.json")

    def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:
        """Find or create the list. Its fields are looked at when the first row is to be written.

        Raises:
            ListGone: the known list was deleted.
            PermanentError: several lists have the name, or there is no folder for a new one.
        """
        if known is not None:
            ref = self._lists.by_id(known)
        else:
            ref = self._lists.by_name(wanted.name) or self._lists.create(wanted.name)
        self._wanted[ref.id] = wanted
        return ref

    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
        """Upsert in calls of 300, then add and remove in calls of 300; or import in bulk, where that is less.

        Raises:
            ListGone: the list was deleted.
            PermanentError: a field cannot be written.
        """
        self._imports.forget(ref.id)
        wanted = self._wanted.get(ref.id)
        key_field = wanted.key_field if wanted else "email"
        rows, refused = rows_of(changes.upsert, key_field)
        if refused:
            yield ListReceipt(rejected=refused)
        if rows and wanted:
            self._schema.ensure(wanted)
        now, later = self._divided(rows)
        ids: dict[str, str] = {}
        how = {"lookupField": key_field, **self._partition}
        for receipt in upsert(self._marketo, self._busy, how, now, self._concurrency):
            ids |= receipt.upserted
            yield receipt
        # One whose upsert was refused has its verdict, and stays off the list; one that is imported will have its own.
        tried = {member.key for member in changes.upsert}
        adds = [Member(each.key, ids.get(each.key) if each.key in tried else each.remote_id) for each in changes.add]
        adds = [each for each in adds if each.key not in tried or each.remote_id]
        yield from self._moved(ref, adds, changes.remove)
        # Last, since Marketo changes no list that it imports into.
        yield from self._in_bulk(ref, key_field, later, {member.key for member in changes.add})

    def poll(self, ref: ListRef, ticket: str) -> Iterator[ListReceipt]:  # noqa: ARG002
        """The verdicts of an import; see `Pollable`."""
        yield from self._imports.poll(ticket)

    def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
        """Pages of 300. The cursor is `{"token": …}`, null behind the last page."""
        if cursor is not None and cursor["token"] is None:
            return
        path = f"/rest/v1/lists/{ref.id}/leads.json"
        token = cast("str | None", cursor["token"]) if cursor else None
        for page in self._marketo.pages(path, {"fields": "id"}, expected=(NO_SUCH,), token=token):
            if page.code is not None:
                raise memberships.gone(ref.id)
            records = [{"remote_id": str(row["id"])} for row in page.result]
            yield Page(records=records, cursor={"token": page.token}, origin=path)

    def calls(self, upsert: int, add: int, remove: int, held: int) -> int:
        """The fewest calls for changes of these sizes and one read-back.

        What `ensure` takes to find the list is not in it, nor its one look at the fields, nor what only happens now and
        then: calls repeated after a fault, rows of more than 3 KB, files of more than 10 MB, further questions after
        imports, and repairs.
        """
        read = max(1, ceil(held / BATCH))
        if upsert > self._import_above:
            # A file, a question after it, and the ids; whoever is imported is put on the list by that.
            return 2 + ceil(upsert / BATCH) + ceil(max(add - upsert, 0) / BATCH) + ceil(remove / BATCH) + read
        return ceil(upsert / BATCH) + ceil(add / BATCH) + ceil(remove / BATCH) + read

    def _divided(self, rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
        """The rows to write by calls, and those to import: an import leaves fields without a value as they are, and
        tells no ids, by which leads are then to be found.
        """
        if len(rows) <= self._import_above:
            return rows, ()
        parts: tuple[list[Row], list[Row]] = [], []
        for row in rows:
            fits = can_be_asked_for(row.value) and not any(value in (None, "") for value in row.fields.values())
            parts[fits].append(row)
        return parts

    def _in_bulk(self, ref: ListRef, key_field: str, rows: Sequence[Row], adding: set[str]) -> Iterator[ListReceipt]:
        """A job puts all of its rows on the list or none, so whoever is only to be written has one of their own."""
        for listed in (True, False):
            if part := [row for row in rows if (row.key in adding) is listed]:
                yield from self._imports.send(ref.id, key_field, part, listed=listed)

    def _moved(self, ref: ListRef, add: Sequence[Member], remove: Sequence[Member]) -> Iterator[ListReceipt]:
        if unknown := [each.key for each in (*add, *remove) if not each.remote_id]:
            yield ListReceipt(rejected=dict.fromkeys(unknown, _NO_LEAD))
        adds, removes = ({each.key: each.remote_id for each in part if each.remote_id} for part in (add, remove))
        yield from memberships.change(self._marketo, ref.id, adds, removes, self._concurrency)
