"""The Measurement Protocol: a person to a request, its limits, and nothing sent twice."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime, timedelta
from math import ceil

import pytest

from switchyard.api import Batch, Change, ConfigError, TransientError
from switchyard.testing.simulator import Answer, Fault
from switchyard_connectors.google_analytics.measurement import MeasurementProtocol
from switchyard_connectors.google_analytics.simulator_collect import FIREBASE_APP_ID, MEASUREMENT_ID, SECRET

_STREAM = {"measurement_id": MEASUREMENT_ID, "api_secret": SECRET}


@pytest.fixture
def sink(desk):
    return lambda **more: MeasurementProtocol(desk.config(**_STREAM, **more), desk.context, desk.now)


@pytest.fixture
def change(desk):
    """A change of somebody: 'p1', 'entered'."""

    def make(key="p1", kind="entered", *, ago=timedelta(minutes=1), number=0, **fields):
        at = datetime.fromtimestamp(desk.clock(), UTC).replace(tzinfo=None) - ago
        return Change(f"{key}-{kind}-{number}", kind, key, fields, profile=1, at=at)

    return make


def _batch(*changes, key_field="client_id", list_name="Big spenders"):
    return Batch("b1", "vip", "big_spenders", list_name, key_field, changes)


def test_a_member_who_enters_is_an_event_and_a_user_property(desk, sink, change):
    receipt = sink().write(_batch(change(tier="gold", orders=7, user_id="u1"), change("p2", "left", tier="gold")))
    assert receipt.rejected == {}
    first, second = sorted(desk.simulator.collector.counted, key=lambda event: event["person"])
    assert (first["person"], first["user_id"], first["name"]) == ("p1", "u1", "audience_entered")
    assert first["params"] == {
        "audience": "Big spenders",
        "segment": "big_spenders",
        "change_id": "p1-entered-0",
        "engagement_time_msec": 1,
    }
    assert first["timestamp_micros"] == int((desk.clock() - 60) * 1_000_000)
    assert second["name"] == "audience_left"
    assert desk.simulator.collector.users == {
        "p1": {"in_big_spenders": "true", "tier": "gold", "orders": "7"},
        "p2": {"in_big_spenders": "false", "tier": "gold"},
    }


@pytest.mark.parametrize("people", [1, 2, 99, 100])
def test_every_person_takes_a_request_of_their_own(desk, sink, change, people):
    sink().write(_batch(*(change(f"p{number}") for number in range(people))))
    assert desk.calls() == desk.calls("^/mp/collect") == people
    assert len(desk.simulator.collector.users) == people


@pytest.mark.parametrize("events", [24, 25, 26, 51])
def test_a_request_holds_25_events_of_a_person(desk, sink, change, events):
    changes = [change(kind="changed", number=number, ago=timedelta(minutes=99 - number)) for number in range(events)]
    sink().write(_batch(*changes, change("p2")))
    assert desk.calls("/mp/collect") == ceil(events / 25) + 1
    told = [event["params"]["change_id"] for event in desk.simulator.collector.counted if event["person"] == "p1"]
    assert sorted(told) == sorted(each.id for each in changes)


def test_what_may_have_arrived_is_not_sent_again(desk, sink, change):
    desk.simulator.script("POST", "/mp/collect", [Fault(drop="after")])
    receipt = sink().write(_batch(change()))
    assert (receipt.rejected[0].code, receipt.rejected[0].retryable) == ("unknown_outcome", False)
    assert desk.calls("/mp/collect") == 1
    assert len(desk.simulator.collector.counted) == 1


def test_what_google_did_not_take_is_sent_again(desk, sink, change):
    desk.simulator.script("POST", "/mp/collect", [Answer(500), Answer(503)])
    assert sink().write(_batch(change())).rejected == {}
    assert desk.calls("/mp/collect") == 3
    assert len(desk.simulator.collector.counted) == 1


def test_a_delivery_that_ends_in_the_middle_repeats_nobody(desk, sink, change):
    changes = [change(f"p{number}") for number in range(40)]
    desk.simulator.script("POST", "/mp/collect", [None] * 10 + [Answer(503)] * 200)
    receipt = sink().write(_batch(*changes))
    assert {why.code for why in receipt.rejected.values()} == {"not_sent"}
    assert all(why.retryable for why in receipt.rejected.values())
    desk.simulator.forget_script()
    again = [changes[index] for index in receipt.rejected]
    assert sink().write(_batch(*again)).rejected == {}
    told = [event["params"]["change_id"] for event in desk.simulator.collector.counted]
    assert sorted(told) == sorted(each.id for each in changes)


def test_where_nothing_was_sent_the_whole_delivery_fails(desk, sink, change):
    desk.simulator.script("POST", "/mp/collect", [Answer(503)] * 200)
    with pytest.raises(TransientError):
        sink().write(_batch(change(), change("p2")))


def test_what_google_would_throw_away_is_refused_before_it_is_sent(desk, sink, change):
    receipt = sink().write(
        _batch(
            change("p1", nice="x" * 36),
            change("p2", long="x" * 37),
            change("p3", **{"no name": "x"}),
            change("p4", ga_own="x"),
            change("p5", **{f"f{number}": 1 for number in range(25)}),
            change("p" * 300),
        )
    )
    codes = {index: why.code for index, why in receipt.rejected.items()}
    assert codes == {
        1: "value_too_long",
        2: "name_invalid",
        3: "name_reserved",
        4: "too_many_properties",
        5: "id_too_long",
    }
    assert desk.calls() == 1
    assert "xxx" not in "".join(why.reason for why in receipt.rejected.values())


def test_the_validation_server_s_verdicts_are_rejections(desk, sink, change):
    fault = {"fieldPath": "user_properties.tier", "description": "Odd.", "validationCode": "VALUE_INVALID"}
    desk.simulator.script("POST", "^/debug/", [None, Answer(body={"validationMessages": [fault]})])
    receipt = sink(validate=True).write(_batch(change("p1"), change("p2")))
    assert [(why.code, why.retryable) for why in receipt.rejected.values()] == [("VALUE_INVALID", False)]
    assert desk.calls("^/mp/collect") == len(desk.simulator.collector.counted) == 1


def test_an_old_change_is_dated_now(desk, sink, change):
    sink().write(_batch(change(ago=timedelta(hours=71)), change("p2", ago=timedelta(hours=73))))
    dated = {event["person"]: "timestamp_micros" in event for event in desk.simulator.collector.counted}
    assert dated == {"p1": True, "p2": False}


def test_a_cleared_field_is_sent_as_empty(desk, sink, change):
    sink().write(_batch(change(kind="changed", tier=None, member=True)))
    assert desk.simulator.collector.users["p1"] == {"in_big_spenders": "true", "tier": "", "member": "true"}


def test_long_names_of_audiences_stay_apart(desk, sink, change):
    names = ["People who spent more than 100", "People who spent more than 200", "ÜÄÖ"]
    for name in names:
        assert sink().write(_batch(change(name), list_name=name)).rejected == {}
    properties = {name for each in desk.simulator.collector.users.values() for name in each}
    assert len(properties) == 3


def test_names_and_consent_are_as_configured(desk, sink, change):
    names = {"entered": "joined", "left": "went", "changed": "moved"}
    consent = {"ad_user_data": "GRANTED", "ad_personalization": "DENIED"}
    sink(event_names=names, membership="vip", consent=consent).write(_batch(change()))
    assert desk.simulator.collector.users == {"p1": {"vip": "true"}}
    assert desk.simulator.calls(path="/mp/collect")[0].json()["consent"] == consent
    assert desk.simulator.collector.counted[0]["name"] == "joined"


def test_a_signed_in_user_needs_a_client_id_too(desk, sink, change):
    receipt = sink().write(_batch(change("u1"), change("u2", client_id="1.2"), key_field="user_id"))
    assert {index: why.code for index, why in receipt.rejected.items()} == {0: "no_client_id"}
    assert [(event["person"], event["user_id"]) for event in desk.simulator.collector.counted] == [("1.2", "u2")]


def test_an_app_s_stream_knows_app_instances(desk, change):
    config = desk.config(firebase_app_id=FIREBASE_APP_ID, api_secret=SECRET)
    sink = MeasurementProtocol(config, desk.context, desk.now)
    sink.check()
    assert sink.write(_batch(change("a1"), key_field="app_instance_id")).rejected == {}
    assert desk.simulator.collector.users.keys() == {"a1"}


def test_another_key_is_refused(sink, change):
    with pytest.raises(ConfigError, match="client_id"):
        sink().write(_batch(change(), key_field="email"))


def test_nothing_at_all_is_no_call(desk, sink):
    assert sink().write(_batch()).rejected == {}
    assert desk.calls() == 0


@pytest.mark.parametrize("name", ["session_start", "ga_thing", "first_visit"])
def test_events_of_google_s_own_are_refused(sink, name):
    with pytest.raises(ConfigError, match=name):
        sink(event_names={"entered": name})


def test_a_source_without_a_data_stream_is_no_sink(desk):
    with pytest.raises(ConfigError, match="measurement_id"):
        MeasurementProtocol(desk.config(), desk.context)


def test_check_asks_the_validation_server_and_counts_nothing(desk, sink):
    sink().check()
    assert [call.path for call in desk.simulator.calls()] == ["/debug/mp/collect"]


def test_the_secret_in_the_address_shows_nowhere(desk, sink, change, caplog):
    caplog.set_level(logging.DEBUG)
    said = [repr(sink()), repr(desk.config(**_STREAM))]
    for fault in (
        Answer(400, {"error": "no"}),
        Answer(301, headers={"location": "/x"}),
        Answer(503),
        Fault(drop="after"),
    ):
        desk.simulator.script("POST", "/mp/collect", [fault] * 9)
        try:
            said.append(repr(sink().write(_batch(change()))))
        except Exception as error:  # whatever it is, it must not tell
            said += traceback.format_exception(error)
        desk.simulator.forget_script()
    # The simulator is the vendor: what its server writes down of a request is not the hub's.
    ours = [record for record in caplog.records if not record.name.startswith("uvicorn")]
    said += [f"{record.getMessage()} {record.args} {record.exc_text}" for record in ours]
    assert ours
    assert SECRET in desk.simulator.calls(path="/mp/collect")[0].query
    assert not [text for text in said if SECRET in text]
