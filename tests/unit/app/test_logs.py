import io
import json
import logging
import sys
import threading
import warnings
from typing import Any

import structlog

from switchyard.app.logs import NAMES, NUMBERS, logging_to

CANARY = "ann@example.com"


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in written.getvalue().splitlines()]
    assert all(line.pop("at").endswith("Z") for line in found)
    assert CANARY not in written.getvalue()
    return found


def test_only_what_is_allowed_by_name_and_kind_is_written():
    written = io.StringIO()
    with logging_to(written) as observe:
        observe("delivered", audience="buyers", added=3, seconds=0.123456, exact=True, notes=[CANARY], email=CANARY)
        observe("delivered", added=CANARY, audience={"name": CANARY}, held=None)
        observe("synced", **dict.fromkeys(["who", "body", "headers", "record", "event_", "token"], CANARY))
    assert lines(written) == [
        {"event": "delivered", "audience": "buyers", "added": 3, "seconds": 0.1235, "exact": True},
        {"event": "delivered"},
        {"event": "synced"},
    ]


def test_the_allowed_keys_are_these():
    """Whoever adds one has to say here that it is a name of the configuration, a place, an error or a number."""
    assert {
        "audience", "command", "connection", "error", "error_type", "host", "kind", "level", "list", "name", "read_at",
        "role", "said", "segment", "stream", "url",
    } == NAMES  # fmt: skip
    assert {
        "added", "blocked", "calls", "characters", "duplicates", "entered", "exact", "exit_code", "extra", "held",
        "lag", "left", "mapped", "missing", "port", "quarantined", "read", "rejected", "removed", "retry_after",
        "seconds", "settling", "skipped", "upserted", "waiting", "wanted",
    } == NUMBERS  # fmt: skip
    assert not NAMES & NUMBERS


def test_the_hubs_own_modules_are_heard_whole_and_others_without_their_words():
    written = io.StringIO()
    with logging_to(written):
        logging.getLogger("switchyard.server.receiver").error("a request failed: %s", "ValueError")
        try:
            raise KeyError(CANARY)  # noqa: TRY301
        except KeyError:
            logging.getLogger("vendor.client").exception(CANARY)
        logging.getLogger("vendor.client").info(CANARY)
        structlog.get_logger().error(CANARY, email=CANARY)
        structlog.get_logger().info(CANARY)
    assert lines(written) == [
        {
            "event": "logged", "name": "switchyard.server.receiver", "level": "error",
            "said": "a request failed: ValueError",
        },
        {"event": "logged", "name": "vendor.client", "level": "error", "error_type": "KeyError"},
        {"event": "logged", "name": "structlog", "level": "error"},
    ]  # fmt: skip


def test_what_is_printed_warned_or_thrown_in_a_thread_is_told_without_its_words():
    def crash() -> None:
        raise ValueError(CANARY)

    written = io.StringIO()
    with logging_to(written):
        print(CANARY)
        print(CANARY, file=sys.stderr)
        thread = threading.Thread(target=crash, name="reader")
        thread.start()
        thread.join()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(CANARY, stacklevel=1)
    assert lines(written) == [
        {"event": "printed", "characters": len(CANARY)},
        {"event": "printed", "characters": len(CANARY)},
        {"event": "thread_failed", "error_type": "ValueError", "name": "reader"},
        {"event": "logged", "name": "py.warnings", "level": "warning"},
    ]


def test_afterwards_all_is_as_it_was():
    before = (logging.getLogger().handlers, threading.excepthook, sys.unraisablehook, sys.stdout, sys.stderr)
    with logging_to(io.StringIO()):
        assert logging.getLogger().handlers != before[0]
    assert before == (logging.getLogger().handlers, threading.excepthook, sys.unraisablehook, sys.stdout, sys.stderr)
