"""What is kept of a delivery that was let in, and what is not let in although its sender is known."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.received import NOON, accepted, incoming, status

from switchyard.api.receiving import Accepted, Incoming

from .conftest import PLAIN, receiver

SECRET = {"x-webhook-secret": PLAIN["secrets"]}


def _github(body: str, **headers: str) -> Incoming:
    signature = hmac.digest(b"s3cret", body.encode(), "sha256").hex()
    return incoming(body, {"x-hub-signature-256": f"sha256={signature}", **headers})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"content-type": "application/json"}, 200),
        ({"content-type": "Application/JSON; charset=utf-8"}, 200),
        ({"content-type": "application/cloudevents+json"}, 200),
        ({"content-type": "text/plain"}, 200),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/xml"}, 415),
        ({"content-encoding": "identity"}, 200),
        ({"content-encoding": "gzip"}, 415),
    ],
)
def test_only_json_that_is_not_compressed(headers: Mapping[str, str], expected: int) -> None:
    assert status(receiver(**PLAIN).check(incoming("{}", SECRET | headers))) == expected


def test_a_body_larger_than_allowed() -> None:
    door = receiver(**PLAIN, max_bytes=10)
    assert status(door.check(incoming(b"x" * 10, SECRET))) == 200
    assert status(door.check(incoming(b"x" * 11, SECRET))) == 413


def test_what_is_no_json_is_accepted_and_left_to_the_quarantine() -> None:
    assert status(receiver(**PLAIN).check(incoming(b"\xff not json", SECRET))) == 200


@pytest.mark.parametrize(
    ("pointer", "body", "expected"),
    [
        ("/id", {"id": "evt_1"}, "evt_1"),
        ("/id", {"id": 12345678901234567890123}, "12345678901234567890123"),
        ("/meta/ids/1", {"meta": {"ids": ["a", "b"]}}, "b"),
        ("/a~1b/~0", {"a/b": {"~": "deep"}}, "deep"),
        ("/id", {"id": ""}, None),
        ("/id", {"id": None}, None),
        ("/id", {"id": True}, None),
        ("/id", {"id": {"x": 1}}, None),
        ("/id/x", {"id": "text"}, None),
        ("/9", [1, 2], None),
        ("/id", "no json", None),
    ],
)
def test_a_delivery_is_named_by_its_body(pointer: str, body: Any, expected: str | None) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    assert accepted(receiver(**PLAIN, delivery_id=pointer).check(incoming(text, SECRET))).id == expected


def test_a_delivery_is_named_by_a_header() -> None:
    door = receiver(**PLAIN, delivery_id="X-Request-Id")
    assert accepted(door.check(incoming("{}", SECRET | {"x-request-id": "r1"}))).id == "r1"
    assert accepted(door.check(incoming("{}", SECRET))).id is None


def test_each_scheme_names_its_deliveries() -> None:
    github = receiver(scheme="github", secrets="s3cret")
    assert accepted(github.check(_github("{}", **{"x-github-delivery": "72d3162e"}))).id == "72d3162e"
    other = receiver(scheme="github", secrets="s3cret", delivery_id="/id")
    assert accepted(other.check(_github('{"id": 5}', **{"x-github-delivery": "72d3162e"}))).id == "5"
    assert accepted(receiver(**PLAIN).check(incoming('{"id": 5}', SECRET))).id is None
    stamp = "1714564800"
    assert incoming().at == NOON
    signature = hmac.digest(b"whsec_x", f'{stamp}.{{"id":"evt_1"}}'.encode(), "sha256").hex()
    stripe = receiver(scheme="stripe", secrets="whsec_x")
    request = incoming('{"id":"evt_1"}', {"stripe-signature": f"t={stamp},v1={signature}"})
    assert accepted(stripe.check(request)).id == "evt_1"


def test_headers_that_say_what_it_is_about_are_kept_and_no_others() -> None:
    door = receiver(scheme="github", secrets="s3cret", keep_headers="X-Region")
    verdict = door.check(
        _github("{}", **{"x-github-event": "push", "x-region": "eu", "x-other": "1", "authorization": "Basic x"})
    )
    assert isinstance(verdict, Accepted)
    assert verdict.headers == {"x-github-event": "push", "x-region": "eu"}
