"""The kit for sources, with the simulator as the vendor."""

from __future__ import annotations

import json
from hashlib import md5

import httpx
import pytest

from switchyard.testing.conformance import HOSTILE_RECORDS, Drift, SourceConformance
from switchyard_connectors.google_analytics import switchyard_connectors
from switchyard_connectors.google_analytics.config import GoogleAnalyticsConfig
from switchyard_connectors.google_analytics.simulator import GoogleAnalyticsSimulator, Property
from switchyard_connectors.google_analytics.streams import EVENT_STREAM, asked_for

from .conftest import CHANNELS, settings

SOURCE, _, _ = switchyard_connectors()


@pytest.fixture
def simulator():
    with GoogleAnalyticsSimulator(Property(events=100, export_seconds=0)) as simulator:
        yield simulator


@pytest.fixture
def drop(tmp_path):
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


class TestSource(SourceConformance):
    @pytest.fixture
    def spec(self):
        return SOURCE

    @pytest.fixture
    def config(self, simulator, drop):
        simulator.export(drop, 1)
        simulator.export(drop, 2, "json")
        return {
            **settings(simulator),
            "reports": [CHANNELS | {"dimensions": ["country"]}],
            "audiences": [{"name": "buyers", "id": "2"}],
            "page_rows": 25,
            "audience_poll": 0,
            "events": {"folder": str(drop), "stable_seconds": 0, "page_rows": 5, "params": ["method"]},
        }

    @pytest.fixture
    def streams(self, config):
        return (EVENT_STREAM, *asked_for(GoogleAnalyticsConfig.model_validate(config)))

    @pytest.fixture
    def empty(self, config, simulator, tmp_path):
        simulator.events.change("DELETE FROM events", [])
        (tmp_path / "none").mkdir()
        return {**config, "events": {"folder": str(tmp_path / "none")}}

    @pytest.fixture
    def hostile(self, config, tmp_path):
        folder = tmp_path / "hostile"
        folder.mkdir()
        lines = []
        for number, record in enumerate(HOSTILE_RECORDS):
            params = [
                {"key": name, "value": {"int_value" if isinstance(value, int) else "string_value": value}}
                for name, value in record.items()
            ]
            event = {"event_timestamp": number + 1, "event_name": "login", "user_pseudo_id": "1.1"}
            lines.append(json.dumps(event | {"event_params": params}))
        (folder / "events_20260921.json").write_text("\n".join(lines) + "\n")
        asked = {"folder": str(folder), "stable_seconds": 0, "params": list(HOSTILE_RECORDS[0])}
        return {**config, "events": asked}

    @pytest.fixture
    def exhausted(self):
        message = "Exhausted property tokens per day. These quota tokens will return in under 24 hours."
        return httpx.Response(429, json={"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}})

    @pytest.fixture
    def deleting(self, simulator):
        """Rows of a report that a later processing of yesterday does away with."""

        def delete():
            day = simulator.day(1)
            simulator.events.change("DELETE FROM events WHERE day = ? AND country = 'Switzerland'", [day])
            values = ("channels", day.replace("-", ""), "Switzerland")
            return {"channels": [(md5("\x1f".join(values).encode()).hexdigest(),)]}

        return delete

    @pytest.fixture
    def drifted(self, config, simulator, drop, tmp_path):
        """The export without `geo`, with a parameter more, and with ids that are numbers."""
        folder = tmp_path / "drifted"
        folder.mkdir()
        for days_ago in (1, 2):
            path = simulator.export(folder, days_ago, "json")
            events = [json.loads(line) for line in path.read_text().splitlines()]
            for event in events:
                del event["geo"]
                event["event_params"].append({"key": "method", "value": {"string_value": "mail"}})
                event["user_id"] = event["user_id"] and int(event["user_id"].removeprefix("u"))
            path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
        setting = {**config, "events": {**config["events"], "folder": str(folder)}}
        return Drift(setting, gone="country", new="method", retyped="user_id")
