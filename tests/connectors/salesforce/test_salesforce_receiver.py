"""What is taken of pushes: ids, and nothing that signs in or belongs to a person."""

from __future__ import annotations

import json

import pytest
from tests.received import accepted, incoming, status

from switchyard.api.receiving import Accepted
from switchyard_connectors.salesforce.config import Push
from switchyard_connectors.salesforce.receiver import SalesforceReceiver

_TOKEN = "a-long-random-push-token"
_ORG = "00D5g0000000001"
_URL = f"https://hub.example.com/hooks/crm?token={_TOKEN}"
_XML = {"content-type": "text/xml; charset=utf-8"}
_JSON = {"content-type": "application/json"}
_MESSAGE = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>
<notifications xmlns="http://soap.sforce.com/2005/09/outbound">
<OrganizationId>{org}</OrganizationId><ActionId>04k000000000001AAA</ActionId><SessionId>l1ve-s3ssion</SessionId>
<EnterpriseUrl>https://x.salesforce.com</EnterpriseUrl>{notifications}
</notifications></soapenv:Body></soapenv:Envelope>"""
_NOTIFICATION = """<Notification><Id>{id}</Id>
<sObject xsi:type="sf:{kind}" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
<sf:Id>{record}</sf:Id><sf:Email>ann@x.example</sf:Email></sObject></Notification>"""


def message(*records: tuple[str, str, str], org: str = f"{_ORG}EAB") -> str:
    """An outbound message; a record is (notification, object, id)."""
    inside = "".join(_NOTIFICATION.format(id=name, kind=kind, record=record) for name, kind, record in records)
    return _MESSAGE.format(org=org, notifications=inside)


def event(**header: object) -> dict[str, object]:
    """A change event as a relay posts it."""
    given = {"entityName": "Contact", "changeType": "UPDATE", "recordIds": ["0035g0000000001AAA"], **header}
    return {"schema": "x", "payload": {"ChangeEventHeader": given, "Email": "ann@x.example"}}


@pytest.fixture
def receiver() -> SalesforceReceiver:
    return SalesforceReceiver(Push(token=_TOKEN, organization_id=_ORG))


def changes(verdict: object) -> list[dict[str, object]]:
    assert isinstance(verdict, Accepted)
    return json.loads(verdict.body)["changes"]


def test_a_message_is_answered_with_the_acknowledgement_that_stops_repetitions(receiver):
    body = message(("04l1", "Contact", "0035g0000000001AAA"), ("04l2", "Lead", "00Q5g0000000001AAA"))
    verdict = accepted(receiver.check(incoming(body, _XML, url=_URL)))
    assert b"<Ack>true</Ack>" in (verdict.answer or b"")
    assert verdict.answer_type.startswith("text/xml")
    assert changes(verdict) == [
        {"object": "Contact", "type": "UPDATE", "ids": ["0035g0000000001AAA"]},
        {"object": "Lead", "type": "UPDATE", "ids": ["00Q5g0000000001AAA"]},
    ]


def test_neither_the_session_nor_a_value_is_kept(receiver):
    verdict = accepted(receiver.check(incoming(message(("04l1", "Contact", "0035g0000000001AAA")), _XML, url=_URL)))
    kept = repr(verdict)
    assert "l1ve-s3ssion" not in kept
    assert "ann@x.example" not in kept
    assert _TOKEN not in kept


def test_a_message_that_comes_again_has_the_same_name(receiver):
    """At least once, and in any order."""
    one, two = ("04l1", "Contact", "0035g0000000001AAA"), ("04l2", "Contact", "0035g0000000002AAA")
    first = accepted(receiver.check(incoming(message(one, two), _XML, url=_URL)))
    again = accepted(receiver.check(incoming(message(two, one), _XML, url=_URL)))
    other = accepted(receiver.check(incoming(message(one), _XML, url=_URL)))
    assert first.id == again.id != other.id


@pytest.mark.parametrize("org", ["00D5g0000000002EAB", "", "00D"])
def test_a_message_of_another_org_is_refused(receiver, org):
    body = message(("04l1", "Contact", "0035g0000000001AAA"), org=org)
    assert status(receiver.check(incoming(body, _XML, url=_URL))) == 401


@pytest.mark.parametrize(
    "url",
    [
        "https://hub.example.com/hooks/crm",
        "https://hub.example.com/hooks/crm?token=",
        "https://hub.example.com/hooks/crm?token=wrong",
        f"https://hub.example.com/hooks/crm?token={_TOKEN}x",
        "https://hub.example.com/hooks/crm?token=%ff%00",
    ],
)
def test_whoever_does_not_know_the_token_is_refused(receiver, url):
    assert status(receiver.check(incoming(message(("04l1", "Contact", "003")), _XML, url=url))) == 401


def test_a_relay_may_give_the_token_in_a_header(receiver):
    headers = _JSON | {"x-switchyard-token": _TOKEN}
    assert status(receiver.check(incoming(json.dumps(event()), headers))) == 200


@pytest.mark.parametrize(
    "body",
    [
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>',
        "<a>",
        "no xml",
        "",
        "<a/>",
        b"\xff\xfe\x00",
        '<?xml version="1.0" encoding="no-such-encoding"?><a/>',
    ],
)
def test_hostile_and_broken_xml_is_refused(receiver, body):
    assert status(receiver.check(incoming(body, _XML, url=_URL))) == 400


def test_events_are_taken_one_by_one_and_in_lists(receiver):
    bare = event(recordIds=["0035g0000000003AAA"])["payload"]
    wrapped = {"data": {"payload": bare}}
    assert changes(receiver.check(incoming(json.dumps(event()), _JSON, url=_URL)))[0]["ids"] == ["0035g0000000001AAA"]
    found = changes(receiver.check(incoming(json.dumps([event(), bare, wrapped]), _JSON, url=_URL)))
    assert [each["ids"] for each in found] == [
        ["0035g0000000001AAA"],
        ["0035g0000000003AAA"],
        ["0035g0000000003AAA"],
    ]


def test_records_that_are_too_many_to_be_named_are_an_overflow(receiver):
    gaps = [event(recordIds=["003*"], changeType="UPDATE"), event(changeType="GAP_OVERFLOW", recordIds=[])]
    found = changes(receiver.check(incoming(json.dumps(gaps), _JSON, url=_URL)))
    assert [each["type"] for each in found] == ["GAP_OVERFLOW", "GAP_OVERFLOW"]


def test_what_the_hub_wrote_itself_is_left_out(receiver):
    echo = event(changeOrigin="com/salesforce/api/rest/62.0;client=switchyard")
    other = event(changeOrigin="com/salesforce/api/rest/62.0;client=other")
    assert len(changes(receiver.check(incoming(json.dumps([echo, other]), _JSON, url=_URL)))) == 1


@pytest.mark.parametrize(
    "body", ["", "{", "[]x", "1", "{}", '{"payload": 1}', '{"payload": {"ChangeEventHeader": {"entityName": 1}}}']
)
def test_what_is_no_event_is_refused(receiver, body):
    assert status(receiver.check(incoming(body, _JSON, url=_URL))) == 400


def test_other_types_and_large_bodies_are_refused(receiver):
    assert status(receiver.check(incoming("x", {"content-type": "text/csv"}, url=_URL))) == 415
    assert status(receiver.check(incoming(b" " * 1_000_001, _JSON, url=_URL))) == 413


def test_two_changes_of_one_record_are_two_and_a_repetition_is_one(receiver):
    """Of both only the id is kept, which is the same: named by what is kept, the second would be dropped."""
    first, second = event(commitNumber=1, transactionKey="a"), event(commitNumber=2, transactionKey="b")
    names = [
        accepted(receiver.check(incoming(json.dumps(each), _JSON, url=_URL))).id for each in (first, second, first)
    ]
    assert names[0] == names[2] != names[1]


def test_changes_that_do_not_say_when_they_were_are_never_taken_for_one(receiver):
    from dataclasses import replace
    from datetime import timedelta

    bare = {"ChangeEventHeader": {"entityName": "Contact", "changeType": "UPDATE", "recordIds": ["0035g0000000001AAA"]}}
    once = incoming(json.dumps(bare), _JSON, url=_URL)
    again = replace(once, at=once.at + timedelta(seconds=1))
    assert accepted(receiver.check(once)).id != accepted(receiver.check(again)).id
