"""Reads the files of a drop folder, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import BinaryIO

from switchyard.api import ConfigError, Context, Cursor, Page, PermanentError, Reject, Stream, TransientError
from switchyard.api.records import JSON
from switchyard_connectors.pos_csv import snapshot
from switchyard_connectors.pos_csv.config import FileRefused, PosCsvConfig
from switchyard_connectors.pos_csv.folder import DropFile, DropFolder, KnownFiles
from switchyard_connectors.pos_csv.layout import Layout, layout
from switchyard_connectors.pos_csv.lines import chunks
from switchyard_connectors.pos_csv.orders import Cut, cuts
from switchyard_connectors.pos_csv.replay import replayed
from switchyard_connectors.pos_csv.scan import Block, blocks
from switchyard_connectors.pos_csv.snapshot import Scratch, Text
from switchyard_connectors.pos_csv.typed import Typing, connection
from switchyard_connectors.pos_csv.values import Instants

_SPLIT = "the order comes back after more than {} lines without it; sort the file by order, or raise `order_window`"


@dataclass(frozen=True, slots=True)
class _Content:
    """A file's content: the private copy, and by what it is known."""

    file: DropFile
    raw: BinaryIO
    sha256: str


class PosCsv:
    """The source. Nothing of a file is given before all of it has been looked at.

    The cursor stands inside a file or is None between files; which files are done is told by marks: the SHA-256 of a
    file's content, and for a refused file that and the digest of the configuration that refused it.
    """

    def __init__(self, config: PosCsvConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._path = context.project / config.folder
        self._folder = DropFolder(self._path, config)
        self._digest = config.digest()
        self._duck = connection()
        self._instants = Instants(config, self._duck)

    def check(self) -> None:
        """Raise ConfigError where the folder is missing or may not be read."""
        if not self._path.is_dir():
            raise ConfigError(f"there is no folder {self._path}; create it or correct `folder`", key="folder")
        try:
            next(self._path.iterdir(), None)
        except OSError as error:
            raise ConfigError(f"cannot read the folder {self._path}: {error.strerror}", key="folder") from error

    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:
        """Yield the pages of all complete files that are not known yet; a file that `cursor` stands in comes first.

        Raises:
            TransientError: the folder cannot be listed, or a file cannot be copied or moved.
            PermanentError: a file may not be read; all others have been.
        """
        files = self._folder.ready()
        known = KnownFiles(self._context.workspace / "known.json")
        hashes = {file: known.get(file) for file in files}
        read = self._read_before(stream, {each for each in hashes.values() if each})
        begun = (cursor or {}).get("file")
        unreadable: list[str] = []
        for file in sorted(files, key=lambda file: file.label != begun):
            try:
                if hashes[file] in read:
                    self._put_away(file, str(hashes[file]), read)
                    continue
                with Scratch(self._context.workspace) as scratch:
                    content = self._copy(file, scratch, unreadable)
                    if content is None:
                        continue
                    known.put(file, content.sha256)
                    if content.sha256 not in read and not self._read_before(stream, {content.sha256}):
                        yield from self._pages(content, cursor, scratch)
                        read[content.sha256] = False
            except OSError as error:
                raise TransientError(f"cannot copy or move {file.label}: {error.strerror}") from error
        try:
            known.save(files)
        except OSError as error:
            raise TransientError(f"cannot write in the workspace: {error.strerror}") from error
        if unreadable:
            raise PermanentError(f"may not read {', '.join(unreadable)} in {self._path}; correct the permissions")

    def replay(self, stream: Stream, rejects: Sequence[Reject], origin: str | None) -> Page:  # noqa: ARG002
        """Read rejected lines by the present configuration; see `replayed`."""
        return replace(replayed(rejects, self._config, self._instants), origin=origin)

    def _read_before(self, stream: Stream, hashes: set[str]) -> dict[str, bool]:
        """Of these contents, those that need no more reading, and whether all of their lines are committed."""
        marked = self._context.marked(stream.name, hashes | set(map(self._refused_mark, hashes)))
        return {each: each in marked for each in hashes if each in marked or self._refused_mark(each) in marked}

    def _refused_mark(self, content: str) -> str:
        # With another configuration the file may be readable, so the mark holds for this one only.
        return f"{content}-refused-{self._digest}"

    def _put_away(self, file: DropFile, content: str, read: dict[str, bool]) -> None:
        if self._config.processed == "move" and read[content] and self._folder.unchanged(file):
            self._folder.retire(file, content)

    def _copy(self, file: DropFile, scratch: Scratch, unreadable: list[str]) -> _Content | None:
        """Copy a file; None where it is gone or changed meanwhile, so that it is left for the next run."""
        try:
            source = scratch.enter_context(self._folder.open(file))
        except FileNotFoundError:
            return None
        except OSError:
            unreadable.append(file.label)
            return None
        if file.size > self._config.max_bytes:
            # Too large even to hash: what it is known by is how it looks from outside.
            look = f"{file.label} {file.size} {file.mtime_ns}"
            return _Content(file, source, sha256(look.encode()).hexdigest())
        raw, content = snapshot.copy(source, scratch)
        return _Content(file, raw, content) if self._folder.unchanged(file) else None

    def _pages(self, content: _Content, cursor: Cursor, scratch: Scratch) -> Iterator[Page]:
        text: Text | None = None
        try:
            text = snapshot.text(content.raw, self._config.encoding, self._config.max_bytes, scratch)
            described = layout(text, self._config)
            for _ in self._blocks(text, described):
                pass
        except FileRefused as refusal:
            yield self._refusal(content, refusal, text)
            return
        typing = Typing(described, self._config, self._instants, text.part)
        found = chunks(self._blocks(text, described), text, described, self._config)
        # Pages that are committed are cut again and passed over, so that the others are what they would have been.
        given = int(str(cursor["page"])) if cursor and self._stands_in(content, cursor) else 0
        for number, cut in enumerate(cuts(found, self._config.page_rows, self._config.order_window), start=1):
            if number > given:
                yield self._page(content, typing, number, cut)

    def _blocks(self, text: Text, described: Layout) -> Iterator[Block]:
        complete = self._config.ready != "stable"
        return blocks(text.file, described.first, described.grammar, self._config.max_record_bytes, complete=complete)

    def _page(self, content: _Content, typing: Typing, number: int, cut: Cut) -> Page:
        records, rejects = typing.page(cut.table)
        late = typing.rejects(cut.late, "order_id", "order_split", _SPLIT.format(self._config.order_window))
        cursor: Cursor = None
        if cut.after:
            cursor = {
                "file": content.file.label,
                "sha256": content.sha256,
                "byte": cut.after.byte,
                "line": cut.after.line,
                "page": number,
                "config": self._digest,
            }
        return Page(
            records=records,
            cursor=cursor,
            rejected=sorted([*cut.rejects, *rejects, *late], key=lambda reject: reject.line or 0),
            marks=() if cursor else (content.sha256,),
            origin=content.file.label,
        )

    def _refusal(self, content: _Content, refusal: FileRefused, text: Text | None) -> Page:
        byte = refusal.byte if refusal.byte is None or text is None else text.original(refusal.byte)
        reject = Reject("file_refused", refusal.reason, {"file": content.file.label}, line=refusal.line, byte=byte)
        marks = (self._refused_mark(content.sha256),)
        return Page(records=[], cursor=None, rejected=(reject,), marks=marks, origin=content.file.label)

    def _stands_in(self, content: _Content, cursor: Mapping[str, JSON]) -> bool:
        return cursor.get("sha256") == content.sha256 and cursor.get("config") == self._digest
