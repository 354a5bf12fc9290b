"""Bulk API 2.0 queries in the Salesforce simulator (vendor documentation, Bulk API 2.0, Query)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from switchyard.testing.simulator import Answer, RateWindow, Refusal, Request
from switchyard.testing.simulator_jobs import Job, JobError, Jobs
from switchyard_connectors.salesforce.simulator_csv import DELIMITERS, ENDINGS, rows_of, written
from switchyard_connectors.salesforce.simulator_fields import Column
from switchyard_connectors.salesforce.simulator_jobs import PREFIX, QUERY, found, invalid, told
from switchyard_connectors.salesforce.simulator_org import DAY, Org, refusal
from switchyard_connectors.salesforce.simulator_records import Store
from switchyard_connectors.salesforce.simulator_schema import ObjectType
from switchyard_connectors.salesforce.simulator_select import Select, Selection
from switchyard_connectors.salesforce.simulator_sobjects import root_of, version_of
from switchyard_connectors.salesforce.simulator_soql import Query, parse

KIND = "query"
_LINKS = 5


@dataclass(slots=True)
class Extract:
    """What one query job is about, and what it found."""

    operation: str
    text: str
    query: Query
    columns: Sequence[Column]
    object: str
    version: float
    delimiter: str
    ending: str
    found: Selection | None = None


@dataclass(slots=True)
class BulkQueries:
    """Answers the query jobs.

    `page`: rows of one result where the client does not ask for fewer. `day`: the jobs of 24 hours.
    """

    org: Org
    store: Store
    jobs: Jobs
    page: int = 100_000
    day: RateWindow = field(default_factory=lambda: RateWindow(10_000, DAY))
    select: Select = field(init=False)

    def __post_init__(self) -> None:
        self.select = Select(self.store)

    def create(self, request: Request) -> Answer:
        body = request.json()
        operation = body.get("operation")
        if operation not in ("query", "queryAll"):
            raise invalid(f"Unsupported operation {operation}")
        extract = self._extract(operation, body, version_of(request))
        if not self.day.take(self.org.clock()):
            raise refusal(400, "EXCEEDED_QUOTA", "DailyBulkV2QueryJobs Limit exceeded.")
        job = self.jobs.create(KIND, QUERY, self._work, extract, self.org.new_id(PREFIX))
        answer = Answer(body=_body(job))
        self.jobs.enqueue(job)
        return answer

    def get(self, request: Request) -> Answer:
        return Answer(body=_body(found(self.jobs, request, KIND)))

    def list_all(self, _: Request) -> Answer:
        return Answer(body={"done": True, "records": [_body(job) for job in self.jobs.all(KIND)]})

    def abort(self, request: Request) -> Answer:
        job = found(self.jobs, request, KIND)
        if request.json().get("state") != "Aborted":
            raise invalid("a query job can only be Aborted")
        if job.over:
            raise invalid(f"Aborting already {job.state} Job not allowed")
        self.jobs.cancel(job)
        return Answer(body=_body(job))

    def delete(self, request: Request) -> Answer:
        job = found(self.jobs, request, KIND)
        if not job.over:
            raise invalid("only jobs that are over can be deleted")
        self.jobs.forget(job)
        return Answer(204)

    def results(self, request: Request) -> Answer:
        """One piece of the result, from `locator` on; the last one has the locator null, as a text."""
        extract, rows = self._results(found(self.jobs, request, KIND), request)
        arguments = request.arguments()
        size = int(arguments.get("maxRecords") or self.page)
        if size < 1:
            raise invalid("maxRecords must be positive")
        start = _place(arguments.get("locator"))
        stop = min(start + size, len(rows))
        header = [[column.name for column in extract.columns]]
        lines = [*header, *rows_of(rows, extract.columns, start, stop)]
        headers = {
            "content-type": "text/csv; charset=UTF-8",
            "sforce-numberofrecords": str(len(lines) - 1),
            "sforce-locator": _locator(stop) if stop < len(rows) else "null",
        }
        return Answer(200, written(lines, extract.delimiter, extract.ending).encode(), headers)

    def pages(self, request: Request) -> Answer:
        """Where up to five pieces of the result are, for whoever reads them at once."""
        job = found(self.jobs, request, KIND)
        _, rows = self._results(job, request)
        at = f"{root_of(request.path)}/jobs/query/{job.id}"
        start = _place(request.arguments().get("locator"))
        stops = range(start, max(len(rows), 1), self.page)
        links = [f"{at}/results" + (f"?locator={_locator(each)}" if each else "") for each in stops[:_LINKS]]
        body: dict[str, Any] = {"resultPages": [{"resultUrl": link} for link in links], "done": len(stops) <= _LINKS}
        if not body["done"]:
            body["nextRecordsUrl"] = f"{at}/resultPages?locator={_locator(stops[_LINKS])}"
        return Answer(body=body)

    def _results(self, job: Job[Extract], request: Request) -> tuple[Extract, Selection]:
        if version_of(request) != job.data.version:
            message = f"the job was created under version {job.data.version}; ask for its results under that"
            raise refusal(409, "API_VERSION_MISMATCH", message)
        if job.data.found is None or job.phase != "complete":
            raise refusal(400, "JOB_NOT_COMPLETE", f"the job is {job.state}; results are there when it is JobComplete")
        return job.data, job.data.found

    def _extract(self, operation: str, body: dict[str, Any], version: float) -> Extract:
        text = str(body.get("query", ""))
        query = parse(text)
        table = self.select.table(query)
        if not table.kind.bulk:
            raise refusal(400, "INVALIDENTITY", f"Entity '{table.kind.name}' is not supported by the Bulk API.")
        if query.counts or query.offset:
            raise refusal(400, "API_ERROR", "Aggregate queries and OFFSET are not supported in Bulk Query")
        columns = self.select.columns(query)
        _no_compounds(columns, table.kind)
        delimiter = DELIMITERS[body.get("columnDelimiter") or "COMMA"]
        ending = ENDINGS[body.get("lineEnding") or "LF"]
        return Extract(operation, text, query, columns, table.kind.name, version, delimiter, ending)

    def _work(self, job: Job[Extract]) -> None:
        extract = job.data
        try:
            extract.found = self.select.run(extract.query, everything=extract.operation == "queryAll")
        except Refusal as refused:
            raise JobError(refused.answer.body[0]["message"]) from refused


def _no_compounds(columns: Sequence[Column], kind: ObjectType) -> None:
    for column in columns:
        if column.field.kind == "address":
            message = f"Selecting compound data not supported in Bulk Query: {kind.name}.{column.name}"
            raise refusal(400, "FEATURENOTENABLED", message)


def _body(job: Job[Extract]) -> dict[str, Any]:
    extract = job.data
    return told(
        job,
        operation=extract.operation,
        object=extract.object,
        apiVersion=extract.version,
        jobType="V2Query",
        lineEnding={ending: name for name, ending in ENDINGS.items()}[extract.ending],
        columnDelimiter={sign: name for name, sign in DELIMITERS.items()}[extract.delimiter],
        **({"numberRecordsProcessed": len(extract.found)} if extract.found is not None else {}),
    )


def _locator(place: int) -> str:
    return base64.urlsafe_b64encode(str(place).encode()).decode().rstrip("=")


def _place(locator: str | None) -> int:
    if not locator or locator == "null":
        return 0
    try:
        return int(base64.urlsafe_b64decode(locator + "=" * (-len(locator) % 4)))
    except (binascii.Error, ValueError) as error:
        raise refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator") from error
