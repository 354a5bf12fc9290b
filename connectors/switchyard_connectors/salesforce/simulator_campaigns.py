"""Campaigns of the simulated org and who is on them: one member per person, statuses per campaign, and row locks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from switchyard_connectors.salesforce.simulator_org import Org, RowError
from switchyard_connectors.salesforce.simulator_records import Row, Store
from switchyard_connectors.salesforce.simulator_writes import Custom, Writes

_PEOPLE = ("ContactId", "LeadId")


class Locks:
    """Which request writes to which campaign: one that comes while another is at it gets UNABLE_TO_LOCK_ROW.

    Salesforce lets a row wait some ten seconds for the lock first. Here nothing waits, which is stricter: whoever keeps
    one request in flight per campaign never meets it.
    """

    def __init__(self) -> None:
        self.current = 0
        self._held: dict[str, int] = {}
        self._missed: dict[int, set[str]] = {}

    def take(self, request: int, campaigns: Iterable[str]) -> None:
        """Hold the locks that nobody holds, until `release`."""
        self._missed[request] = {each for each in campaigns if self._held.setdefault(each, request) != request}

    def release(self, request: int) -> None:
        self._missed.pop(request, None)
        self._held = {campaign: holder for campaign, holder in self._held.items() if holder != request}

    def check(self, campaign: str) -> None:
        """Raises RowError where another request held the lock when the current one came."""
        if campaign in self._missed.get(self.current, ()):
            message = f"unable to obtain exclusive access to this record or 1 records: {campaign}"
            raise RowError("UNABLE_TO_LOCK_ROW", message)


class Members(Custom):
    """The rules of CampaignMember (vendor documentation, Object Reference)."""

    def __init__(self, org: Org, store: Store, locks: Locks) -> None:
        self._org = org
        self._store = store
        self._locks = locks

    def prepare(self, row: Row, before: Row | None) -> None:
        self._locks.check(row["CampaignId"])
        if before is None:
            self._person(row)
        status = self._status(row["CampaignId"], row["Status"])
        row["Status"], row["HasResponded"] = status["Label"], status["HasResponded"]
        if row["HasResponded"] and not row["FirstRespondedDate"]:
            row["FirstRespondedDate"] = self._org.now()[:10]

    def leave(self, row: Row) -> None:
        self._locks.check(row["CampaignId"])

    def of(self, campaign: str) -> list[Row]:
        """The members of a campaign who are not deleted."""
        return self._store["CampaignMember"].find("CampaignId", campaign)

    def count(self, campaign: str) -> int:
        """How many they are."""
        return self._store["CampaignMember"].number("CampaignId", campaign)

    def _person(self, row: Row) -> None:
        if row["ContactId"]:
            row["LeadId"] = None
        elif not row["LeadId"]:
            message = "Required fields are missing: [LeadId or ContactId]"
            raise RowError("REQUIRED_FIELD_MISSING", message, ["LeadId", "ContactId"])
        link = "ContactId" if row["ContactId"] else "LeadId"
        row["LeadOrContactId"], row["Type"] = row[link], link.removesuffix("Id")
        if link == "LeadId":
            lead = self._store["Lead"].get(row[link])
            if lead and lead["IsConverted"]:
                raise RowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        there = self._store["CampaignMember"].find(link, row[link])
        if any(each["CampaignId"] == row["CampaignId"] for each in there):
            raise RowError("DUPLICATE_VALUE", "Already a campaign member.")

    def _status(self, campaign: str, wanted: str | None) -> Row:
        """A label that the campaign lacks is not refused: the member silently gets the default one."""
        statuses = self._store["CampaignMemberStatus"].find("CampaignId", campaign)
        named = [each for each in statuses if wanted is not None and each["Label"].lower() == wanted.lower()]
        default = [each for each in statuses if each["IsDefault"]]
        return (named or default or [{"Label": wanted or "Sent", "HasResponded": False}])[0]


class Campaigns(Custom):
    """The rules of Campaign: it comes with two statuses, and counts its members."""

    def __init__(self, store: Store, writes: Writes, members: Members) -> None:
        self._writes = writes
        self._members = members
        store["Campaign"].derived = {
            "NumberOfContacts": lambda row: self._count(row, "ContactId"),
            "NumberOfLeads": lambda row: self._count(row, "LeadId"),
            "NumberOfResponses": lambda row: sum(each["HasResponded"] for each in members.of(row["Id"])),
        }

    def put(self, row: Row, before: Row | None) -> None:
        if before is None:
            for order, label in enumerate(("Sent", "Responded"), 1):
                responded = label == "Responded"
                status: dict[str, Any] = {"CampaignId": row["Id"], "Label": label, "SortOrder": order}
                self._writes.create(
                    "CampaignMemberStatus", {**status, "IsDefault": not responded, "HasResponded": responded}
                )

    def _count(self, row: Row, link: str) -> int:
        return sum(each["LeadOrContactId"] == each[link] for each in self._members.of(row["Id"]))


class Statuses(Custom):
    """The rules of CampaignMemberStatus: labels are told apart, and one of them is the default."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def prepare(self, row: Row, _: Row | None) -> None:
        others = [each for each in self._others(row) if each["Id"] != row["Id"]]
        if any(each["Label"].lower() == row["Label"].lower() for each in others):
            raise RowError("DUPLICATE_VALUE", "duplicate value found: Label duplicates value on this campaign")

    def put(self, row: Row, _: Row | None) -> None:
        if row["IsDefault"]:
            for each in self._others(row):
                if each["IsDefault"] and each["Id"] != row["Id"]:
                    self._store["CampaignMemberStatus"].put({**each, "IsDefault": False})

    def _others(self, row: Row) -> list[Row]:
        return self._store["CampaignMemberStatus"].find("CampaignId", row["CampaignId"])
