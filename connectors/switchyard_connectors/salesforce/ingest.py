"""Writing people by the Bulk API 2.0: a job with a file of rows, later a verdict for each, joined by our own key."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import csv as columnar

from switchyard.api import PermanentError, Rejection
from switchyard.api.http import json_of
from switchyard.api.records import JSON
from switchyard_connectors.salesforce.org import Org
from switchyard_connectors.salesforce.people import Row
from switchyard_connectors.salesforce.refusals import PASSING, job_id

LARGEST = 90_000_000
"""Bytes of a file: 150 MB after base64 are allowed (vendor documentation, Bulk API limits)."""
CLEARED = "#N/A"
"""In a file an empty cell leaves a field as it is; this clears it."""
WORKING = ("UploadComplete", "InProgress")
_KEPT = 8 * 86_400.0
"""Seconds, a day more than Salesforce keeps a job and its results."""
_ID, _ERROR = "sf__Id", "sf__Error"


@dataclass(slots=True)
class Job:
    """What has to be known when the verdicts come, perhaps in another process.

    Args:
        name, key_field: the object, and the field by which rows are joined.
        keys: value of the key field, in lower case → the hub's key.
        adds: keys whom the campaign waits for.
    """

    name: str
    key_field: str
    keys: Mapping[str, str]
    adds: Sequence[str]


@dataclass(slots=True)
class Verdicts:
    """What became of a job's rows. `rest`: rows, by the hub's key, that may be completed and sent again."""

    upserted: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, Rejection] = field(default_factory=dict)
    rest: list[Row] = field(default_factory=list)


class Ingest:
    """Bulk upserts. What a job holds is kept in `folder`, readable by nobody else."""

    def __init__(self, org: Org, folder: Path) -> None:
        self._org = org
        self._folder = folder

    def start(self, rows: Sequence[Row], name: str, key_field: str, adds: Sequence[str]) -> str:
        """Make a job, give it its rows, and return its id: `release` lets it begin."""
        self._tidy()
        body = {
            "object": name,
            "operation": "upsert",
            "externalIdFieldName": key_field,
            "contentType": "CSV",
            "lineEnding": "LF",
            "columnDelimiter": "COMMA",
        }
        made = json_of(self._org.request("POST", "jobs/ingest", json=body, repeatable=True))
        job = job_id(made)
        try:
            # A job takes one file once, so that a second try is refused whatever became of the first.
            self._org.request(
                "PUT",
                str(made["contentUrl"]),
                content=file_of(rows),
                headers={"content-type": "text/csv"},
                repeatable=False,
            )
            self._keep(job, Job(name, key_field, {row.value.lower(): row.key for row in rows}, adds))
        except BaseException:
            # Open jobs count, and this one nobody would ever end.
            with suppress(Exception):
                self._set(job, "Aborted")
            raise
        return job

    def release(self, job: str) -> None:
        """Let the job begin. To be called again where it is not known whether it was."""
        self._set(job, "UploadComplete")

    def look(self, job: str) -> tuple[str, str]:
        """The job's state, and why it failed where it did, in Salesforce's own words.

        Raises:
            PermanentError: Salesforce does not know the job.
        """
        found = self._org.get(f"jobs/ingest/{job}")
        return str(found.get("state")), str(found.get("errorMessage") or "")

    def known(self, job: str) -> Job:
        """What was kept of a job. Raises PermanentError where nothing was."""
        try:
            return Job(**json.loads(self._file(job).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise PermanentError("nothing is known here of the bulk job; the read-back tells what it did") from None

    def verdicts(self, job: str, why: str) -> Verdicts:
        """All verdicts of an ended job: sent = succeeded + failed + not processed, and who is in none of the files.

        Args:
            why: it ended early, where it did.
        """
        known = self.known(job)
        found = Verdicts()
        self._read(job, "successfulResults", known, found, self._succeeded)
        self._read(job, "failedResults", known, found, self._failed)
        settled = found.upserted.keys() | found.rejected.keys() | {row.key for row in found.rest}
        reason = f"Salesforce's bulk job did not get to the row: {why}".rstrip(": ")
        unsaid = Rejection("UNPROCESSED", reason, retryable=True)
        found.rejected |= {key: unsaid for key in known.keys.values() if key not in settled}
        return found

    def _read(self, job: str, kind: str, known: Job, found: Verdicts, take: Any) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{job}-{kind}.csv"
        try:
            self._org.download(f"jobs/ingest/{job}/{kind}", file)
            if not file.stat().st_size:
                return
            options = columnar.ConvertOptions(strings_can_be_null=False, column_types=_texts(file))
            parse = columnar.ParseOptions(newlines_in_values=True)
            for batch in columnar.open_csv(file, parse_options=parse, convert_options=options):
                for row in batch.to_pylist():
                    key = known.keys.get(str(row.get(known.key_field) or "").lower())
                    if key is not None:
                        take(key, row, known, found)
        finally:
            file.unlink(missing_ok=True)

    def _succeeded(self, key: str, row: Mapping[str, str], known: Job, found: Verdicts) -> None:  # noqa: ARG002
        found.upserted[key] = row[_ID]

    def _failed(self, key: str, row: Mapping[str, str], known: Job, found: Verdicts) -> None:
        code, _, message = str(row.get(_ERROR) or "UNKNOWN").partition(":")
        if code == "REQUIRED_FIELD_MISSING" or code in PASSING:
            given = {name: value for name, value in row.items() if not name.startswith("sf__") and value != ""}
            fields: dict[str, JSON] = {name: None if value == CLEARED else value for name, value in given.items()}
            found.rest.append(Row(key, str(row[known.key_field]), None, fields))
        else:
            found.rejected[key] = Rejection(code, message.rpartition(":")[0] or message or code)

    def _set(self, job: str, state: str) -> None:
        self._org.request("PATCH", f"jobs/ingest/{job}", json={"state": state}, repeatable=True)

    def _file(self, job: str) -> Path:
        if not job.isalnum():
            raise PermanentError("the ticket is no id of a bulk job")
        return self._folder / f"{job}.json"

    def _tidy(self) -> None:
        """Drop what was kept of jobs that Salesforce has forgotten. Before, the hub may ask for verdicts again."""
        for file in self._folder.iterdir() if self._folder.exists() else ():
            if time.time() - file.stat().st_mtime > _KEPT:
                file.unlink(missing_ok=True)

    def _keep(self, job: str, known: Job) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._file(job).with_suffix(".new")
        text = {"name": known.name, "key_field": known.key_field, "keys": known.keys, "adds": list(known.adds)}
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(text, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._file(job))


def alike(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Rows by the fields they have, in files that are not too large: a file's every row has every column, and a field
    that a row does not have must not be touched.
    """
    groups: dict[frozenset[str], list[Row]] = {}
    for row in rows:
        groups.setdefault(frozenset(row.fields), []).append(row)
    for group in groups.values():
        start, size = 0, 0
        for at, row in enumerate(group):
            length = sum(len(_cell(value).encode()) + 3 for value in row.fields.values())
            if size + length > LARGEST and at > start:
                yield group[start:at]
                start, size = at, 0
            size += length
        yield group[start:]


def file_of(rows: Sequence[Row]) -> bytes:
    """The rows as a CSV file with LF line ends, as the job says; rows have the same fields."""
    names = sorted(rows[0].fields)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_cell(row.fields[name]) for name in names] for row in rows])
    return text.getvalue().encode()


def _cell(value: JSON) -> str:
    if value is None:
        return CLEARED
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _texts(file: Path) -> dict[str, str]:
    with file.open(encoding="utf-8", newline="") as lines:
        return dict.fromkeys(next(csv.reader(lines)), "string")
