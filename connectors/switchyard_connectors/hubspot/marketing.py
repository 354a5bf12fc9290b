"""What became of marketing e-mails, and what people wrote into forms: events that HubSpot gives newest first.

Both are read window by window, from the end of the last one to a moment ago. What HubSpot gives beyond the window is
left out, so nothing comes twice; the moment is long enough for what is late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from switchyard.api import Cursor, Page
from switchyard.api.records import JSON
from switchyard_connectors.hubspot.account import Account, next_after
from switchyard_connectors.hubspot.rows import iso

LATE = 300_000
"""Milliseconds after which an event can be read."""
_EVENTS = 1_000
_SUBMISSIONS = 50
_FORMS = 100


def email_pages(account: Account, cursor: Cursor, clock: Callable[[], float]) -> Iterator[Page]:
    """Events of e-mails. The cursor is `since`, and while a window is read its end `until` with HubSpot's `offset`."""
    said: dict[str, Any] = dict(cursor or {})
    since = int(said.get("since", 0))
    until = int(said.get("until", clock() * 1000 - LATE))
    offset: str | None = said.get("offset")
    while until > since:
        params = {"startTimestamp": since, "endTimestamp": until, "limit": _EVENTS, "offset": offset}
        body = account.found(account.paths.email_events, params=params)
        events = body.get("events") or []
        records = [_event(event) for event in events if since < int(event.get("created", 0)) <= until]
        following = str(body.get("offset") or "")
        if not body.get("hasMore") or not events or following in ("", offset):
            yield Page(records, {"since": max(since, until)}, origin=account.paths.email_events)
            return
        offset = following
        place: dict[str, JSON] = {"since": since, "until": until, "offset": offset}
        yield Page(records, place, origin=account.paths.email_events)


def submission_pages(account: Account, cursor: Cursor, clock: Callable[[], float]) -> Iterator[Page]:
    """Submissions, form by form, the newest first until those that are read already.

    The cursor has under `since` up to when each form was read, and while a form is read its id, the window's end and
    HubSpot's token of the next page.
    """
    said: dict[str, Any] = dict(cursor or {})
    read: dict[str, JSON] = dict(said.get("since") or {})
    under_way, end, token = said.get("form"), said.get("until"), said.get("after")
    now = int(clock() * 1000 - LATE)
    forms = {str(form["id"]): form for form in _forms(account)}
    read = {form_id: at for form_id, at in read.items() if form_id in forms}
    for form_id, form in forms.items():
        since = int(str(read.get(form_id) or 0))
        until, after = (int(end), token) if form_id == under_way and end is not None else (now, None)
        while until > since:
            params = {"limit": _SUBMISSIONS, "after": after}
            body = account.found(f"{account.paths.submissions}/{form_id}", params=params)
            rows = body.get("results") or []
            following = next_after(body)
            oldest = min((int(row["submittedAt"]) for row in rows), default=0)
            records = [_submission(form, row) for row in rows if since < int(row["submittedAt"]) <= until]
            is_last = following is None or following == after or oldest <= since
            if is_last:
                read[form_id] = until
            place: dict[str, JSON] = {} if is_last else {"form": form_id, "until": until, "after": following}
            yield Page(records, {"since": dict(read), **place}, origin=account.paths.submissions)
            if is_last:
                break
            after = following


def _forms(account: Account) -> Iterator[Mapping[str, Any]]:
    after: str | None = None
    while True:
        body = account.found(account.paths.forms, params={"limit": _FORMS, "after": after})
        yield from body.get("results") or ()
        following = next_after(body)
        if following is None or following == after:
            return
        after = following


def _event(event: Mapping[str, Any]) -> dict[str, JSON]:
    return {
        "event_id": str(event["id"]),
        "type": event.get("type"),
        "recipient": event.get("recipient"),
        "created_at": iso(int(event["created"])),
        "campaign_id": _text(event.get("emailCampaignId")),
        "url": event.get("url"),
        "bounce_category": event.get("category"),
        "response": event.get("response"),
    }


def _submission(form: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, JSON]:
    """Fields of the form are fields of the record, unless they are called as one of its own."""
    values = {str(each["name"]): each.get("value") for each in row.get("values") or () if "name" in each}
    submitted = int(row["submittedAt"])
    return {
        **values,
        "form_id": str(form["id"]),
        "form_name": form.get("name"),
        "submission_id": str(row.get("conversionId") or f"{submitted}/{values.get('email') or ''}"),
        "submitted_at": iso(submitted),
        "page_url": row.get("pageUrl"),
        "submitted_values": dict(values),
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
