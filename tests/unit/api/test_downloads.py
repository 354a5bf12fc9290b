"""Downloads over real sockets: whole or not at all, going on where it broke off."""

import gzip
import json
import re
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.unit.api.sockets import Reply, Server, ok

from switchyard.api import Limits, PermanentError, TransientError
from switchyard.api.errors import SwitchyardError
from switchyard.api.http import Budget, HttpClient, RetryPolicy

BODY = b"".join(b"%d,row\n" % number for number in range(30_000))
ZIPPED = gzip.compress(BODY)
PATIENCE = RetryPolicy(attempts=3, read=0.3, connect=1.0, body=100_000, file=1_000_000)
RANGES = b"Accept-Ranges: bytes"
TAG = b'ETag: "v1"'
GZIP = b"Content-Encoding: gzip"


def client(url: str, policy: RetryPolicy = PATIENCE) -> HttpClient:
    return HttpClient(url, bearer="t0ken", budget=Budget(Limits(), sleep=lambda _: None), policy=policy)


def cut(body: bytes, at: int, *headers: bytes) -> Reply:
    """The beginning of an answer, and then a closed connection."""

    def reply(connection: socket.socket) -> None:
        head = b"".join(header + b"\r\n" for header in (b"Content-Length: %d" % len(body), *headers))
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body[:at])
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    return reply


def part(body: bytes, start: int, *headers: bytes, end: int | None = None, total: object = None) -> Reply:
    """The rest of a body from `start`, or what breaks off at `end`."""

    def reply(connection: socket.socket) -> None:
        place = f"Content-Range: bytes {start}-{len(body) - 1}/{total or len(body)}".encode()
        head = b"".join(h + b"\r\n" for h in (b"Content-Length: %d" % (len(body) - start), place, *headers))
        connection.sendall(b"HTTP/1.1 206 Partial Content\r\n" + head + b"\r\n" + body[start:end])
        if end is not None:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    return reply


def ranges(server: Server) -> list[str | None]:
    found = [re.search(rb"(?i)\r\nrange: ([^\r]+)", request) for request in server.requests]
    return [match and match[1].decode() for match in found]


