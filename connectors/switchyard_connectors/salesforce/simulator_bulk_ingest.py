"""Bulk API 2.0 ingest in the Salesforce simulator (vendor documentation, Bulk API 2.0, Ingest)."""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any

from switchyard.testing.simulator import Answer, RateWindow, Request
from switchyard.testing.simulator_jobs import Job, JobError, Jobs
from switchyard_connectors.salesforce.simulator_csv import DELIMITERS, ENDINGS, written
from switchyard_connectors.salesforce.simulator_jobs import INGEST, PREFIX, found, invalid, told
from switchyard_connectors.salesforce.simulator_org import DAY, Org, RowError, refusal
from switchyard_connectors.salesforce.simulator_records import Store, Table
from switchyard_connectors.salesforce.simulator_sobjects import SObjects, root_of, version_of
from switchyard_connectors.salesforce.simulator_writes import Mode, Writes

KIND = "ingest"
BATCH = 10_000
_OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
_LARGEST, _LARGEST_PARTS = 150_000_000, 100_000
_NULL = "#N/A"
csv.field_size_limit(1_000_000)


@dataclass(slots=True)
class Load:
    """What one ingest job is about, what was uploaded, and what became of each row."""

    operation: str
    object: str
    key: str | None
    version: float
    delimiter: str
    ending: str
    content: bytes | None = None
    columns: Sequence[str] = ()
    good: list[Sequence[str]] = field(default_factory=list)
    bad: list[Sequence[str]] = field(default_factory=list)
    left: list[Sequence[str]] = field(default_factory=list)


