"""Contacts of the HubSpot simulator: single, paged and in batches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import Any, TypeAlias

from switchyard.testing.simulator import Answer, Refusal, Request
from switchyard.testing.simulator_delays import Delayed
from switchyard_connectors.hubspot.simulator_portal import Portal, Problem, iso
from switchyard_connectors.hubspot.simulator_properties import Properties, texts

BATCH = 100
_ALWAYS = ("createdate", "email", "hs_object_id", "lastmodifieddate")
DEFAULT = ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname")


@dataclass(slots=True)
class Contact:
    """A record; times in epoch seconds."""

    id: str
    created: float
    updated: float
    properties: dict[str, str] = field(default_factory=dict)
    archived: float | None = None


_KEPT = tuple(each.name for each in fields(Contact))

Write: TypeAlias = "Callable[[], tuple[Contact, bool] | None]"
Planner: TypeAlias = "Callable[[Mapping[str, Any], set[str]], Problem | Write]"


class Contacts:
    """The records, with an index over every unique property; additional e-mails are in that of `email`.

    `merges_keep_id`: whether the record that two become keeps the id of the primary one, as in accounts in a beta, or
    gets a new one (vendor changelog, updated merge functionality for contacts and companies).
    """

    def __init__(self, portal: Portal, properties: Properties, forget: Callable[[str, str | None], None]) -> None:
        """`forget(id, heir)` is told of records that cease to be, and which one takes their place on lists."""
        self.records: dict[str, Contact] = {}
        self.merged: dict[str, str] = {}
        self.merges_keep_id = False
        self._index: Delayed[str, Contact] | None = None
        self._lag = 0.0
        self._portal = portal
        self._properties = properties
        self._forget = forget
        self._unique: dict[str, dict[str, str]] = {"email": {}}
        self._blocked: set[str] = set()
        # All ids ever given, rising; some are of records that are gone.
        self._ids: list[int] = []

    @property
    def lag(self) -> float:
        """Seconds after which a change of a record is found by searching."""
        return self._lag

    @lag.setter
    def lag(self, seconds: float) -> None:
        if not seconds:
            self._index = None
        elif self._index is None:
            self._index = Delayed({each.id: _copy(each) for each in self.records.values()})
        self._lag = seconds

    def searchable(self) -> Iterable[Contact]:
        """The records as a search sees them, archived ones included."""
        if self._index is None:
            return self.records.values()
        return self._index.until(self._portal.clock() - self._lag).values()

    def resolved(self, record_id: str) -> str:
        """The id of the record that this one was merged into, in the end; its own where it was not."""
        while record_id in self.merged:
            record_id = self.merged[record_id]
        return record_id

    def live(self, record_id: str) -> Contact | None:
        """The record, unless it is archived, merged away or was never there."""
        contact = self.records.get(record_id)
        return contact if contact is not None and contact.archived is None else None

    def find(self, name: str, value: str) -> Contact | None:
        """The live record with this value of a unique property."""
        return self.live(self._unique.get(name, {}).get(value.strip().lower(), ""))

    def add(self, values: Mapping[str, Any]) -> Contact:
        """Create a record, as a person inside HubSpot would."""
        contact, _ = self._create(texts(values))
        return contact

    def update(self, record_id: str, values: Mapping[str, Any]) -> None:
        """Change a record, as a person inside HubSpot would."""
        self._store(self.records[record_id], texts(values))

    def archive(self, record_id: str) -> None:
        """Archive a record. It leaves every list, and its unique values are free again."""
        if contact := self.live(record_id):
            contact.archived = self._portal.clock()
            self._release(contact)
            self._forget(record_id, None)
            self._reindex(contact)

    def merge(self, primary_id: str, other_id: str) -> str:
        """Merge two records: the id of the one they become. Both ids lead to it from then on; it has the values and the
        main address of the primary one, all other addresses as additional ones, and is on the lists of both.
        """
        primary, other = self.records[primary_id], self.records[other_id]
        addresses = [address for each in (primary, other) for address in _addresses(each)]
        ids = [value for value in primary.properties.get("hs_merged_object_ids", "").split(";") if value]
        gone = [other] if self.merges_keep_id else [primary, other]
        heir = primary
        if not self.merges_keep_id:
            heir = self._blank()
            heir.properties |= {**primary.properties, "hs_object_id": heir.id}
            ids.append(primary_id)
        for each in gone:
            del self.records[each.id]
            self._release(each)
        heir.properties = {**other.properties, **heir.properties}
        heir.properties["hs_additional_emails"] = ";".join(dict.fromkeys(addresses[1:]))
        heir.properties["hs_merged_object_ids"] = ";".join([*ids, other_id])
        heir.updated = self._portal.clock()
        for name, index in self._unique.items():
            held = addresses if name == "email" else [heir.properties.get(name, "").lower()]
            index.update((value, heir.id) for value in held if value)
        for each in gone:
            self.merged[each.id] = heir.id
            self._forget(each.id, heir.id)
            self._reindex(each, gone=True)
        self._reindex(heir)
        return heir.id

    def erase(self, record_id: str) -> None:
        """Delete a record for good (GDPR). Its addresses cannot be used again."""
        contact = self.records.pop(record_id)
        self._blocked.update(_addresses(contact))
        self._release(contact)
        self._forget(record_id, None)
        self._reindex(contact, gone=True)

    def block(self, address: str) -> None:
        """Refuse this address from now on, as after a GDPR delete."""
        self._blocked.add(address.strip().lower())

    def dump(self) -> dict[str, Any]:
        """All records and what was ever said of others, as JSON. What searches do not see yet they see then."""
        return {
            "records": [{name: getattr(each, name) for name in _KEPT} for each in self.records.values()],
            "merged": self.merged,
            "unique": self._unique,
            "blocked": sorted(self._blocked),
            "ids": self._ids,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.records = {each["id"]: Contact(**each) for each in state["records"]}
        self.merged, self._unique, self._ids = state["merged"], state["unique"], state["ids"]
        self._blocked = set(state["blocked"])
        lag, self.lag = self._lag, 0.0
        self.lag = lag

    def create_one(self, request: Request) -> Answer:
        write = self._plan_create(request.json(), set())
        return self._single(write, 201)

    def update_one(self, request: Request) -> Answer:
        contact = self._addressed(request)
        values = texts(request.json()["properties"])
        problem = self._problem(values, contact)
        return self._single(problem or self._writing(contact, values), 200)

    def get_one(self, request: Request) -> Answer:
        names = _names(request.arguments().get("properties"))
        return Answer(body=contact_json(self._addressed(request), (*DEFAULT, *names)))

    def archive_one(self, request: Request) -> Answer:
        self.archive(request.params["id"])
        return Answer(204)

    def list_page(self, request: Request) -> Answer:
        """A page in order of ids (vendor documentation, crm/objects/contacts)."""
        arguments = request.arguments()
        limit = int(arguments.get("limit", 10))
        if not 1 <= limit <= BATCH:
            raise self._portal.invalid(f"Invalid input: limit must be between 1 and {BATCH}")
        archived = arguments.get("archived") == "true"
        after = int(arguments.get("after", 0))
        names = (*DEFAULT, *_names(arguments.get("properties")))
        found = (self.records.get(str(each)) for each in islice(self._ids, bisect_right(self._ids, after), None))
        wanted = (c for c in found if c is not None and (c.archived is not None) == archived)
        rows = list(islice(wanted, limit + 1))
        body: dict[str, Any] = {"results": [contact_json(contact, names) for contact in rows[:limit]]}
        if len(rows) > limit:
            last = rows[limit - 1].id
            body["paging"] = {"next": {"after": last, "link": f"{request.path}?after={last}"}}
        return Answer(body=body)

    def merge_call(self, request: Request) -> Answer:
        body = request.json()
        primary, other = self.resolved(body["primaryObjectId"]), self.resolved(body["objectIdToMerge"])
        if primary == other or self.live(primary) is None or self.live(other) is None:
            raise self._portal.invalid("both records of a merge must exist and differ")
        return Answer(body=contact_json(self.records[self.merge(primary, other)], _ALWAYS))

    def erase_call(self, request: Request) -> Answer:
        """GDPR delete. An address that nobody has is blocked from then on (vendor documentation, gdpr-delete)."""
        body = request.json()
        wanted = body["objectId"]
        by_address = body.get("idProperty") == "email"
        contact = self.find("email", wanted) if by_address else self.records.get(self.resolved(wanted))
        if contact is not None:
            self.erase(contact.id)
        elif by_address:
            self.block(wanted)
        return Answer(204)

    def batch_read(self, request: Request) -> Answer:
        """Read by id or by a unique property. The id of a record that was merged away gives the one it became."""
        inputs = self._inputs(request)
        body = request.json()
        names, by = (*_ALWAYS, *body.get("properties", ())), body.get("idProperty")
        results, missing = [], []
        for item in inputs:
            contact = self.find(by, item["id"]) if by else self.live(self.resolved(item["id"]))
            if contact is not None:
                results.append(contact_json(contact, names))
            else:
                missing.append(item["id"])
        message = "Could not get some CONTACT objects, they may be deleted or not exist."
        absent = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": message, "context": {"ids": missing}}
        return self._batch_answer(results, [absent] if missing else [], 200)

    def batch_create(self, request: Request) -> Answer:
        return self._batch(self._inputs(request, unique=False), self._plan_create, 201)

    def batch_update(self, request: Request) -> Answer:
        return self._batch(self._inputs(request), self._plan_update, 200)

    def batch_upsert(self, request: Request) -> Answer:
        return self._batch(self._inputs(request), self._plan_upsert, 200)

    def batch_archive(self, request: Request) -> Answer:
        for item in self._inputs(request):
            self.archive(item["id"])
        return Answer(204)

    def _inputs(self, request: Request, *, unique: bool = True) -> Sequence[Mapping[str, Any]]:
        body = request.json()
        inputs = body.get("inputs") if isinstance(body, dict) else None
        if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
            raise self._portal.invalid("Invalid input JSON: inputs must be a list of objects")
        if len(inputs) > BATCH:
            raise self._portal.invalid(f"The maximum number of inputs is {BATCH}; {len(inputs)} were given")
        if unique:
            ids = [str(item.get("id", "")).strip().lower() for item in inputs]
            if len(set(ids)) < len(ids):
                twice = sorted({key for key in ids if ids.count(key) > 1})
                message = f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique"
                raise self._portal.invalid(message, ids=twice)
        return inputs

    def _batch(self, inputs: Sequence[Mapping[str, Any]], plan: Planner, status: int) -> Answer:
        """Plan every input before the first is written: one bad input without a trace id refuses them all."""
        taken: set[str] = set()
        writes: list[Write] = []
        errors = []
        for item in inputs:
            planned = plan(item, taken)
            if not isinstance(planned, Problem):
                writes.append(planned)
                continue
            trace = item.get("objectWriteTraceId")
            if trace is None:
                return self._portal.error(planned.status, planned)
            error = {"status": "error", "category": planned.category, "message": planned.message}
            context = {**(planned.context or {}), "objectWriteTraceId": [trace]}
            errors.append(error | {"context": context, "errors": list(planned.errors), "links": {}})
        written = [done for write in writes if (done := write()) is not None]
        results = [contact_json(contact, contact.properties) | {"new": new} for contact, new in written]
        # HubSpot answers in an order of its own.
        self._portal.random.shuffle(results)
        return self._batch_answer(results, errors, status)

    def _batch_answer(self, results: list[dict[str, Any]], errors: list[dict[str, Any]], status: int) -> Answer:
        now = self._portal.now()
        body: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
        if errors:
            return Answer(207, body | {"numErrors": len(errors), "errors": errors})
        return Answer(status, body)

    def _plan_create(self, item: Mapping[str, Any], taken: set[str]) -> Problem | Write:
        values = texts(item.get("properties") or {})
        return self._problem(values, None) or self._creating(values, taken)

    def _creating(self, values: Mapping[str, str], taken: set[str]) -> Problem | Write:
        """Two inputs of a batch cannot both become the contact of one address."""
        if (address := values.get("email", "").strip().lower()) and address in taken:
            return Problem("CONFLICT", "Contact already exists.")
        taken.add(address)
        return lambda: self._create(values)

    def _plan_update(self, item: Mapping[str, Any], _: set[str]) -> Problem | Write:
        if item.get("idProperty") is not None:
            return _not_unique(item["idProperty"])
        return self._plan_by_id(item)

    def _plan_upsert(self, item: Mapping[str, Any], taken: set[str]) -> Problem | Write:
        by = item.get("idProperty")
        if by is None:
            return self._plan_by_id(item)
        if by not in self._properties.unique:
            return _not_unique(by)
        values = texts(item.get("properties") or {})
        key = str(item["id"]).strip().lower() if by == "email" else str(item["id"]).strip()
        contact = self.find(by, key)
        values.setdefault(by, key)
        if contact is not None and by == "email" and values["email"].strip().lower() == key:
            # An additional address names the contact; it does not become the main one.
            del values["email"]
        if problem := self._problem(values, contact):
            return problem
        return self._writing(contact, values) if contact is not None else self._creating(values, taken)

    def _plan_by_id(self, item: Mapping[str, Any]) -> Problem | Write:
        record_id = str(item.get("id"))
        if self.live(self.resolved(record_id)) and record_id in self.merged:
            # Left out of the answer without a word.
            return lambda: None
        contact = self.live(record_id)
        if contact is None:
            return Problem("OBJECT_NOT_FOUND", "Could not find the object", context={"ids": [record_id]})
        values = texts(item.get("properties") or {})
        return self._problem(values, contact) or self._writing(contact, values)

    def _problem(self, values: Mapping[str, str], contact: Contact | None) -> Problem | None:
        if problem := self._properties.problem(values):
            return problem
        if values.get("email", "").strip().lower() in self._blocked:
            return Problem("VALIDATION_ERROR", "The email address is on the blocklist of deleted contacts")
        for name in values.keys() & self._properties.unique:
            other = self.find(name, values[name]) if values[name] else None
            if other is not None and other is not contact:
                return Problem("CONFLICT", f"Contact already exists. Existing ID: {other.id}")
        return None

    def _create(self, values: Mapping[str, str]) -> tuple[Contact, bool]:
        contact = self._blank()
        self._store(contact, values)
        return contact, True

    def _blank(self) -> Contact:
        now = self._portal.clock()
        record_id = self._ids[-1] + 1 if self._ids else 101
        self._ids.append(record_id)
        contact = Contact(str(record_id), now, now)
        self.records[contact.id] = contact
        contact.properties = {"hs_object_id": contact.id, "createdate": iso(now)}
        return contact

    def _writing(self, contact: Contact, values: Mapping[str, str]) -> Write:
        def write() -> tuple[Contact, bool]:
            self._store(contact, values)
            return contact, False

        return write

    def _store(self, contact: Contact, values: Mapping[str, str]) -> None:
        properties = contact.properties
        for name, value in values.items():
            if name == "email":
                value = value.strip().lower()
            if name in self._properties.unique:
                index = self._unique.setdefault(name, {})
                index.pop(properties.get(name, "").lower(), None)
                if value:
                    index[value.lower()] = contact.id
            if value:
                properties[name] = value
            else:
                properties.pop(name, None)
        contact.updated = self._portal.clock()
        properties["lastmodifieddate"] = iso(contact.updated)
        self._reindex(contact)

    def _reindex(self, contact: Contact, *, gone: bool = False) -> None:
        if self._index is not None:
            self._index.note(self._portal.clock(), contact.id, None if gone else _copy(contact))

    def _release(self, contact: Contact) -> None:
        for name, index in self._unique.items():
            for value in _addresses(contact) if name == "email" else [contact.properties.get(name, "").lower()]:
                index.pop(value, None)

    def _addressed(self, request: Request) -> Contact:
        wanted, by = request.params["id"], request.arguments().get("idProperty")
        contact = self.find(by, wanted) if by else self.live(self.resolved(wanted))
        if contact is None:
            raise self._portal.absent(f"Object not found.  objectId are usually numeric: {wanted}")
        return contact

    def _single(self, planned: Problem | Write, status: int) -> Answer:
        if isinstance(planned, Problem):
            raise Refusal(self._portal.error(planned.status, planned))
        written = planned()
        assert written is not None  # noqa: S101  # only batches leave records out
        return Answer(status, contact_json(written[0], written[0].properties))


def _copy(contact: Contact) -> Contact:
    return replace(contact, properties=dict(contact.properties))


def _not_unique(name: str) -> Problem:
    return Problem("VALIDATION_ERROR", f"Unable to perform update/upsert by non-unique 0-1 property: {name}")


def _addresses(contact: Contact) -> list[str]:
    """Every address of the contact, the main one first."""
    listed = contact.properties.get("hs_additional_emails", "").split(";")
    return [address for address in (contact.properties.get("email"), *listed) if address]


def _names(listed: str | None) -> list[str]:
    return listed.split(",") if listed else []


def contact_json(contact: Contact, names: Iterable[str]) -> dict[str, Any]:
    """The record as HubSpot answers it, with those of the named properties that it has."""
    properties = contact.properties
    body: dict[str, Any] = {
        "id": contact.id,
        "properties": {name: properties.get(name) for name in names if name in properties},
        "createdAt": iso(contact.created),
        "updatedAt": iso(contact.updated),
        "archived": contact.archived is not None,
    }
    if contact.archived is not None:
        body["archivedAt"] = iso(contact.archived)
    return body
