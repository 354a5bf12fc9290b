"""Versions of definitions: which are in force, and what a configuration makes of them."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property

from sqlmodel import Session, select

from switchyard.evaluation.compiled import Compiled, Meaning
from switchyard.store.tables import SegmentVersion


class Versions:
    """The versions in force beside the definitions as they are now written.

    A version is in force until the commit of the evaluation that asked its successor of everybody. A definition that
    was taken away has a version without a text.
    """

    def __init__(self, session: Session, compiled: Compiled) -> None:
        self._compiled = compiled
        self._rows = {row.segment: row for row in session.exec(select(SegmentVersion).order_by(SegmentVersion.version))}  # type: ignore[arg-type]  # SQLModel types a column as its value
        session.expunge_all()

    @cached_property
    def rewritten(self) -> frozenset[str]:
        """Definitions whose meaning is not that in force."""
        meanings = self._compiled.meanings.items()
        return frozenset(name for name, meaning in meanings if self._in_force(name) != meaning)

    @cached_property
    def fresh(self) -> frozenset[str]:
        """Those, and what reads them: nothing that is known of their members holds any more."""
        return self._compiled.with_readers(self.rewritten)

    @cached_property
    def removed(self) -> frozenset[str]:
        """Segments that were taken away."""
        return frozenset(name for name in self._rows if self._in_force(name)) - self._compiled.names

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Segment → the number of the version that is in force at the end of the evaluation."""
        new = self.rewritten | self.removed
        numbers = {name: row.version for name, row in self._rows.items()}
        return numbers | {name: numbers.get(name, 0) + 1 for name in new}

    def published(self, at: datetime) -> list[SegmentVersion]:
        """The versions that the evaluation of this instant puts in force."""
        return [self._published(name, at) for name in sorted(self.rewritten | self.removed)]

    def _published(self, name: str, at: datetime) -> SegmentVersion:
        meaning = self._compiled.meanings.get(name)
        return SegmentVersion(
            segment=name,
            version=self.numbers[name],
            transform=meaning.transform if meaning else "",
            text=meaning.text if meaning else None,
            timezone=meaning.timezone if meaning else "",
            published_at=at,
        )

    def _in_force(self, name: str) -> Meaning | None:
        row = self._rows.get(name)
        return Meaning(row.transform, row.text, row.timezone) if row and row.text is not None else None
