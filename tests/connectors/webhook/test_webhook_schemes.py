"""Who is let in: signatures of all schemes, and everything that is almost one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.received import NOON, accepted, incoming, status

from switchyard.api.receiving import Incoming, Receiver
from switchyard_connectors.webhook import SOURCE

from .conftest import PLAIN, receiver

_VECTORS = json.loads((Path(__file__).parents[2] / "data" / "webhooks" / "test_vectors.json").read_text())["vectors"]
_SCHEMES = {
    "standard-webhooks-v1": "standard_webhooks",
    "svix-v1": "svix",
    "github-sha256": "github",
    "stripe-v1": "stripe",
    "shopify": "shopify",
    "hubspot-v3": "hubspot_v3",
}
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HUBSPOT = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URI = "https://www.example.com/webhook_uri"


def _signed_at(headers: Mapping[str, str]) -> datetime:
    """The instant that the headers name, or any."""
    lowered = {name.lower(): value for name, value in headers.items()}
    if stamp := lowered.get("x-hubspot-request-timestamp"):
        seconds = int(stamp) / 1000
    elif "stripe-signature" in lowered:
        seconds = int(lowered["stripe-signature"].split(",")[0].removeprefix("t="))
    else:
        seconds = int(lowered.get("webhook-timestamp") or lowered.get("svix-timestamp") or 0)
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def _case(vector: Mapping[str, Any]) -> tuple[Receiver, Incoming]:
    request = incoming(
        vector["body"],
        vector["headers"],
        at=_signed_at(vector["headers"]),
        method=vector.get("method", "POST"),
        url=vector.get("uri", "https://hub.example.com/hooks/x"),
    )
    return receiver(scheme=_SCHEMES[vector["scheme"]], secrets=vector["secret"]), request


GENUINE = [vector for vector in _VECTORS if vector["valid"]]


@pytest.mark.parametrize("vector", _VECTORS, ids=lambda vector: f"{vector['scheme']} {vector.get('note', '')}".strip())
def test_published_vectors(vector: Mapping[str, Any]) -> None:
    door, request = _case(vector)
    assert status(door.check(request)) == (200 if vector["valid"] else 401)


@pytest.mark.parametrize("vector", GENUINE, ids=lambda vector: vector["scheme"])
def test_one_other_byte_anywhere_is_refused(vector: Mapping[str, Any]) -> None:
    door, request = _case(vector)
    assert status(door.check(replace(request, body=request.body + b" "))) == 401
    assert status(door.check(replace(request, body=b""))) == 401
    for name in request.headers:
        without = {other: value for other, value in request.headers.items() if other != name}
        assert status(door.check(replace(request, headers=without))) == 401, name
        other = {
            **request.headers,
            name: request.headers[name].translate(str.maketrans("0123456789abc", "123456789abc0")),
        }
        assert status(door.check(replace(request, headers=other))) == 401, name


@pytest.mark.parametrize("vector", GENUINE, ids=lambda vector: vector["scheme"])
def test_while_secrets_rotate_either_is_good(vector: Mapping[str, Any]) -> None:
    _, request = _case(vector)
    other = "whsec_" + base64.b64encode(b"another secret of some length").decode()
    rotating = receiver(scheme=_SCHEMES[vector["scheme"]], secrets=[other, vector["secret"]])
    assert status(rotating.check(request)) == 200
    assert status(receiver(scheme=_SCHEMES[vector["scheme"]], secrets=[other]).check(request)) == 401


@pytest.mark.parametrize("vector", [each for each in GENUINE if each["scheme"] not in ("github-sha256", "shopify")])
def test_a_delivery_is_good_for_five_minutes_each_way(vector: Mapping[str, Any]) -> None:
    door, request = _case(vector)
    for seconds, expected in ((-301, 401), (-299, 200), (299, 200), (301, 401)):
        moved = replace(request, at=request.at + timedelta(seconds=seconds))
        assert status(door.check(moved)) == expected, seconds


@pytest.mark.parametrize(
    ("scheme", "method", "body", "headers"),
    [
        (
            "hubspot_v1",
            "POST",
            '[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":'
            '"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]',
            {"X-HubSpot-Signature": "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"},
        ),
        (
            "hubspot_v2",
            "GET",
            "",
            {"X-HubSpot-Signature": "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"},
        ),
        (
            "hubspot_v2",
            "POST",
            '{"example_field":"example_value"}',
            {"X-HubSpot-Signature": "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"},
        ),
        (
            "hubspot_v3",
            "POST",
            '{"example_field":"example_value"}',
            {
                "X-HubSpot-Signature-v3": "rQEKkaNUiu+1qGF//O/pw4BCzstSqO1PyUnGICmf+7o=",
                "X-HubSpot-Request-Timestamp": "1700000000000",
            },
        ),
    ],
)
def test_hubspot_signatures(scheme: str, method: str, body: str, headers: Mapping[str, str]) -> None:
    door = receiver(scheme=scheme, secrets=HUBSPOT)
    request = incoming(body, headers, at=_signed_at(headers), method=method, url=URI)
    assert status(door.check(request)) == 200
    assert status(door.check(replace(request, body=request.body + b" "))) == 401
    if scheme != "hubspot_v1":
        assert status(door.check(replace(request, url=URI + "?x"))) == 401


def test_hubspot_signs_the_address_with_some_characters_unescaped() -> None:
    door = receiver(scheme="hubspot_v3", secrets=HUBSPOT)
    message = b"POST" + b"https://hub.example.com/hooks/x?a=b:c/d@e&f=%20%26" + b"{}" + b"1700000000000"
    signature = base64.b64encode(hmac.digest(HUBSPOT.encode(), message, "sha256")).decode()
    headers = {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": "1700000000000"}
    url = "https://hub.example.com/hooks/x?a=b%3ac%2Fd%40e&f=%20%26"
    assert status(door.check(incoming("{}", headers, at=_signed_at(headers), url=url))) == 200


def _standard(signature: str, body: bytes = b"{}") -> Incoming:
    stamp = str(int(NOON.replace(tzinfo=UTC).timestamp()))
    return incoming(body, {"webhook-id": "m1", "webhook-timestamp": stamp, "webhook-signature": signature})


def _message(request: Incoming) -> bytes:
    return b".".join([b"m1", request.headers["webhook-timestamp"].encode(), request.body])


def test_standard_webhooks_with_a_public_key() -> None:
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    request = _standard("")
    signature = base64.b64encode(private.sign(_message(request))).decode()
    door = receiver(scheme="standard_webhooks", secrets=[public, WHSEC])
    assert status(door.check(_standard(f"v2,zzz v1,AAAA v1a,{signature}"))) == 200
    assert status(door.check(_standard(f"v1a,{signature}", body=b"{} "))) == 401
    assert status(door.check(_standard(f"v1,{signature}"))) == 401
    assert status(receiver(scheme="standard_webhooks", secrets=WHSEC).check(_standard(f"v1a,{signature}"))) == 401


def test_a_public_key_signs_nothing_by_itself() -> None:
    """Whoever knows the public key must not be able to sign with it as if it were a shared secret."""
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    request = _standard("")
    forged = base64.b64encode(hmac.digest(public, _message(request), hashlib.sha256)).decode()
    door = receiver(scheme="standard_webhooks", secrets="whpk_" + base64.b64encode(public).decode())
    assert status(door.check(_standard(f"v1,{forged}"))) == 401


def test_shared_secret_as_it_is_or_as_bearer() -> None:
    door = receiver(scheme="shared_secret", secrets=["a-long-random-secret", "the-one-before-that"], header="X-Token")
    for value in ("a-long-random-secret", "Bearer a-long-random-secret", "the-one-before-that"):
        assert status(door.check(incoming(headers={"X-Token": value}))) == 200
    for value in ("a-long-random-secre", "a-long-random-secret ", "bearer", ""):
        assert status(door.check(incoming(headers={"X-Token": value}))) == 401
    assert status(door.check(incoming(headers={"X-Webhook-Secret": "a-long-random-secret"}))) == 401


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"scheme": "github"}, "secrets"),
        ({"scheme": "github", "secrets": []}, "secrets"),
        ({"scheme": "github", "secrets": [" "]}, "one is empty"),
        ({"scheme": "shared_secret", "secrets": "tooshort"}, "at least 16"),
        ({"scheme": "standard_webhooks", "secrets": "whsec_not base64!"}, "copy it whole"),
        ({"scheme": "svix", "secrets": "whpk_AAAA"}, "base64 of 32 bytes"),
        ({"scheme": "svix", "secrets": "whsk_" + base64.b64encode(bytes(32)).decode()}, "whpk_"),
        ({"scheme": "none", "secrets": "x"}, "scheme"),
        ({"scheme": "github", "secrets": "x", "header": "x-y"}, "has its own"),
        ({**PLAIN, "keep_headers": "authorization"}, "may hold a secret"),
        ({**PLAIN, "header": "x-token", "keep_headers": ["x-topic", "X-Token"]}, "may hold a secret"),
        ({**PLAIN, "records": "items"}, "records"),
    ],
)
def test_what_leaves_the_door_open_is_no_configuration(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refused:
        SOURCE.config.model_validate(config)
    for secret in ("tooshort", "not base64!"):
        assert secret not in str(refused.value)


_TEXTS = st.text(st.characters(max_codepoint=0x2FF), max_size=60) | st.sampled_from(
    ["v1,", "v1", "v1a,AAAA", "t=1,v1=", "t=99999999999999999999,v1=aa", "sha256=", "²", "-1", "1e3", "\ud800"]
)
_NAMES = (
    *("webhook-id", "webhook-timestamp", "webhook-signature", "svix-id", "svix-timestamp", "svix-signature"),
    *("stripe-signature", "x-hub-signature-256", "x-shopify-hmac-sha256", "x-hubspot-signature"),
    *("x-hubspot-signature-v3", "x-hubspot-request-timestamp", "x-webhook-secret", "content-type", "content-encoding"),
)
_DOORS = [
    receiver(scheme=scheme, secrets=[WHSEC], **more)
    for scheme in (*_SCHEMES.values(), "hubspot_v1", "hubspot_v2", "shared_secret")
    for more in ({}, {"delivery_id": "/a/0"})
] + [
    receiver(
        scheme="standard_webhooks",
        secrets="whpk_" + base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode(),
    )
]


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(st.sampled_from(_NAMES), _TEXTS), st.binary(max_size=50), _TEXTS)
def test_whatever_comes_is_a_verdict(headers: Mapping[str, str], body: bytes, path: str) -> None:
    for door in _DOORS:
        assert status(door.check(incoming(body, headers, url=f"https://hub.example.com/{path}"))) in (401, 415)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=50) | st.text(max_size=50).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_whatever_the_sender_signs_is_kept_as_it_came(body: bytes) -> None:
    for delivery_id in (None, "/id", "/0", "x-id"):
        door = receiver(**PLAIN, delivery_id=delivery_id)
        kept = accepted(door.check(incoming(body, {"X-Webhook-Secret": PLAIN["secrets"]})))
        assert kept.body == body
