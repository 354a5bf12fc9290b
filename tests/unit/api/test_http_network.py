"""The client against real sockets: what a mocked transport cannot show."""

import gzip
import ipaddress
import logging
import socket
import ssl
import struct
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.api.sockets import Reply, Server, ok, say

from switchyard.api import ConfigError, Limits, PermanentError, TransientError
from switchyard.api.http import Budget, HttpClient, RetryPolicy, UnknownOutcome
from switchyard.api.transport import is_public

TOKEN = "t0p-s3cret"
PATIENCE = RetryPolicy(attempts=3, read=0.3, attempt=0.5, connect=1.0, body=100_000)


def client(url: str, policy: RetryPolicy = PATIENCE) -> HttpClient:
    return HttpClient(url, bearer=TOKEN, budget=Budget(Limits(), sleep=lambda _: None), policy=policy)


def hang_up(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def silence(connection: socket.socket) -> None:
    time.sleep(2)


# Whole answers, each piece in time, the whole of them too late.
slow_body = say(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", *[b"7"] * 12, pause=0.1)
slow_head = say(b"HTTP/1.1 200 OK\r\n", *[b"X-Slow: 1\r\n"] * 10, b"Content-Length: 1\r\n\r\n7", pause=0.1)


def cut_short(connection: socket.socket) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"results": [')
    connection.close()


FAULTS = [hang_up, reset, silence, slow_body, slow_head, cut_short]
NAMES = ["hang up", "reset", "silence", "slow body", "slow head", "cut short"]


@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
def test_a_broken_answer_is_asked_for_again_where_repeating_does_no_harm(
    serve: Callable[..., Server], fault: Reply
) -> None:
    server = serve(fault, ok(b"[]"))
    with client(server.url) as http:
        assert http.get("/people").json() == []
    assert len(server.requests) == 2


@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
def test_the_outcome_of_what_must_not_be_repeated_is_said_to_be_unknown(
    serve: Callable[..., Server], fault: Reply
) -> None:
    server = serve(fault)
    with client(server.url) as http, pytest.raises(UnknownOutcome, match="POST /people") as unknown:
        http.post("/people", json={})
    assert unknown.value.outcome_unknown
    assert len(server.requests) == 1


def test_a_server_that_never_answers_is_given_up_after_the_attempts(serve: Callable[..., Server]) -> None:
    server = serve(silence)
    with (
        client(server.url) as http,
        pytest.raises(TransientError, match="no whole answer: ReadTimeout"),
    ):
        http.get("/people")
    assert len(server.requests) == PATIENCE.attempts


def test_what_could_not_be_connected_is_tried_again_even_if_not_repeatable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    waits: list[float] = []
    http = HttpClient(
        f"http://127.0.0.1:{port}", bearer=None, budget=Budget(Limits(), sleep=waits.append), policy=PATIENCE
    )
    with http, pytest.raises(TransientError, match="cannot connect to") as refused:
        http.post("/people", json={})
    assert not isinstance(refused.value, UnknownOutcome)
    assert len(waits) == PATIENCE.attempts - 1


BOMBS = {
    "announced": ok(b"x" * 100_001),
    "endless": say(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1000\r\n" + b"x" * 4096 + b"\r\n"] * 30
    ),
    "gzip": ok(gzip.compress(bytes(50_000_000)), b"Content-Encoding: gzip"),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_an_answer_beyond_the_cap_is_cut_off(serve: Callable[..., Server], bomb: Reply) -> None:
    server = serve(bomb)
    with client(server.url) as http, pytest.raises(PermanentError, match="larger than 100000 bytes"):
        http.get("/people")
    assert len(server.requests) == 1


def test_a_bomb_is_stopped_before_it_has_gone_off(serve: Callable[..., Server]) -> None:
    server = serve(BOMBS["gzip"])
    tracemalloc.start()
    try:
        with client(server.url) as http, pytest.raises(PermanentError, match="larger than"):
            http.get("/people")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_an_answer_of_the_capped_size_is_whole(serve: Callable[..., Server]) -> None:
    server = serve(ok(gzip.compress(b"x" * 100_000), b"Content-Encoding: gzip"))
    with client(server.url) as http:
        assert http.get("/people").content == b"x" * 100_000


@pytest.mark.parametrize(
    "damaged",
    [
        ok(gzip.compress(b"[1, 2, 3]" * 99)[:-12], b"Content-Encoding: gzip"),
        ok(gzip.compress(b"[1]") + b"more", b"Content-Encoding: gzip"),
        ok(b"[]", b"Content-Encoding: gzip"),
        ok(b"[]", b"Content-Encoding: br"),
    ],
    ids=["cut", "followed by more", "not gzip", "not asked for"],
)
def test_a_damaged_encoding_is_a_broken_answer(serve: Callable[..., Server], damaged: Reply) -> None:
    server = serve(damaged, ok(b"[]"))
    with client(server.url) as http:
        assert http.get("/people").json() == []


def test_a_million_headers_are_a_broken_answer(serve: Callable[..., Server]) -> None:
    server = serve(say(b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 1_000_000 + b"Content-Length: 0\r\n\r\n"))
    with client(server.url) as http, pytest.raises(TransientError, match="RemoteProtocolError"):
        http.get("/people")


def test_redirects_are_not_followed_and_the_token_stays_here(serve: Callable[..., Server]) -> None:
    other = serve(ok(b"[]"))
    server = serve(say(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s/people\r\n\r\n" % other.url.encode()))
    with client(server.url) as http, pytest.raises(PermanentError, match="302; redirects are not followed"):
        http.get("/people")
    assert len(server.requests) == 1
    assert TOKEN.encode() in server.requests[0]
    assert other.requests == []


def test_proxies_of_the_environment_are_not_used(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, server = serve(ok(b"[]")), serve(ok(b"[]"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    with client(server.url) as http:
        http.get("/people")
    assert (len(server.requests), proxy.requests) == (1, [])


def test_connections_are_used_again(serve: Callable[..., Server]) -> None:
    server = serve(ok(b"[]"))
    with client(server.url) as http:
        for _ in range(3):
            http.get("/people")
    assert len(server.requests) == 3


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("tls")
    names = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 {names} -keyout key -out cert"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    return context


def test_a_certificate_that_nobody_vouches_for_ends_the_call(
    serve: Callable[..., Server], self_signed: ssl.SSLContext
) -> None:
    server = serve(ok(b"[]"), tls=self_signed)
    with client(server.url) as http, pytest.raises(PermanentError, match=r"not trusted: self.signed certificate"):
        http.get("/people")
    assert server.requests == []


INSIDE = [
    *("127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "100.64.0.1", "0.0.0.0", "192.0.0.8", "224.0.0.1"),
    *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "5f00::1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "255.255.255.255", "240.0.0.1"),
]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_the_house_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "104.16.1.1", "2606:4700::1", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def resolving(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: str) -> None:
    look_up = socket.getaddrinfo

    def answer(host: str, port: int, *rest: Any, **options: Any) -> Any:
        if host != name:
            return look_up(host, port, *rest, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "169.254.169.254"]])
def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    resolving(monkeypatch, "crm.example.com", *addresses)
    with client("https://crm.example.com") as http, pytest.raises(PermanentError, match="inside this network"):
        http.get("/people")


def test_a_name_inside_may_be_allowed(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(ok(b"[]"))
    port = server.url.rpartition(":")[2]
    resolving(monkeypatch, "crm.internal", "127.0.0.1")
    budget = Budget(Limits())
    with HttpClient(f"http://crm.internal:{port}", bearer=None, budget=budget, internal=True) as http:
        assert http.get("/people").json() == []
    assert f"Host: crm.internal:{port}".encode() in server.requests[0]


@pytest.mark.parametrize("written", ["2130706433", "0x7f.1", "127.1", "0177.1"])
def test_odd_spellings_of_an_inner_address_are_judged_by_where_they_lead(written: str) -> None:
    with client(f"https://{written}") as http, pytest.raises(PermanentError, match="inside this network"):
        http.get("/people")


def test_plain_http_is_for_the_house_only() -> None:
    with pytest.raises(ConfigError, match=r"crm\.example\.com must be addressed by https"):
        client("http://crm.example.com")


def test_no_record_of_the_log_has_the_token_or_the_query(
    serve: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(cut_short, ok(b"[]"))
    with caplog.at_level(logging.DEBUG), client(server.url) as http:
        http.get("/people/ann@x.org", params={"email": "ann@x.org"})
        assert TOKEN not in repr(http)
    logged = "\n".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
    assert "GET /people/{id} 200" in logged
    assert TOKEN not in logged
    assert "ann" not in logged
