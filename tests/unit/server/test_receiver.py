"""The receiver over a real socket: what it answers, and what it has kept then."""

import asyncio
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.server.conftest import (
    Acknowledging,
    Keyed,
    Line,
    Open,
    Raising,
    Refusing,
    Running,
    SlowKeeper,
    Start,
    request,
    until,
)

from switchyard.api.errors import PermanentError, TransientError
from switchyard.server.routes import routes
from switchyard.server.service import ReceiverServer
from switchyard.server.settings import Settings

PUBLIC = "https://hub.example/in"
BRISK = Settings(head_time=0.3, body_time=0.3, answer_time=0.5, idle_time=0.3)


def test_what_was_answered_with_200_is_in_the_inbox(start: Start) -> None:
    hub = start(settings=Settings(public_url=PUBLIC + "/"))
    before = datetime.now(UTC).replace(tzinfo=None)
    answer = hub.post("/hooks/shop?a=%20b&c", b"\0\xff", id="one", x_forwarded_host="evil.example")
    assert (answer.status, answer.body) == (200, b'{"success":true}')
    (row,) = hub.rows()
    assert (row["id"], row["body"]) == ("one", b"\0\xff")
    assert before <= row["received_at"] <= datetime.now(UTC).replace(tzinfo=None)
    # What a request says of where it went is not believed.
    assert row["headers"] == '{"url": "https://hub.example/in/hooks/shop?a=%20b&c"}'


