"""Smart campaigns of the Marketo simulator: requested through the API, and calling webhooks out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from switchyard.testing.simulator import Answer, Request
from switchyard.testing.simulator_webhooks import Outgoing, Sender
from switchyard_connectors.marketo.simulator_instance import Arguments, Instance, instant, iso
from switchyard_connectors.marketo.simulator_people import Lead, People

LEADS = 100
"""Leads of one request (vendor documentation, smart-campaigns)."""
_FIRST = 2_001
_TOKEN = re.compile(r"\{\{(lead|my)\.([^}]+)\}\}")


@dataclass(frozen=True, slots=True)
class Webhook:
    """A "Call Webhook" step: one POST per lead. `{{lead.<REST name>}}` in the body is replaced by the lead's value."""

    url: str
    body: str = '{"id": {{lead.id}}, "email": "{{lead.email}}"}'
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Campaign:
    """A smart campaign. `requests` are the leads and tokens of every request, in order."""

    id: int
    name: str
    created: float
    type: Literal["batch", "trigger"] = "trigger"
    active: bool = True
    webhook: Webhook | None = None
    requests: list[tuple[list[int], dict[str, str]]] = field(default_factory=list)


class Campaigns:
    """The campaigns, by id."""

    def __init__(self, instance: Instance, people: People) -> None:
        self.campaigns: dict[int, Campaign] = {}
        # Marketo waits for 30 seconds and never tries again (vendor documentation, webhooks).
        self.sender = Sender(instance.clock, waits=(), concurrency=1, timeout=30.0)
        self._instance = instance
        self._people = people

    def add(
        self, name: str, kind: Literal["batch", "trigger"] = "trigger", *, webhook: Webhook | None = None
    ) -> Campaign:
        """Make an active campaign; a trigger campaign is one with "Campaign is Requested"."""
        number = max(_FIRST - 1, *self.campaigns, 0) + 1
        made = Campaign(number, name, self._instance.clock(), kind, webhook=webhook)
        self.campaigns[number] = made
        return made

    def call_webhook(self, campaign_id: int, lead_ids: Sequence[int], tokens: Mapping[str, str] | None = None) -> None:
        """Let leads flow through a campaign's "Call Webhook"."""
        webhook = self.campaigns[campaign_id].webhook
        for lead_id in lead_ids:
            lead = self._people.get(lead_id)
            if webhook is not None and lead is not None:
                self.sender.send(_message(webhook, lead, tokens or {}))

    def browse(self, request: Request) -> Answer:
        """A page of `campaigns.json`."""
        arguments = Arguments(request)
        ids, names = arguments.integers("id"), arguments.texts("name")
        triggerable = arguments.text("isTriggerable") in ("true", "1")
        found = [
            each
            for each in self.campaigns.values()
            if (not ids or each.id in ids)
            and (not names or each.name in names)
            and (not triggerable or (each.type == "trigger" and each.active))
        ]
        rows, more = self._instance.page(request, found)
        return self._instance.answer([_shown(each) for each in rows], **more)

    def get(self, request: Request) -> Answer:
        return self._instance.answer([_shown(self._addressed(request))])

    def trigger(self, request: Request) -> Answer:
        """Request a trigger campaign for leads, with values of its `{{my.*}}` tokens."""
        campaign = self._addressed(request)
        if campaign.type != "trigger" or not campaign.active:
            raise self._instance.failure("1003", "The campaign is not an active trigger campaign that can be requested")
        wanted = request.json().get("input") or {}
        ids = [row.get("id") for row in wanted.get("leads") or ()]
        if not ids or len(ids) > LEADS:
            raise self._instance.failure("1003", f"input.leads must have 1 to {LEADS} leads")
        for lead_id in ids:
            if not isinstance(lead_id, int) or self._people.get(lead_id) is None:
                raise self._instance.failure("1004", f"Lead '{lead_id}' not found")
        tokens = {str(each.get("name")): str(each.get("value")) for each in wanted.get("tokens") or ()}
        campaign.requests.append((ids, tokens))
        self.call_webhook(campaign.id, ids, tokens)
        return self._instance.answer([{"id": campaign.id}])

    def schedule(self, request: Request) -> Answer:
        """Schedule a batch campaign."""
        campaign = self._addressed(request)
        if campaign.type != "batch":
            raise self._instance.failure("1003", "The campaign is not a batch campaign")
        run_at = ((request.json() if request.body else {}).get("input") or {}).get("runAt")
        try:
            late = run_at is not None and instant(run_at) < self._instance.clock()
        except ValueError:
            late = True
        if late:
            raise self._instance.failure("1042", f"Invalid runAt date '{run_at}'")
        campaign.requests.append(([], {}))
        return self._instance.answer([{"id": campaign.id}])

    def dump(self) -> list[dict[str, Any]]:
        """All campaigns, as JSON."""
        return [asdict(each) for each in self.campaigns.values()]

    def load(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.campaigns = {}
        for each in state:
            webhook = Webhook(**each["webhook"]) if each["webhook"] else None
            requests = [(list(ids), dict(tokens)) for ids, tokens in each["requests"]]
            self.campaigns[each["id"]] = Campaign(**{**each, "webhook": webhook, "requests": requests})

    def _addressed(self, request: Request) -> Campaign:
        text = request.params["campaign_id"]
        found = self.campaigns.get(int(text)) if text.isdigit() else None
        if found is None:
            raise self._instance.failure("1013", f"Campaign '{text}' not found")
        return found


def _message(webhook: Webhook, lead: Lead, tokens: Mapping[str, str]) -> Outgoing:
    def value(match: re.Match[str]) -> str:
        if match[1] == "my":
            return json.dumps(tokens.get(match[0], ""))[1:-1]
        held = lead.value(match[2])
        return "" if held is None else json.dumps(held).strip('"')

    body = _TOKEN.sub(value, webhook.body).encode()
    headers = {"content-type": "application/json", **webhook.headers}
    return Outgoing(webhook.url, _same(body), lambda _url, _body: headers)


def _same(body: bytes) -> Callable[[int], bytes]:
    return lambda _attempt: body


def _shown(campaign: Campaign) -> dict[str, Any]:
    return {
        "id": campaign.id,
        "name": campaign.name,
        "description": "",
        "type": campaign.type,
        "active": campaign.active,
        "workspaceName": "Default",
        "createdAt": iso(campaign.created),
        "updatedAt": iso(campaign.created),
    }
