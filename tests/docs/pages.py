"""Pages of the documentation as the tests read them, and a reader who does what a page says.

A comment on the line above a fenced block says what it is for; nobody sees it in the rendered page:

`<!-- file: NAME -->`         the block is this file; a second block of the same name is appended to it
`<!-- second terminal -->`    its command goes on running while the page does
`<!-- exit: N -->`            its last command ends with this exit code
`<!-- not run: WHY -->`       nothing is done with it
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PORT = "8765"
"""The port that pages name; a reader takes a free one in its place."""
ANYTHING = "…"
"""In an output: anything on that line; alone on a line: any lines."""
_STARTS_WITHIN = 30.0


@dataclass(frozen=True)
class Block:
    """A fenced block: where its text begins, its language, and the comment above it as (what, argument)."""

    page: Path
    line: int
    language: str
    text: str
    use: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page, the README first."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    opened: tuple[int, str] | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = number, line.removeprefix("```").strip()
            continue
        first, language = opened
        text = "".join(f"{each}\n" for each in lines[first + 1 : number])
        found.append(Block(page, first + 2, language, text, _use(lines[first - 1] if first else "")))
        opened = None
    assert opened is None, f"{page}: a block is not closed"
    return found


def _use(line: str) -> tuple[str, str]:
    comment = re.fullmatch(r"<!-- (.+) -->", line.strip())
    what, _, argument = comment[1].partition(": ") if comment else ("", "", "")
    return what, argument


@dataclass(frozen=True)
class Command:
    """A command of a console block, and the output that the page shows."""

    text: str
    output: str


def commands(block: Block) -> list[Command]:
    """The commands of a console block: each begins with `$ `, and goes on behind a backslash with `> `."""
    found: list[Command] = []
    for line in block.text.splitlines():
        last = found[-1] if found else None
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif last and last.text.endswith("\\") and line.startswith("> "):
            found[-1] = Command(f"{last.text}\n{line[2:]}", "")
        elif last:
            found[-1] = Command(last.text, f"{last.output}{line.rstrip()}\n")
        else:
            raise AssertionError(f"{block}: a console block begins with a command")
    return found


def words(output: str) -> str:
    """An output without what only its width decides: how far columns stand apart, how long their lines are."""
    narrow = re.sub(r"([ ━─])\1+", r"\1", output)
    return "".join(f"{line.rstrip()}\n" for line in narrow.rstrip().splitlines())


def as_pattern(output: str) -> str:
    """The regular expression of the words of an output with `…` in it."""
    lines = []
    for line in words(output).splitlines():
        if line.strip() == ANYTHING:
            lines.append(r"(?:.*\n)*?")
        else:
            # What `…` stands for may be wider or narrower than it, in a table as well.
            lines.append(r"[^\n]*?".join(re.escape(part) for part in re.split(" *… *", line)) + "\n")
    return "".join(lines)


@dataclass
class Reader:
    """Follows pages in a folder of its own, as a person with two terminals would."""

    folder: Path
    port: str
    environment: dict[str, str] = field(default_factory=dict)
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHYARD_")}
        tools = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
        self.environment = kept | {"PATH": tools, "HOME": str(self.folder), "TZ": "UTC"} | self.environment

    def follow(self, blocks: Iterable[Block]) -> Self:
        for block in blocks:
            what, argument = block.use
            if what == "not run":
                continue
            if what == "file":
                self.write(argument, block.text)
            elif what == "second terminal":
                self.start(block)
            elif block.language == "console":
                self.type(block, int(argument) if what == "exit" else 0)
        return self

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(self._here(text))

    def start(self, block: Block) -> None:
        (command,) = commands(block)
        # A shell would outlive the signal that ends it: exec puts the command in its place.
        process = subprocess.Popen(
            ["bash", "-c", f"exec {self._here(command.text)} 2>&1"],
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._running.append(process)
        assert process.stdout is not None
        output = process.stdout.fileno()
        os.set_blocking(output, False)
        shown, deadline = "", time.monotonic() + _STARTS_WITHIN
        while not _agrees(self._here(command.output), shown):
            assert process.poll() is None, f"{block}: {command.text} ended with {process.returncode}:\n{shown}"
            assert time.monotonic() < deadline, _differs(block, command, shown)
            time.sleep(0.05)
            with suppress(BlockingIOError):
                shown += os.read(output, 65_536).decode()

    def type(self, block: Block, last_code: int) -> None:
        typed = commands(block)
        for command in typed:
            text = self._here(command.text)
            if text.startswith("cd "):
                self.folder = self.folder / text.removeprefix("cd ")
                continue
            if text.startswith("export "):
                name, _, value = text.removeprefix("export ").partition("=")
                self.environment[name] = value
                continue
            done = subprocess.run(
                ["bash", "-c", text],
                cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, check=False, timeout=300,
            )  # fmt: skip
            code = last_code if command is typed[-1] else 0
            assert done.returncode == code, f"{block}: {command.text} ended with {done.returncode}:\n{done.stdout}"
            assert _agrees(self._here(command.output), done.stdout), _differs(block, command, done.stdout)

    def close(self) -> None:
        for process in self._running:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _here(self, text: str) -> str:
        return text.replace(PORT, self.port)


def _agrees(shown: str, real: str) -> bool:
    """Whether what the page shows is what came. A page that shows nothing claims nothing."""
    return not shown.strip() or re.fullmatch(as_pattern(shown), words(real)) is not None


def _differs(block: Block, command: Command, real: str) -> str:
    return f"{block}: $ {command.text}\n--- the page shows\n{command.output}--- what came\n{real}"


@contextmanager
def reading(folder: Path, port: int, **environment: str) -> Iterator[Reader]:
    reader = Reader(folder, str(port), environment)
    try:
        yield reader
    finally:
        reader.close()
