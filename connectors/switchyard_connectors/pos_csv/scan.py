"""Where the records of a CSV text begin and end, found by numpy over blocks of bytes.

The rules are those of RFC 4180, strictly: a quote opens a field only right after a delimiter or a line end, and what
follows a closing quote is a delimiter or a line end. A quote that stands anywhere else is *stray*: its record is
malformed, and it does not open anything, so that one bad line cannot swallow the rest of a file. Line ends are LF,
CRLF and a lone CR, mixed at will.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from switchyard_connectors.pos_csv.config import FileRefused
from switchyard_connectors.pos_csv.hashing import Bytes, Offsets

BLOCK = 4 << 20
STRAY_LIMIT = 1000
_LF, _CR = 10, 13
_NONE: Offsets = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Grammar:
    """Delimiter and quote as byte values; `quote` None where the file has none."""

    delimiter: int
    quote: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """A place where a record begins: byte of the text from 0, line from 1."""

    byte: int
    line: int


@dataclass(frozen=True, slots=True)
class Records:
    """The complete records of a block. Positions count from the block's first byte, lines from its first line.

    Args:
        start, end: of each record; `end` is that of its text, before the line end.
        line: of each record, from 0.
        malformed: indices of records with a stray quote.
        quotes: positions of all quotes that are not stray.
        strays: how many are, in these records.
        consumed: bytes that these records take; what is left of the block begins an incomplete one.
        lines: line ends in them, those inside quotes included.
        open_quote: where a quoted field begins that the block does not close.
        unended: the last record has no line end.
    """

    start: Offsets
    end: Offsets
    line: Offsets
    malformed: Offsets
    quotes: Offsets
    strays: int
    consumed: int
    lines: int
    open_quote: int | None
    unended: bool


@dataclass(frozen=True, slots=True)
class Block:
    """The bytes of some whole records, and where in the text the first of them stands."""

    data: bytes
    place: Place
    records: Records


def scan(data: bytes, grammar: Grammar, *, final: bool) -> Records:
    """Find the records of a block that begins where a record begins. `final`: nothing follows the block."""
    block = np.frombuffer(data, np.uint8)
    quotes, strays = _quotes(data, block, grammar)
    line_ends = _line_ends(data, block, final=final)
    ends = line_ends[np.searchsorted(quotes, line_ends) % 2 == 0] if len(quotes) else line_ends
    open_quote = _opened_at(quotes) if len(quotes) % 2 else None
    next_start = ends + 1
    crlf = (block[ends] == _LF) & (block[np.maximum(ends - 1, 0)] == _CR)
    end = ends - crlf
    unended = final and open_quote is None and (int(next_start[-1]) if len(ends) else 0) < len(data)
    if unended:
        next_start, end = np.append(next_start, len(data)), np.append(end, len(data))
    consumed = int(next_start[-1]) if len(next_start) else 0
    start = np.concatenate([np.zeros(1, np.int64), next_start])[: len(next_start)]
    strays = strays[strays < consumed]
    return Records(
        start=start,
        end=end,
        line=np.arange(len(start)) if len(ends) == len(line_ends) else np.searchsorted(line_ends, start),
        malformed=np.unique(np.searchsorted(start, strays, side="right") - 1),
        quotes=quotes,
        strays=len(strays),
        consumed=consumed,
        lines=int(np.searchsorted(line_ends, consumed)),
        open_quote=open_quote,
        unended=unended,
    )


def blocks(text: BinaryIO, place: Place, grammar: Grammar, record_bytes: int, *, complete: bool) -> Iterator[Block]:
    """All records of a text from `place` on, in blocks of about `BLOCK` bytes; the last may be empty.

    Args:
        text: the file; others may move in it between two blocks.
        place: where the first record begins.
        grammar: delimiter and quote.
        record_bytes: the longest record allowed.
        complete: the producer has declared the file complete, so that the last line may lack its line end.

    Raises:
        FileRefused: a quote is still open at the end, a record is too long, there are more than `STRAY_LIMIT` stray
            quotes, or the last line has no line end; with the line, and the byte of the text.
    """
    pending, strays = b"", 0
    while True:
        text.seek(place.byte + len(pending))
        read = text.read(BLOCK)
        data, final = pending + read, len(read) < BLOCK
        records = scan(data, grammar, final=final)
        pending = data[records.consumed :]
        _refuse_long(data, place, records, record_bytes)
        strays += records.strays
        if strays > STRAY_LIMIT:
            raise _refusal(f"more than {STRAY_LIMIT} stray quotes; is `quote` right?", data, place, records.consumed)
        if final and records.open_quote is not None:
            raise _refusal("a quote opens here and is never closed", data, place, records.open_quote)
        if records.unended and not complete:
            reason = "the last line has no line end: cut off? (where it is whole, use `ready: marker` or `rename`)"
            raise _refusal(reason, data, place, int(records.start[-1]))
        yield Block(data[: records.consumed] if pending else data, place, records)
        place = Place(place.byte + records.consumed, place.line + records.lines)
        if final:
            return


def delimiters(block: Block, grammar: Grammar) -> NDArray[np.int64]:
    """How many delimiters outside quotes each record has."""
    records = block.records
    positions = np.flatnonzero(np.frombuffer(block.data, np.uint8) == grammar.delimiter)
    if len(records.quotes):
        positions = positions[np.searchsorted(records.quotes, positions) % 2 == 0]
    return np.diff(np.searchsorted(positions, np.append(records.start, len(block.data))))


def _line_ends(data: bytes, block: Bytes, *, final: bool) -> Offsets:
    feeds = np.flatnonzero(block == _LF)
    if data.find(b"\r") < 0:
        return feeds
    returns = np.flatnonzero(block == _CR)
    # What follows a CR at the very end of a block is not known yet.
    known = returns if final else returns[returns < len(block) - 1]
    last = known == len(block) - 1
    lone = known[last | (block[np.minimum(known + 1, len(block) - 1)] != _LF)]
    return np.sort(np.concatenate([feeds, lone])) if len(lone) else feeds


def _quotes(data: bytes, block: Bytes, grammar: Grammar) -> tuple[Offsets, Offsets]:
    """Positions of the quotes that open and close fields, in turn, and of those that are out of place."""
    if grammar.quote is None or data.find(grammar.quote) < 0:
        return _NONE, _NONE
    breaks = np.zeros(256, bool)
    breaks[[grammar.delimiter, _LF, _CR]] = True
    quotes = np.flatnonzero(block == grammar.quote)
    may_open = breaks[block[quotes - 1]] | (quotes == 0)
    strays: list[int] = []
    settled = 0
    while len(strays) <= STRAY_LIMIT:
        opening = quotes[settled::2]
        previous = quotes[settled - 1 :: 2] if settled else np.concatenate([np.array([-9]), quotes[1::2]])
        # A quote right behind a closing one is the second half of an escaped quote.
        misplaced = np.flatnonzero(~may_open[settled::2] & (opening - previous[: len(opening)] != 1))
        if not len(misplaced):
            break
        settled += 2 * int(misplaced[0])
        strays.append(int(quotes[settled]))
        quotes, may_open = np.delete(quotes, settled), np.delete(may_open, settled)
    closing = quotes[1::2]
    closing = closing[closing < len(block) - 1]
    breaks[grammar.quote] = True
    dirty = closing[~breaks[block[closing + 1]]]
    return quotes, np.sort(np.concatenate([np.array(strays, np.int64), dirty]))


def _opened_at(quotes: Offsets) -> int:
    """Where the last field opens, of which the last quotes may be escaped ones."""
    index = len(quotes) - 1
    while index >= 2 and quotes[index] - quotes[index - 1] == 1:
        index -= 2
    return int(quotes[index])


def _refuse_long(data: bytes, place: Place, records: Records, record_bytes: int) -> None:
    long = np.flatnonzero(records.end - records.start > record_bytes)
    if len(long):
        at = int(records.start[long[0]])
    elif len(data) - records.consumed > record_bytes:
        at = records.consumed if records.open_quote is None else records.open_quote
    else:
        return
    what = "a quote opens here and is not closed" if records.open_quote == at else "the record that begins here goes on"
    raise _refusal(f"{what} within {record_bytes} bytes (max_record_bytes)", data, place, at)


def _refusal(reason: str, data: bytes, place: Place, at: int) -> FileRefused:
    before = data[:at]
    lines = len(_line_ends(before, np.frombuffer(before, np.uint8), final=True))
    return FileRefused(reason, line=place.line + lines, byte=place.byte + at)
