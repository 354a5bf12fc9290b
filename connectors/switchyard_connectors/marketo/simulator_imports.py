"""Bulk import of the Marketo simulator: leads, custom objects and program members, from files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from switchyard.testing.simulator import Answer, Request
from switchyard.testing.simulator_jobs import Job, JobError, Jobs, JobStates, QueueFull
from switchyard_connectors.marketo.simulator_database import Database
from switchyard_connectors.marketo.simulator_instance import Arguments, Instance

RUNNING, QUEUED, KEPT = 2, 10, 7 * 86_400
STATES = JobStates("", "Queued", "Importing", "Complete", "Failed", "Failed")
FAILURE, WARNING = "Import Failure Reason", "Import Warning Reason"
_SEPARATORS = {"csv": ",", "tsv": "\t", "ssv": ";"}
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
Row = Mapping[str, Any]
Verdict = tuple[str | None, str | None]
"""Why a row failed, or what it was warned of."""


@dataclass(slots=True)
class Import:
    """What a job is about; `bad` and `odd` are rows with the reason behind them."""

    text: str
    separator: str
    write: Callable[[Row], Verdict]
    check: Callable[[Sequence[str]], None]
    done: Callable[[], None]
    about: Mapping[str, Any]
    header: Sequence[str] = ()
    processed: int = 0
    bad: list[Sequence[str]] = field(default_factory=list)
    odd: list[Sequence[str]] = field(default_factory=list)


class Imports:
    """The jobs of all kinds, in one queue of their own."""

    def __init__(self, instance: Instance, database: Database) -> None:
        self.jobs = Jobs(instance.clock, processing=RUNNING, queued=QUEUED, keep=KEPT)
        self._instance = instance
        self._data = database

    def leads(self, request: Request) -> Answer:
        """Upsert the leads of a file, and put them on a list (vendor documentation, bulk-lead-import)."""
        arguments = Arguments(request)
        lookup, target = arguments.text("lookupField") or "email", arguments.text("listId")
        known = self._data.fields.known.get(lookup)
        if known is None or not known.searchable:
            raise self._instance.failure("1003", f"Invalid value for field 'lookupField' and value '{lookup}'")
        entry = self._data.lists.lists.get(int(target)) if target.isdigit() else None
        if target and entry is None:
            raise self._instance.failure("1013", f"List '{target}' not found")
        list_id = entry.id if entry is not None else 0

        def write(row: Row) -> Verdict:
            values, warning = self._parsed(row)
            action = "updateOnly" if lookup == "id" else "createOrUpdate"
            verdict = self._data.leads.write(values, action, lookup)
            if verdict["status"] == "skipped":
                return verdict["reasons"][0]["message"], None
            if list_id in self._data.lists.lists:
                self._data.lists.put_on(list_id, [verdict["id"]])
            return None, warning

        def check(header: Sequence[str]) -> None:
            unknown = [name for name in header if name not in self._data.fields.known]
            if unknown or lookup not in header:
                raise JobError(f"Invalid header: field '{(unknown or [lookup])[0]}'")

        self._data.lists.importing |= {list_id} - {0}
        return self._begin("leads", request, write, check, lambda: self._data.lists.importing.discard(list_id))

    def objects(self, request: Request) -> Answer:
        """Upsert the records of a file by their key."""
        found = self._data.objects.types.get(request.params["api_name"])
        if found is None:
            raise self._instance.failure("1013", f"Object '{request.params['api_name']}' not found")
        known = found

        def write(row: Row) -> Verdict:
            verdict = self._data.objects.write(known, row, "createOrUpdate", "dedupeFields")
            return (verdict["reasons"][0]["message"], None) if verdict["status"] == "skipped" else (None, None)

        def check(header: Sequence[str]) -> None:
            if unknown := [name for name in header if name not in known.fields]:
                raise JobError(f"Invalid header: field '{unknown[0]}'")

        about = {"objectApiName": known.api_name, "operation": "import"}
        return self._begin("objects", request, write, check, about=about)

    def members(self, request: Request) -> Answer:
        """Upsert the leads of a file by e-mail, as members of a program."""
        text, status = request.params["program_id"], Arguments(request).text("programMemberStatus")
        found = self._data.programs.programs.get(int(text)) if text.isdigit() else None
        if found is None:
            raise self._instance.failure("1013", f"Program '{text}' not found")
        program = found
        if status not in program.statuses:
            raise self._instance.failure("1003", f"Invalid value for field 'programMemberStatus' and value '{status}'")

        def write(row: Row) -> Verdict:
            values, warning = self._parsed(row)
            verdict = self._data.leads.write(values, "createOrUpdate", "email")
            if verdict["status"] == "skipped":
                return verdict["reasons"][0]["message"], None
            self._data.programs.put(program.id, [verdict["id"]], status)
            return None, warning

        def check(header: Sequence[str]) -> None:
            if unknown := [name for name in header if name not in self._data.fields.known]:
                raise JobError(f"Invalid header: field '{unknown[0]}'")

        return self._begin("members", request, write, check)

    def status(self, kind: str, request: Request) -> Answer:
        return self._instance.answer([_status(self._addressed(kind, request))])

    def failures(self, kind: str, request: Request) -> Answer:
        """The refused rows, with the reason in a column more."""
        data = self._addressed(kind, request).data
        return _rows(data, FAILURE, data.bad)

    def warnings(self, kind: str, request: Request) -> Answer:
        """The rows that were taken in part, with the reason in a column more."""
        data = self._addressed(kind, request).data
        return _rows(data, WARNING, data.odd)

    def _begin(
        self,
        kind: str,
        request: Request,
        write: Callable[[Row], Verdict],
        check: Callable[[Sequence[str]], None],
        done: Callable[[], None] = lambda: None,
        *,
        about: Mapping[str, Any] | None = None,
    ) -> Answer:
        separator = _SEPARATORS.get(Arguments(request).text("format").lower())
        if separator is None:
            raise self._instance.failure("1003", "Invalid value for field 'format'")
        text = self._file(request)
        data = Import(text, separator, write, check, done, about or {})
        job = self.jobs.create(kind, STATES, self._work, data)
        try:
            self.jobs.enqueue(job)
        except QueueFull:
            self.jobs.forget(job)
            raise self._instance.failure("1016", "Too many imports queued") from None
        queued = {"batchId": job.number, "importId": job.id, "status": STATES.queued}
        return self._instance.answer([{**queued, **data.about}])

    def _file(self, request: Request) -> str:
        boundary = _BOUNDARY.search(request.headers.get("content-type", ""))
        if boundary is None:
            raise self._instance.failure("612", "Invalid Content Type")
        for part in request.body.split(b"--" + boundary[1].encode()):
            head, _, content = part.partition(b"\r\n\r\n")
            if re.search(rb'name="?file"?[;\r\s]', head + b"\r"):
                try:
                    return content.removesuffix(b"\r\n").decode("utf-8-sig")
                except UnicodeDecodeError:
                    raise self._instance.failure("1003", "The file is not UTF-8") from None
        raise self._instance.failure("613", "Invalid Multipart Request")

    def _work(self, job: Job[Import]) -> None:
        data = job.data
        try:
            reader = csv.reader(io.StringIO(data.text, newline=""), delimiter=data.separator)
            data.header = next(reader, [])
            data.check(data.header)
            for cells in reader:
                if cells:
                    self._row(data, cells)
        finally:
            data.text = ""
            data.done()

    def _row(self, data: Import, cells: Sequence[str]) -> None:
        verdict: Verdict = f"Row has {len(cells)} columns, expected {len(data.header)}", None
        if len(cells) == len(data.header):
            verdict = data.write({name: cell for name, cell in zip(data.header, cells, strict=True) if cell != ""})
        failure, warning = verdict
        if failure is not None:
            data.bad.append([*cells, failure])
        else:
            data.processed += 1
        if warning is not None:
            data.odd.append([*cells, warning])

    def _parsed(self, row: Row) -> tuple[dict[str, Any], str | None]:
        """The values of a row as their fields hold them: one that does not fit is left away, and warned of. A bad
        e-mail fails the row.
        """
        values: dict[str, Any] = {}
        warning = None
        for name, text in row.items():
            if name in ("id", "email"):
                values[name] = text
                continue
            try:
                values[name] = self._data.fields.parsed(name, text)
            except ValueError:
                warning = f"Invalid value for field '{name}' and value '{text}'"
        return values, warning

    def _addressed(self, kind: str, request: Request) -> Job[Import]:
        name = request.params["batch_id"]
        job = self.jobs.find(name)
        if job is None or job.kind != kind:
            raise self._instance.failure("1013", f"Batch '{name}' not found")
        return job


def _status(job: Job[Import]) -> dict[str, Any]:
    data, objects = job.data, "Objects" if job.kind == "objects" else "Leads"
    message = job.error or ""
    if job.phase == "complete":
        message = f"Import succeeded, {data.processed} records imported ({len(data.bad)} members failed)"
    return {
        "batchId": job.number,
        "importId": job.id,
        "status": job.state,
        f"numOf{objects}Processed": data.processed,
        "numOfRowsFailed": len(data.bad),
        "numOfRowsWithWarning": len(data.odd),
        "message": message,
        **data.about,
    }


def _rows(data: Import, reason: str, rows: Sequence[Sequence[str]]) -> Answer:
    out = io.StringIO(newline="")
    if rows:
        writer = csv.writer(out, delimiter=data.separator, lineterminator="\n")
        writer.writerow([*data.header, reason])
        writer.writerows(rows)
    return Answer(200, out.getvalue().encode(), {"content-type": "text/csv"})


def routes(imports: Imports) -> Mapping[tuple[str, str], Callable[[Request], Answer]]:
    """The handlers of all kinds, by method and path."""
    found: dict[tuple[str, str], Callable[[Request], Answer]] = {
        ("POST", "/bulk/v1/leads.json"): imports.leads,
        ("POST", "/bulk/v1/customobjects/{api_name}/import.json"): imports.objects,
        ("POST", "/bulk/v1/program/{program_id}/members/import.json"): imports.members,
    }
    roots = {
        "leads": ("/bulk/v1/leads/batch/{batch_id}", ""),
        "objects": ("/bulk/v1/customobjects/{api_name}/import/{batch_id}", "/status"),
        "members": ("/bulk/v1/program/members/import/{batch_id}", "/status"),
    }
    for kind, (root, status) in roots.items():
        found["GET", f"{root}{status}.json"] = _of_kind(imports.status, kind)
        found["GET", f"{root}/failures.json"] = _of_kind(imports.failures, kind)
        found["GET", f"{root}/warnings.json"] = _of_kind(imports.warnings, kind)
    return found


def _of_kind(handler: Callable[[str, Request], Answer], kind: str) -> Callable[[Request], Answer]:
    return lambda request: handler(kind, request)
