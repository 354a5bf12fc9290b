"""What can be configured, and what is refused with a word on what to do."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from switchyard.api import AuthError, ConfigError
from switchyard.api.http import CachedToken
from switchyard.config.mapping import merge_mapping
from switchyard.pipeline.mapping import declared
from switchyard.pipeline.plan import compile_mapping
from switchyard_connectors.google_analytics import switchyard_connectors
from switchyard_connectors.google_analytics.auth import READ, bearer, parsed_key
from switchyard_connectors.google_analytics.config import GoogleAnalyticsConfig, ServiceAccount, field_name
from switchyard_connectors.google_analytics.streams import EVENT_STREAM, asked_for

from .conftest import CHANNELS, settings

SOURCE, SINK, DELETION = switchyard_connectors()
BASE = {"property": 123456789, "service_account": {"key": "{}"}}


def _checked(**more):
    return GoogleAnalyticsConfig.model_validate(BASE | more)


@pytest.mark.parametrize("stream_id", ["G-ABC123", "g-abc123", "UA-1-1", "GT-1", "AW-1"])
def test_the_id_of_a_data_stream_is_not_the_property_s(stream_id):
    with pytest.raises(ValidationError, match="property's number"):
        _checked(property=stream_id)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"property": "abc"}, "number"),
        ({"property": None, "reports": [CHANNELS]}, "need property"),
        ({"service_account": {}}, "key_file or key"),
        ({"reports": [CHANNELS, CHANNELS]}, "channels"),
        ({"reports": [CHANNELS | {"name": "events"}]}, "events"),
        ({"reports": [CHANNELS | {"metrics": []}]}, "metrics"),
        ({"reports": [CHANNELS | {"dimensions": [f"d{n}" for n in range(9)]}]}, "9 dimensions"),
        ({"reports": [CHANNELS | {"dimensions": ["sessionSource", "session_source"]}]}, "session_source"),
        ({"reports": [CHANNELS | {"dimensions": ["x'; DROP"]}]}, "dimensions"),
        ({"measurement_id": "G-ABC123"}, "api_secret"),
        ({"measurement_id": "123", "api_secret": "x"}, "measurement_id"),
        ({"time_zone": "Vienna"}, "IANA"),
        ({"quota": {"concurrency": 11}}, "10 requests"),
        ({"audiences": [{"name": "A b", "id": "1"}]}, "name"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        _checked(**wrong)


def test_each_report_and_each_audience_is_a_stream():
    streams = asked_for(_checked(reports=[CHANNELS], audiences=[{"name": "buyers", "id": "2"}]))
    assert [stream.name for stream in streams] == ["channels", "audience_buyers"]
    assert {stream.mode for stream in streams} == {"upsert"}
    assert SOURCE.objects(_checked()) == ()


def test_the_default_mappings_fit_what_the_streams_have():
    config = _checked(reports=[CHANNELS], audiences=[{"name": "buyers", "id": "2"}])
    attributes = {}
    for stream in (EVENT_STREAM, *asked_for(config)):
        attributes[stream.name], events = declared(compile_mapping("ga", stream, merge_mapping(stream.mapping)))
        if stream is EVENT_STREAM:
            assert events["order_completed"]["total"] == "decimal"
            assert "quantity decimal" in events["order_completed"]["items"]
    assert attributes["channels"]["sessions"] == "integer"
    assert attributes["channels"]["total_revenue"] == "decimal"
    assert attributes["audience_buyers"] == {"in_ga_buyers": "boolean", "ads_personalization": "boolean"}


def test_fields_are_named_as_the_hub_names_things():
    names = {
        "sessionSource": "session_source",
        "customEvent:plan": "custom_event_plan",
        "active28DayUsers": "active28_day_users",
    }
    assert {name: field_name(name) for name in names} == names


def test_a_key_is_read_from_its_file(tmp_path, desk):
    (tmp_path / "key.json").write_text(desk.simulator.service_account())
    assert parsed_key(ServiceAccount(key_file="key.json"), tmp_path)["client_email"].startswith("switchyard@")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"client_email": "a", "private_key": 5}', '"s3cret"'])
def test_a_key_that_is_none_is_not_quoted(text, tmp_path):
    with pytest.raises(ConfigError, match="client_email") as error:
        parsed_key(ServiceAccount(key=text), tmp_path)
    assert "s3cret" not in str(error.value)
    with pytest.raises(ConfigError, match="nowhere"):
        parsed_key(ServiceAccount(key_file="nowhere.json"), tmp_path)


def test_a_key_does_not_say_where_its_signature_goes(desk):
    """The key of a stranger may name any token endpoint; the configuration's is asked."""
    key = desk.simulator.service_account().replace("/token", "/elsewhere")
    token = bearer(ServiceAccount(key=key), f"{desk.simulator.url}/token", READ, desk.context, desk.now)
    assert isinstance(token, CachedToken)
    assert token().startswith("ya29.")
    assert [call.path for call in desk.simulator.calls()] == ["/token"]


def test_a_service_account_that_is_gone_is_an_auth_error(desk):
    key = desk.simulator.service_account().replace("switchyard@", "nobody@")
    with pytest.raises(AuthError, match="service account"):
        desk.source(service_account={"key": key}).check()


def test_check_asks_for_the_metadata_once(desk):
    desk.source().check()
    assert [call.path for call in desk.simulator.calls()] == ["/token", "/v1beta/properties/123456789/metadata"]


def test_nothing_to_read_is_told(desk):
    with pytest.raises(ConfigError, match="nothing to read"):
        desk.source(property=None, service_account=None).check()


def test_accounts_are_the_property_s_and_the_data_stream_s(desk):
    config = GoogleAnalyticsConfig.model_validate(
        settings(desk.simulator) | {"measurement_id": "G-ABCDEF", "api_secret": "x"}
    )
    assert SOURCE.account(config) != SINK.account(config)
    assert SOURCE.limits(config).concurrency == 4
    assert DELETION.limits(None).windows["default"][0].calls == 600
