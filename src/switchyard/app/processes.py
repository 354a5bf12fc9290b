"""Processes by name: whether one that wrote its name into the store is still there."""

import os
from contextlib import suppress
from functools import cache
from pathlib import Path


def own_name() -> str:
    """Names this process among all on all machines that share a store."""
    return f"{_machine()}/{os.getpid()}"


def is_gone(name: str) -> bool:
    """Whether the process has certainly ended. One of another machine or container may always be there."""
    machine, _, process = name.rpartition("/")
    if not machine or machine != _machine() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@cache
def _machine() -> str:
    """This boot of this machine, and who counts processes in it; nothing where the system does not tell."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    return ""
