"""User deletion: only with a word for it, one call a person, once and for all."""

from __future__ import annotations

from datetime import datetime

import pytest
from pydantic import ValidationError

from switchyard.api import AuthError, Batch, Change, ConfigError
from switchyard.testing.simulator import Answer
from switchyard_connectors.google_analytics.config import DeletionConfig
from switchyard_connectors.google_analytics.deletion import UserDeletion, normalised_email, normalised_phone


def _config(simulator, **more):
    return {
        "property": simulator.property.id,
        "service_account": {"key": simulator.service_account()},
        "admin_url": simulator.url,
        "sign_in_url": f"{simulator.url}/token",
        "confirm": True,
        **more,
    }


@pytest.fixture
def sink(desk):
    return UserDeletion(DeletionConfig.model_validate(_config(desk.simulator)), desk.context, desk.now)


def _batch(*keys, key_field="user_id", kind="entered"):
    at = datetime(2026, 9, 1)
    changes = [Change(f"{key}-{kind}", kind, key, {}, 1, at) for key in keys]
    return Batch("b1", "erase", "erase", "Erase", key_field, changes)


def test_whoever_enters_is_deleted_by_one_call(desk, sink):
    assert sink.write(_batch("u10", "u11")).rejected == {}
    assert sorted(each["userId"] for each in desk.simulator.collector.deleted) == ["u10", "u11"]
    assert desk.calls("submitUserDeletion") == 2
    assert desk.simulator.events.ask("SELECT count(*) FROM seen WHERE user_id IN ('u10', 'u11')") == [(0,)]


@pytest.mark.parametrize("kind", ["left", "changed"])
def test_nobody_else_is(desk, sink, kind):
    assert sink.write(_batch("u10", kind=kind)).rejected == {}
    assert desk.calls() == 0


@pytest.mark.parametrize(
    ("key_field", "key", "sent"),
    [
        ("client_id", "1.1", {"clientId": "1.1"}),
        ("app_instance_id", "a1", {"appInstanceId": "a1"}),
        ("email", " A.nn@GMail.com", {"userProvidedData": "ann@gmail.com"}),
        ("phone", "43 (0)660-1", {"userProvidedData": "+4306601"}),
    ],
)
def test_each_kind_of_id_goes_into_its_field(desk, sink, key_field, key, sent):
    sink.write(_batch(key, key_field=key_field))
    assert desk.simulator.collector.deleted == [sent]


def test_addresses_and_numbers_are_written_as_google_wants_them():
    assert normalised_email("A.Nn@x.Example ") == "a.nn@x.example"
    assert normalised_email("a.n.n@googlemail.com") == "ann@googlemail.com"
    assert normalised_phone("+43 660 1") == "+436601"


def test_without_confirmation_there_is_no_sink(desk):
    for more in ({"confirm": False}, {}):
        config = _config(desk.simulator) | more
        if not more:
            del config["confirm"]
        with pytest.raises(ValidationError, match="confirm"):
            DeletionConfig.model_validate(config)


def test_one_who_cannot_be_deleted_keeps_nobody_else(desk, sink):
    desk.simulator.collector.refused["u1"] = "Requested entity was not found."
    receipt = sink.write(_batch("u1", "u2"))
    assert {index: why.code for index, why in receipt.rejected.items()} == {0: "NOT_FOUND"}
    assert desk.simulator.collector.deleted == [{"userId": "u2"}]


def test_a_server_error_is_tried_again(desk, sink):
    desk.simulator.script("POST", "submitUserDeletion", [Answer(500)])
    assert sink.write(_batch("u1")).rejected == {}
    assert desk.calls("submitUserDeletion") == 2


def test_another_key_is_refused(sink):
    with pytest.raises(ConfigError, match="client_id"):
        sink.write(_batch("x", key_field="loyalty_card"))


def test_check_asks_for_the_property(desk, sink):
    sink.check()
    assert [call.path for call in desk.simulator.calls()] == ["/token", "/v1alpha/properties/123456789"]


def test_another_property_is_an_auth_error(desk):
    config = DeletionConfig.model_validate(_config(desk.simulator, property="5"))
    with pytest.raises(AuthError):
        UserDeletion(config, desk.context, desk.now).write(_batch("u1"))
