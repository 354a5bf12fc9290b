from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import pytest
from defusedxml import ElementTree
from tests.connectors.salesforce.simulator_client import Client, records, signed_in

from switchyard.testing.simulator import Answer, Simulator
from switchyard_connectors.salesforce.simulator_pushes import Subscription

OUT = "{http://soap.sforce.com/2005/09/outbound}"
ACK = (
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    b"</soapenv:Body></soapenv:Envelope>"
)


class Receiver(Simulator):
    """Takes what is posted, with the acknowledgement or without."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = ACK
        self.route("POST", "/in", lambda _: Answer(200, self.answer, {"content-type": "text/xml"}))

    def messages(self) -> list[Element]:
        return [ElementTree.fromstring(call.body) for call in self.calls("POST") if call.body]

    def events(self) -> list[dict]:
        return [event["payload"] for call in self.calls("POST") for event in call.json()]


@pytest.fixture
def client() -> Iterator[Client]:
    with signed_in() as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def told(client: Client) -> None:
    client.simulator.pushes.flush()
    client.simulator.pushes.sender.settle()


def subscribe(client: Client, receiver: Receiver, kind: str, **more: object) -> None:
    client.simulator.pushes.subscribe(Subscription(f"{receiver.url}/in", "Contact", kind, **more))


def test_messages_name_org_and_records_with_their_values(client, receiver):
    subscribe(client, receiver, "messages", fields=("Email", "HasOptedOutOfEmail"), session=True)
    rows = [{"LastName": "A&B", "Email": f"p{number}@x.example"} for number in range(150)]
    client.post("/composite/sobjects", records("Contact", rows))
    told(client)
    messages = receiver.messages()
    assert sorted(len(message.findall(f".//{OUT}Notification")) for message in messages) == [50, 100]
    assert messages[0].findtext(f".//{OUT}OrganizationId", "")[:3] == "00D"
    assert "live-session" in messages[0].findtext(f".//{OUT}SessionId", "")
    record = messages[0].find(f".//{OUT}sObject")
    assert [(each.tag.partition("}")[2], each.text) for each in record][1:] == [
        ("Email", record[1].text),
        ("HasOptedOutOfEmail", "false"),
    ]
    ids = {each.text for message in messages for each in message.iterfind(f".//{OUT}Notification/{OUT}Id")}
    assert len(ids) == 150


def test_a_message_without_the_ack_comes_again_with_the_newest_state(client, receiver):
    receiver.answer = b"<ok/>"
    subscribe(client, receiver, "messages", fields=("Phone",))
    ann = client.simulator.add("Contact", LastName="Ann", Phone="1")
    told(client)
    client.simulator.writes.update("Contact", ann, {"Phone": "2"})
    client.simulator.store.changes.clear()
    receiver.answer = ACK
    client.clock.advance(15)
    told(client)
    phones = [[each.text for each in message.iter() if each.tag.endswith("}Phone")] for message in receiver.messages()]
    assert phones == [["1"], ["2"]]
    names = {message.findtext(f".//{OUT}Notification/{OUT}Id") for message in receiver.messages()}
    assert len(names) == 1
    assert client.simulator.pushes.sender.waiting == 0


def test_a_message_is_given_up_after_a_day(client, receiver):
    receiver.answer = b"<ok/>"
    subscribe(client, receiver, "messages")
    client.simulator.add("Contact", LastName="Ann")
    told(client)
    for _ in range(40):
        client.clock.advance(7_200)
        told(client)
    assert client.simulator.pushes.sender.waiting == 0
    waits = [after.at - before.at for before, after in zip(receiver.calls(), receiver.calls()[1:], strict=False)]
    assert waits
    assert client.simulator.pushes.sender.attempts[-1].number > 10


def test_events_say_what_changed_and_who_did_it(client, receiver):
    subscribe(client, receiver, "events")
    call = {"sforce-call-options": "client=hub"}
    ann = client.post("/sobjects/Contact", {"LastName": "Ann"}).json()["id"]
    client.patch(f"/sobjects/Contact/{ann}", {"Phone": "5"}, call)
    client.simulator.life.delete(ann)
    told(client)
    client.simulator.life.undelete(ann)
    told(client)
    client.simulator.pushes.gap("Contact", [ann], "GAP_UPDATE")
    client.simulator.pushes.gap("Contact", ["003*"], "GAP_OVERFLOW")
    told(client)
    events = sorted(receiver.events(), key=lambda event: event["ChangeEventHeader"]["commitNumber"])
    headers = [event["ChangeEventHeader"] for event in events]
    assert [header["changeType"] for header in headers] == [
        "CREATE",
        "UPDATE",
        "DELETE",
        "UNDELETE",
        "GAP_UPDATE",
        "GAP_OVERFLOW",
    ]
    assert headers[1]["changedFields"] == ["Phone"]
    assert headers[1]["changeOrigin"] == "com/salesforce/api/rest;client=hub"
    assert {name: value for name, value in events[1].items() if name != "ChangeEventHeader"} == {"Phone": "5"}
    assert headers[5]["recordIds"] == ["003*"]


def test_what_is_rolled_back_is_told_to_nobody(client, receiver):
    subscribe(client, receiver, "events")
    client.post("/composite/sobjects", {"allOrNone": True, **records("Contact", [{"LastName": "A"}, {}])})
    told(client)
    assert receiver.calls() == []
