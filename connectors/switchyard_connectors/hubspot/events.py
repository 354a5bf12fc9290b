"""The sink for custom events: tells HubSpot who entered a segment, left it, or changed in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from switchyard.api import Batch, Change, Context, PermanentError, Receipt, Rejection
from switchyard.api.records import JSON
from switchyard_connectors.hubspot.account import Account
from switchyard_connectors.hubspot.config import HubSpotEventsConfig
from switchyard_connectors.hubspot.refusals import body_of, rejection

BATCH = 500
"""Events of one call (what other clients of HubSpot send at once; its documentation names no number)."""
_SPARE = 64
"""Calls that may be spent on finding the events at fault of a call refused as a whole."""
_NOT_SENT = Rejection("no_person", "HubSpot knows a person by email or hs_object_id; use one of them as the key")


class HubSpotEvents:
    """A `Sink` and `Checkable`. HubSpot keeps one event of those with the same uuid, so writing again adds nothing."""

    def __init__(self, config: HubSpotEventsConfig, context: Context) -> None:
        self._account = Account(config, context)
        self._names = {"entered": config.entered, "left": config.left, "changed": config.changed}
        self._properties = config.properties

    def check(self) -> None:
        self._account.get(f"{self._account.paths.properties}/contacts/email")

    def write(self, batch: Batch) -> Receipt:
        """Send the rows whose kind has an event; the others are accepted and tell HubSpot nothing.

        HubSpot takes all events of a call or none and names no row, so halves are tried until those at fault are found.

        Raises:
            PermanentError: HubSpot refuses every event, whatever it holds: there is no such event type.
        """
        if batch.key_field not in ("email", "hs_object_id"):
            return Receipt(rejected=dict.fromkeys(range(len(batch.changes)), _NOT_SENT))
        rejected: dict[int, Rejection] = {}
        events: list[tuple[int, JSON]] = []
        for index, change in enumerate(batch.changes):
            name = self._names[change.kind]
            if name is not None and change.key:
                events.append((index, self._event(name, change, batch)))
            elif name is not None:
                rejected[index] = Rejection("missing_key", f"the member has no {batch.key_field}")
        parts = [events[start : start + BATCH] for start in range(0, len(events), BATCH)]
        spare = _SPARE
        while parts:
            part = parts.pop(0)
            if (refusal := self._refusal([event for _, event in part])) is None:
                continue
            if len(part) == 1 or spare <= 0:
                why = rejection(refusal)
                rejected |= {index: Rejection(why.code, why.reason, retryable=len(part) > 1) for index, _ in part}
                continue
            half, spare = len(part) // 2, spare - 2
            parts[:0] = [part[:half], part[half:]]
        if len(events) > 1 and all(index in rejected for index, _ in events):
            raise PermanentError(
                f"HubSpot refuses every event ({rejected[events[0][0]].code}); look at the names of events and "
                "properties, which must be defined in HubSpot first"
            )
        return Receipt(rejected=rejected)

    def _refusal(self, events: Sequence[JSON]) -> Mapping[str, Any] | None:
        """Why HubSpot takes none of the events, None where it took them all."""
        body: JSON = {"inputs": list(events)}
        answer = self._account.post(f"{self._account.paths.send}/batch", json=body, repeatable=True, accept=(400,))
        return None if answer.is_success else body_of(answer)

    def _event(self, name: str, change: Change, batch: Batch) -> JSON:
        said = {"segment": batch.segment, "audience": batch.audience, "list": batch.list}
        shown: dict[str, JSON] = {
            given: change.fields.get(shows, said.get(shows)) for given, shows in self._properties.items()
        }
        person = "email" if batch.key_field == "email" else "objectId"
        return {
            "eventName": name,
            person: change.key,
            "occurredAt": change.at.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "uuid": str(uuid5(NAMESPACE_URL, change.id)),
            "properties": {given: value for given, value in shown.items() if value is not None},
        }
