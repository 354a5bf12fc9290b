"""Reading by the Bulk API 2.0: a job, its results page by page through files, its end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from switchyard.api import TransientError
from switchyard.api.http import json_of
from switchyard_connectors.salesforce.describe import Shape
from switchyard_connectors.salesforce.org import Org
from switchyard_connectors.salesforce.refusals import ApiError, job_id
from switchyard_connectors.salesforce.rows import nothing, tables

_GROWTH = (0.0, 1.0, 2.5, 5.0, *[15.0] * 40)
"""Waits between two looks, in multiples of the first: every look is a metered call."""
_REFUSED_OBJECT = ("INVALIDENTITY", "INVALID_ENTITY", "FEATURENOTENABLED", "UNSUPPORTED_OBJECT")
_NOT_FOUND = frozenset({404, 409, 410})
"""Of a job: it was forgotten after seven days, or belongs to another version of the API."""


class TooMuch(Exception):
    """The job was too large for Salesforce: a smaller slice may do."""


class NotInBulk(Exception):
    """The Bulk API does not read this object."""


class JobGone(Exception):
    """Salesforce does not know the job any more: the slice begins anew."""


class JobFailed(ApiError):
    """The job failed for good, or somebody aborted it."""


class BulkQuery:
    """Bulk reading of one object.

    Args:
        folder: for the results on their way, one file for an object: what a killed run left is overwritten.
        pause: waits so many seconds.
    """

    def __init__(
        self, org: Org, shape: Shape, folder: Path, *, page: int, wait: float, pause: Callable[[float], None]
    ) -> None:
        self._org = org
        self._shape = shape
        self._folder = folder
        self._page = page
        self._wait = wait
        self._pause = pause

    def start(self, soql: str, *, deleted: bool) -> str:
        """Create a job and give its id.

        Raises:
            NotInBulk: the object is not for the Bulk API.
        """
        body = {"operation": "queryAll" if deleted else "query", "query": soql, "contentType": "CSV"}
        shape = {"columnDelimiter": "COMMA", "lineEnding": "LF"}
        try:
            # A job made twice costs a call; without knowing of it nobody could read it.
            answer = self._org.request("POST", "jobs/query", json=body | shape, repeatable=True)
        except ApiError as error:
            if error.code in _REFUSED_OBJECT or error.code == "API_ERROR":
                raise NotInBulk from error
            raise
        return job_id(json_of(answer))

    def wait(self, job: str) -> None:
        """Wait for the job's end.

        Raises:
            TransientError: it is still at work; a later run asks again.
            TooMuch, NotInBulk, JobFailed, JobGone: see there.
        """
        for times in _GROWTH:
            if times:
                self._pause(min(self._wait * times, 30.0))
            found = self._look(job)
            state = found.get("state")
            if state == "JobComplete":
                return
            if state in ("Failed", "Aborted"):
                raise _failure(str(found.get("errorMessage") or ""), self._shape.name)
        raise TransientError(f"Salesforce is still reading {self._shape.name} in bulk", retry_after=60.0)

    def results(self, job: str, locator: str | None, user_id: str | None) -> Iterator[tuple[pa.Table, str | None]]:
        """The tables of one page of results, an empty one last, each with the locator of the page behind, None where
        there is none.

        Raises:
            JobGone: see there.
            TransientError: not all of the page came, or Salesforce does not say whether there is another.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{self._shape.name}.csv"
        try:
            headers = self._org.download(
                f"jobs/query/{job}/results", file, params={"maxRecords": self._page, "locator": locator}
            )
            said, count = headers.get("sforce-locator"), headers.get("sforce-numberofrecords")
            if said is None:
                raise TransientError("a result of Salesforce's Bulk API does not say whether there is more")
            following, rows = None if said == "null" else said, 0
            for table in tables(file, self._shape, user_id) if count != "0" else ():
                rows += table.num_rows
                yield table, following
            if count is not None and count != str(rows):
                raise TransientError(f"a result of Salesforce's Bulk API has {rows:,} records of those announced")
            yield nothing(self._shape), following
        except ApiError as error:
            raise _lost(error) from error
        finally:
            file.unlink(missing_ok=True)

    def end(self, job: str) -> None:
        """Delete the job with its results."""
        with suppress(ApiError, TransientError):
            self._org.request("DELETE", f"jobs/query/{job}")

    def _look(self, job: str) -> Any:
        try:
            return self._org.get(f"jobs/query/{job}")
        except ApiError as error:
            raise _lost(error) from error


def _lost(error: ApiError) -> Exception:
    return JobGone() if error.status in _NOT_FOUND else error


def _failure(message: str, name: str) -> Exception:
    """What a failed job means. There is no code: its words begin with one, or are known."""
    if "QUERY_TIMEOUT" in message or "Retried more than" in message:
        return TooMuch()
    if any(word in message for word in _REFUSED_OBJECT) or "not supported" in message:
        return NotInBulk()
    begun = re.match(r"[A-Za-z_]{1,60}", message)
    code = "INVALID_FIELD" if "INVALID_FIELD" in message else begun[0] if begun else "without a reason"
    return JobFailed(f"Salesforce's bulk job for {name} failed ({code})", code, 0)
