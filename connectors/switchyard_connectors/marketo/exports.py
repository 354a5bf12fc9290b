"""Bulk extract: jobs that are created, queued, watched and fetched, and that outlive a killed run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from switchyard.api import PermanentError, QuotaExhausted, TransientError
from switchyard.api.records import JSON
from switchyard_connectors.marketo.client import Marketo
from switchyard_connectors.marketo.config import poll_of
from switchyard_connectors.marketo.envelope import NO_SUCH, Envelope, midnight

_JOBS = "1029"
_NO_FILTER = "1035"
# The three meanings of 1029 differ in their words alone.
_QUEUED_ALREADY = re.compile(r"already\s+queued", re.IGNORECASE)
_BYTES_USED_UP = re.compile(r"quota", re.IGNORECASE)
_LOOKS = 30
"""Questions, a minute apart, after a job within one run."""


class FilterUnsupported(PermanentError):
    """The subscription does not have this filter (1035)."""


class JobLost(Exception):
    """The job failed, was cancelled, or is not known any more: another one has to be made."""


@dataclass(frozen=True, slots=True)
class Extract:
    """What jobs of one kind ask for.

    Args:
        path: that of the kind, below /bulk/v1.
        fields: the columns.
        window: the filter for a span of time, None where `extra` is enough.
        extra: the other filters.
    """

    path: str
    fields: Sequence[str]
    window: str | None
    extra: Mapping[str, JSON]


class Exports:
    """The jobs of one stream.

    Args:
        folder: where files are kept while they are read.
    """

    def __init__(self, marketo: Marketo, folder: Path) -> None:
        self._marketo = marketo
        self._folder = folder

    def create(self, extract: Extract, start: str, end: str) -> str:
        """Create a job for a window, both ends included, and give its id. It waits for `queue`.

        Raises:
            FilterUnsupported: the subscription cannot filter so.
            TransientError: there are too many jobs.
        """
        body: JSON = {
            "format": "CSV",
            "fields": list(extract.fields),
            "filter": {
                **extract.extra,
                **({extract.window: {"startAt": start, "endAt": end}} if extract.window else {}),
            },
        }
        answer = self._marketo.call(
            "POST", f"{_root(extract)}/create.json", json=body, expected=(_JOBS, _NO_FILTER), repeatable=True
        )
        if answer.code == _NO_FILTER:
            raise FilterUnsupported(f"this Marketo subscription cannot filter its bulk extract by {extract.window}")
        if answer.code == _JOBS:
            raise _refused(answer)
        return _job_id(answer)

    def queue(self, extract: Extract, jobs: Sequence[str]) -> None:
        """Queue new jobs, in their order. One for which there is no room is queued when it is waited for.

        Raises:
            QuotaExhausted: of the first, as many bytes were exported as may be in a day.
        """
        for number, job in enumerate(jobs):
            try:
                self._enqueue(extract, job)
            except QuotaExhausted:
                if number == 0:
                    raise
                return

    def fetch(self, extract: Extract, job: str, *, is_young: bool) -> Path | None:
        """The file of a job, queued and waited for where that is still to be done; None where it found nothing.

        Args:
            is_young: whether it was made within the last minute, so that there is nothing new to be told of it.

        Raises:
            JobLost: it will never have one.
            TransientError: it is still at work, and the next run goes on.
            QuotaExhausted: as many bytes were exported as may be in a day.
        """
        file = self._folder / f"{job}.csv"
        bucket = poll_of(extract.path)
        for look in range(_LOOKS):
            # The status of a job changes once a minute, so the bucket has one question a minute.
            answer = self._marketo.get(
                f"{_root(extract)}/{job}/status.json",
                expected=(NO_SUCH,),
                bucket=bucket if look or is_young else "default",
            )
            found = answer.result[0] if answer.result else {}
            state = str(found.get("status") or "")
            if state == "Completed" and found.get("numberOfRecords") == 0:
                return None
            if state == "Completed":
                self._download(extract, job, file, found)
                return file
            if state == "Created":
                self._enqueue(extract, job)
            elif state not in ("Queued", "Processing"):
                raise JobLost(job)
        raise TransientError("a bulk extract job of Marketo is still at work; the next run goes on with it")

    def drop(self, job: str) -> None:
        """Remove the file of a job, where there is one."""
        (self._folder / f"{job}.csv").unlink(missing_ok=True)

    def _enqueue(self, extract: Extract, job: str) -> None:
        answer = self._marketo.call("POST", f"{_root(extract)}/{job}/enqueue.json", expected=(_JOBS,), repeatable=True)
        if answer.code == _JOBS and not _QUEUED_ALREADY.search(answer.message):
            error = _refused(answer)
            if isinstance(error, QuotaExhausted):
                raise error

    def _download(self, extract: Extract, job: str, file: Path, found: Mapping[str, Any]) -> None:
        if file.exists() and _is_whole(file, found):
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        for other in self._folder.iterdir():
            # Of a job that nobody goes on with: one of a stream is read at a time.
            other.unlink()
        self._marketo.download(f"{_root(extract)}/{job}/file.json", file)
        if not _is_whole(file, found):
            file.unlink()
            raise TransientError(
                "the file of a Marketo job is not what its checksum says; the next run fetches it anew"
            )


def _root(extract: Extract) -> str:
    return f"/bulk/v1/{extract.path}/export"


def _job_id(answer: Envelope) -> str:
    job = str(answer.result[0].get("exportId") or "") if answer.result else ""
    # It names a file here.
    if not re.fullmatch(r"[\w-]{1,80}", job):
        raise TransientError("Marketo created a job and gave no usable id of it")
    return job


def _refused(answer: Envelope) -> TransientError:
    """1029 is told apart from the quota of calls: other work of the instance goes on."""
    if _BYTES_USED_UP.search(answer.message):
        until = midnight(datetime.now(UTC))
        return QuotaExhausted(
            f"the Marketo instance's 500 MB of bulk extract are used up until {until:%Y-%m-%d %H:%M} UTC", until=until
        )
    return TransientError("Marketo's queue of bulk extract jobs is full; the next run tries again")


def _is_whole(file: Path, found: Mapping[str, Any]) -> bool:
    size = found.get("fileSize")
    if isinstance(size, int) and file.stat().st_size != size:
        return False
    kind, _, expected = str(found.get("fileChecksum") or "").partition(":")
    if kind.lower() != "sha256":
        return True
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == expected.lower()
