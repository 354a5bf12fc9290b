"""Which calls are accepted, and how the others are answered."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.received import NOON, accepted, status

from switchyard.api import ConfigError
from switchyard_connectors.tracking import SOURCE

from .conftest import KEY, basic, call, receiver

EVENT = {"userId": "u1", "event": "Song Played"}
GZIP = {"content-encoding": "gzip"}


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        (basic(), EVENT, 200),
        (basic(KEY), EVENT, 200),
        (basic(KEY + ":ignored"), EVENT, 200),
        ({"authorization": f"Bearer {KEY}"}, EVENT, 200),
        ({}, {**EVENT, "writeKey": KEY}, 200),
        ({"authorization": "Bearer some.access.token"}, {**EVENT, "writeKey": KEY}, 200),
        ({}, EVENT, 401),
        ({}, {**EVENT, "writeKey": "wk_another"}, 401),
        ({}, {**EVENT, "writeKey": [KEY]}, 401),
        (basic("wk_another:"), {**EVENT, "writeKey": KEY}, 401),
        ({"authorization": "Bearer wk_another"}, EVENT, 401),
        ({"authorization": "Basic %%%"}, EVENT, 401),
        ({"authorization": "Basic " + "/w=="}, EVENT, 401),
        ({"authorization": "Basic"}, EVENT, 401),
    ],
)
def test_the_write_key_opens_the_door(headers: Mapping[str, str], body: Any, expected: int) -> None:
    assert status(receiver().check(call("track", body, headers))) == expected
    assert status(receiver("wk_server_2", KEY).check(call("track", body, headers))) == expected
    assert status(receiver("wk_server_2").check(call("track", body, headers))) == 401


def test_a_batch_may_carry_the_write_key_too() -> None:
    assert status(receiver().check(call("batch", {"batch": [EVENT], "writeKey": KEY}, {}))) == 200


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"content-type": "application/json; charset=utf-8"}, "{}", 200),
        ({"content-type": "text/plain"}, "{}", 200),
        ({"content-type": "application/x-www-form-urlencoded"}, "{}", 415),
        (GZIP, gzip.compress(b"{}"), 200),
        ({"content-encoding": "br"}, "{}", 415),
        (GZIP, "{}", 400),
        (GZIP, b"", 400),
        (GZIP, gzip.compress(b"{}")[:-5], 400),
        (GZIP, gzip.compress(b"{}") + b"more", 400),
        (GZIP, gzip.compress(b"{}") * 2, 400),
        (GZIP, zlib.compress(b"{}"), 400),
        ({}, "", 400),
        ({}, "{", 400),
        ({}, "[]", 400),
        ({}, '"text"', 400),
        ({}, '{"a": NaN}', 400),
        ({}, b'{"a": "\xff"}', 400),
        ({}, r'{"a": "\ud800"}', 400),
        ({}, "[" * 5_000 + "]" * 5_000, 400),
    ],
)
def test_only_whole_json(headers: Mapping[str, str], body: Any, expected: int) -> None:
    assert status(receiver().check(call("track", body, basic() | headers))) == expected


def test_what_was_compressed_is_kept_unpacked() -> None:
    body = json.dumps(EVENT).encode()
    assert accepted(receiver().check(call("track", gzip.compress(body), basic() | GZIP))).body == body


def _of_size(size: int, **more: Any) -> bytes:
    empty = len(json.dumps({"a": "", **more}))
    return json.dumps({"a": "x" * (size - empty), **more}).encode()


@pytest.mark.parametrize(("name", "most"), [("track", 32 * 1024), ("identify", 32 * 1024), ("batch", 500 * 1024)])
def test_calls_have_a_largest_size(name: str, most: int) -> None:
    fits, large = _of_size(most, batch=[]), _of_size(most + 1, batch=[])
    assert status(receiver().check(call(name, fits))) == 200
    assert status(receiver().check(call(name, large))) == 413
    assert status(receiver().check(call(name, gzip.compress(fits), basic() | GZIP))) == 200
    assert status(receiver().check(call(name, gzip.compress(large), basic() | GZIP))) == 413


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"[" * 50_000_000, compresslevel=1)
    assert len(bomb) < 1_000_000
    assert status(receiver().check(call("batch", bomb, basic() | GZIP))) == 413


def test_a_batch_has_a_largest_number_of_events() -> None:
    assert status(receiver().check(call("batch", {"batch": [{}] * 2_500}))) == 200
    assert status(receiver().check(call("batch", {"batch": [{}] * 2_501}))) == 400
    assert status(receiver().check(call("batch", {"batch": {}}))) == 400
    assert status(receiver().check(call("batch", {}))) == 400


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        *((kind, kind) for kind in ("identify", "track", "page", "screen", "group", "alias", "batch")),
        *(("i", "identify"), ("t", "track"), ("p", "page"), ("s", "screen"), ("g", "group"), ("a", "alias")),
        *(("b", "batch"), ("import", "batch"), ("track?source=x", "track")),
    ],
)
def test_the_call_is_kept_beside_the_body_and_no_key(name: str, kept: str) -> None:
    door = receiver()
    assert f"/v1/{name.partition('?')[0]}" in door.paths  # type: ignore[attr-defined]
    for base in ("https://hub.example.com", "https://example.com/cdp/v1/hub"):
        request = replace(call(name, {"batch": []}), url=f"{base}/v1/{name}")
        assert accepted(door.check(request)).headers == {"call": kept}


def test_another_path_is_none_of_its_calls() -> None:
    assert status(receiver().check(call("metrics", {}))) == 400


def test_equal_calls_are_two_deliveries() -> None:
    door, request = receiver(), call("track", EVENT)
    later = replace(request, at=NOON + timedelta(microseconds=1))
    assert accepted(door.check(request)).id != accepted(door.check(later)).id
    assert accepted(door.check(request)).id == accepted(door.check(request)).id


@pytest.mark.parametrize("keys", [[], ["short"], ["        "], ["good_enough_key", ""]])
def test_a_key_that_opens_to_anybody_is_no_configuration(keys: list[str]) -> None:
    with pytest.raises(ValidationError, match="write_keys"):
        SOURCE.config.model_validate({"write_keys": keys})


def test_a_key_that_libraries_cannot_send_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="colon"):
        receiver("wk:website")


_HEADERS = st.dictionaries(
    st.sampled_from(["authorization", "content-type", "content-encoding"]),
    st.text(st.characters(max_codepoint=0x2FF), max_size=40)
    | st.sampled_from(["Basic \ud800", "Basic é", "gzip", "Bearer  ", "basic", *basic().values()]),
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(_HEADERS, st.binary(max_size=60), st.sampled_from(["track", "batch", "", "é"]), st.booleans())
def test_whatever_comes_is_a_verdict(headers: Mapping[str, str], body: bytes, name: str, packed: bool) -> None:
    verdict = receiver().check(call(name, gzip.compress(body) if packed else body, headers))
    assert status(verdict) in (200, 400, 401, 415)
