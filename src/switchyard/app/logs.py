"""Logs of a hub that serves: a JSON object a line, with nothing in it that was not allowed by name."""

import logging
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import TextIOBase
from typing import Any, TextIO

import structlog

from switchyard.app.engine import Observer

# fmt: off
NAMES = frozenset({
    "audience", "command", "connection", "error", "error_type", "host", "kind", "level", "list", "name", "read_at",
    "role", "said", "segment", "stream", "url",
})
"""Keys of texts that are names of the configuration, places or errors: these hold no personal values and no secrets."""
NUMBERS = frozenset({
    "added", "blocked", "calls", "characters", "duplicates", "entered", "exact", "exit_code", "extra", "held", "lag",
    "left", "mapped", "missing", "port", "quarantined", "read", "rejected", "removed", "retry_after", "seconds",
    "settling", "skipped", "upserted", "waiting", "wanted",
})
"""Keys of numbers. Under them nothing else passes, and no number passes under others."""
# fmt: on
_OWN = "switchyard"
_LONGEST = 500


@contextmanager
def logging_to(stream: TextIO) -> Iterator[Observer]:
    """While it lasts, everything that is logged in the process goes to the stream, and through this door only.

    Gives what the hub's own parts tell it. Of what others log (vendors' clients, uvicorn, plugins, warnings) there is
    the logger's name, the level and the type of the error: their texts may hold anything. What is printed is counted
    and dropped.
    """
    log = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            _allowed,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.BoundLogger,
    )

    def observe(event: str, **facts: Any) -> None:
        log.msg(event, **facts)

    with _door(observe), redirect_stdout(_Printed(observe)), redirect_stderr(_Printed(observe)):
        yield observe


@contextmanager
def _door(observe: Observer) -> Iterator[None]:
    root, own, handler = logging.getLogger(), logging.getLogger(_OWN), _Handler(observe)
    before = root.handlers, own.handlers, threading.excepthook, sys.unraisablehook, structlog.get_config()

    def failed_thread(fault: threading.ExceptHookArgs) -> None:
        observe("thread_failed", error_type=fault.exc_type.__name__, name=fault.thread.name if fault.thread else None)

    def unraisable(fault: Any) -> None:
        observe("error_ignored", error_type=fault.exc_type.__name__)

    root.handlers, own.handlers = [handler], []
    logging.captureWarnings(True)
    threading.excepthook, sys.unraisablehook = failed_thread, unraisable
    structlog.configure(processors=[_stranger], logger_factory=lambda *_: _Told(observe))
    try:
        yield
    finally:
        root.handlers, own.handlers, threading.excepthook, sys.unraisablehook, configured = before
        structlog.configure(**configured)
        logging.captureWarnings(False)


class _Handler(logging.Handler):
    def __init__(self, observe: Observer) -> None:
        super().__init__(logging.WARNING)
        self._observe = observe

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, Any] = {"name": record.name, "level": record.levelname.lower()}
        if record.name.split(".")[0] == _OWN:
            facts["said"] = record.getMessage()
        if record.exc_info and record.exc_info[0]:
            facts["error_type"] = record.exc_info[0].__name__
        self._observe("logged", **facts)


def _stranger(_logger: Any, method: str, _facts: MutableMapping[str, Any]) -> str:
    return method


class _Told:
    """What structlog hands the lines of others to, by the name of their level."""

    def __init__(self, observe: Observer) -> None:
        self._observe = observe

    def __getattr__(self, level: str) -> Any:
        quiet = level in ("debug", "info", "msg")
        return lambda *_, **__: None if quiet else self._observe("logged", name="structlog", level=level)


class _Printed(TextIOBase):
    """Takes what is printed, and says how much it was."""

    def __init__(self, observe: Observer) -> None:
        self._observe = observe

    def write(self, text: str) -> int:
        if text.strip():
            self._observe("printed", characters=len(text))
        return len(text)


def _allowed(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    kept: dict[str, Any] = {"event": facts["event"]}
    for key, value in facts.items():
        if key in NUMBERS and isinstance(value, int | float):
            kept[key] = round(value, 4) if isinstance(value, float) else value
        elif key in NAMES and isinstance(value, str):
            kept[key] = value[:_LONGEST]
    return kept
