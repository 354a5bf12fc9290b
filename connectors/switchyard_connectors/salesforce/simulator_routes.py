"""The paths of the Salesforce simulator and who answers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from switchyard.testing.simulator import Answer, Handler, Request
from switchyard_connectors.salesforce.simulator_collections import Collections
from switchyard_connectors.salesforce.simulator_composite import Composite

if TYPE_CHECKING:
    from switchyard_connectors.salesforce.simulator import SalesforceSimulator

TOKEN, REVOKE, VERSIONS = "/services/oauth2/token", "/services/oauth2/revoke", "/services/data"
OPEN = frozenset({TOKEN, REVOKE, VERSIONS})
"""What needs no session and costs no call."""
_ROOT = "/services/data/{version}"
_Path: TypeAlias = tuple[str, str, Handler]


def routes(simulator: SalesforceSimulator, answer: Callable[[Request], Answer]) -> Iterator[_Path]:
    """All routes. `answer` answers a request within another one."""
    yield "POST", TOKEN, lambda request: simulator.auth.token(request, simulator.url)
    yield "POST", REVOKE, simulator.auth.revoke
    yield "GET", VERSIONS, simulator.objects.versions
    yield "GET", f"{_ROOT}/limits", lambda _: _limits(simulator)
    queries = simulator.queries
    yield "GET", f"{_ROOT}/query", queries.query
    yield "GET", f"{_ROOT}/queryAll", queries.query_all
    yield "GET", f"{_ROOT}/query/{{locator}}", queries.more
    yield "GET", f"{_ROOT}/queryAll/{{locator}}", queries.more
    yield from _records(simulator, f"{_ROOT}/sobjects")
    yield from _jobs(simulator, f"{_ROOT}/jobs")
    yield from _composite(simulator, f"{_ROOT}/composite", answer)


def _records(simulator: SalesforceSimulator, root: str) -> Iterator[_Path]:
    objects, replication, one = simulator.objects, simulator.replication, f"{root}/{{object}}"
    yield "GET", root, objects.directory
    yield "POST", one, objects.create
    yield "GET", f"{one}/describe", objects.describe
    yield "GET", f"{one}/deleted", replication.deleted
    yield "GET", f"{one}/updated", replication.updated
    yield "GET", f"{one}/{{id}}", objects.read
    yield "PATCH", f"{one}/{{id}}", objects.update
    yield "DELETE", f"{one}/{{id}}", objects.delete
    yield "GET", f"{one}/{{field}}/{{value}}", objects.read_by
    yield "PATCH", f"{one}/{{field}}/{{value}}", objects.upsert_by


def _jobs(simulator: SalesforceSimulator, root: str) -> Iterator[_Path]:
    queries, ingest = simulator.bulk_queries, simulator.bulk_ingest
    for name, jobs in (("query", queries), ("ingest", ingest)):
        yield "POST", f"{root}/{name}", jobs.create
        yield "GET", f"{root}/{name}", jobs.list_all
        yield "GET", f"{root}/{name}/{{job}}", jobs.get
        yield "DELETE", f"{root}/{name}/{{job}}", jobs.delete
    yield "PATCH", f"{root}/query/{{job}}", queries.abort
    yield "GET", f"{root}/query/{{job}}/results", queries.results
    yield "GET", f"{root}/query/{{job}}/resultPages", queries.pages
    yield "PATCH", f"{root}/ingest/{{job}}", ingest.close
    yield "PUT", f"{root}/ingest/{{job}}/batches", ingest.upload
    yield "GET", f"{root}/ingest/{{job}}/successfulResults", ingest.successful
    yield "GET", f"{root}/ingest/{{job}}/failedResults", ingest.failed
    # The documentation writes it in one way, clients in the other.
    yield "GET", f"{root}/ingest/{{job}}/unprocessedrecords", ingest.unprocessed
    yield "GET", f"{root}/ingest/{{job}}/unprocessedRecords", ingest.unprocessed


def _composite(simulator: SalesforceSimulator, root: str, answer: Callable[[Request], Answer]) -> Iterator[_Path]:
    composite = Composite(simulator.store, answer)
    collections = Collections(simulator.store, simulator.writes, simulator.objects)
    yield "POST", root, composite.composite
    yield "POST", f"{root}/batch", composite.batch
    yield "POST", f"{root}/sobjects", collections.create
    yield "PATCH", f"{root}/sobjects", collections.update
    yield "DELETE", f"{root}/sobjects", collections.delete
    yield "GET", f"{root}/sobjects/{{object}}", collections.read
    yield "POST", f"{root}/sobjects/{{object}}", collections.read
    # The vendor's own samples name the object here too.
    yield "PATCH", f"{root}/sobjects/{{object}}", collections.update
    yield "DELETE", f"{root}/sobjects/{{object}}", collections.delete
    yield "PATCH", f"{root}/sobjects/{{object}}/{{field}}", collections.upsert


def _limits(simulator: SalesforceSimulator) -> Answer:
    return Answer(body=simulator.limits.overview(simulator.bulk_queries.day, simulator.bulk_ingest.day))
