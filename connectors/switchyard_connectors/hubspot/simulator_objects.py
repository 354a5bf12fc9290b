"""Records of the HubSpot simulator over HTTP: single, paged, merged and erased. Batches are in `simulator_batches`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from switchyard.testing.simulator import Answer, Refusal, Request
from switchyard_connectors.hubspot.simulator_batches import BATCH, Batches, Write
from switchyard_connectors.hubspot.simulator_portal import Problem
from switchyard_connectors.hubspot.simulator_properties import texts
from switchyard_connectors.hubspot.simulator_records import is_contact
from switchyard_connectors.hubspot.simulator_shelf import Record

URL = 8_000
"""Characters of an address that are taken. HubSpot documents no number; 414 was seen by others (known limitation of
reading many properties by GET).
"""


class Objects(Batches):
    """The records of one type, and how they are called."""

    def create_one(self, request: Request) -> Answer:
        return self._single(self._plan_create(request.json(), set()), 201)

    def update_one(self, request: Request) -> Answer:
        record = self._addressed(request)
        values = texts(request.json()["properties"])
        return self._single(self._problem(values, record) or self._writing(record, values), 200)

    def get_one(self, request: Request) -> Answer:
        names = _names(request.arguments().get("properties"))
        return Answer(body=self.json(self._addressed(request), (*self._shown(), *names)))

    def archive_one(self, request: Request) -> Answer:
        self.archive(request.params["id"])
        return Answer(204)

    def list_page(self, request: Request) -> Answer:
        """A page in order of ids (vendor documentation, crm/objects/contacts)."""
        if len(request.path) + len(request.query) > URL:
            return Answer(414, "<html><head><title>414 Request-URI Too Large</title></head></html>")
        arguments = request.arguments()
        limit = int(arguments.get("limit", 10))
        if not 1 <= limit <= BATCH:
            raise self._portal.invalid(f"Invalid input: limit must be between 1 and {BATCH}")
        archived = arguments.get("archived", "").lower() == "true"
        names = (*self._shown(), *_names(arguments.get("properties")))
        found = self.records.behind(int(arguments.get("after", 0)))
        rows = list(islice((each for each in found if (each.archived is not None) == archived), limit + 1))
        body: dict[str, Any] = {"results": [self.json(each, names) for each in rows[:limit]]}
        if len(rows) > limit:
            last = rows[limit - 1].id
            body["paging"] = {"next": {"after": last, "link": f"{request.path}?after={last}"}}
        return Answer(body=body)

    def merge_call(self, request: Request) -> Answer:
        body = request.json()
        primary, other = self.resolved(body["primaryObjectId"]), self.resolved(body["objectIdToMerge"])
        if primary == other or self.live(primary) is None or self.live(other) is None:
            raise self._portal.invalid("both records of a merge must exist and differ")
        return Answer(body=self.json(self.records[self.merge(primary, other)], self.kind.always))

    def erase_call(self, request: Request) -> Answer:
        """GDPR delete. An address that nobody has is blocked from then on (vendor documentation, gdpr-delete)."""
        if not is_contact(self.kind):
            raise self._portal.absent("only contacts can be erased")
        body = request.json()
        wanted = body["objectId"]
        by_address = body.get("idProperty") == "email"
        record = self.find("email", wanted) if by_address else self.records.get(self.resolved(wanted))
        if record is not None:
            self.erase(record.id)
        elif by_address:
            self.block(wanted)
        return Answer(204)

    def routes(self) -> Iterable[tuple[str, str, Callable[[Request], Answer]]]:
        """Method, path behind the type, handler."""
        return (
            ("GET", "", self.list_page),
            ("POST", "", self.create_one),
            ("POST", "/batch/read", self.batch_read),
            ("POST", "/batch/create", self.batch_create),
            ("POST", "/batch/update", self.batch_update),
            ("POST", "/batch/upsert", self.batch_upsert),
            ("POST", "/batch/archive", self.batch_archive),
            ("POST", "/merge", self.merge_call),
            ("POST", "/gdpr-delete", self.erase_call),
            ("GET", "/{id}", self.get_one),
            ("PATCH", "/{id}", self.update_one),
            ("DELETE", "/{id}", self.archive_one),
        )

    def _shown(self) -> tuple[str, ...]:
        return (*self.kind.always, *self.kind.shown)

    def _addressed(self, request: Request) -> Record:
        wanted, by = request.params["id"], request.arguments().get("idProperty")
        record = self.find(by, wanted) if by else self.live(self.resolved(wanted))
        if record is None:
            raise self._portal.absent(f"Object not found.  objectId are usually numeric: {wanted}")
        return record

    def _single(self, planned: Problem | Write, status: int) -> Answer:
        if isinstance(planned, Problem):
            raise Refusal(self._portal.error(planned.status, planned))
        written = planned()
        assert written is not None  # noqa: S101  # only batches leave records out
        return Answer(status, self.json(written[0], written[0].properties))


def _names(listed: str | None) -> list[str]:
    return listed.split(",") if listed else []
