"""Bulk extract of the Marketo simulator: jobs, their files, and the limits that all kinds share."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from switchyard.testing.simulator import Answer, Refusal, Request
from switchyard.testing.simulator_jobs import Job, JobError, Jobs, JobStates, QueueFull
from switchyard_connectors.marketo.simulator_extract_rows import Contents, Wish
from switchyard_connectors.marketo.simulator_identity import ApiUser
from switchyard_connectors.marketo.simulator_instance import Arguments, Instance, iso
from switchyard_connectors.marketo.simulator_limits import CENTRAL

PROCESSING, QUEUED, KEPT = 2, 10, 7 * 86_400
BYTES = 500 * 1_048_576
"""Bytes of files in a day of US Central time (vendor documentation, bulk-extract)."""
REFRESH = 60.0
STATES = JobStates("Created", "Queued", "Processing", "Completed", "Failed", "Cancelled")
KINDS = {
    "leads": "/bulk/v1/leads",
    "activities": "/bulk/v1/activities",
    "members": "/bulk/v1/program/members",
    "objects": "/bulk/v1/customobjects/{api_name}",
}
_SEPARATORS = {"CSV": ",", "TSV": "\t", "SSV": ";"}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_FILE = "file"


@dataclass(slots=True)
class Extract:
    """What a job is about. `seen` is the status as of `seen_at`: it is refreshed once a minute only."""

    owner: str
    kind: str
    wish: Wish
    format: str
    headers: Sequence[str]
    rows: int = 0
    size: int = 0
    checksum: str = ""
    seen: dict[str, Any] = field(default_factory=dict)
    seen_at: float = 0.0


class Extracts:
    """The jobs of all kinds, in one queue.

    `refresh`: seconds after which a status that was asked for is looked at anew. `file_lag`: seconds for which the file
    of a completed job is not there yet. `bytes`: that the files of a day may have.
    """

    def __init__(self, instance: Instance, contents: Contents, user: Callable[[Request], ApiUser]) -> None:
        self.jobs = Jobs(instance.clock, processing=PROCESSING, queued=QUEUED, keep=KEPT)
        self.refresh = REFRESH
        self.file_lag = 0.0
        self.bytes = BYTES
        self._instance = instance
        self._contents = contents
        self._user = user
        self._made: dict[date, int] = {}

    def create(self, kind: str, request: Request) -> Answer:
        """Define a job; it waits to be enqueued."""
        body = request.json()
        wish = Wish(body.get("fields") or (), body.get("filter") or {}, request.params.get("api_name", ""))
        wish = self._contents.check(kind, wish)
        names = body.get("columnHeaderNames") or {}
        form = str(body.get("format") or "CSV").upper()
        if form not in _SEPARATORS:
            raise self._instance.failure("1003", f"Invalid value for field 'format' and value '{form}'")
        headers = [str(names.get(name, name)) for name in wish.fields]
        data = Extract(self._user(request).client_id, kind, wish, form, headers)
        job = self.jobs.create(kind, STATES, self._write, data, self._instance.guid())
        return self._instance.answer([self._look(job)])

    def enqueue(self, kind: str, request: Request) -> Answer:
        """Queue a job. Raises the failure 1029, which has three meanings."""
        job = self._addressed(kind, request)
        if job.phase in ("queued", "processing"):
            raise self._instance.failure("1029", "Job already queued")
        if job.phase != "created":
            raise self._instance.failure("1003", f"Job is {job.state}")
        if self._made.get(self._today(self._instance.clock()), 0) >= self.bytes:
            raise self._instance.failure("1029", f"Export daily quota {self.bytes // 1_048_576}MB exceeded")
        data = job.data
        data.seen_at = self._instance.clock()
        data.seen = {**data.seen, "status": STATES.queued, "queuedAt": iso(data.seen_at)}
        try:
            self.jobs.enqueue(job)
        except QueueFull:
            data.seen = self._status(job)
            raise self._instance.failure("1029", f"Too many jobs ({QUEUED}) in queue") from None
        return self._instance.answer([data.seen])

    def status(self, kind: str, request: Request) -> Answer:
        return self._instance.answer([self._shown(self._addressed(kind, request))])

    def cancel(self, kind: str, request: Request) -> Answer:
        job = self._addressed(kind, request)
        if job.over:
            raise self._instance.failure("1003", f"Job is {job.state}")
        self.jobs.cancel(job)
        return self._instance.answer([self._look(job)])

    def list_jobs(self, kind: str, request: Request) -> Answer:
        """A page of the caller's own jobs."""
        owner, wanted = self._user(request).client_id, {each.lower() for each in Arguments(request).texts("status")}
        own = [
            self._shown(job)
            for job in self.jobs.all(kind)
            if job.data.owner == owner and job.data.wish.api_name == request.params.get("api_name", "")
        ]
        rows, more = self._instance.page(
            request, [each for each in own if not wanted or each["status"].lower() in wanted]
        )
        return self._instance.answer(rows, **more)

    def file(self, kind: str, request: Request) -> Answer:
        """The file of a completed job, or a piece of it."""
        job = self._addressed(kind, request)
        if job.phase != "complete" or job.ended is None or self._instance.clock() < job.ended + self.file_lag:
            return Answer(404, "The requested file is not found")
        whole = zlib.decompress(job.files[_FILE])
        headers = {"content-type": "text/csv", "accept-ranges": "bytes"}
        if "range" not in request.headers:
            return Answer(200, whole, headers)
        piece = _piece(request.headers["range"], len(whole))
        if piece is None:
            return Answer(416, "Range Not Satisfiable", {"content-range": f"bytes */{len(whole)}"})
        headers["content-range"] = f"bytes {piece.start}-{piece.stop - 1}/{len(whole)}"
        return Answer(206, whole[piece.start : piece.stop], headers)

    def _write(self, job: Job[Extract]) -> None:
        data = job.data
        try:
            whole, data.rows = _text(data, self._contents.rows(data.kind, data.wish))
        except Refusal as error:  # the list is gone since the job was made
            raise JobError(error.answer.body["errors"][0]["message"]) from error
        data.size, data.checksum = len(whole), f"sha256:{hashlib.sha256(whole).hexdigest()}"
        job.files[_FILE] = zlib.compress(whole, 1)
        today = self._today(job.ended or 0.0)
        self._made[today] = self._made.get(today, 0) + data.size

    def _addressed(self, kind: str, request: Request) -> Job[Extract]:
        """The caller's job that the path names: who made it is the only one who may ask for it."""
        name = request.params["export_id"]
        job = self.jobs.find(name)
        if job is None or job.kind != kind or job.data.owner != self._user(request).client_id:
            raise self._instance.failure("1013", f"Export job '{name}' not found")
        return job

    def _shown(self, job: Job[Extract]) -> dict[str, Any]:
        stale = self._instance.clock() >= job.data.seen_at + self.refresh
        return self._look(job) if stale else job.data.seen

    def _look(self, job: Job[Extract]) -> dict[str, Any]:
        job.data.seen, job.data.seen_at = self._status(job), self._instance.clock()
        return job.data.seen

    def _status(self, job: Job[Extract]) -> dict[str, Any]:
        data = job.data
        row: dict[str, Any] = {
            "exportId": job.id,
            "format": data.format,
            "status": job.state,
            "createdAt": iso(job.created),
        }
        for name, at in (("queuedAt", job.queued), ("startedAt", job.started), ("finishedAt", job.ended)):
            if at is not None:
                row[name] = iso(at)
        if job.phase == "complete":
            row |= {"numberOfRecords": data.rows, "fileSize": data.size, "fileChecksum": data.checksum}
        return row | ({"errorMsg": job.error} if job.error else {})

    def _today(self, now: float) -> date:
        return datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(CENTRAL)).date()


