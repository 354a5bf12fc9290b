"""A correct sink that is told of changes, and for every check of its kit sinks that break just that promise.

Run by `test_conformance.py`; not collected with the other tests.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from threading import Event, Thread
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import ConfigDict, SecretStr

from switchyard.api import (
    AuthError,
    Batch,
    Change,
    ConnectorConfig,
    Context,
    PermanentError,
    QuotaExhausted,
    Receipt,
    Rejection,
    SinkSpec,
    TransientError,
)
from switchyard.api.errors import SwitchyardError
from switchyard.api.http import json_of
from switchyard.testing.conformance import SinkConformance

CALL = 3


class Partner:
    """The outside system: takes a few changes a call, and heeds each id once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        self._refused: Collection[str] = ()

    def told(self) -> Sequence[tuple[str, str]]:
        return list(self._known.values())

    def refuse(self, keys: Collection[str]) -> None:
        self._refused = set(keys)

    def answer(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[self._take(row) for row in json.loads(request.content)])

    def _take(self, row: dict[str, Any]) -> str | None:
        if row["key"] in self._refused:
            return "INVALID"
        self._known.setdefault(row["id"], (row["kind"], row["key"]))
        return None


class PartnerConfig(ConnectorConfig):
    token: SecretStr


class Feed:
    def __init__(self, config: Any, context: Context) -> None:
        self.context = context
        self.token = config.token if isinstance(config.token, str) else config.token.get_secret_value()
        self.http = context.http("https://partner.example.com", bearer=self.token)

    def write(self, batch: Batch) -> Receipt:
        rejected: dict[int, Rejection] = {}
        for start in range(0, len(batch.changes), CALL):
            for at, error in enumerate(self.tell(batch.changes[start : start + CALL])):
                if error:
                    rejected[start + at] = Rejection(error, "the partner says so")
        return Receipt(rejected)

    def tell(self, changes: Sequence[Change]) -> list[str | None]:
        rows = [self.row(change) for change in changes]
        return json_of(self.http.post("/changes", json=rows, classify=self.classify))

    def row(self, change: Change) -> dict[str, Any]:
        return {"id": change.id, "kind": change.kind, "key": change.key, "fields": dict(change.fields)}

    def classify(self, answer: httpx.Response) -> SwitchyardError | None:
        daily = answer.status_code == 429 and b"daily" in answer.content
        return QuotaExhausted("over", until=datetime(2100, 1, 1)) if daily else None


class Kit(SinkConformance):
    build: ClassVar[type[Feed]] = Feed
    model: ClassVar[type[ConnectorConfig]] = PartnerConfig
    fails: ClassVar[str | None] = None
    skips: ClassVar[frozenset[str]] = frozenset()

    @pytest.fixture
    def spec(self) -> SinkSpec:
        return SinkSpec(name="partner", config=self.model, build=self.build)

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        return {"token": "s3cret-t0ken"}

    @pytest.fixture
    def remote(self) -> Partner:
        return Partner()

    @pytest.fixture
    def api(self, remote: Partner) -> Callable[[httpx.Request], httpx.Response]:
        return remote.answer

    @pytest.fixture
    def exhausted(self) -> httpx.Response | None:
        return httpx.Response(429, json={"over": "daily"})


class TestCorrectFeed(Kit):
    pass


class TestCorrectFeedWithoutAQuota(Kit):
    skips = frozenset({"test_an_exhausted_quota_ends_the_delivery"})
    exhausted = SinkConformance.exhausted


class TestCorrectFeedThatRefusesForNow(Kit):
    """What fails comes as refusals for now, where something did not fail."""

    class build(Feed):  # noqa: N801
        def write(self, batch: Batch) -> Receipt:
            rejected: dict[int, Rejection] = {}
            for start in range(0, len(batch.changes), CALL):
                some = batch.changes[start : start + CALL]
                try:
                    errors = [error and Rejection(error, "said so") for error in self.tell(some)]
                except QuotaExhausted:
                    raise
                except TransientError:
                    if start == 0:
                        raise
                    errors = [Rejection("later", "no answer", retryable=True)] * len(some)
                rejected |= {start + at: error for at, error in enumerate(errors) if error}
            return Receipt(rejected)


class LaxConfig(PartnerConfig):
    model_config = ConfigDict(extra="ignore")


class TestTakesUnknownKeys(Kit):
    fails = "test_config_rejects_unknown_keys"
    model = LaxConfig


class TestShowsTheToken(Kit):
    fails = "test_secrets_stay_secret"

    class build(Feed):  # noqa: N801
        def __repr__(self) -> str:
            return f"Feed({self.token!r})"


