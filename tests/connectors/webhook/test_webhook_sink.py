"""Changes sent as Standard Webhooks, to an endpoint over real HTTP: signatures, answers, waits, what is not called."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from switchyard.api import Batch, Change, ConfigError, PermanentError, TransientError
from switchyard.api.receiving import Accepted, Incoming
from switchyard.testing.builders import SimpleContext
from switchyard.testing.simulator import Answer, Fault, ManualClock
from switchyard_connectors.webhook import SINK, SOURCE
from switchyard_connectors.webhook.endpoint import SCHEDULE
from switchyard_connectors.webhook.keys import signing
from switchyard_connectors.webhook.simulator import SECRET, WebhookEndpoint
from switchyard_connectors.webhook.sink import WebhookSink

VECTORS = [
    vector
    for vector in json.loads((Path(__file__).parents[2] / "data/webhooks/test_vectors.json").read_text())["vectors"]
    if vector["scheme"] == "standard-webhooks-v1" and vector["valid"]
]
NOW = datetime(2026, 6, 1, 12)
MINUTES_5 = 300


def change(number: int, kind: Any = "entered", profile: int | None = None) -> Change:
    fields = {"email": f"p{number}@x.org", "spent": "12.50", "town": None}
    return Change(f"c{number}", kind, f"p{number}@x.org", fields, profile or 2**60 + number, NOW)


def batch(*changes: Change) -> Batch:
    return Batch("b", "vips", "big_spenders", "VIPs", "email", changes)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000)


@pytest.fixture
def endpoint(clock: ManualClock) -> Iterator[WebhookEndpoint]:
    with WebhookEndpoint(clock=clock) as simulator:
        yield simulator


Build = Callable[..., WebhookSink]


@pytest.fixture
def build(tmp_path: Path, endpoint: WebhookEndpoint, clock: ManualClock) -> Iterator[Build]:
    """Builds the sink anew, as every delivery does; by default for the endpoint and one call at a time."""
    contexts = []

    def building(spread: float = 0.0, **settings: Any) -> WebhookSink:
        send = {
            "url": f"{endpoint.url}/hooks/p?x=1",
            "secrets": SECRET,
            "internal_hosts": "127.0.0.1",
            "concurrency": 1,
        }
        contexts.append(SimpleContext(tmp_path))
        return WebhookSink(SINK.config.model_validate({"send": send | settings}), contexts[-1], clock, lambda: spread)

    yield building
    for context in contexts:
        context.close()


def told(endpoint: WebhookEndpoint) -> list[tuple[str, str]]:
    return [(message["type"], message["data"]["key"]) for message in endpoint.told]


def test_each_kind_of_change_is_a_message(build, endpoint):
    receipt = build().write(batch(change(1), change(2, "left"), change(3, "changed")))
    assert receipt.rejected == {}
    assert told(endpoint) == [
        ("profile.entered_segment", "p1@x.org"), ("profile.left_segment", "p2@x.org"), ("profile.changed", "p3@x.org")
    ]  # fmt: skip
    assert endpoint.told[0] == {
        "type": "profile.entered_segment",
        "timestamp": "2026-06-01T12:00:00Z",
        "data": {
            "profile": str(2**60 + 1),
            "key": "p1@x.org",
            "segment": "big_spenders",
            "audience": "VIPs",
            "fields": {"email": "p1@x.org", "spent": "12.50", "town": None},
        },
    }


def test_the_headers_are_those_of_standard_webhooks(build, endpoint, clock):
    build().write(batch(change(1)))
    (call,) = endpoint.requests
    assert call.query == "x=1"
    assert (call.headers["webhook-id"], call.headers["idempotency-key"]) == ("c1", "c1")
    assert call.headers["webhook-timestamp"] == str(int(clock()))
    assert call.headers["content-type"] == "application/json"


@pytest.mark.parametrize("vector", VECTORS)
def test_signatures_are_those_of_the_official_vectors(vector):
    sent = {name: vector["headers"][f"webhook-{name}"] for name in ("id", "timestamp", "signature")}
    message = f"{sent['id']}.{sent['timestamp']}.{vector['body']}".encode()
    assert signing(vector["secret"])(message) in sent["signature"].split(" ")


def test_our_own_receiver_takes_it_by_each_of_several_secrets(build, endpoint, clock):
    seed = bytes(range(32))
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    both = [SECRET, "whsec_" + base64.b64encode(b"another secret of ours").decode()]
    build(secrets=[*both, "whsk_" + base64.b64encode(seed + public).decode()]).write(batch(change(1)))
    (call,) = endpoint.requests
    at = datetime.fromtimestamp(clock())
    incoming = Incoming("POST", endpoint.url, dict(call.headers), call.body, at)
    for secret in (*both, "whpk_" + base64.b64encode(public).decode()):
        config = SOURCE.config.model_validate({"scheme": "standard_webhooks", "secrets": secret, "tolerance": 86_400})
        verdict = SOURCE.receiver(config).check(incoming)
        assert isinstance(verdict, Accepted) and verdict.id == "c1"


def test_an_answer_that_is_lost_leaves_one_effect(build, endpoint):
    endpoint.script("POST", "", [Fault(drop="after")])
    with pytest.raises(TransientError):
        build().write(batch(change(1)))
    endpoint.clock.advance(MINUTES_5)
    assert build().write(batch(change(1))).rejected == {}
    assert len(endpoint.told) == 1
    assert len({call.headers["webhook-timestamp"] for call in endpoint.requests}) == 2


@pytest.mark.parametrize("status", [301, 307, 401, 404, 500, 502])
def test_only_2xx_is_success_and_nothing_is_followed(build, endpoint, status):
    endpoint.script("POST", "", [Answer(status, None, {"location": f"{endpoint.url}/elsewhere"})])
    with pytest.raises(TransientError, match=f"answered {status}"):
        build().write(batch(change(1)))
    assert endpoint.count() == 1
    assert endpoint.told == []


def test_410_disables_the_endpoint_until_its_settings_change(build, endpoint, clock):
    endpoint.script("POST", "", [Answer(410)])
    with pytest.raises(PermanentError, match=r"disabled since 2027-01-15.*send\.resume"):
        build().write(batch(change(1), change(2)))
    clock.advance(10 * 86_400)
    sink = build()
    for act in (lambda: sink.write(batch(change(1))), sink.check):
        with pytest.raises(PermanentError, match="disabled"):
            act()
    assert endpoint.count() == 1
    assert build(resume="mended").write(batch(change(1), change(2))).rejected == {}


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(build, endpoint, clock, status):
    endpoint.script("POST", "", [Answer(status, None, {"retry-after": "1000"})])
    with pytest.raises(TransientError) as failed:
        build().write(batch(change(1), change(2)))
    assert failed.value.retry_after == 1000
    clock.advance(999)
    with pytest.raises(TransientError) as early:
        build().write(batch(change(1)))
    assert early.value.retry_after == pytest.approx(1)
    assert endpoint.count() == 1
    clock.advance(2)
    assert build().write(batch(change(1), change(2))).rejected == {}


def test_an_endpoint_that_fails_is_called_by_the_schedule_and_then_no_more(build, endpoint, clock):
    endpoint.script("POST", "", itertools.repeat(Answer(500)))
    waits = []
    for _ in SCHEDULE:
        with pytest.raises(TransientError) as failed:
            build().write(batch(change(1)))
        waits.append(failed.value.retry_after)
        clock.advance(waits[-1])
    assert tuple(waits) == SCHEDULE
    with pytest.raises(PermanentError, match="failed 10 times in a row and is disabled"):
        build().write(batch(change(1)))
    assert endpoint.count() == len(SCHEDULE) + 1


def test_a_success_begins_the_schedule_anew(build, endpoint, clock):
    for _ in range(2):
        endpoint.script("POST", "", [Answer(500)])
        with pytest.raises(TransientError) as failed:
            build().write(batch(change(1)))
        assert failed.value.retry_after == SCHEDULE[0]
        clock.advance(SCHEDULE[0])
        build().write(batch(change(1)))


def test_a_refused_message_is_refused_where_others_are_taken(build, endpoint):
    endpoint.refuse(["p2@x.org"], 422)
    receipt = build().write(batch(change(1), change(2), change(3)))
    assert {index: (each.code, each.retryable) for index, each in receipt.rejected.items()} == {1: ("http_422", False)}
    endpoint.refuse(["p2@x.org"], 404)
    receipt = build().write(batch(change(4), change(2), change(5)))
    assert {index: (each.code, each.retryable) for index, each in receipt.rejected.items()} == {1: ("http_404", True)}


def test_nobody_is_refused_for_good_where_the_secret_is_the_wrong_one(build, endpoint, clock):
    """400 is what many answer to a signature that does not fit."""
    endpoint.script("POST", "", itertools.repeat(Answer(400)))
    for _ in range(20):
        with pytest.raises(TransientError) as failed:
            build().write(batch(*map(change, range(9))))
        assert failed.value.retry_after <= MINUTES_5
        clock.advance(MINUTES_5)
    assert endpoint.count() == 20 * 5, "an endpoint that takes nothing is asked a few times each"
    endpoint.forget_script()
    assert build().write(batch(*map(change, range(9)))).rejected == {}


def test_a_few_that_are_never_taken_do_not_keep_the_others_back(build, endpoint, clock):
    endpoint.refuse([f"p{number}@x.org" for number in range(6)])
    with pytest.raises(TransientError):
        build().write(batch(*map(change, range(12))))
    clock.advance(MINUTES_5)
    receipt = build(spread=0.5).write(batch(*map(change, range(12))))
    assert {index: each.retryable for index, each in receipt.rejected.items()} == dict.fromkeys(range(6), False)


def test_an_endpoint_that_fails_in_the_middle_keeps_what_it_took(build, endpoint, clock):
    endpoint.script("POST", "", [None, Answer(429, None, {"retry-after": "60"})])
    receipt = build().write(batch(*map(change, range(4))))
    assert {index: (each.code, each.retryable) for index, each in receipt.rejected.items()} == {
        1: ("http_429", True), 2: ("not_sent", True), 3: ("not_sent", True)
    }  # fmt: skip
    with pytest.raises(TransientError):
        build().write(batch(change(1)))
    assert endpoint.count() == 2


def test_messages_go_out_side_by_side_and_those_of_one_person_in_order(build, endpoint):
    changes = [change(number, profile=number % 5 + 1) for number in range(50)]
    assert build(concurrency=5).write(batch(*changes)).rejected == {}
    sent = [int(message["data"]["key"].partition("@")[0][1:]) for message in endpoint.told]
    for person in range(5):
        assert [number for number in sent if number % 5 == person] == list(range(person, 50, 5))


def test_what_follows_a_change_that_is_not_taken_is_not_sent(build, endpoint):
    endpoint.refuse(["p0@x.org"])
    receipt = build().write(batch(change(0, profile=1), change(1, profile=1), change(2, profile=2)))
    assert {index: each.code for index, each in receipt.rejected.items()} == {0: "http_400", 1: "not_sent"}


def test_addresses_inside_the_network_are_not_called(tmp_path, endpoint, monkeypatch):
    port = httpx.URL(endpoint.url).port
    config = SINK.config.model_validate({"send": {"url": f"https://partner.example:{port}/", "secrets": SECRET}})
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", port))])
    context = SimpleContext(tmp_path)
    with pytest.raises(PermanentError, match="inside this network"):
        SINK.build(config, context).write(batch(change(1)))
    context.close()
    assert endpoint.count() == 0


@pytest.mark.parametrize(
    ("send", "said"),
    [
        ({"url": "https://10.0.0.5/x"}, "inside this network"),
        ({"url": "http://169.254.169.254/latest"}, "inside this network"),
        ({"url": "https://[::ffff:127.0.0.1]/"}, "inside this network"),
        ({"url": "http://partner.example/"}, "without https"),
        ({"url": "ftp://partner.example/"}, "write it as"),
        ({"url": "https://me:pass@partner.example/"}, "write it as"),
        ({"url": "https://partner.example/", "secrets": "whsec_###"}, "whsec_"),
        ({"url": "https://partner.example/", "secrets": "whsk_AAAA"}, "whsk_"),
        ({"url": "https://partner.example/", "secrets": []}, "at least 1"),
    ],
)
def test_a_configuration_that_cannot_be_is_an_error_without_the_secret(send, said):
    with pytest.raises(ValidationError, match=said) as error:
        SINK.config.model_validate({"send": {"secrets": SECRET} | send})
    assert SECRET not in str(error.value)


def test_an_address_that_is_a_secret_shows_nowhere(build):
    sink = build(url="https://hooks.partner.example/T0SECRET")
    config = SINK.config.model_validate({"send": {"url": "https://hooks.partner.example/T0SECRET", "secrets": SECRET}})
    assert "T0SECRET" not in f"{config!r} {config} {sink!r}"


def test_a_connection_that_only_sends_receives_nothing(build):
    config = SOURCE.config.model_validate({"send": {"url": "https://partner.example/", "secrets": SECRET}})
    assert SOURCE.receiver(config) is None


def test_a_connection_that_only_receives_sends_nothing(tmp_path):
    config = SOURCE.config.model_validate({"scheme": "github", "secrets": "s"})
    with pytest.raises(ConfigError, match="has no `send:`"):
        SINK.build(config, SimpleContext(tmp_path))


def test_nothing_to_receive_and_nothing_to_send_is_an_error():
    for config in ({}, {"secrets": "s"}, {"records": "/x", "send": {"url": "https://p.example/", "secrets": SECRET}}):
        with pytest.raises(ValidationError, match="scheme"):
            SOURCE.config.model_validate(config)