def _text(data: Extract, rows: Iterable[Sequence[Any]]) -> tuple[bytes, int]:
    """The file, and how many rows it has. What is empty is the word null; what a value has of line ends and NUL bytes
    is in it (vendor documentation, bulk-extract; seen in the wild).
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=_SEPARATORS[data.format], lineterminator="\n")
    writer.writerow(data.headers)
    number = 0
    for row in rows:
        writer.writerow([_cell(value) for value in row])
        number += 1
    return out.getvalue().encode(), number


def _cell(value: Any) -> Any:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else value


def _piece(header: str, size: int) -> range | None:
    """The bytes that a Range header asks for, None where there are none."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return range(max(0, size - int(match[2])), size)
    start, end = int(match[1]), min(int(match[2] or size - 1), size - 1)
    return range(start, end + 1) if start <= end else None


def routes(extracts: Extracts) -> Mapping[tuple[str, str], Callable[[Request], Answer]]:
    """The handlers of all kinds, by method and path."""
    found: dict[tuple[str, str], Callable[[Request], Answer]] = {}
    for kind, root in KINDS.items():
        paths = (
            ("GET", "export.json", extracts.list_jobs),
            ("POST", "export/create.json", extracts.create),
            ("POST", "export/{export_id}/enqueue.json", extracts.enqueue),
            ("POST", "export/{export_id}/cancel.json", extracts.cancel),
            ("GET", "export/{export_id}/status.json", extracts.status),
            ("GET", "export/{export_id}/file.json", extracts.file),
        )
        for method, path, handler in paths:
            found[method, f"{root}/{path}"] = _of_kind(handler, kind)
    return found


def _of_kind(handler: Callable[[str, Request], Answer], kind: str) -> Callable[[Request], Answer]:
    return lambda request: handler(kind, request)
