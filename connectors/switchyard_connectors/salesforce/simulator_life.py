"""What people do inside the simulated org beside creating and changing records: deleting, merging, converting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from switchyard_connectors.salesforce.simulator_org import Org, RowError, long_id
from switchyard_connectors.salesforce.simulator_records import Row, Store, Table
from switchyard_connectors.salesforce.simulator_writes import BY_HAND, Writes

_LINKS = {
    "Contact": (("Opportunity", "ContactId"), ("Task", "WhoId")),
    "Lead": (("Task", "WhoId"),),
    "Account": (("Contact", "AccountId"), ("Opportunity", "AccountId"), ("Task", "WhatId")),
}


class Life:
    """Acts by hand. Records are named by their ids, people also by their e-mails, campaigns also by their names."""

    def __init__(self, org: Org, store: Store, writes: Writes) -> None:
        self._org = org
        self._store = store
        self._writes = writes

    def find(self, wanted: str) -> str:
        """The id of the record that is named. Raises LookupError."""
        for name, key in (("Contact", "Email"), ("Lead", "Email")):
            if "@" in wanted and (found := self._store[name].find(key, wanted)):
                return str(found[0]["Id"])
        if (known := long_id(wanted)) is not None and self._table(known).get(known) is not None:
            return known
        for row in self._store["Campaign"].rows.values():
            if row["Name"] == wanted and not row["IsDeleted"]:
                return str(row["Id"])
        raise LookupError(f"no record {wanted}")

    def update(self, record_id: str, values: Mapping[str, Any]) -> None:
        """Change a record."""
        record_id = self.find(record_id)
        self._writes.update(self._table(record_id).kind.name, record_id, values)

    def add_members(self, campaign: str, people: Iterable[str]) -> None:
        """Put contacts and leads on a campaign."""
        campaign = self.find(campaign)
        for person in map(self.find, people):
            link = "ContactId" if person.startswith("003") else "LeadId"
            self._writes.create("CampaignMember", {"CampaignId": campaign, link: person})

    def remove_members(self, campaign: str, people: Iterable[str]) -> None:
        """Take contacts and leads off a campaign."""
        gone, table = set(map(self.find, people)), self._store["CampaignMember"]
        for row in table.find("CampaignId", self.find(campaign)):
            if row["LeadOrContactId"] in gone:
                self._writes.bin(table, row)

    def delete(self, record_id: str) -> None:
        """Move a record to the recycle bin, with what belongs to it."""
        record_id = self.find(record_id)
        self._writes.delete(self._table(record_id).kind.name, record_id)

    def undelete(self, record_id: str) -> None:
        """Bring a record back from the recycle bin."""
        table = self._table(record_id)
        row = table.rows[record_id]
        table.put({**row, "IsDeleted": False, "MasterRecordId": None, "SystemModstamp": self._org.now()})
        table.removed.pop(record_id, None)

    def hard_delete(self, record_id: str) -> None:
        """Delete a record for good: no query finds it any more, only the log of deletions knows."""
        record_id = self.find(record_id)
        table = self._table(record_id)
        if table.live(record_id) is not None:
            self.delete(record_id)
        table.drop(record_id)

    def empty_bin(self) -> None:
        """Delete for good what is in the recycle bin."""
        for table in self._store.tables.values():
            for record_id in [row["Id"] for row in table.rows.values() if row["IsDeleted"]]:
                table.drop(record_id)

    def merge(self, winner_id: str, loser_ids: Iterable[str]) -> None:
        """Merge records into one, which keeps its values, takes those it lacks, and what belonged to the others. They
        are in the recycle bin with MasterRecordId.
        """
        winner_id = self.find(winner_id)
        table = self._table(winner_id)
        name = table.kind.name
        for loser_id in map(self.find, loser_ids):
            winner, loser = self._writes.existing(table, winner_id), self._writes.existing(table, loser_id)
            self._writes.bin(table, loser, MasterRecordId=winner_id)
            lacking = {each: value for each, value in loser.items() if winner.get(each) is None and value is not None}
            self._writes.update(name, winner_id, {**lacking, "MasterRecordId": None}, BY_HAND)
            for child, link in _LINKS.get(name, ()):
                for each in self._store[child].find(link, loser_id):
                    self._writes.update(child, each["Id"], {link: winner_id}, BY_HAND)
            if name in ("Contact", "Lead"):
                self._move_members(f"{name}Id", loser_id, {f"{name}Id": winner_id})

    def convert_lead(
        self, lead_id: str, contact_id: str | None = None, account_id: str | None = None, *, opportunity: bool = False
    ) -> str:
        """Make a contact of a lead, or join it to one: the contact's id. Its memberships go over to the contact."""
        leads, lead_id = self._store["Lead"], self.find(lead_id)
        lead = self._writes.existing(leads, lead_id)
        if lead["IsConverted"]:
            raise RowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        account = account_id or self._writes.create("Account", {"Name": lead["Company"]})
        contact = contact_id or self._contact_of(lead, account)
        values: dict[str, Any] = {
            "IsConverted": True,
            "ConvertedDate": self._org.now()[:10],
            "ConvertedContactId": contact,
            "ConvertedAccountId": account,
            "Status": "Closed - Converted",
        }
        if opportunity:
            deal = {"Name": lead["Company"], "StageName": "Prospecting", "AccountId": account, "ContactId": contact}
            values["ConvertedOpportunityId"] = self._writes.create(
                "Opportunity", {**deal, "CloseDate": self._org.now()[:10]}
            )
        self._writes.update("Lead", lead_id, values, BY_HAND)
        for each in self._store["Task"].find("WhoId", lead_id):
            self._writes.update("Task", each["Id"], {"WhoId": contact}, BY_HAND)
        # The lead stays named on the member; what counts from then on is the contact.
        self._move_members("LeadId", lead_id, {"ContactId": contact})
        return contact

    def recalculate(self, record_id: str, **values: Any) -> None:
        """Let formulas have other results. Nothing tells of it: no stamp changes."""
        table = self._table(record_id)
        row = table.live(record_id)
        if row is None:
            raise LookupError(f"no record {record_id}")
        table.put({**row, **values})

    def _contact_of(self, lead: Row, account: str) -> str:
        names = ("FirstName", "LastName", "Email", "Phone", "MobilePhone", "Title", "HasOptedOutOfEmail", "Ext__c")
        return self._writes.create("Contact", {**{name: lead[name] for name in names}, "AccountId": account})

    def _move_members(self, link: str, old: str, values: dict[str, str]) -> None:
        """Memberships go over to somebody else, but where they are a member already."""
        table = self._store["CampaignMember"]
        new_link, person = next(iter(values.items()))
        there = {each["CampaignId"] for each in table.find(new_link, person)}
        for each in table.find(link, old):
            if each["CampaignId"] in there:
                self._writes.bin(table, each)
                continue
            whom = {"LeadOrContactId": person, "Type": new_link.removesuffix("Id")}
            self._writes.update("CampaignMember", each["Id"], {**values, **whom}, BY_HAND)

    def _table(self, record_id: str) -> Table:
        table = self._store.of_id(record_id)
        if table is None:
            raise LookupError(f"no record {record_id}")
        return table
