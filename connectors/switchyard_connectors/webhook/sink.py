"""Tells an endpoint who entered or left a segment or changed in it: one signed message per change.

As Standard Webhooks has it (standardwebhooks.com, specification 1.0), with `Idempotency-Key` beside it.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import httpx

from switchyard.api import Batch, Change, ConfigError, Context, QuotaExhausted, Receipt, Rejection, TransientError
from switchyard.api.answers import retry_after
from switchyard.api.errors import SwitchyardError
from switchyard.api.http import RetryPolicy, concurrently
from switchyard_connectors.webhook.config import Sending, WebhookConfig
from switchyard_connectors.webhook.endpoint import Endpoint
from switchyard_connectors.webhook.keys import signing

TYPES = {"entered": "profile.entered_segment", "left": "profile.left_segment", "changed": "profile.changed"}
_GONE = 410
_BUSY = frozenset({429, 503})
_OF_THE_ROW = frozenset({400, 413, 422})
"""Answers that may be about one message. They are, where the same endpoint takes others at the same time: else it may
be the signature that it does not take.
"""
_DOUBT = 5
"""Answers without a success among them, after which the rest of a batch is not tried."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of one row: the status, None where none came; what to say of it where it is no success."""

    index: int
    status: int | None
    why: str = ""
    retry_after: float | None = None

    @property
    def is_told(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class WebhookSink:
    """A `Sink`. Rows go out side by side, those of one person in their order.

    Args:
        clock: seconds since the epoch.
        spread: a number between 0 and 1, for waits.
    """

    def __init__(
        self,
        config: WebhookConfig,
        context: Context,
        clock: Callable[[], float] = time.time,
        spread: Callable[[], float] = random.random,
    ) -> None:
        if config.send is None:
            raise ConfigError(f"connection '{context.connection}' has no `send:`, which says where changes are sent")
        self._sending = config.send
        self._clock = clock
        self._spread = spread
        secrets = [secret.get_secret_value() for secret in config.send.secrets]
        self._signers = [signing(secret) for secret in secrets]
        url = httpx.URL(config.send.url)
        self._path = url.raw_path.decode("ascii")
        self._http = context.http(
            str(url.copy_with(raw_path=b"/")),
            internal=config.send.is_internal,
            policy=_patience(config.send),
        )
        settings = json.dumps([config.send.url, secrets, config.send.resume])
        self._endpoint = Endpoint(context.workspace, url.host, settings, clock, spread)

    def check(self) -> None:
        """See `Checkable.check`: no call, for every one of them would tell something."""
        self._endpoint.require()

    def write(self, batch: Batch) -> Receipt:
        """See `Sink.write`.

        A row is refused for good where its answer says that it is wrong and others are taken; for now, where others
        are taken and it is not. Where none is taken, the endpoint failed.

        Raises:
            TransientError: the endpoint failed, or is not called before its next try.
            PermanentError: the endpoint is disabled: it answered 410, or failed ten times in a row.
        """
        if not batch.changes:
            return Receipt()
        self._endpoint.require()
        attempt = _Attempt(batch, self._spread(), partial(self._tell, batch))
        for answers in concurrently(attempt.calls(), self._sending.concurrency):
            attempt.answers += answers
        if (error := self._judged(attempt)) is not None and not attempt.told:
            raise error
        return attempt.receipt()

    def _judged(self, attempt: _Attempt) -> SwitchyardError | None:
        """What the answers say of the endpoint."""
        alive, gone, busy = bool(attempt.told), attempt.last(_GONE), attempt.last(*_BUSY)
        if gone:
            return self._endpoint.disable(gone.why)
        if busy:
            return self._endpoint.failed(busy.why, asked=busy.retry_after, alive=alive)
        if alive:
            self._endpoint.succeeded()
            return None
        failed = attempt.answers[-1]
        answering = all(each.status in _OF_THE_ROW for each in attempt.answers)
        return self._endpoint.failed(failed.why, asked=failed.retry_after, alive=answering)

    def _tell(self, batch: Batch, rows: Sequence[tuple[int, Change]]) -> list[_Answer]:
        """Tell of one person's changes, until one is not taken."""
        answers: list[_Answer] = []
        for index, change in rows:
            answers.append(self._post(index, change, _body(batch, change)))
            if not answers[-1].is_told:
                break
        return answers

    def _post(self, index: int, change: Change, body: bytes) -> _Answer:
        stamp = str(int(self._clock()))
        signed = b".".join((change.id.encode(), stamp.encode(), body))
        headers = {
            "content-type": "application/json",
            "webhook-id": change.id,
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(sign(signed) for sign in self._signers),
            "idempotency-key": change.id,
        }
        try:
            answer = self._http.post(self._path, content=body, headers=headers, accept=range(300, 600))
        except QuotaExhausted:
            raise
        except TransientError as error:
            return _Answer(index, None, f"did not answer ({error})", error.retry_after)
        wait = retry_after(answer.headers.get("retry-after"), self._clock())
        return _Answer(index, answer.status_code, f"answered {answer.status_code}", wait)


@dataclass
class _Attempt:
    """One batch under way. It begins at the person who stands at this share of it: were it always the same few who are
    not taken first, nobody would ever learn that others are.
    """

    batch: Batch
    start: float
    tell: Callable[[Sequence[tuple[int, Change]]], list[_Answer]]
    answers: list[_Answer] = field(default_factory=list)

    def calls(self) -> Iterator[Callable[[], list[_Answer]]]:
        """A call per person, for as long as that makes sense."""
        people: dict[int, list[tuple[int, Change]]] = {}
        for index, change in enumerate(self.batch.changes):
            people.setdefault(change.profile, []).append((index, change))
        listed = list(people.values())
        first = int(self.start * len(listed))
        for rows in listed[first:] + listed[:first]:
            if self.last(_GONE, *_BUSY) or (len(self.answers) >= _DOUBT and not self.told):
                return
            yield partial(self.tell, rows)

    @property
    def told(self) -> list[_Answer]:
        return [each for each in self.answers if each.is_told]

    def last(self, *statuses: int) -> _Answer | None:
        """The last answer with one of these statuses."""
        return next((each for each in reversed(self.answers) if each.status in statuses), None)

    def receipt(self) -> Receipt:
        answers = {each.index: each for each in self.answers}
        rows = range(len(self.batch.changes))
        verdicts: Mapping[int, Rejection | None] = {index: _verdict(answers.get(index)) for index in rows}
        return Receipt({index: verdict for index, verdict in verdicts.items() if verdict is not None})


def _verdict(answer: _Answer | None) -> Rejection | None:
    if answer is None:
        return Rejection("not_sent", "the endpoint failed before its turn came", retryable=True)
    if answer.is_told:
        return None
    code = "no_answer" if answer.status is None else f"http_{answer.status}"
    return Rejection(code, f"the endpoint {answer.why}", retryable=answer.status not in _OF_THE_ROW)


def _body(batch: Batch, change: Change) -> bytes:
    data = {
        "profile": str(change.profile),
        "key": change.key,
        "segment": batch.segment,
        "audience": batch.list,
        "fields": dict(change.fields),
    }
    message = {"type": TYPES[change.kind], "timestamp": f"{change.at.isoformat()}Z", "data": data}
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode()


def _patience(sending: Sending) -> RetryPolicy:
    # One attempt: what is not taken is told again by a later delivery, which knows the schedule.
    return RetryPolicy(attempts=1, attempt=sending.timeout, read=sending.timeout, connect=min(10.0, sending.timeout))