def test_a_connection_serves_request_after_request(start: Start) -> None:
    hub = start()
    line = hub.line()
    for number in range(3):
        line.send(request(body=b"%d" % number))
        assert line.answer().status == 200
    line.send(request(body=b"3") + request(body=b"4") + request(body=b"5", id="last"))
    assert [line.answer().status for _ in range(3)] == [200, 200, 200]
    assert [row["body"] for row in hub.rows()] == [b"0", b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (request("/hooks/till"), 404, "nobody receives here"),
        (request("/hooks/shop/more"), 404, "nobody receives here"),
        (request("http://127.0.0.1/hooks/shop"), 404, "nobody receives here"),
        (request("/"), 404, "nobody receives here"),
        (request(method="GET"), 405, "only POST is received here"),
        (request(method="OPTIONS"), 405, "only POST is received here"),
        (request(body=b"x" * 1_001), 413, "a body may have 1000 bytes"),
        (request(body=b"x" * 5_000), 413, "a body may have 1000 bytes"),
        (request(x="y" * 9_000), 431, "too many or too long headers"),
        (request(x="y" * 200_000), 431, "request header fields too large"),
        (request(**{f"x{n}": "y" for n in range(60)}), 431, "too many or too long headers"),
        (
            b"POST /hooks/shop HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
            400,
            "bad request",
        ),
        (b"POST /hooks/shop HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400, "bad request"),
        (b"POST /hooks/shop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 400, "bad request"),
        (b"POST /hooks/shop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400, "bad request"),
        (b"POST /hooks/shop\r\n\r\n", 400, "bad request"),
        (b"\x16\x03\x01 hello\r\n\r\n", 400, "bad request"),
    ],
)
def test_what_cannot_be_received_is_refused_and_not_kept(start: Start, sent: bytes, status: int, reason: str) -> None:
    hub = start(settings=Settings(body=1_000, head=8_000, headers=50))
    line = hub.line()
    line.send(sent)
    answer = line.answer()
    assert answer is not None
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)
    assert hub.rows() == []


def test_a_sender_that_wants_a_certain_answer_gets_it(start: Start) -> None:
    hub = start({"crm": Acknowledging()})
    answer = hub.post("/hooks/crm")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert answer.body == b"<Ack>true</Ack>"
    assert len(hub.rows("crm")) == 1


def test_a_body_in_pieces_is_one_body(start: Start) -> None:
    hub = start(settings=Settings(body=10))
    head = b"POST /hooks/shop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    line = hub.line()
    for piece in (head, b"3\r\nabc\r\n", b"2\r\nde", b"\r\n0\r\n\r\n"):
        line.send(piece)
        time.sleep(0.02)
    assert line.answer().status == 200
    line.send(head + b"6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n")
    assert line.answer().status == 413
    line.send(head + b"ff\r\n" + b"x" * 255 + b"\r\n")
    assert line.answer().status == 413
    assert line.is_closed()
    assert [row["body"] for row in hub.rows()] == [b"abcde"]


@pytest.mark.parametrize(
    "beginning",
    [b"", b"POST /hooks/shop HTTP/1.1\r\nhost", request(body=b"abcdef")[:-1], request(body=b"abcdef")[:-6]],
    ids=["nothing", "half a head", "no last byte", "no body"],
)
def test_those_who_are_slow_are_sent_away(start: Start, beginning: bytes) -> None:
    hub = start(settings=BRISK)
    line = hub.line()
    line.send(beginning)
    assert line.answer().status == 408
    assert line.is_closed()
    # A second head on a connection has its time too.
    line = hub.line()
    line.send(request())
    assert line.answer().status == 200
    line.send(beginning)
    answer = line.answer()
    assert answer is None if beginning == b"" else answer.status == 408
    assert len(hub.rows()) == 1


def test_many_slow_ones_do_not_keep_the_others_from_their_turn(start: Start) -> None:
    hub = start(settings=Settings(head_time=60, body_time=60, drain_time=0.2))
    slow = [hub.line() for _ in range(200)]
    for line in slow:
        line.send(request(body=b"abcdef")[:-3])
    assert hub.post().status == 200


def test_too_much_at_once_is_told_to_come_again(start: Start) -> None:
    hub = start(settings=Settings(body=1_000, receiving_bytes=5_000, body_time=60, drain_time=0.2))
    slow = [hub.line() for _ in range(10)]
    for line in slow:
        line.send(request(body=b"x" * 1_000)[:-1])
    # Five of them fit.
    until(lambda: hub.server.app.answers["shop", 429] == 5)
    answered, _, _ = select.select([line.socket for line in slow], [], [], 10)
    assert [each.recv(12) for each in answered] == [b"HTTP/1.1 429"] * 5


@pytest.mark.parametrize(
    ("refused", "retry_after"),
    [((401, "no signature"), None), ((415, "json only"), None), ((429, "later"), "5"), ((429, "later", 1.2), "2")],
)
def test_a_receivers_refusal_is_the_answer(start: Start, refused: tuple[object, ...], retry_after: str | None) -> None:
    hub = start({"shop": Refusing(*refused)})
    answer = hub.post()
    assert (answer.status, answer.reason) == refused[:2]
    assert answer.headers.get("retry-after") == retry_after
    assert hub.rows() == []


def test_a_receiver_that_fails_loses_nothing_and_says_nothing(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    hub = start({"shop": Raising()})
    answer = hub.post(body=b"canary@example.org")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert b"canary" not in answer.body
    assert caplog.messages == ["a request failed: KeyError"]


def test_connections_that_share_a_path_are_asked_in_turn(start: Start) -> None:
    hub = start({"web": Keyed("a"), "app": Keyed("b")})
    assert hub.post("/v1/track", key="b").status == 200
    assert hub.post("/v1/track", key="a").status == 200
    assert hub.post("/v1/track", b"", key="a").reason == "nothing in it"
    assert hub.post("/v1/track", key="c").reason == "unknown key"
    assert hub.post("/hooks/web", key="a").status == 404
    assert (len(hub.rows("web")), len(hub.rows("app"))) == (1, 1)
    assert hub.server.app.answers == {("/v1/track", 200): 2, ("/v1/track", 400): 1, ("/v1/track", 401): 1, ("", 404): 1}


def test_pages_of_other_origins_may_post_to_shared_paths_only(start: Start) -> None:
    hub = start({"web": Keyed("a"), "shop": Refusing(401, "no")})
    line = hub.line()
    line.send(request("/v1/track", b"", "OPTIONS") + request("/v1/track", key="a"))
    preflight, posted = line.answer(), line.answer()
    assert (preflight.status, preflight.headers["access-control-allow-methods"]) == (204, "POST")
    assert preflight.headers["access-control-allow-origin"] == posted.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in hub.post().headers


def test_the_same_delivery_a_hundred_times_at_once_is_kept_once(start: Start) -> None:
    hub = start()
    with ThreadPoolExecutor(20) as pool:
        statuses = set(pool.map(lambda _: hub.post(id="same").status, range(100)))
    assert statuses == {200}
    assert len(hub.rows()) == 1
    assert hub.server.writer.groups < 100


def test_while_nothing_can_be_kept_everybody_is_told_to_come_again(start: Start) -> None:
    keeper = SlowKeeper(fault=TransientError("the disk is full"))
    hub = start(keeper=keeper)
    keeper.allowed.set()
    for keeper.fault in (TransientError("the disk is full"), PermanentError("the disk fails"), OSError("canary")):
        answer = hub.post()
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.reason == "the inbox is not available"
        assert hub.post("/readyz").status == 503
        assert hub.post("/healthz").status == 200
    keeper.fault = None
    assert hub.post().status == 200
    assert hub.post("/readyz").status == 200
    assert len(keeper.kept) == 1


def test_who_waits_too_long_for_the_disk_is_told_to_come_again(start: Start) -> None:
    keeper = SlowKeeper()
    hub = start(keeper=keeper, settings=BRISK)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(hub.post, id="a")
        second = pool.submit(hub.post, id="b")
        assert {first.result().status, second.result().status} == {503}
    keeper.allowed.set()
    assert hub.post(id="c").status == 200
    # What was under way was kept all the same; it comes again under its name.
    assert [each.id for each in keeper.kept][-1] == "c"
    assert {each.id for each in keeper.kept} <= {"a", "b", "c"}


def test_a_full_queue_is_told_to_come_again(start: Start) -> None:
    keeper = SlowKeeper()
    hub = start(keeper=keeper, settings=Settings(waiting_rows=3))
    with ThreadPoolExecutor(12) as pool:
        posts = [pool.submit(hub.post, id="under way")]
        assert keeper.is_asked.wait(30)
        posts += [pool.submit(hub.post, id=f"{n}") for n in range(11)]
        until(lambda: hub.server.app.answers["shop", 429] == 8)
        keeper.allowed.set()
        answers = [post.result() for post in posts]
    statuses = [answer.status for answer in answers]
    assert statuses.count(200) == len(keeper.kept) == 4
    assert statuses.count(429) == 8
    assert {answer.headers["retry-after"] for answer in answers if answer.status == 429} == {"5"}


def test_at_the_end_what_is_under_way_is_answered_and_nothing_more_is_taken(start: Start) -> None:
    keeper = SlowKeeper()
    hub = start(keeper=keeper)
    idle = hub.line()
    idle.send(request("/healthz", method="GET"))
    assert idle.answer().status == 200
    with ThreadPoolExecutor(2) as pool:
        post = pool.submit(hub.post)
        until(lambda: hub.server.writer.depth() == 1)
        stop = pool.submit(hub.server.stop)
        assert idle.is_closed()
        keeper.allowed.set()
        assert post.result().status == 200
        stop.result()
    assert len(keeper.kept) == 1
    with pytest.raises(ConnectionRefusedError):
        hub.line()


def test_the_end_does_not_wait_for_those_who_dawdle(start: Start) -> None:
    hub = start(settings=Settings(drain_time=0.3))
    line = hub.line()
    line.send(request(body=b"abcdef")[:-3])
    until(lambda: len(hub.server._server.server_state.tasks) == 1)
    hub.server.stop()
    answer = line.answer()
    assert answer is None or answer.status == 503


def test_other_paths_are_another_applications(start: Start) -> None:
    async def metrics(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": scope["path"][-2:].encode()})

    hub = start(rest=metrics)
    assert hub.post("/metrics").body == b"cs"
    assert hub.post("/hooks/unknown").status == 404
    assert hub.post().status == 200


def test_readiness_asks_those_who_know(start: Start) -> None:
    why: list[str] = []
    hub = start(unready=lambda: why[0] if why else None)
    assert hub.post("/readyz").status == 200
    why.append("the engine has ended")
    answer = hub.post("/readyz")
    assert (answer.status, answer.reason) == (503, "the engine has ended")
    assert hub.post("/healthz").status == 200
    hub.server.app.is_draining = True
    assert hub.post("/readyz").reason == "going down"
    assert hub.post().reason == "going down"
    assert hub.rows() == []


def test_readiness_comes_back_though_nobody_sends(start: Start) -> None:
    keeper = SlowKeeper(fault=TransientError("the disk is full"))
    keeper.allowed.set()
    hub = start(keeper=keeper)
    assert hub.post().status == 503
    assert hub.post("/readyz").status == 503
    keeper.fault = None
    until(lambda: hub.post("/readyz").status == 200)
    assert keeper.kept == []


def test_routes_may_change_while_it_runs(start: Start) -> None:
    hub = start()
    hub.server.app.routes = routes({"till": Refusing(401, "no")})
    assert hub.post().status == 404
    assert hub.post("/hooks/till").status == 401


def test_a_receiver_may_say_how_large_bodies_are(start: Start) -> None:
    large = Open()
    large.max_bytes = 100
    hub = start({"shop": large, "till": Open()}, Settings(body=10))
    assert hub.post(body=b"x" * 100).status == 200
    assert hub.post(body=b"x" * 101).reason == "a body may have 100 bytes"
    assert hub.post("/hooks/till", b"x" * 11).reason == "a body may have 10 bytes"


def test_it_runs_on_the_callers_loop_too(start: Start) -> None:
    server = ReceiverServer(routes({}), SlowKeeper())

    async def main() -> int:
        serving = asyncio.create_task(server.serve("127.0.0.1", 0))
        while not server._server.started:
            await asyncio.sleep(0.01)
        answer = await asyncio.to_thread(Running(server, None).post, "/healthz")
        server.stop()
        await serving
        return answer.status

    assert asyncio.run(main()) == 200


def test_an_address_that_is_taken_is_named(start: Start) -> None:
    host, port = start().server.address
    with pytest.raises(TransientError, match=f"cannot listen on {host}:{port}: Address already in use"):
        ReceiverServer(routes({}), SlowKeeper()).start(host, port)


WORDS = st.sampled_from(
    [
        *(
            b"POST ",
            b"/hooks/shop",
            b" HTTP/1.1\r\n",
            b"host: x\r\n",
            b"content-length: ",
            b"transfer-encoding: chunked",
        ),
        *(
            b"expect: 100-continue\r\n",
            b"upgrade: websocket\r\n",
            b"id: ",
            b"\r\n",
            b"\r\n\r\n",
            b"0\r\n\r\n",
            b"5",
            b"\xff",
        ),
        *(request(), request(body=b"ab")[:-1], request("/v1/track", key="a")),
    ]
)


@pytest.fixture
def target(start: Start) -> Running:
    return start({"shop": Refusing(401, "no"), "web": Keyed("b")}, BRISK)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(WORDS | st.binary(max_size=40), max_size=12))
def test_junk_is_never_an_error_of_ours_and_never_kept(target: Running, words: list[bytes]) -> None:
    line = target.line()
    line.send(b"".join(words))
    line.socket.shutdown(socket.SHUT_WR)
    while (answer := line.answer()) is not None:
        assert 200 <= answer.status < 500
        if answer.status == 200:
            assert answer.body == b'{"success":true}'
    assert target.rows("shop") == target.rows("web") == []


def test_junk_leaves_the_receiver_in_order(start: Start) -> None:
    hub = start()
    for junk in (
        b"\0" * 70_000,
        request()[:-5] + b"\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
    ):
        line = Line(hub.server.address)
        line.send(junk)
        line.close()
    assert hub.post().status == 200
