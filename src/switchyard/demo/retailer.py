"""A generated retailer: believable people, a year of till tickets as CSV files, real-world dirt with known counts."""

import functools
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from switchyard.demo.catalogue import Catalogue, catalogue
from switchyard.demo.people import Ints, People, people
from switchyard.demo.texts import HEADER, PROBLEMS, Texts
from switchyard.demo.tickets import Tickets, tickets
from switchyard.demo.truth import Broken, Truth, truth

_BATCH = 250_000
_RESENT_EVERY = 6
_RESENT_TICKETS = 8
_BROKEN_EVERY = 900


@dataclass(frozen=True)
class Retailer:
    """The parameters; equal parameters give equal bytes.

    Args:
        seed: of the random numbers.
        people: how many customers there are.
        days: how many days of tickets.
        lines: how many different readable lines there are in all.
        last_day: the day of the last tickets. Whoever evaluates "last 30 days" wants it near today.
        dirt: whether daily files carry lines sent again, broken rows and odd encodings.
    """

    seed: int = 7
    people: int = 20_000
    days: int = 365
    lines: int = 240_000
    last_day: date = date(2026, 6, 30)
    dirt: bool = True

    def write_days(self, folder: Path, progress: Callable[[int], None] = lambda _: None) -> Truth:
        """Write a file per day, each complete when its name appears; `progress` hears how many there are so far.

        With `dirt`, one file is in cp1252, one is compressed and one starts with a byte order mark.
        """
        folder.mkdir(parents=True, exist_ok=True)
        starts = self._sold.first_line[np.searchsorted(self._sold.day, np.arange(self.days + 1))]
        broken: list[Broken] = []
        duplicates = 0
        for day in range(self.days):
            again = self._sent_again(day)
            duplicates += len(again)
            wanted = np.concatenate([again, np.arange(starts[day], starts[day + 1])])
            planted = self._planted(day, len(wanted))
            body, lines = self._texts.rows(wanted, planted, serial=len(broken))
            name = self._file_name(day)
            broken += [Broken(name, line, problem) for line, (_, problem) in zip(lines, planted, strict=True)]
            _write_whole(folder / name, _encoded(HEADER.encode() + body, self._encoding(day)))
            progress(day + 1)
        return truth(self._catalogue, self._sold, self.days, duplicates, broken)

    def write_file(self, path: Path, poison: int | None = None) -> Truth:
        """Write everything into one UTF-8 file without dirt, but for one broken row if that is wished.

        Args:
            path: the file to write.
            poison: the record (from 1 to `lines`) that is a broken row, standing before the good one of that number.
        """
        lines = len(self._sold.ticket)
        if poison is not None and not 1 <= poison <= lines:
            raise ValueError(f"poison must be a record from 1 to {lines}")
        broken: list[Broken] = []
        above = 0
        with path.open("wb") as file:
            file.write(HEADER.encode())
            for start in range(0, lines, _BATCH):
                wanted = np.arange(start, min(start + _BATCH, lines))
                planted = [(poison - 1 - start, "bad_number")] if poison and poison - 1 in wanted else []
                body, places = self._texts.rows(wanted, planted)
                broken += [Broken(path.name, above + place, "bad_number") for place in places]
                above += body.count(b"\n")
                file.write(body)
        return truth(self._catalogue, self._sold, 1, 0, broken)

    @functools.cached_property
    def _calendar(self) -> list[date]:
        return [self.last_day - timedelta(days=ago) for ago in reversed(range(self.days))]

    @functools.cached_property
    def _catalogue(self) -> Catalogue:
        return catalogue(self._random(0))

    @functools.cached_property
    def _people(self) -> People:
        return people(self._random(1), self.people, self.days)

    @functools.cached_property
    def _sold(self) -> Tickets:
        return tickets(self._random(2), self._people, self._catalogue, self._calendar, self.lines)

    @functools.cached_property
    def _texts(self) -> Texts:
        return Texts(self._random(3), self._catalogue, self._people, self._sold, self._calendar)

    def _random(self, *use: int) -> np.random.Generator:
        """Numbers of its own for each use, so that a change to one leaves the others as they are."""
        return np.random.default_rng((self.seed, *use))

    def _file_name(self, day: int) -> str:
        return f"tickets-{self._calendar[day]}.csv" + (".gz" if self._encoding(day) == "gzip" else "")

    def _encoding(self, day: int) -> str:
        odd = {self.days // 4: "cp1252", self.days // 2: "gzip", self.days * 3 // 4: "utf-8-sig"}
        return odd.get(day, "utf-8") if self.dirt else "utf-8"

    def _sent_again(self, day: int) -> Ints:
        """Lines of the last tickets of the day before, which some days' files bring once more."""
        sold = self._sold
        if not self.dirt or day % _RESENT_EVERY != _RESENT_EVERY - 1:
            return np.arange(0)
        first, last = np.searchsorted(sold.day, [day - 1, day])
        return np.arange(sold.first_line[max(first, last - _RESENT_TICKETS)], sold.first_line[last])

    def _planted(self, day: int, rows: int) -> list[tuple[int, str]]:
        """Broken rows: how many good ones stand before each, and its problem."""
        if not self.dirt:
            return []
        rng = self._random(4, day)
        places = np.sort(rng.integers(0, rows + 1, rng.poisson(rows / _BROKEN_EVERY)))
        return [(int(place), PROBLEMS[int(rng.integers(0, len(PROBLEMS)))]) for place in places]


def _encoded(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.compress(body, mtime=0)
    return body if encoding == "utf-8" else body.decode().encode(encoding)


def _write_whole(path: Path, body: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(body)
    part.replace(path)
