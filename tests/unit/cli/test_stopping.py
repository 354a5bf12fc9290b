"""How a command's process ends; the moments of real commands are in tests/scenarios/test_cli.py."""

import subprocess
import sys

AT_THE_DOOR = """
import os, signal
from switchyard.cli import stopping

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

late = Late()
with stopping.clean_stop():
    print("done")
    raise SystemExit(3)
"""


def test_a_signal_after_the_work_is_done_takes_nothing_back() -> None:
    """Where the interpreter takes itself down, its modules' objects last, signals have their default again."""
    command = [sys.executable, "-c", AT_THE_DOOR]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "done\n", "")


IN_A_FINALISER = """
import os, signal
from switchyard.cli import stopping

class Interrupted:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

with stopping.clean_stop():
    Interrupted()
    print("done")
"""


def test_an_interruption_that_is_lost_makes_no_noise() -> None:
    command = [sys.executable, "-c", IN_A_FINALISER]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (130, "done\n")
    assert ended.stderr == "stopped; nothing is left to repair\n"