@dataclass(slots=True)
class BulkIngest:
    """Answers the ingest jobs. `day`: the batches of up to 10,000 rows that may be processed in 24 hours; rows beyond
    appear in no result.
    """

    org: Org
    store: Store
    writes: Writes
    objects: SObjects
    jobs: Jobs
    day: RateWindow = field(default_factory=lambda: RateWindow(15_000, DAY))

    def create(self, request: Request) -> Answer:
        """A job that waits for its content; or, of several parts, one that has it already."""
        body, content = _parts(request)
        operation, key = body.get("operation"), body.get("externalIdFieldName")
        if operation not in _OPERATIONS:
            raise invalid(f"Unsupported operation {operation}")
        table = self.objects.named(str(body.get("object")))
        if (operation == "upsert") != (key is not None):
            raise invalid("externalIdFieldName is needed for upsert, and for nothing else")
        if key is not None and not _is_key(table, key):
            raise invalid(f"Field name provided, {key} does not match an External ID for {table.kind.name}")
        delimiter = DELIMITERS[body.get("columnDelimiter") or "COMMA"]
        ending = ENDINGS[body.get("lineEnding") or "LF"]
        load = Load(operation, table.kind.name, key, version_of(request), delimiter, ending)
        job = self.jobs.create(KIND, INGEST, self._work, load, self.org.new_id(PREFIX))
        answer = Answer(body=_body(job, root_of(request.path)))
        if content is not None:
            load.content, answer.body["state"] = content, "UploadComplete"
            self.jobs.enqueue(job)
        return answer

    def upload(self, request: Request) -> Answer:
        job = found(self.jobs, request, KIND)
        if job.phase != "created" or job.data.content is not None:
            raise invalid("Found multiple contents for job: only one upload is allowed")
        if not request.headers.get("content-type", "").startswith("text/csv"):
            raise refusal(415, "UNSUPPORTED_MEDIA_TYPE", "the content must be text/csv")
        if len(request.body) > _LARGEST:
            raise refusal(413, "INVALIDJOB", "the content is larger than 150 MB")
        job.data.content = request.body
        return Answer(201)

    def close(self, request: Request) -> Answer:
        """Let an uploaded job be processed, or abort one."""
        job, state = found(self.jobs, request, KIND), request.json().get("state")
        if state == "Aborted" and not job.over:
            self.jobs.cancel(job)
        elif state == "UploadComplete" and job.phase == "created":
            answer = Answer(body={**_body(job, root_of(request.path)), "state": state})
            self.jobs.enqueue(job)
            return answer
        else:
            raise invalid(f"Transition from {job.state} to {state} is not allowed")
        return Answer(body=_body(job, root_of(request.path)))

    def get(self, request: Request) -> Answer:
        return Answer(body=_body(found(self.jobs, request, KIND), root_of(request.path)))

    def list_all(self, request: Request) -> Answer:
        root = root_of(request.path)
        return Answer(body={"done": True, "records": [_body(job, root) for job in self.jobs.all(KIND)]})

    def delete(self, request: Request) -> Answer:
        job = found(self.jobs, request, KIND)
        if not job.over:
            raise invalid("only jobs that are over can be deleted")
        self.jobs.forget(job)
        return Answer(204)

    def successful(self, request: Request) -> Answer:
        return self._rows(request, ("sf__Id", "sf__Created"), "good")

    def failed(self, request: Request) -> Answer:
        return self._rows(request, ("sf__Id", "sf__Error"), "bad")

    def unprocessed(self, request: Request) -> Answer:
        return self._rows(request, (), "left")

    def _rows(self, request: Request, added: Sequence[str], which: str) -> Answer:
        job = found(self.jobs, request, KIND)
        if not job.over:
            raise refusal(400, "JOB_NOT_COMPLETE", f"the job is {job.state}")
        load = job.data
        lines = [(*added, *load.columns), *getattr(load, which)]
        headers = {"content-type": "text/csv; charset=UTF-8"}
        return Answer(200, written(lines, load.delimiter, load.ending).encode(), headers)

    def _work(self, job: Job[Load]) -> None:
        load = job.data
        rows = _read(load)
        with self.org.at(job.ended):
            _check_columns(load, self.store[load.object])
            todo = len(rows) if job.fault.rows is None else job.fault.rows
            # Batches are done side by side: what comes of them comes in no order of the upload.
            order = sorted(range(min(todo, len(rows))), key=lambda n: (n // BATCH % 2, zlib.crc32(str(n).encode())))
            load.left = rows[todo:]
            mode = Mode(load.version)
            allowed = {batch for batch in range(-(-len(rows) // BATCH)) if self.day.take(self.org.clock())}
            for n in order:
                if n // BATCH in allowed:
                    self._row(load, rows[n], mode)

    def _row(self, load: Load, row: Sequence[str], mode: Mode) -> None:
        given = {
            name: None if value == _NULL else value for name, value in zip(load.columns, row, strict=True) if value
        }
        try:
            record_id, created = self._written(load, given, mode)
        except RowError as error:
            problem = f"{error.code}:{error.message}:{','.join(error.fields)} --"
            load.bad.append((error.id or "", problem, *row))
        else:
            load.good.append((record_id, "true" if created else "false", *row))

    def _written(self, load: Load, given: Mapping[str, Any], mode: Mode) -> tuple[str, bool]:
        if load.operation == "upsert":
            return self.writes.upsert(load.object, load.key or "", given, mode)
        if load.operation == "insert":
            return self.writes.create(load.object, given, mode), True
        record_id = str(given.get("Id") or "")
        if load.operation == "update":
            self.writes.update(load.object, record_id, given, mode)
        else:
            self.writes.delete(load.object, record_id)
            if load.operation == "hardDelete":
                self.store[load.object].drop(record_id)
        return record_id, False


def _parts(request: Request) -> tuple[Mapping[str, Any], bytes | None]:
    """The job, and its content where both come in one request."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return request.json(), None
    if len(request.body) > _LARGEST_PARTS:
        raise invalid(f"a request of several parts must not be larger than {_LARGEST_PARTS} characters")
    message = message_from_bytes(f"content-type: {kind}\r\n\r\n".encode() + request.body)
    parts = {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in message.walk()
    }
    job, content = parts.get("job"), parts.get("content")
    if not isinstance(job, bytes) or not isinstance(content, bytes):
        raise invalid("the parts job and content are needed")
    return json.loads(job), content


def _read(load: Load) -> list[Sequence[str]]:
    """The uploaded rows. Raises JobError where the whole job fails for them."""
    try:
        text = (load.content or b"").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError("InvalidBatch : the content is not UTF-8") from error
    first = text.partition("\n")[0]
    if text and first.endswith("\r") != (load.ending == "\r\n"):
        name = "CRLF" if load.ending == "\r\n" else "LF"
        raise JobError(f"InvalidBatch : LineEnding is invalid on user data. Current LineEnding setting is {name}")
    rows = list(_lines(text, load.delimiter))
    if not rows:
        return []
    load.columns = rows[0]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(load.columns):
            message = f"InvalidBatch : line {number} has {len(row)} columns, and the header has {len(load.columns)}"
            raise JobError(message)
    return rows[1:]


def _lines(text: str, delimiter: str) -> Iterator[Sequence[str]]:
    return (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row)


def _check_columns(load: Load, table: Table) -> None:
    lowered = [name.lower() for name in load.columns]
    if len(set(lowered)) < len(lowered):
        raise JobError("InvalidBatch : Field name is duplicated in the header")
    for name in load.columns:
        link = table.kind.relationships.get(name.partition(".")[0].lower())
        if table.kind.field(name) is None and not ("." in name and link):
            raise JobError(f"InvalidBatch : Field name not found : {name}")


def _is_key(table: Table, key: str) -> bool:
    known = table.kind.field(key)
    return known is not None and (known.external or known.name == "Id")


def _body(job: Job[Load], root: str) -> dict[str, Any]:
    load = job.data
    body = told(
        job,
        operation=load.operation,
        object=load.object,
        apiVersion=load.version,
        jobType="V2Ingest",
        contentUrl=f"{root.removeprefix('/')}/jobs/ingest/{job.id}/batches",
        lineEnding={ending: name for name, ending in ENDINGS.items()}[load.ending],
        columnDelimiter={sign: name for name, sign in DELIMITERS.items()}[load.delimiter],
        numberRecordsProcessed=len(load.good) + len(load.bad),
        numberRecordsFailed=len(load.bad),
    )
    return body if load.key is None else {**body, "externalIdFieldName": load.key}
