"""The command line: parse, call one function of `switchyard.app`, print what it answers.

Importing it, and `--help`, load nothing heavy: each command imports what it needs when it runs.
"""

from switchyard.cli import stopping


def main() -> None:
    """The entry point `switchyard`; ends the process with the exit code of the command."""
    with stopping.clean_stop():
        from switchyard.cli.application import app

        app(prog_name="switchyard")