class TestTakesEveryChangeForAnEntry(Kit):
    fails = "test_every_change_is_told"

    class build(Feed):  # noqa: N801
        def row(self, change: Change) -> dict[str, Any]:
            return super().row(replace(change, kind="entered"))


class TestNamesAChangeByItsBatch(Kit):
    fails = "test_the_same_changes_again_leave_one_effect"

    class build(Feed):  # noqa: N801
        def write(self, batch: Batch) -> Receipt:
            named = [replace(change, id=f"{batch.id} {change.id}") for change in batch.changes]
            return super().write(replace(batch, changes=named))


class TestCallsForNothing(Kit):
    fails = "test_an_empty_batch_makes_no_call"

    class build(Feed):  # noqa: N801
        def write(self, batch: Batch) -> Receipt:
            if not batch.changes:
                self.tell([])
            return super().write(batch)


class TestRefusesTheNextRow(Kit):
    fails = "test_every_row_gets_its_own_verdict"

    class build(Feed):  # noqa: N801
        def write(self, batch: Batch) -> Receipt:
            return Receipt({index + 1: why for index, why in super().write(batch).rejected.items()})


class TestTriesForEver(Kit):
    fails = "test_every_row_gets_its_own_verdict"

    class build(Feed):  # noqa: N801
        def write(self, batch: Batch) -> Receipt:
            refused = super().write(batch).rejected
            return Receipt({index: replace(why, retryable=True) for index, why in refused.items()})


class TestRefusesWhatIsOdd(Kit):
    fails = "test_hostile_values_are_told"

    class build(Feed):  # noqa: N801
        def write(self, batch: Batch) -> Receipt:
            odd = [index for index, change in enumerate(batch.changes) if "emoji" in change.fields]
            return Receipt({index: Rejection("odd", "odd") for index in odd}) if odd else super().write(batch)


class TestConfirmsWhatItDidNotHear(Kit):
    fails = "test_a_lost_answer_is_settled_by_writing_again"

    class build(Feed):  # noqa: N801
        def tell(self, changes: Sequence[Change]) -> list[str | None]:
            try:
                return super().tell(changes)
            except TransientError as error:
                if isinstance(error.__cause__, httpx.TransportError):
                    return [None] * len(changes)
                raise


class TestRefusesForGoodWhatItDidNotHear(Kit):
    fails = "test_a_lost_answer_is_settled_by_writing_again"

    class build(Feed):  # noqa: N801
        def tell(self, changes: Sequence[Change]) -> list[str | None]:
            try:
                return super().tell(changes)
            except TransientError as error:
                if isinstance(error.__cause__, httpx.TransportError):
                    return ["lost"] * len(changes)
                raise


class TestTakesAnExhaustedQuotaForAPassingFault(Kit):
    fails = "test_an_exhausted_quota_ends_the_delivery"

    class build(Feed):  # noqa: N801
        def classify(self, answer: httpx.Response) -> SwitchyardError | None:
            return TransientError("later") if super().classify(answer) else None


class TestLeavesAThread(Kit):
    fails = "test_writing_leaves_nothing_behind"

    class build(Feed):  # noqa: N801
        def write(self, batch: Batch) -> Receipt:
            Thread(target=Event().wait, args=(3,), daemon=True).start()
            return super().write(batch)


class Catching(Feed):
    """What goes wrong comes by `caught`."""

    def write(self, batch: Batch) -> Receipt:
        try:
            return super().write(batch)
        except SwitchyardError as error:
            raise self.caught(error) from error.__cause__

    def caught(self, error: SwitchyardError) -> SwitchyardError:
        return error


class TestTakesRefusedCredentialsForABug(Kit):
    fails = "test_refused_credentials_are_no_success"

    class build(Catching):  # noqa: N801
        def caught(self, error: SwitchyardError) -> SwitchyardError:
            return PermanentError("no") if isinstance(error, AuthError) else error


class TestForgetsHowLongToWait(Kit):
    fails = "test_a_long_retry_after_is_told"

    class build(Catching):  # noqa: N801
        def caught(self, error: SwitchyardError) -> SwitchyardError:
            return TransientError(str(error)) if type(error) is TransientError else error


class TestTakesAPassingFaultForGood(Kit):
    fails = "test_an_unavailable_system_is_a_passing_fault"

    class build(Catching):  # noqa: N801
        def caught(self, error: SwitchyardError) -> SwitchyardError:
            return PermanentError("down") if "503" in str(error) else error
