"""The sink: what became of an audience's members, as events of the Measurement Protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC

import httpx

from switchyard.api import Batch, Change, ConfigError, Context, Receipt, Rejection, TransientError
from switchyard.api.errors import SwitchyardError
from switchyard.api.http import UnknownOutcome, concurrently, json_of
from switchyard.api.records import JSON
from switchyard_connectors.google_analytics.config import GoogleAnalyticsConfig
from switchyard_connectors.google_analytics.payloads import EVENTS_PER_REQUEST, Refused, is_reserved_event, payload
from switchyard_connectors.google_analytics.quota import Wall, utc_now

_KEYS = {"client_id", "user_id", "app_instance_id"}
_LANES = 4
_NOT_SENT = Rejection("not_sent", "the delivery ended before this change was sent", retryable=True)
_UNKNOWN = Rejection(
    "unknown_outcome",
    "Google Analytics gave no answer and may have counted the event; it has no way to tell a repetition, so the change "
    "is not sent again",
)


class MeasurementProtocol:
    """The sink of one data stream. A `Sink` and `Checkable`.

    One request is about one person and holds 25 events at most. An event has no name by which Google would know it
    again, so what may have arrived is never sent twice: a change whose answer was lost is refused for good, and the
    next change of that person says anew who is in the audience.
    """

    def __init__(self, config: GoogleAnalyticsConfig, context: Context, now: Wall = utc_now) -> None:
        if config.api_secret is None or not (config.measurement_id or config.firebase_app_id):
            raise ConfigError(
                "an audience needs the data stream it is sent to: give measurement_id (or firebase_app_id) and "
                "api_secret",
                key="measurement_id",
            )
        for name in (config.event_names.entered, config.event_names.left, config.event_names.changed):
            if is_reserved_event(name):
                raise ConfigError(f"events called {name!r} are Google's own; choose another name", key="event_names")
        self._config = config
        self._now = now
        self._http = context.http(config.collect_url)
        stream = {"measurement_id": config.measurement_id, "firebase_app_id": config.firebase_app_id}
        self._params = stream | {"api_secret": config.api_secret.get_secret_value()}

    def check(self) -> None:
        """Have an event of no consequence validated. Google checks neither the secret nor the data stream's id, so a
        wrong one shows nowhere but in its reports.
        """
        events: JSON = [{"name": self._config.event_names.entered, "params": {"engagement_time_msec": 1}}]
        key = "client_id" if self._config.measurement_id else "app_instance_id"
        if refusal := self._refusal({key: "switchyard.1", "events": events}):
            raise ConfigError(f"Google Analytics would refuse events: {refusal.reason}")

    def write(self, batch: Batch) -> Receipt:
        """Send the changes, a person's together.

        Raises:
            ConfigError: the audience's key is none of the ids that Google Analytics knows people by.
            TransientError: nothing was sent at all.
        """
        if batch.key_field not in _KEYS:
            raise ConfigError(
                f"Google Analytics knows nobody by {batch.key_field!r}; let the audience's key be one of "
                f"{', '.join(sorted(_KEYS))}"
            )
        sending = _Sending(self._send)
        parts = list(_parts(batch.changes))
        calls = ((lambda part=part: sending.run(batch, part)) for part in parts)
        rejected = {index: why for found in concurrently(calls, _LANES) for index, why in found.items()}
        if sending.failure is not None and not sending.sent:
            raise sending.failure
        return Receipt(rejected=rejected)

    def _send(self, batch: Batch, changes: Sequence[Change]) -> Rejection | None:
        try:
            body = payload(self._config, batch, changes, self._now().astimezone(UTC).replace(tzinfo=None))
        except Refused as refused:
            return refused.rejection
        if self._config.validate_first and (refusal := self._refusal(body)):
            return refusal
        try:
            self._http.post("/mp/collect", json=body, params=self._params, classify=_classify)
        except UnknownOutcome:
            return _UNKNOWN
        return None

    def _refusal(self, body: JSON) -> Rejection | None:
        """What Google's validation server says against a request."""
        answer = self._http.post("/debug/mp/collect", json=body, params=self._params, repeatable=True)
        said = json_of(answer)
        messages = said.get("validationMessages") if isinstance(said, dict) else None
        if not messages:
            return None
        first = messages[0]
        where = first.get("fieldPath") or "the request"
        return Rejection(
            str(first.get("validationCode") or "INVALID"), f"{where}: {first.get('description', '')}"[:300]
        )


class _Sending:
    """The requests of one batch. After a fault that is not about one person no further one is begun."""

    def __init__(self, send: Callable[[Batch, Sequence[Change]], Rejection | None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self.failure: SwitchyardError | None = None
        self.sent = 0

    def run(self, batch: Batch, part: Sequence[tuple[int, Change]]) -> dict[int, Rejection]:
        """Send a person's changes; those that are refused, by their place in the batch."""
        if self.failure is not None:
            return {index: _NOT_SENT for index, _ in part}
        try:
            rejection = self._send(batch, [change for _, change in part])
        except SwitchyardError as error:
            # Raised at once it would have those written again whom others have just been sent.
            with self._lock:
                self.failure = self.failure or error
            return {index: _NOT_SENT for index, _ in part}
        with self._lock:
            self.sent += 1
        return {index: rejection for index, _ in part} if rejection else {}


def _parts(changes: Sequence[Change]) -> Iterator[list[tuple[int, Change]]]:
    """The changes with their places: of one person each, oldest first, as many as a request holds."""
    people: dict[str, list[tuple[int, Change]]] = {}
    for index, change in enumerate(changes):
        people.setdefault(change.key, []).append((index, change))
    for part in people.values():
        part.sort(key=lambda each: each[1].at)
        for at in range(0, len(part), EVENTS_PER_REQUEST):
            yield part[at : at + EVENTS_PER_REQUEST]


def _classify(answer: httpx.Response) -> SwitchyardError | None:
    """A server error says that nothing was counted, and is the only answer after which a request is sent again."""
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return TransientError(f"POST /mp/collect answered {answer.status_code}")
    return None
