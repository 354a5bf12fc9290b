"""What the kit for sources asks of its author."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import httpx
import pytest

from switchyard.api import SourceSpec, Stream
from switchyard.testing.bench import Bench, Setting
from switchyard.testing.conformance.common import Conformance

Key: TypeAlias = tuple[object, ...]
"""The values of a record's key, in the order of `Stream.key`."""


@dataclass(frozen=True)
class Drift:
    """The records of the first of `streams` as their vendor serves them after its schema has changed.

    Args:
        setting: a `config` or an `api` that serves the same records, changed.
        gone, new, retyped: the field that all of them lost, that all of them have now and had not, whose values are of
            another type now. None where the vendor, or the source, cannot have such a change.
    """

    setting: Setting
    gone: str | None = None
    new: str | None = None
    retyped: str | None = None


class SourceFixtures(Conformance):
    """The fixtures of the kit for sources."""

    @pytest.fixture
    def streams(self, spec: SourceSpec) -> Sequence[Stream]:
        """The streams that the fixtures serve."""
        return spec.streams

    @pytest.fixture
    def empty(self) -> Setting | None:
        """A `config` or an `api` with not one record."""
        return None

    @pytest.fixture
    def hostile(self) -> Setting | None:
        """A `config` or an `api` with `HOSTILE_RECORDS` and no other, in the first of `streams`."""
        return None

    @pytest.fixture
    def exhausted(self) -> httpx.Response | None:
        """What the vendor answers when the calls of the day are used up; None where there is no such limit."""
        return None

    @pytest.fixture
    def deleting(self) -> Callable[[], Mapping[str, Collection[Key]]] | None:
        """Deletes some records at the vendor, lets time pass until it says so, and gives their keys by stream; None
        where the source does not see deletions.
        """
        return None

    @pytest.fixture
    def drifted(self) -> Drift | None:
        """The vendor after its schema has changed."""
        return None

    @pytest.fixture
    def relinked(self) -> Callable[[httpx.Response, str], httpx.Response] | None:
        """An answer of the vendor with its link to the next page, or to a result, set to this URL; as it is where it
        has none. None for a vendor that sends no links.
        """
        return None


def over_http(bench: Bench, streams: Sequence[Stream]) -> list[tuple[Stream, int]]:
    """The streams that are read by HTTP, with the number of calls."""
    found = []
    for stream in streams:
        with bench.built() as built:
            list(built.connector.read(stream, None))
            if built.wire.requests:
                found.append((stream, built.wire.requests))
    if not found:
        pytest.skip("the connector makes no HTTP call")
    return found
