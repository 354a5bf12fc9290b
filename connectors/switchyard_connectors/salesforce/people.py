"""Bringing contacts or leads up to date: by an external id, or by looking their e-mail address up."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote

from switchyard.api import ListReceipt, Member, Rejection
from switchyard.api.http import concurrently
from switchyard.api.records import JSON
from switchyard_connectors.salesforce import soql
from switchyard_connectors.salesforce.batches import Operation, Patience, Verdict, carried
from switchyard_connectors.salesforce.merges import winners
from switchyard_connectors.salesforce.org import IN_ONE_CALL, Org, checked, get
from switchyard_connectors.salesforce.refusals import ALREADY_OFF, ALREADY_ON, CONVERTED

EMAIL = "Email"
LOOKED_UP = 1_000
"""Values of one look-up."""
_REQUIRED = {"Contact": ("LastName",), "Lead": ("LastName", "Company")}
_PREFIX = {"Contact": "003", "Lead": "00Q"}
_NEVER_EMPTY = frozenset(name for names in _REQUIRED.values() for name in names)
_INCOMPLETE = "REQUIRED_FIELD_MISSING"
_NO_ID = Rejection("no_id", "Salesforce wrote the record and did not say which", retryable=True)
_ALLOWED = {"Sforce-Duplicate-Rule-Header": "allowSave=true"}


@dataclass(frozen=True, slots=True)
class Row:
    """A member as it is sent: `value` is that of the key field, `fields` are all of its fields."""

    key: str
    value: str
    id: str | None
    fields: Mapping[str, JSON]


def rows_of(members: Iterable[Member], key_field: str) -> tuple[list[Row], dict[str, Rejection]]:
    """The rows to send, and those refused before any call.

    Two rows for one person in a call fail both, so of those with the same key the later stays.
    """
    rows: dict[str, Row] = {}
    rejected: dict[str, Rejection] = {}
    for member in members:
        value = written(member.fields.get(key_field))
        value = str(value).strip() if value is not None else ""
        if not value:
            rejected[member.key] = Rejection("missing_key", f"the member has no {key_field}")
            continue
        if earlier := rows.pop(value.lower(), None):
            rejected[earlier.key] = Rejection("duplicate_key", f"another member has the same {key_field}")
        given = {name: written(each) for name, each in member.fields.items()} | {key_field: value}
        # Nobody can clear what Salesforce wants of everybody: what is there stays.
        fields = {name: each for name, each in given.items() if each is not None or name not in _NEVER_EMPTY}
        rows[value.lower()] = Row(member.key, value, member.remote_id, fields)
    return list(rows.values()), rejected


def written(value: JSON) -> JSON:
    """A value as Salesforce takes it: an empty text clears, several choices are joined by ";"."""
    if isinstance(value, list):
        return ";".join(str(written(each)) for each in value if each is not None) or None
    return None if value == "" else value


@dataclass(frozen=True, slots=True)
class People:
    """Writes rows of one object.

    Args:
        name: Contact or Lead.
        key_field: `Email`, which is looked up, or an external id.
        defaults: values of required fields for new people who have none.
        lanes: calls under way at once.
        allow_duplicates: whether duplicate rules that only warn are passed over.
    """

    org: Org
    name: str
    key_field: str
    defaults: Mapping[str, str]
    patience: Patience
    lanes: int
    allow_duplicates: bool

    def write(self, rows: Sequence[Row]) -> Iterator[ListReceipt]:
        """Create or update; a receipt after each call. Every row ends in exactly one of them."""
        if self.key_field == EMAIL:
            yield from self._by_address(rows)
        else:
            yield from self._by_external_id(rows)

    def _by_external_id(self, rows: Sequence[Row]) -> Iterator[ListReceipt]:
        # By its id a record is found also where its key has changed, and no second one is made.
        known, same, others = self._told_apart(rows)
        if same:
            yield ListReceipt(upserted=same)
        lost = yield from self._by_id(known)
        incomplete: list[Row] = []
        operation = self._operation("PATCH", f"/{self.name}/{self.key_field}", lambda row: dict(row.fields))
        for verdicts in self._carried(operation, [*others, *lost]):
            # Whoever is new lacks what only new people need.
            lacking = {each.row.key: self._completed(each.row) for each in verdicts if self._may_complete(each)}
            incomplete += lacking.values()
            yield self._receipt([each for each in verdicts if each.row.key not in lacking])
        if incomplete:
            for verdicts in self._carried(operation, incomplete):
                yield self._receipt(verdicts)

    def _by_address(self, rows: Sequence[Row], *, again: bool = True) -> Iterator[ListReceipt]:
        found = self._look_up([row.value for row in rows if row.id is None])
        known, same, new = self._told_apart(rows, found)
        if same:
            yield ListReceipt(upserted=same)
        lost = yield from self._by_id(known, again=again)
        create = self._operation("POST", "", lambda row: dict(row.fields), repeatable=False)
        for verdicts in self._carried(create, [self._completed(row) for row in new]):
            yield self._receipt(verdicts)
        if lost:
            originals = {row.key: row for row in rows}
            yield from self._by_address([replace(originals[row.key], id=None) for row in lost], again=False)

    def _told_apart(
        self, rows: Sequence[Row], found: Mapping[str, str] | None = None
    ) -> tuple[list[Row], dict[str, str], list[Row]]:
        """Rows whose record is known or was found; those of which nothing is to be written, with their records; others.

        Two rows for one record in a call fail both: the first is written.
        """
        known, same, others, taken = [], dict[str, str](), [], set()
        for row in rows:
            record_id = row.id if found is None else row.id or found.get(row.value.lower())
            if record_id is None or (found is None and not record_id.startswith(_PREFIX[self.name])):
                others.append(row)
            elif record_id in taken or self._is_as_wanted(row, record_id):
                same[row.key] = record_id
            else:
                taken.add(record_id)
                known.append(replace(row, id=record_id) if row.id else self._keyless(row, record_id))
        return known, same, others

    def _by_id(self, rows: Sequence[Row], *, again: bool = True) -> Generator[ListReceipt, None, list[Row]]:
        """Bring records up to date. Of those that were merged the winner is; the rows whose record is no more, or has
        not the key any more, are returned, to be looked for anew.

        Args:
            again: whether they may be; otherwise they are refused.
        """
        update = self._operation("PATCH", "", lambda row: {"id": row.id, **row.fields})
        left: list[Row] = []
        for verdicts in self._carried(update, rows):
            elsewhere = [each.row for each in verdicts if again and _code(each) in self._elsewhere]
            left += elsewhere
            keys = {row.key for row in elsewhere}
            yield self._receipt([each for each in verdicts if each.row.key not in keys])
        merged_into = winners(self.org, self.name, [str(row.id) for row in left])
        written = {row.id for row in rows}
        same, merged, lost = dict[str, str](), [], []
        for row in left:
            winner = merged_into.get(str(row.id))
            if winner is None:
                lost.append(row)
            elif winner in written:
                # Another row says what the winner is to be.
                same[row.key] = winner
            else:
                written.add(winner)
                merged.append(self._keyless(row, winner))
        if same:
            yield ListReceipt(upserted=same)
        for verdicts in self._carried(update, merged):
            yield self._receipt(verdicts)
        return lost

    @property
    def _elsewhere(self) -> Collection[str]:
        """Codes of a row whose record may be another than the one known."""
        return ALREADY_OFF if self.key_field == EMAIL else ALREADY_OFF | ALREADY_ON

    def _keyless(self, row: Row, record_id: str) -> Row:
        """The row for a record that has a key of its own."""
        return replace(row, id=record_id, fields={n: each for n, each in row.fields.items() if n != self.key_field})

    def _look_up(self, addresses: Sequence[str]) -> dict[str, str]:
        """Ids by address in lower case: of several with one address the oldest, of a converted lead its contact."""
        fields = ("Id", EMAIL, "ConvertedContactId") if self.name == "Lead" else ("Id", EMAIL)
        queries = [
            soql.select(fields, self.name, (f"{EMAIL} IN {soql.listed(part)}",), ("CreatedDate", "Id"))
            for part in soql.chunks(list(dict.fromkeys(addresses)), LOOKED_UP)
        ]
        found: dict[str, str] = {}
        for record in self._queried(queries):
            found.setdefault(str(record[EMAIL]).lower(), str(record.get("ConvertedContactId") or record["Id"]))
        return found

    def _is_as_wanted(self, row: Row, record_id: str) -> bool:
        """Whether there is nothing to write: who was looked up has nothing but an address, or is a contact by now."""
        return not record_id.startswith(_PREFIX[self.name]) or (row.id is None and row.fields.keys() <= {EMAIL})

    def _queried(self, queries: Sequence[str]) -> Iterator[Any]:
        def asked(part: Sequence[str]) -> list[Any]:
            urls = [f"{self.org.path}/query?q={quote(query, safe='')}" for query in part]
            pages = [checked(each) for each in self.org.together([get(url) for url in urls])]
            return [record for page in pages for each in self.org.onward(page) for record in each["records"]]

        calls = (partial(asked, queries[at : at + IN_ONE_CALL]) for at in range(0, len(queries), IN_ONE_CALL))
        with closing(concurrently(calls, self.lanes)) as answers:
            for records in answers:
                yield from records

    def _operation(self, method: str, below: str, body: Any, *, repeatable: bool = True) -> Operation[Row]:
        url = f"{self.org.path}/composite/sobjects{below}"

        def request(rows: Sequence[Row]) -> Mapping[str, Any]:
            records = [{"attributes": {"type": self.name}, **body(row)} for row in rows]
            part = {"method": method, "url": url, "body": {"allOrNone": False, "records": records}}
            return part | ({"httpHeaders": _ALLOWED} if self.allow_duplicates else {})

        return Operation(self.org, request, repeatable, self.lanes)

    def _carried(self, operation: Operation[Row], rows: Sequence[Row]) -> Iterator[Sequence[Verdict[Row]]]:
        # A contact locks its account: those of one account go in one call where that can be.
        together = sorted(rows, key=lambda row: str(row.fields.get("AccountId") or ""))
        return carried(operation, together, self.patience)

    def _receipt(self, verdicts: Sequence[Verdict[Row]]) -> ListReceipt:
        written = {each.row.key: each.id or each.row.id for each in verdicts if each.why is None}
        upserted = {key: record_id for key, record_id in written.items() if record_id}
        rejected = {each.row.key: each.why for each in verdicts if each.why is not None}
        rejected |= dict.fromkeys(written.keys() - upserted.keys(), _NO_ID)
        converted = [each.row for each in verdicts if _code(each) == CONVERTED]
        for key, record_id in self._contacts_of(converted).items():
            upserted[key] = record_id
            del rejected[key]
        return ListReceipt(upserted=upserted, rejected=rejected)

    def _contacts_of(self, rows: Sequence[Row]) -> dict[str, str]:
        """Key → the contact that a converted lead became: the person has moved, and nothing is wrong."""
        leads = [row for row in rows if row.id and row.id.startswith(_PREFIX["Lead"])]
        known = self.org.by_ids("Lead", ("Id", "ConvertedContactId"), [str(row.id) for row in leads], deleted=False)
        by_id = {str(record["Id"]): record["ConvertedContactId"] for record in known}
        moved = {row.key: str(by_id[row.id]) for row in leads if row.id and by_id.get(row.id)}
        return moved | self._contacts_by_key([row for row in rows if row.key not in moved])

    def _contacts_by_key(self, rows: Sequence[Row]) -> dict[str, str]:
        found: dict[str, str] = {}
        for part in soql.chunks([row.value for row in rows], LOOKED_UP):
            conditions = (f"{self.key_field} IN {soql.listed(part)}", "IsConverted = true")
            query = soql.select(("Id", "ConvertedContactId", self.key_field), self.name, conditions)
            for record in self._queried([query]):
                if record.get("ConvertedContactId"):
                    found[str(record[self.key_field]).lower()] = str(record["ConvertedContactId"])
        return {row.key: found[row.value.lower()] for row in rows if row.value.lower() in found}

    def _may_complete(self, verdict: Verdict[Row]) -> bool:
        return _code(verdict) == _INCOMPLETE and self._completed(verdict.row) is not verdict.row

    def _completed(self, row: Row) -> Row:
        missing = {
            name: self.defaults[name]
            for name in _REQUIRED[self.name]
            if row.fields.get(name) is None and name in self.defaults
        }
        return replace(row, fields={**row.fields, **missing}) if missing else row


def _code(verdict: Verdict[Row]) -> str | None:
    return verdict.why.code if verdict.why is not None else None
