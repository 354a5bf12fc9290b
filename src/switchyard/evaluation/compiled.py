"""Definitions made into SQL: compiled once for as long as they, and what they may speak of, stay the same."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import ibis

from switchyard.api.errors import ConfigError
from switchyard.api.transforms import Definition, Printable, ProfileTransform, Reads, Schema
from switchyard.evaluation.scope import WorkingScope


@dataclass(frozen=True)
class Authored:
    """A profile transform with the definitions that it is to evaluate."""

    name: str
    transform: ProfileTransform
    definitions: Sequence[Definition]


@dataclass(frozen=True)
class Meaning:
    """What a definition's members depend on beside people and time: another meaning is another version."""

    transform: str
    text: str
    timezone: str


class Compiled:
    """Definitions that read each other in no circle.

    Args:
        meanings: definition → its meaning.
        reads: definition → what it reads.

    Raises:
        SegmentError: a definition is wrong.
        ConfigError: definitions read each other in a circle.
    """

    def __init__(self, authored: Sequence[Authored], schema: Schema) -> None:
        self._programs = [one.transform.compile(one.definitions, schema) for one in authored]
        self.meanings: Mapping[str, Meaning] = {
            each.name: Meaning(one.name, _canonical(one.transform, each), schema.timezone)
            for one in authored
            for each in one.definitions
        }
        self.reads: Mapping[str, Reads] = {name: reads for each in self._programs for name, reads in each.reads.items()}
        self._layers = _layers(self.reads)
        self._statements: dict[frozenset[str], list[tuple[frozenset[str], list[str]]]] = {}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.reads)

    def with_readers(self, names: Collection[str]) -> frozenset[str]:
        """These definitions and all that read them, however indirectly."""
        found = set(names)
        for layer in self._layers:
            found |= {name for name in layer if self.reads[name].segments & found}
        return frozenset(found)

    def with_read(self, names: Collection[str]) -> frozenset[str]:
        """These definitions and all that they read, however indirectly."""
        found = set(names)
        for layer in reversed(self._layers):
            found |= {read for name in layer & found for read in self.reads[name].segments & self.names}
        return frozenset(found)

    def evaluate(self, scope: WorkingScope, names: frozenset[str]) -> None:
        """Fill the temporary table `evaluated` (profile_id, definition, value, next_change), what others read first.

        Args:
            names: definitions together with all that they read.
        """
        scope.clear()
        if names not in self._statements:
            self._statements[names] = []
            for layer in self._layers:
                if wanted := layer & names:
                    queries = self._sql(scope, wanted)
                    self._statements[names].append((wanted & self._read_by_others, queries))
        for read, queries in self._statements[names]:
            for query in queries:
                scope.evaluate(query)
            if read:
                scope.publish(read)

    @property
    def _read_by_others(self) -> frozenset[str]:
        return frozenset().union(*(reads.segments for reads in self.reads.values()))

    def _sql(self, scope: WorkingScope, wanted: frozenset[str]) -> list[str]:
        return [
            ibis.to_sql(program.evaluate(scope, sorted(mine)), dialect="duckdb")
            for program in self._programs
            if (mine := wanted & program.reads.keys())
        ]


def _layers(reads: Mapping[str, Reads]) -> list[frozenset[str]]:
    """The definitions in layers: each reads segments of earlier layers only."""
    sorter = TopologicalSorter({name: each.segments & reads.keys() for name, each in reads.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise ConfigError(f"segments read each other in a circle: {' → '.join(error.args[1])}") from error
    layers = []
    while ready := sorter.get_ready():
        layers.append(frozenset(ready))
        sorter.done(*ready)
    return layers


def _canonical(transform: ProfileTransform, definition: Definition) -> str:
    if isinstance(transform, Printable):
        return transform.canonical(definition)
    return json.dumps(definition.body, sort_keys=True)