def test_a_body_of_any_size_goes_into_the_file(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(ok(ZIPPED, GZIP, b"Sforce-Locator: abc"))
    with client(server.url) as http:
        headers = http.download("/results", tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == BODY
    assert headers["sforce-locator"] == "abc"
    assert b"accept: */*" in server.requests[0]
    assert list(tmp_path.iterdir()) == [tmp_path / "rows.csv"]


@pytest.mark.parametrize("empty", [ok(b""), ok(b"", GZIP)])
def test_an_empty_body_is_an_empty_file(serve: Callable[..., Server], tmp_path: Path, empty: Reply) -> None:
    with client(serve(empty).url) as http:
        http.download("/results", tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == b""


@pytest.mark.parametrize("body", [BODY, ZIPPED], ids=["plain", "gzip"])
@pytest.mark.parametrize("promise", [(RANGES, TAG), (RANGES,)], ids=["tag", "length"])
def test_what_broke_off_goes_on_where_it_was(
    serve: Callable[..., Server], tmp_path: Path, body: bytes, promise: tuple[bytes, ...]
) -> None:
    headers = (*promise, GZIP) if body is ZIPPED else promise
    server = serve(cut(body, 5000, *headers), part(body, 5000, *headers, end=9000), part(body, 9000, *headers))
    with client(server.url) as http:
        http.download("/results", tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == BODY
    assert ranges(server) == [None, "bytes=5000-", "bytes=9000-"]
    assert (b'if-range: "v1"' in server.requests[1]) is (TAG in promise)


def test_attempts_that_bring_something_are_not_counted(serve: Callable[..., Server], tmp_path: Path) -> None:
    steps = range(1000, 11_000, 1000)
    parts = [part(BODY, at, RANGES, TAG, end=at + 1000) for at in steps]
    server = serve(cut(BODY, 1000, RANGES, TAG), *parts, part(BODY, 11_000, RANGES, TAG))
    with client(server.url) as http:
        http.download("/results", tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == BODY
    assert len(server.requests) == 12 > PATIENCE.attempts


UNLIKE: dict[str, tuple[bytes, ...]] = {
    "no ranges": (TAG,),
    "ranges refused": (b"Accept-Ranges: none", TAG),
}


@pytest.mark.parametrize("headers", UNLIKE.values(), ids=UNLIKE)
def test_without_ranges_it_begins_again(
    serve: Callable[..., Server], tmp_path: Path, headers: tuple[bytes, ...]
) -> None:
    server = serve(cut(BODY, 5000, *headers), ok(BODY))
    with client(server.url) as http:
        http.download("/results", tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == BODY
    assert ranges(server) == [None, None]


OTHER = BODY.replace(b"row", b"ROW")
CHANGED = {
    "a whole new entity": (ok(OTHER, RANGES, b'ETag: "v2"'),),
    "a part of another tag": (part(OTHER, 5000, b'ETag: "v2"'), ok(OTHER)),
    "a part of another length": (part(OTHER, 5000, TAG, total=7), ok(OTHER)),
    "another part": (part(OTHER, 4999, TAG), ok(OTHER)),
    "a part without a place": (ok(OTHER), ok(OTHER)),
    "range refused": (lambda c: c.sendall(b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n"), ok(OTHER)),
}


@pytest.mark.parametrize("answers", CHANGED.values(), ids=CHANGED)
def test_never_are_two_entities_joined(
    serve: Callable[..., Server], tmp_path: Path, answers: tuple[Reply, ...]
) -> None:
    server = serve(cut(BODY, 5000, RANGES, TAG), *answers)
    with client(server.url) as http:
        http.download("/results", tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == OTHER


def test_a_damaged_encoding_is_asked_for_from_the_beginning(serve: Callable[..., Server], tmp_path: Path) -> None:
    damaged = ZIPPED[:9000] + bytes(100) + ZIPPED[9100:]
    server = serve(ok(damaged, GZIP, RANGES, TAG), ok(ZIPPED, GZIP, RANGES, TAG))
    with client(server.url) as http:
        http.download("/results", tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == BODY
    assert ranges(server) == [None, None]


def test_it_is_given_up_after_attempts_that_bring_nothing_and_nothing_is_left(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("older")
    server = serve(cut(BODY, 5000))
    with client(server.url) as http, pytest.raises(TransientError, match="GET /results got no whole answer"):
        http.download("/results", tmp_path / "rows.csv")
    assert len(server.requests) == PATIENCE.attempts
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("rows.csv", "older")]


@pytest.mark.parametrize("bomb", [ok(bytes(1_000_001)), ok(gzip.compress(bytes(200_000_000)), GZIP)])
def test_a_download_beyond_the_cap_is_cut_off(serve: Callable[..., Server], tmp_path: Path, bomb: Reply) -> None:
    server = serve(bomb)
    with client(server.url) as http, pytest.raises(PermanentError, match="larger than 1000000 bytes"):
        http.download("/results", tmp_path / "rows.csv")
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_file(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(ok(gzip.compress(bytes(50_000_000)), GZIP))
    tracemalloc.start()
    try:
        with client(server.url, RetryPolicy()) as http:
            http.download("/results", tmp_path / "rows.csv")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "rows.csv").stat().st_size == 50_000_000
    assert peak < 5_000_000


def test_other_statuses_are_what_they_are_for_every_call(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(lambda c: c.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), ok(BODY))

    def not_ready(answer: httpx.Response) -> SwitchyardError | None:
        return TransientError("the file is not ready", retry_after=1) if answer.status_code == 404 else None

    with client(server.url) as http:
        http.download("/results", tmp_path / "rows.csv", classify=not_ready)
        assert (tmp_path / "rows.csv").read_bytes() == BODY
    server = serve(lambda c: c.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
    with client(server.url) as http, pytest.raises(PermanentError, match="answered 404"):
        http.download("/results", tmp_path / "rows.csv")


def test_json_that_the_judge_objects_to_is_no_file(serve: Callable[..., Server], tmp_path: Path) -> None:
    failure = json.dumps({"success": False}).encode()
    server = serve(ok(failure, b"Content-Type: application/json", RANGES, TAG), ok(BODY, b"Content-Type: text/csv"))

    def judge(answer: httpx.Response) -> SwitchyardError | None:
        is_json = "json" in answer.headers["content-type"]
        return TransientError("try again") if is_json and not answer.json()["success"] else None

    with client(server.url) as http:
        http.download("/results", tmp_path / "rows.csv", judge=judge)
    assert (tmp_path / "rows.csv").read_bytes() == BODY
    assert ranges(server) == [None, None]


def test_a_file_that_cannot_be_written_ends_the_download(serve: Callable[..., Server], tmp_path: Path) -> None:
    with client(serve(ok(BODY)).url) as http, pytest.raises(PermanentError, match="cannot write"):
        http.download("/results", tmp_path / "absent" / "rows.csv")
