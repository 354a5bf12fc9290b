"""The kit for sinks, with the simulator as the vendor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from switchyard.api.http import UnknownOutcome
from switchyard.testing.conformance import HOSTILE_RECORDS, SinkConformance
from switchyard.testing.conformance.sinks import Changes
from switchyard.testing.wire import once, unanswered
from switchyard_connectors.google_analytics import switchyard_connectors
from switchyard_connectors.google_analytics.simulator import GoogleAnalyticsSimulator, Property
from switchyard_connectors.google_analytics.simulator_collect import MEASUREMENT_ID, SECRET

from .conftest import settings

_, SINK, DELETION = switchyard_connectors()


@pytest.fixture
def simulator():
    with GoogleAnalyticsSimulator(Property(events=0)) as simulator:
        yield simulator


class DataStream:
    """The simulated data stream: an event that came again can be told by its change's id."""

    def __init__(self, simulator):
        self._collector = simulator.collector

    def told(self):
        told = {event["params"]["change_id"]: event for event in self._collector.counted}
        return [(event["name"].removeprefix("audience_"), event["person"]) for event in told.values()]

    def refuse(self, keys):
        self._collector.refused |= dict.fromkeys(keys, "Refused by the kit.")


class TestMeasurementProtocol(SinkConformance):
    @pytest.fixture
    def spec(self):
        return SINK

    @pytest.fixture
    def config(self, simulator):
        # The endpoint that counts says nothing, so that verdicts come from the one that validates.
        stream = {"measurement_id": MEASUREMENT_ID, "api_secret": SECRET, "validate": True}
        return {**settings(simulator), **stream}

    @pytest.fixture
    def remote(self, simulator):
        return DataStream(simulator)

    @pytest.fixture
    def key_field(self):
        return "client_id"

    @pytest.fixture
    def person(self):
        return lambda number: {"client_id": f"9.{number}"}

    def test_hostile_values_are_told(self, bench, remote, changes):
        """A name with blanks is no name of a user property; such a row is refused, and its neighbours are told."""
        legal = {name: value for name, value in HOSTILE_RECORDS[0].items() if " " not in name}
        batch = changes.batch(HOSTILE_RECORDS[0], legal, {"cleared": None})
        with bench.built() as built:
            receipt = built.connector.write(batch)
        assert {index: why.code for index, why in receipt.rejected.items()} == {0: "name_invalid"}
        assert {key for _, key in remote.told()} == {change.key for change in batch.changes[1:]}

    def test_a_lost_answer_is_settled_by_writing_again(self, bench, remote, simulator, changes):
        """It is not: an event has no name by which Google would know it again. So what may have been counted is
        refused for good, and counted once at the most.
        """
        batch = changes.batch()
        calls = 2 * len(batch.changes)
        for at in range(calls):
            batch, before = changes.batch(), len(simulator.collector.counted)
            with bench.built(once(unanswered, at)) as built:
                try:
                    receipt = built.connector.write(batch)
                except UnknownOutcome:
                    continue
            assert {why.code for why in receipt.rejected.values()} <= {"unknown_outcome"}
            counted = [event["params"]["change_id"] for event in simulator.collector.counted[before:]]
            assert sorted(counted) == sorted(change.id for change in batch.changes)


class Entering(Changes):
    """People who enter, which is all that a sink hears that deletes."""

    def _change(self, number, more):
        return replace(super()._change(number, more), kind="entered")


class Deleted:
    """Whom the simulated property was told to delete; a second time is no other than the first."""

    def __init__(self, simulator):
        self._collector = simulator.collector

    def told(self):
        return [("entered", key) for key in dict.fromkeys(each["userId"] for each in self._collector.deleted)]

    def refuse(self, keys):
        self._collector.refused |= dict.fromkeys(keys, "Requested entity was not found.")


class TestUserDeletion(SinkConformance):
    @pytest.fixture
    def spec(self):
        return DELETION

    @pytest.fixture
    def config(self, simulator):
        given = settings(simulator)
        kept = {name: given[name] for name in ("property", "service_account", "sign_in_url")}
        return {**kept, "admin_url": simulator.url, "confirm": True}

    @pytest.fixture
    def remote(self, simulator):
        return Deleted(simulator)

    @pytest.fixture
    def key_field(self):
        return "user_id"

    @pytest.fixture
    def changes(self, key_field, person, many):
        return Entering(key_field, person, many)
