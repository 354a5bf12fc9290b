"""What the kits have in common."""

# ruff: noqa: S101  # a kit is made of assertions

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from switchyard.api import ConnectorSpec, QuotaExhausted, TransientError
from switchyard.api.errors import SwitchyardError
from switchyard.api.records import JSON
from switchyard.testing.bench import Bench, held, secrets_of
from switchyard.testing.wire import Api, Fault, after, answering, once, unanswered, unheard

_LONG = 7200.0
_PATIENCE = 100  # looks, 10 ms apart, at what a server takes a moment to let go of
BUSY_FOR_LONG = answering(httpx.Response(429, headers={"retry-after": str(_LONG)}))


class Conformance:
    """What the kits have in common: how the connector gets on the bench, and what its configuration has to be."""

    @pytest.fixture
    def spec(self) -> ConnectorSpec:
        """The spec of the connector."""
        raise NotImplementedError("give the fixture `spec`: the connector's spec")

    @pytest.fixture
    def config(self) -> Mapping[str, JSON]:
        """Its configuration, as it stands under `config:` once references to secrets are replaced."""
        raise NotImplementedError("give the fixture `config`: the connector's configuration")

    @pytest.fixture
    def api(self) -> Api | None:
        """The vendor as a function from request to response; None where `config` leads to a simulator or to files."""
        return None

    @pytest.fixture
    def bench(self, spec: ConnectorSpec, config: Mapping[str, JSON], api: Api | None, tmp_path: Path) -> Bench:
        """The connector under test. Not for authors to override."""
        return Bench(spec, config, api, tmp_path)

    def test_config_rejects_unknown_keys(self, bench: Bench) -> None:
        """A misspelt key is an error, not silence."""
        try:
            bench.among({**bench.config, "misspelt": 1}).checked()
        except ValidationError as error:
            assert "misspelt" in str(error), "the error about an unknown key does not name it"
        else:
            pytest.fail("the configuration takes an unknown key without a word")


def assert_secrets_stay(bench: Bench, traces: Iterable[tuple[str, str]], caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that is said (place, text), and nothing that is logged meanwhile, holds a secret of the configuration."""
    config = bench.checked()
    secrets = set(secrets_of(config))
    if not secrets:
        pytest.skip("the configuration has no secret")
    with caplog.at_level(logging.DEBUG):
        said = [("the configuration", f"{config!r} {config}"), *traces]
    said += [("the log", f"{record.getMessage()} {record.args} {record.exc_text}") for record in caplog.records]
    told = sorted({place for place, text in said if any(secret in text for secret in secrets)})
    assert not told, f"a secret shows in {', '.join(told)}"


def assert_told(errors: Iterable[SwitchyardError]) -> None:
    """The errors of a vendor that is `BUSY_FOR_LONG` say for how long."""
    for error in errors:
        assert isinstance(error, TransientError)
        assert error.retry_after == _LONG, f"Retry-After: {_LONG} became {error.retry_after}"


def assert_exhausted(error: Exception | None) -> None:
    """The error says that the calls of the day are used up, and until when."""
    assert isinstance(error, QuotaExhausted), f"an exhausted quota ended with {type(error).__name__}: {error}"
    now = datetime.now(UTC).replace(tzinfo=None)
    assert error.until.tzinfo is None and error.until > now, "`until` is no instant to come, in UTC without zone"


def places(calls: int) -> list[int]:
    """Places to fail at: the first two calls, one in the middle, the last two."""
    return sorted({0, 1, calls // 2, calls - 2, calls - 1} & set(range(calls)))


def everywhere(calls: int) -> Iterator[Fault]:
    """Answers that are lost, once and from then on, of calls that are carried out and that are not."""
    for place in places(calls):
        for lost in (unanswered, unheard):
            yield once(lost, at=place)
            yield after(place, lost)


def error_of(act: Callable[[], object], meaning: type[SwitchyardError]) -> SwitchyardError:
    """The error that it ends with; any other end is a failure."""
    try:
        act()
    except meaning as error:
        return error
    except Exception as error:  # any other error is the finding
        pytest.fail(f"expected {meaning.__name__}, got {type(error).__name__}: {error}")
    pytest.fail(f"expected {meaning.__name__}, and it ended as if all were well")


def left_behind(before: set[str]) -> set[str]:
    """What is held now and was not `held` before, once whatever is being let go of is gone."""
    for _ in range(_PATIENCE):
        if not held() - before:
            break
        time.sleep(0.01)
    return held() - before
