"""What the HubSpot simulator knows of e-mails, forms and custom events: records that only ever grow in number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.hubspot.simulator_portal import Portal, Problem, iso

EVENTS_PAGE = 1_000
SUBMISSIONS_PAGE = 50
SENT_BATCH = 500


class Marketing:
    """E-mail events, forms with submissions, and the custom events that were sent, by type and uuid.

    `email_lag`: seconds after which an e-mail event can be read. `refused`: addresses of which no event is taken.
    """

    def __init__(self, portal: Portal) -> None:
        self.email_events: list[dict[str, Any]] = []
        self.forms: dict[str, dict[str, Any]] = {}
        self.sent: dict[str, dict[str, Any]] = {}
        self.event_names: set[str] = set()
        self.refused: set[str] = set()
        self.email_lag = 0.0
        self._portal = portal

    def email(self, recipient: str, kind: str, at: float | None = None, **values: Any) -> str:
        """Something became of an e-mail (OPEN, CLICK, …): the event's id."""
        instant = self._portal.clock() if at is None else at
        event = {"id": self._portal.correlation_id(), "created": int(instant * 1000), "recipient": recipient}
        self.email_events.append(event | {"type": kind, "emailCampaignId": 1, "appId": 20053, **values})
        return str(event["id"])

    def add_form(self, name: str) -> str:
        """A form that people can fill in: its id."""
        form_id = self._portal.correlation_id()
        created = self._portal.now()
        self.forms[form_id] = {"id": form_id, "name": name, "formType": "hubspot", "createdAt": created, "sent": []}
        return form_id

    def submit(self, form_id: str, values: Mapping[str, str], at: float | None = None) -> str:
        """Somebody fills in a form: the submission's id."""
        submission = {
            "conversionId": self._portal.correlation_id(),
            "submittedAt": int((self._portal.clock() if at is None else at) * 1000),
            "values": [{"name": name, "value": value, "objectTypeId": "0-1"} for name, value in values.items()],
            "pageUrl": "https://www.example.com/contact",
        }
        self.forms[form_id]["sent"].append(submission)
        return str(submission["conversionId"])

    def dump(self) -> dict[str, Any]:
        """Everything, as JSON."""
        names = sorted(self.event_names)
        return {"emails": self.email_events, "forms": self.forms, "sent": self.sent, "names": names}

    def load(self, state: Mapping[str, Any]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.email_events, self.forms, self.sent = state["emails"], state["forms"], state["sent"]
        self.event_names = set(state["names"])

    def read_emails(self, request: Request) -> Answer:
        """Newest first, both bounds included; `offset` is opaque (vendor documentation, legacy email events)."""
        arguments = request.arguments()
        since, until = int(arguments.get("startTimestamp", 0)), int(arguments.get("endTimestamp", 2**60))
        limit, kind = int(arguments.get("limit", 100)), arguments.get("eventType")
        if not 1 <= limit <= EVENTS_PAGE:
            raise self._portal.invalid(f"limit must be at most {EVENTS_PAGE}")
        seen = (self._portal.clock() - self.email_lag) * 1000
        found = [
            event
            for event in self.email_events
            if since <= event["created"] <= min(until, seen) and kind in (None, event["type"])
        ]
        found.sort(key=lambda event: (event["created"], event["id"]), reverse=True)
        start = _place(found, arguments.get("offset"), "id")
        page = found[start : start + limit]
        more = len(found) > start + limit
        return Answer(body={"hasMore": more, "offset": page[-1]["id"] if page else "", "events": page})

    def list_forms(self, request: Request) -> Answer:
        arguments = request.arguments()
        limit = int(arguments.get("limit", 20))
        forms = list(self.forms.values())
        start = _place(forms, arguments.get("after"), "id")
        page = forms[start : start + limit]
        rows = [{name: value for name, value in form.items() if name != "sent"} for form in page]
        return Answer(body={"results": rows} | _paging(page, len(forms) > start + limit, "id"))

    def read_submissions(self, request: Request) -> Answer:
        """Newest first, 50 at most (vendor documentation, legacy forms submissions)."""
        arguments, form = request.arguments(), self.forms.get(request.params["form_id"])
        if form is None:
            raise self._portal.absent("No form found")
        limit = int(arguments.get("limit", 20))
        if not 1 <= limit <= SUBMISSIONS_PAGE:
            raise self._portal.invalid(f"limit must be at most {SUBMISSIONS_PAGE}")
        found = sorted(form["sent"], key=lambda each: (each["submittedAt"], each["conversionId"]), reverse=True)
        start = _place(found, arguments.get("after"), "conversionId")
        page = found[start : start + limit]
        return Answer(body={"results": page} | _paging(page, len(found) > start + limit, "conversionId"))

    def send_one(self, request: Request) -> Answer:
        return self._send([request.json()])

    def send_batch(self, request: Request) -> Answer:
        """All or none (vendor documentation, events/send-events)."""
        inputs = request.json().get("inputs")
        if not isinstance(inputs, list) or len(inputs) > SENT_BATCH:
            raise self._portal.invalid(f"inputs must be a list of at most {SENT_BATCH}")
        return self._send(inputs)

    def _send(self, events: Sequence[Mapping[str, Any]]) -> Answer:
        for event in events:
            if problem := self._problem(event):
                return self._portal.error(400, problem)
        for event in events:
            uuid = str(event.get("uuid") or self._portal.correlation_id())
            self.sent.setdefault(f"{event['eventName']} {uuid}", dict(event) | {"receivedAt": self._portal.now()})
        return Answer(204)

    def _problem(self, event: Mapping[str, Any]) -> Problem | None:
        if event.get("eventName") not in self.event_names:
            return Problem("VALIDATION_ERROR", f"No event definition found for {event.get('eventName')}")
        if not any(event.get(name) for name in ("email", "objectId", "utk")):
            return Problem("VALIDATION_ERROR", "One of email, objectId or utk is required")
        if "email" in event and ("@" not in str(event["email"]) or event["email"] in self.refused):
            return Problem("VALIDATION_ERROR", "email is invalid")
        try:
            datetime.fromisoformat(str(event.get("occurredAt") or iso(0)))
        except ValueError:
            return Problem("VALIDATION_ERROR", "occurredAt is no instant")
        return None


def _place(rows: Sequence[Mapping[str, Any]], behind: str | None, name: str) -> int:
    """Where the row behind the one with this id stands: what is new before it does not move a reader."""
    return next((number + 1 for number, row in enumerate(rows) if row[name] == behind), 0) if behind else 0


def _paging(page: Sequence[Mapping[str, Any]], more: bool, name: str) -> dict[str, Any]:
    return {"paging": {"next": {"after": page[-1][name]}}} if more else {}
