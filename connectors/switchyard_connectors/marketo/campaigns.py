"""The sink of campaigns: asks a trigger campaign to take up whoever entered a segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from switchyard.api import Batch, Context, PermanentError, Receipt, Rejection, TransientError
from switchyard.api.records import JSON
from switchyard_connectors.marketo.client import BATCH, Marketo
from switchyard_connectors.marketo.config import MarketoConfig

_NO_LEAD = "1004"
_UNKNOWN = Rejection("no_lead", "Marketo has no lead with this key; deliver the audience to a list first", True)


class MarketoCampaigns:
    """Requests the campaign that the audience's `list` names, by its name or id. A `Sink` and `Checkable`.

    The campaign has to be active and have the trigger "Campaign is Requested" with Web Service API as its source. A
    request whose answer is lost may come again, so its qualification rules should let everybody through once.
    """

    def __init__(self, config: MarketoConfig, context: Context) -> None:
        self._marketo = Marketo(config, context)
        self._ids: dict[str, str] = {}

    def check(self) -> None:
        """Ask how many calls were made today."""
        self._marketo.get("/rest/v1/stats/usage.json")

    def write(self, batch: Batch) -> Receipt:
        """Request the campaign for those who entered; that somebody left or changed asks for nothing.

        Raises:
            UnknownOutcome: the answer was lost, and the campaign may run.
            PermanentError: there is no such campaign, or it cannot be requested.
        """
        entered = {index: change.key for index, change in enumerate(batch.changes) if change.kind == "entered"}
        if not entered:
            return Receipt()
        campaign = self._campaign(batch.list)
        leads = self._leads(batch.key_field, list(dict.fromkeys(entered.values())))
        known = list(dict.fromkeys(leads[_folded(key)] for key in entered.values() if _folded(key) in leads))
        if known:
            self._request(campaign, known)
        return Receipt(
            rejected={index: _UNKNOWN for index, key in entered.items() if _folded(key) not in leads},
            remote_ids={index: leads[_folded(key)] for index, key in entered.items() if _folded(key) in leads},
        )

    def _request(self, campaign: str, leads: Sequence[str]) -> None:
        inputs: list[JSON] = [{"id": int(lead)} for lead in leads]
        path, body = f"/rest/v1/campaigns/{campaign}/trigger.json", {"input": {"leads": inputs}}
        if self._marketo.call("POST", path, json=body, once=True, expected=(_NO_LEAD,)).code is not None:
            raise TransientError("a lead was deleted or merged while the campaign was requested; nothing was done")

    def _campaign(self, name: str) -> str:
        if name.isdecimal():
            return name
        if name not in self._ids:
            query = {"name": name, "isTriggerable": "true"}
            found = self._marketo.get("/rest/v1/campaigns.json", params=query).result
            if len(found) != 1:
                what = "several campaigns" if found else "no active campaign that can be requested"
                raise PermanentError(f"Marketo has {what} of the audience's list name; give the campaign's id instead")
            self._ids[name] = str(found[0]["id"])
        return self._ids[name]

    def _leads(self, field: str, keys: Sequence[str]) -> Mapping[str, str]:
        """The oldest lead of each key, by the key in lower case."""
        found: dict[str, int] = {}
        for start in range(0, len(keys), BATCH):
            for lead in self._marketo.leads(field, keys[start : start + BATCH], ("id", field)):
                value, number = _folded(str(lead.get(field) or "")), int(lead["id"])
                found[value] = min(number, found.get(value, number))
        return {value: str(number) for value, number in found.items()}


def _folded(key: str) -> str:
    return key.strip().lower()
