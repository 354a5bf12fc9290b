"""Ctrl-C and SIGTERM at any moment, a reader of our output that went away, and errors that nobody foresaw.

Nothing the hub commits depends on how its process ends, so stopping is only a matter of politeness: connections are
closed and budgets saved where that takes seconds, and the process ends in any case.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

GRACE = 5.0
"""Seconds between the signal and the end of the process, whatever it is doing."""
STOPPED = "stopped; nothing is left to repair"

_received: list[int] = []
_expected: list[bool] = []


@contextmanager
def clean_stop() -> Iterator[None]:
    """Run a command in the block, and end the process with its exit code: 128 + the signal's number where one came."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    sys.unraisablehook = _unheard
    code = 0
    try:
        yield
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except Exception as error:
        if not asked():
            say(f"internal error: {type(error).__name__}; this is a bug, please report it")
        code = 1
    _flush()
    if _received:
        _end(_received[0])
    # The interpreter's own way out takes a while and gives signals their default back: Ctrl-C would kill done work.
    os._exit(code)


def asked() -> bool:
    """Whether the process was told to stop: what goes wrong from then on is no fault."""
    return bool(_received)


def expect() -> None:
    """Being stopped is how this command ends: with exit code 0, and without a word."""
    _expected.append(True)


def instead(stop: Callable[[], None], grace: float) -> None:
    """From now on, being told to stop calls this, once, in the main thread between two of its steps; it must not wait.
    The process ends by itself soon after; told twice, or after `grace` seconds, it ends as it is.
    """
    expect()

    def told(number: int, _frame: FrameType | None) -> None:
        if _received:
            _end(number)
        _received.append(number)
        timer = threading.Timer(grace, _end, [number])
        timer.daemon = True
        timer.start()
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, told)


def say(text: str) -> None:
    """Write a line to stderr, whatever state that is in."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def discard_output() -> None:
    """Nobody reads our stdout any more: let what is still written to it, and flushed at the end, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _stop(number: int, _frame: FrameType | None) -> None:
    if _received:
        # Asked twice.
        _end(number)
    _received.append(number)
    # An interruption is lost where it falls into a finaliser, and a thread may be waiting for a vendor.
    timer = threading.Timer(GRACE, _end, [number])
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def _unheard(fault: sys.UnraisableHookArgs) -> None:
    """An interruption that was lost is no news: the timer ends the process."""
    if not (_received and fault.exc_type is KeyboardInterrupt):
        sys.__unraisablehook__(fault)


def _end(number: int) -> None:
    if _expected:
        os._exit(0)
    say(STOPPED)
    # Threads may still be inside native code, which the interpreter's own way out would pull from under them.
    os._exit(128 + number)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
