"""The list sink: campaigns whose members are exactly whom the hub wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil
from urllib.parse import quote

from switchyard.api import (
    Context,
    Cursor,
    ListChanges,
    ListReceipt,
    ListRef,
    Page,
    PermanentError,
    Rejection,
    RemoteList,
)
from switchyard.api.lanes import pause
from switchyard_connectors.salesforce import soql
from switchyard_connectors.salesforce.batches import ROWS, Patience
from switchyard_connectors.salesforce.campaign_members import IN_LOOK_UP, Memberships
from switchyard_connectors.salesforce.campaigns import ensure_status, known_campaign, make_campaign, named_campaign
from switchyard_connectors.salesforce.config import SalesforceConfig
from switchyard_connectors.salesforce.describe import Descriptions
from switchyard_connectors.salesforce.ingest import WORKING, Ingest, alike
from switchyard_connectors.salesforce.merges import gone
from switchyard_connectors.salesforce.org import IN_ONE_CALL, Org
from switchyard_connectors.salesforce.people import EMAIL, LOOKED_UP, People, Row, rows_of

_PAGE = 2_000
_JOB = 6
"""Calls of a bulk job: create, put, release, one look, successes, failures."""
_NO_RECORD = Rejection("no_record", "no Salesforce record is known for the member, and none was to be written", True)


class SalesforceLists:
    """Campaigns of one org. A `ListSink`, `Checkable`, `Costed` and `Pollable`. Remote ids are those of people.

    Args:
        wait: waits so many seconds before locked rows are sent again.
    """

    def __init__(self, config: SalesforceConfig, context: Context, *, wait: Callable[[float], None] = pause) -> None:
        self._config = config
        self._org = Org(config, context)
        self._descriptions = Descriptions(self._org, (config.people,), context.workspace)
        self._ingest = Ingest(self._org, context.workspace / "ingest")
        self._patience = Patience(config.lock_retries, config.lock_wait, wait)
        self._statuses = context.workspace / "statuses"
        self._key_field = EMAIL
        self._wanted: dict[str, RemoteList] = {}
        self._checked: set[str] = set()

    def check(self) -> None:
        next(self._org.query(f"{soql.select(('Id',), self._config.people)} LIMIT 1"))

    def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:
        """Find or create the campaign, its status, and look at the fields.

        A known campaign takes one call: fields are looked at when the first row is to be written.

        Raises:
            ListGone: the known campaign was deleted.
            PermanentError: a field cannot be written, or several campaigns have the name.
        """
        self._key_field = wanted.key_field
        if known is not None:
            ref = known_campaign(self._org, known)
        else:
            self._check_fields(wanted)
            ref = named_campaign(self._org, wanted.name) or make_campaign(self._org, wanted.name)
            self._checked.add(ref.id)
        self._wanted[ref.id] = wanted
        self._ensure_status(ref.id)
        return ref

    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
        """Write people, 1,000 to a call, or through a bulk job where they are many and known by an external id; then
        put on and take off, one call at a time: each locks the campaign.

        Raises:
            ListGone: the campaign was deleted.
            PermanentError: a field cannot be written.
        """
        # A list that another sink has ensured has the key of those that this one has.
        list_wanted = self._wanted.get(ref.id)
        key_field = list_wanted.key_field if list_wanted else self._key_field
        rows, refused = rows_of(changes.upsert, key_field)
        if refused:
            yield ListReceipt(rejected=refused)
        if rows and list_wanted and ref.id not in self._checked:
            self._check_fields(list_wanted)
            self._checked.add(ref.id)
        people = self._people(key_field)
        rest, large = self._shared_out(people, rows)
        ids: dict[str, str] = {}
        for receipt in people.write(rest):
            ids |= receipt.upserted
            yield receipt
        wanted = {member.key for member in changes.add}
        for group in large:
            adds = [row.key for row in group if row.key in wanted]
            job = self._ingest.start(group, self._config.people, key_field, adds)
            # Whoever is told of the ticket can let the job begin, so nothing is lost in between.
            yield ListReceipt(ticket=job)
            self._ingest.release(job)
        # One whose upsert was refused has its verdict, and stays off; one in a job comes on when that has ended.
        tried = {member.key for member in changes.upsert}
        adds_now = {member.key: member.remote_id for member in changes.add if member.key not in tried}
        adds_now |= {member.key: ids[member.key] for member in changes.add if member.key in ids}
        removes = {member.key: member.remote_id for member in changes.remove}
        if unknown := [key for part in (adds_now, removes) for key, person in part.items() if not person]:
            yield ListReceipt(rejected=dict.fromkeys(unknown, _NO_RECORD))
        yield from self._memberships(ref).change(_known(adds_now), _known(removes))

    def poll(self, ref: ListRef, ticket: str) -> Iterator[ListReceipt]:
        """The verdicts of a bulk job, and the members that waited for them. Asking again does no harm."""
        known = self._ingest.known(ticket)
        state, why = self._ingest.look(ticket)
        if state == "Open":
            self._ingest.release(ticket)
        if state == "Open" or state in WORKING:
            yield ListReceipt(ticket=ticket)
            return
        verdicts = self._ingest.verdicts(ticket, why)
        # The ticket stays until everything behind it is done.
        yield ListReceipt(upserted=verdicts.upserted, rejected=verdicts.rejected, ticket=ticket)
        ids = dict(verdicts.upserted)
        for receipt in self._people(known.key_field).write(verdicts.rest):
            ids |= receipt.upserted
            yield ListReceipt(upserted=receipt.upserted, rejected=receipt.rejected, ticket=ticket)
        adds = {key: ids[key] for key in known.adds if key in ids}
        for receipt in self._memberships(ref).change(adds, {}):
            yield ListReceipt(added=receipt.added, rejected=receipt.rejected, ticket=ticket)
        yield ListReceipt()

    def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
        """Pages of 2,000 by rising id of the membership, which is the cursor: `{"after": …}`."""
        after = str((cursor or {}).get("after") or "")
        conditions = (f"CampaignId = {soql.text(ref.id)}", f"Id > {soql.text(after)}" if after else "")
        query = soql.select(("Id", "ContactId", "LeadId"), "CampaignMember", conditions, ("Id",))
        for page in self._org.query(query):
            records = page["records"]
            after = str(records[-1]["Id"]) if records else after
            # Of a lead that became a contact the member shows both.
            people = [record.get("ContactId") or record.get("LeadId") for record in records]
            yield Page([{"remote_id": str(each)} for each in people if each], {"after": after}, origin="CampaignMember")

    def calls(self, upsert: int, add: int, remove: int, held: int) -> int:
        """The fewest calls for changes of these sizes and one read-back.

        What `ensure` takes is not in it, nor what only happens now and then: locked rows sent again, people of whom a
        required field is missing, sign-ins.
        """
        written = ceil(upsert / ROWS)
        if self._key_field == EMAIL:
            written += ceil(upsert / (LOOKED_UP * IN_ONE_CALL))
        elif upsert > self._config.bulk_ingest_above:
            written = _JOB
        removed = ceil(remove / (IN_LOOK_UP * IN_ONE_CALL)) + ceil(remove / ROWS)
        return written + ceil(add / ROWS) + removed + max(1, ceil(held / _PAGE))

    def _shared_out(self, people: People, rows: Sequence[Row]) -> tuple[list[Row], list[Sequence[Row]]]:
        """The rows to write at once, and those of a job each."""
        rest: list[Row] = []
        large: list[Sequence[Row]] = []
        for group in alike(rows):
            if people.key_field == EMAIL or len(group) <= self._config.bulk_ingest_above:
                rest += group
                continue
            # A job knows people by their key alone: it would make the loser of a merge anew.
            lost = gone(self._org, people.name, [row.id for row in group if row.id])
            rest += [row for row in group if row.id in lost]
            if kept := [row for row in group if row.id not in lost]:
                large.append(kept)
        return rest, large

    def _people(self, key_field: str) -> People:
        config = self._config
        return People(
            self._org,
            config.people,
            key_field,
            config.defaults,
            self._patience,
            config.concurrency,
            config.allow_duplicates,
        )

    def _memberships(self, ref: ListRef) -> Memberships:
        return Memberships(
            self._org,
            ref.id,
            self._config.member_status,
            self._patience,
            lambda: known_campaign(self._org, ref.id),
        )

    def _ensure_status(self, campaign: str) -> None:
        """Once per campaign and status: which one was seen to is kept, so that a delivery does not ask each time."""
        file, status = self._statuses / quote(campaign, safe=""), self._config.member_status
        try:
            if file.read_text(encoding="utf-8") == status:
                return
        except (FileNotFoundError, UnicodeDecodeError):
            pass
        ensure_status(self._org, campaign, status)
        self._statuses.mkdir(parents=True, exist_ok=True)
        file.write_text(status, encoding="utf-8")

    def _check_fields(self, wanted: RemoteList) -> None:
        """Fields are made by an administrator: which type, and who may see them, is not the hub's to decide."""
        shape = self._descriptions.shape(self._config.people)
        names = sorted({*wanted.fields, wanted.key_field} - shape.writable)
        if names:
            raise PermanentError(
                f"Salesforce's {self._config.people} has no field {', '.join(names)} that this user can write; create "
                "it there, grant access to it, or take it out of the audience's fields"
            )
        if wanted.key_field != EMAIL and wanted.key_field not in shape.keys:
            raise PermanentError(
                f"Salesforce's {self._config.people} has no external id {wanted.key_field}, so it cannot be the key; "
                "mark the field as an external id, or let the key be Email"
            )


def _known(people: Mapping[str, str | None]) -> dict[str, str]:
    return {key: person for key, person in people.items() if person}
