"""Putting people on a campaign and taking them off: one call in flight per campaign, since each locks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from switchyard.api import ListReceipt, Rejection
from switchyard_connectors.salesforce import soql
from switchyard_connectors.salesforce.batches import Operation, Patience, carried
from switchyard_connectors.salesforce.org import IN_ONE_CALL, Org, checked, get
from switchyard_connectors.salesforce.refusals import ALREADY_OFF, ALREADY_ON, CONVERTED

IN_LOOK_UP = 1_000
"""People of one look-up of their memberships."""
_FIELD = {"003": "ContactId", "00Q": "LeadId"}
"""The first characters of an id, which say of what it is."""
_MISSING = ALREADY_OFF | {CONVERTED, "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"}
_NOBODY = Rejection("record_missing", "Salesforce has no such contact or lead any more", retryable=True)


class Memberships:
    """Changes the members of one campaign.

    Args:
        status: what new members get. Who is on the campaign already keeps theirs.
        present: raises ListGone where the campaign is no more.
    """

    def __init__(self, org: Org, campaign: str, status: str, patience: Patience, present: Callable[[], object]) -> None:
        self._org = org
        self._campaign = campaign
        self._status = status
        self._patience = patience
        self._present = present

    def change(self, adds: Mapping[str, str], removes: Mapping[str, str]) -> Iterator[ListReceipt]:
        """Put on and take off; a receipt after each call. Both map the hub's keys to ids of people."""
        adding, removing = _by_id(adds), _by_id(removes)
        # Somebody else who has become the same record wants it on the campaign, so it stays.
        settled = frozenset(key for person in removing.keys() & adding.keys() for key in removing.pop(person))
        if settled:
            yield ListReceipt(removed=settled)
        yield from self._add(adding)
        yield from self._remove(removing)

    def _add(self, people: Mapping[str, Sequence[str]]) -> Iterator[ListReceipt]:
        odd = [person for person in people if person[:3] not in _FIELD]
        if odd:
            yield ListReceipt(rejected={key: _NOBODY for person in odd for key in people[person]})
        rows = [person for person in people if person[:3] in _FIELD]
        # Who is put on twice is on it once: a repetition is answered with DUPLICATE_VALUE.
        operation = Operation(self._org, self._additions, repeatable=True)
        for verdicts in carried(operation, rows, self._patience):
            on = {each.row for each in verdicts if each.why is None or each.why.code in ALREADY_ON}
            refused = {each.row: each.why for each in verdicts if each.row not in on and each.why is not None}
            if any(why.code in _MISSING for why in refused.values()):
                self._present()
            yield ListReceipt(
                added=frozenset(key for person in on for key in people[person]),
                rejected={
                    key: _NOBODY if why.code in _MISSING else why
                    for person, why in refused.items()
                    for key in people[person]
                },
            )

    def _additions(self, people: Sequence[str]) -> Mapping[str, Any]:
        records = [
            {
                "attributes": {"type": "CampaignMember"},
                "CampaignId": self._campaign,
                _FIELD[person[:3]]: person,
                "Status": self._status,
            }
            for person in people
        ]
        body = {"allOrNone": False, "records": records}
        return {"method": "POST", "url": f"{self._org.path}/composite/sobjects", "body": body}

    def _remove(self, people: Mapping[str, Sequence[str]]) -> Iterator[ListReceipt]:
        rows: list[tuple[str, str]] = []
        named = list(people)
        step = IN_LOOK_UP * IN_ONE_CALL
        for start in range(0, len(named), step):
            part = named[start : start + step]
            found = self._memberships(part)
            on = {person for person, _ in found}
            off = [person for person in part if person not in on]
            rows += found
            if off:
                yield ListReceipt(removed=frozenset(key for person in off for key in people[person]))
        operation: Operation[tuple[str, str]] = Operation(self._org, self._deletion, repeatable=True)
        for verdicts in carried(operation, rows, self._patience):
            gone = [each.row[0] for each in verdicts if each.why is None or each.why.code in ALREADY_OFF]
            refused = [each for each in verdicts if each.why is not None and each.why.code not in ALREADY_OFF]
            yield ListReceipt(
                removed=frozenset(key for person in gone for key in people[person]),
                rejected={key: each.why for each in refused if each.why for key in people[each.row[0]]},
            )

    def _memberships(self, people: Sequence[str]) -> list[tuple[str, str]]:
        """(person, id of the membership) of those who are on the campaign."""
        requests = [get(self._url(part)) for part in soql.chunks(people, IN_LOOK_UP)]
        wanted = set(people)
        found: dict[str, str] = {}
        for answer in self._org.together(requests):
            for page in self._org.onward(checked(answer)):
                for record in page["records"]:
                    person = next((record[n] for n in ("ContactId", "LeadId") if record.get(n) in wanted), None)
                    if person is not None:
                        found[str(person)] = str(record["Id"])
        return list(found.items())

    def _url(self, people: Sequence[str]) -> str:
        parts = []
        for prefix, field in _FIELD.items():
            if ids := [person for person in people if person.startswith(prefix)]:
                parts.append(f"{field} IN {soql.listed(ids)}")
        chosen = f"({' OR '.join(parts)})" if parts else "Id = null"
        conditions = (f"CampaignId = {soql.text(self._campaign)}", chosen)
        query = soql.select(("Id", "ContactId", "LeadId"), "CampaignMember", conditions)
        return f"{self._org.path}/query?q={quote(query, safe='')}"

    def _deletion(self, rows: Sequence[tuple[str, str]]) -> Mapping[str, Any]:
        ids = ",".join(membership for _, membership in rows)
        return {"method": "DELETE", "url": f"{self._org.path}/composite/sobjects?ids={ids}&allOrNone=false"}


def _by_id(people: Mapping[str, str]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for key, person in people.items():
        keys.setdefault(person, []).append(key)
    return keys
