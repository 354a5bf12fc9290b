"""The sink for custom events: one event for each change, whatever comes again, and verdicts of single rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from switchyard.api import Batch, Change, PermanentError, SinkSpec
from switchyard.testing.builders import SimpleContext
from switchyard.testing.conformance.sinks import SinkConformance
from switchyard.testing.simulator import Fault
from switchyard_connectors.hubspot import EVENTS
from switchyard_connectors.hubspot.config import HubSpotEventsConfig
from switchyard_connectors.hubspot.events import HubSpotEvents
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC

NAMES = {"entered": "pe1_entered", "left": "pe1_left", "changed": "pe1_changed"}
AT = datetime(2026, 9, 21, 12)


class Told:
    """What the simulated account was told."""

    def __init__(self, simulator: HubSpotSimulator) -> None:
        self.simulator = simulator
        self._refused: Collection[str] = ()
        simulator.marketing.event_names = set(NAMES.values())

    def told(self) -> Sequence[tuple[str, str]]:
        kinds = {name: kind for kind, name in NAMES.items()}
        return [(kinds[event["eventName"]], event["email"]) for event in self.simulator.marketing.sent.values()]

    def refuse(self, keys: Collection[str]) -> None:
        self.simulator.marketing.refused = set(keys)


@pytest.fixture
def simulator() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None)) as simulator:
        simulator.marketing.event_names = set(NAMES.values())
        yield simulator


@pytest.fixture
def open_sink(simulator: HubSpotSimulator, tmp_path: Any) -> Any:
    def opened(**config: Any) -> HubSpotEvents:
        checked = HubSpotEventsConfig(token=STATIC, base_url=simulator.url, tier="none", **(config or NAMES))
        return HubSpotEvents(checked, context)

    context = SimpleContext(tmp_path)
    yield opened
    context.close()


def batch(count: int, kind: Any = "entered", start: int = 0, **options: Any) -> Batch:
    numbers = range(start, start + count)
    changes = [Change(f"c{n}", kind, f"p{n}@x.example", {"city": f"Graz {n}"}, n, AT) for n in numbers]
    return Batch("b1", "buyers", "buyers_of_spring", "Buyers", options.get("key_field", "email"), changes)


class TestHubSpotEvents(SinkConformance):
    @pytest.fixture
    def remote(self, simulator: HubSpotSimulator) -> Told:
        return Told(simulator)

    @pytest.fixture
    def spec(self) -> SinkSpec:
        return EVENTS

    @pytest.fixture
    def config(self, simulator: HubSpotSimulator) -> Mapping[str, Any]:
        return {"token": STATIC, "base_url": simulator.url, "tier": "none", **NAMES}

    @pytest.fixture
    def exhausted(self) -> httpx.Response:
        with HubSpotSimulator(Account(daily=0)) as simulator:
            return httpx.get(
                f"{simulator.url}/crm/lists/2026-03/1", headers={"authorization": f"Bearer {STATIC}"}, trust_env=False
            )


@pytest.mark.parametrize("count", [1, 499, 500, 501])
def test_a_call_carries_500_events(simulator, open_sink, count):
    assert not open_sink().write(batch(count)).rejected
    assert simulator.count("POST", "/send/batch") == ceil(count / 500)
    assert len(simulator.marketing.sent) == count


def test_an_event_says_who_when_and_what_was_asked_for(simulator, open_sink):
    sink = open_sink(entered="pe1_entered", properties={"list_name": "list", "why": "segment", "town": "city"})
    sink.write(batch(1))
    (event,) = simulator.marketing.sent.values()
    assert (event["email"], event["occurredAt"]) == ("p0@x.example", "2026-09-21T12:00:00.000Z")
    assert event["properties"] == {"list_name": "Buyers", "why": "buyers_of_spring", "town": "Graz 0"}


def test_a_change_written_again_after_a_lost_answer_is_one_event(simulator, open_sink):
    simulator.script("POST", "/send/batch", [Fault(drop="after")])
    open_sink().write(batch(3))
    open_sink().write(batch(5))
    assert len(simulator.marketing.sent) == 5


def test_a_kind_without_an_event_is_accepted_and_tells_nothing(simulator, open_sink):
    assert not open_sink(entered="pe1_entered").write(batch(3, "left")).rejected
    assert simulator.count() == 0


def test_one_bad_row_is_found_and_hides_no_other(simulator, open_sink):
    simulator.marketing.refused = {"p7@x.example"}
    receipt = open_sink().write(batch(100))
    assert list(receipt.rejected) == [7]
    assert receipt.rejected[7].code == "VALIDATION_ERROR"
    assert len(simulator.marketing.sent) == 99
    assert simulator.count("POST") <= 2 * 7 + 1


def test_an_event_that_hubspot_does_not_know_stops_with_what_to_look_at(simulator, open_sink):
    with pytest.raises(PermanentError, match="defined in HubSpot first"):
        open_sink(entered="pe1_misspelt").write(batch(40))


def test_a_person_is_named_by_email_or_record_id(simulator, open_sink):
    assert open_sink().write(batch(1, key_field="hs_object_id")).rejected == {}
    assert [event["objectId"] for event in simulator.marketing.sent.values()] == ["p0@x.example"]
    assert {why.code for why in open_sink().write(batch(2, key_field="loyalty_card")).rejected.values()} == {
        "no_person"
    }


def test_at_least_one_event_is_named():
    with pytest.raises(ValidationError, match="at least one"):
        HubSpotEventsConfig(token="t")
