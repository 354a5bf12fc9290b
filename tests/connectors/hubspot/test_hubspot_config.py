from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from switchyard.api import ListSinkSpec, SinkSpec, SourceSpec
from switchyard_connectors.hubspot import EVENTS, HubSpotConfig, switchyard_connectors
from switchyard_connectors.hubspot import LISTS as SPEC
from switchyard_connectors.hubspot.config import HubSpotEventsConfig
from switchyard_connectors.hubspot.streams import streams_of

OAUTH = {"client_id": "app", "client_secret": "hush-1", "refresh_token": "hush-2"}


def test_it_contributes_lists_a_source_and_events_of_one_account():
    specs = switchyard_connectors()
    assert [(type(spec), spec.name) for spec in specs] == [
        (ListSinkSpec, "hubspot"),
        (SourceSpec, "hubspot"),
        (SinkSpec, "hubspot_events"),
    ]
    assert {spec.simulator for spec in specs} == {"switchyard_connectors.hubspot.simulator:HubSpotSimulator"}
    events = HubSpotEventsConfig(token="t", entered="pe1_in")
    assert len({SPEC.account(HubSpotConfig(token="t")), EVENTS.account(events)}) == 1
    assert EVENTS.batch == 500


def test_a_connection_that_only_keeps_lists_reads_nothing():
    assert streams_of(HubSpotConfig(token="t")) == ()


def test_what_is_read_is_what_the_configuration_names():
    config = HubSpotConfig(token="t", read=["deals", "lists"], custom_objects="cars")
    assert [stream.name for stream in streams_of(config)] == ["deals", "lists", "cars"]
    assert [config.belonging_to(name) for name in ("deals", "contacts", "cars")] == [("contacts",), (), ()]


@pytest.mark.parametrize(
    ("config", "calls", "daily"),
    [
        ({"token": "t", "tier": "free"}, 100, 250_000),
        ({"token": "t", "tier": "pro"}, 190, 625_000),
        ({"token": "t", "tier": "enterprise"}, 190, 1_000_000),
        ({"token": "t", "tier": "enterprise", "addon": True}, 250, 2_000_000),
        ({"oauth": OAUTH, "tier": "enterprise", "addon": True}, 110, None),
    ],
)
def test_limits_follow_subscription_and_sign_in(config, calls, daily):
    limits = SPEC.limits(HubSpotConfig(**config))
    assert (limits.windows["default"][0].calls, limits.windows["default"][0].seconds) == (calls, 10)
    assert (limits.windows["search"][0].calls, limits.windows["search"][0].seconds) == (4, 1)
    assert limits.daily == daily


@pytest.mark.parametrize(
    ("config", "concurrency"),
    [
        ({"token": "t", "tier": "free"}, 5),
        ({"token": "t", "tier": "enterprise"}, 10),
        ({"token": "t", "tier": "pro", "addon": True}, 13),
        ({"oauth": OAUTH, "tier": "enterprise"}, 6),
        ({"token": "t", "tier": "enterprise", "concurrency": 1}, 1),
        ({"token": "t", "tier": "none"}, 8),
    ],
)
def test_calls_under_way_follow_the_window_unless_they_are_set(config, concurrency):
    assert SPEC.limits(HubSpotConfig(**config)).concurrency == concurrency


def test_a_simulator_without_limits_needs_no_pace():
    limits = SPEC.limits(HubSpotConfig(token="t", tier="none"))
    assert (limits.windows, limits.daily) == ({}, None)


def test_accounts_differ_by_credential_and_do_not_show_it():
    accounts = [
        SPEC.account(HubSpotConfig(**config)) for config in ({"token": "hush-0"}, {"token": "hush-3"}, {"oauth": OAUTH})
    ]
    assert len(set(accounts)) == 3
    assert not any("hush" in account for account in accounts)
    assert accounts[0] == SPEC.account(HubSpotConfig(token="hush-0", tier="pro"))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"token": "t", "oauth": OAUTH},
        {"token": "t", "api": "v4"},
        {"token": "t", "time_zone": "Europe/Nowhere"},
        {"token": "t", "object": "companies"},
        {"token": "t", "membership_batch": 0},
        {"token": "t", "concurrency": 0},
        {"token": "t", "list_lag": -1},
        {"token": "t", "tokn": "t"},
        {"token": "t", "read": "tickets"},
        {"token": "t", "custom_objects": "contacts"},
        {"token": "t", "custom_objects": "../contacts"},
        {"token": "t", "properties": {"lists": ["name"]}},
        {"token": "t", "associations": {"contacts": ["a/b"]}},
        {"token": "t", "property_types": {"score": "money"}},
    ],
)
def test_a_wrong_configuration_is_refused(config):
    with pytest.raises(ValidationError):
        HubSpotConfig(**config)


def test_secrets_are_not_shown():
    assert "hush" not in repr(HubSpotConfig(oauth=OAUTH)) + repr(HubSpotConfig(token="hush-0"))


def test_importing_the_package_is_light():
    heavy = ("pyarrow", "numpy", "starlette", "uvicorn", "httpx", "duckdb")
    code = f"import sys, switchyard_connectors.hubspot; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
