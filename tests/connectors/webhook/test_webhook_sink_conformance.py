"""The kit for sinks, with an endpoint over real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from switchyard.api import Context, SinkSpec
from switchyard.testing.conformance import SinkConformance
from switchyard.testing.simulator import ManualClock
from switchyard_connectors.webhook import SINK
from switchyard_connectors.webhook.simulator import SECRET, WebhookEndpoint
from switchyard_connectors.webhook.sink import TYPES, WebhookSink

KINDS = {type: kind for kind, type in TYPES.items()}


class Partner:
    """Whoever the endpoint belongs to."""

    def __init__(self, endpoint: WebhookEndpoint) -> None:
        self.endpoint = endpoint

    def told(self) -> Sequence[tuple[str, str]]:
        return [(KINDS[message["type"]], message["data"]["key"]) for message in self.endpoint.told]

    def refuse(self, keys: Collection[str]) -> None:
        self.endpoint.refuse(keys)


class TestWebhookSink(SinkConformance):
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(1_800_000_000)

    @pytest.fixture
    def wait(self, clock: ManualClock) -> Callable[[float], None]:
        return clock.advance

    @pytest.fixture
    def remote(self, clock: ManualClock) -> Iterator[Partner]:
        with WebhookEndpoint(clock=clock) as endpoint:
            yield Partner(endpoint)

    @pytest.fixture
    def spec(self, clock: ManualClock) -> SinkSpec:
        def build(config: Any, context: Context) -> WebhookSink:
            return WebhookSink(config, context, clock)

        return replace(SINK, build=build)

    @pytest.fixture
    def config(self, remote: Partner) -> dict[str, Any]:
        return {"send": {"url": f"{remote.endpoint.url}/hooks", "secrets": SECRET, "internal_hosts": "127.0.0.1"}}


class TestWebhookSinkOneByOne(TestWebhookSink):
    @pytest.fixture
    def config(self, remote: Partner) -> dict[str, Any]:
        send = {"url": remote.endpoint.url, "secrets": SECRET, "internal_hosts": "127.0.0.1", "concurrency": 1}
        return {"send": send}
