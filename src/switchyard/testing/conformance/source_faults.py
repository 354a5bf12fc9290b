"""The kit for sources: what they promise while the vendor deletes, changes, runs out of calls or is hostile."""

# ruff: noqa: S101  # a kit is made of assertions

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import httpx
import pytest

from switchyard.api import Page, Stream
from switchyard.api.errors import SwitchyardError
from switchyard.api.records import DELETED
from switchyard.testing.bench import Bench, keys_of, records_of, texts_of
from switchyard.testing.conformance.common import assert_exhausted, places
from switchyard.testing.conformance.source_fixtures import Drift, Key, SourceFixtures, over_http
from switchyard.testing.wire import Api, Fault, answering, copied

_ELSEWHERE = "elsewhere.example"


class SourceFaults(SourceFixtures):
    """Checks of `SourceConformance`."""

    def test_an_exhausted_quota_ends_the_read(
        self, bench: Bench, streams: Sequence[Stream], exhausted: httpx.Response | None
    ) -> None:
        """The hub keeps the pages before, and learns until when to wait; nothing more is asked of the vendor."""
        if exhausted is None:
            pytest.skip("give the fixture `exhausted`: what the vendor answers when the calls of the day are used up")
        for stream, _ in over_http(bench, streams):
            whole = texts_of(bench.read(stream))
            for done in places(_Quota.of(bench, stream).calls):
                quota = _Quota.of(bench, stream, done, answering(exhausted))
                pages, error = quota.read
                assert_exhausted(error)
                late = quota.calls - done - 1
                assert late < bench.limits.concurrency, f"{stream.name}: {late} calls were made after the last one"
                lost = len(whole.keys() - texts_of([*pages, *bench.read(stream, pages)]).keys())
                assert not lost, f"{stream.name}: {lost} records were lost when the quota was exhausted"

    def test_deletions_are_seen(
        self,
        bench: Bench,
        streams: Sequence[Stream],
        deleting: Callable[[], Mapping[str, Collection[Key]]] | None,
    ) -> None:
        """Whatever was deleted at the vendor comes once more, as deleted, and never again as a record."""
        if deleting is None:
            pytest.skip("give the fixture `deleting` where the source sees deletions")
        before = {stream.name: bench.read(stream) for stream in streams}
        deleted = deleting()
        assert any(deleted.values()), "`deleting` deleted nothing"
        for stream in streams:
            wanted = {_text(key) for key in deleted.get(stream.name, ())}
            gone = _keys(stream, bench.read(stream, before[stream.name]), deleted=True)
            unseen, wrong = len(wanted - gone), len(gone - wanted)
            assert not unseen, f"{stream.name}: {unseen} of {len(wanted)} deletions were not seen"
            assert not wrong, f"{stream.name}: {wrong} records are given as deleted, and are not"
            alive = len(wanted & _keys(stream, bench.read(stream), deleted=False))
            assert not alive, f"{stream.name}: {alive} deleted records are given as if they were there"

    def test_a_changed_schema_passes(self, bench: Bench, streams: Sequence[Stream], drifted: Drift | None) -> None:
        """A field that is gone, one that is new and one of another type end no read and lose no record."""
        if drifted is None:
            pytest.skip("give the fixture `drifted`: the same records after the vendor's schema has changed")
        stream = streams[0]
        before = bench.read(stream)
        for done in ([], before[:1]):
            pages = bench.among(drifted.setting).read(stream, done)
            assert not any(page.rejected for page in pages), "a record was rejected since the schema has changed"
            lost = len(set(keys_of(stream, before)) - set(keys_of(stream, [*done, *pages])))
            assert not lost, f"{lost} records are lost since the schema has changed"
            rows = list(records_of(pages))
            had = {name for row in rows for name, value in row.items() if value is not None}
            assert drifted.gone not in had, f"the field {drifted.gone!r} is gone, and comes with values"
            for name in filter(None, (drifted.new, drifted.retyped)):
                assert name in had, f"the field {name!r} does not come, since the schema has changed"

    def test_a_hostile_link_is_not_followed(
        self,
        bench: Bench,
        streams: Sequence[Stream],
        relinked: Callable[[httpx.Response, str], httpx.Response] | None,
    ) -> None:
        """No call, and so no credential, goes where only an answer says."""
        if relinked is None:
            pytest.skip("give the fixture `relinked` where the vendor's answers carry links")
        changed = 0
        for stream, _ in over_http(bench, streams):
            clean = _Links(lambda answer, _: answer)
            with bench.built(clean) as built:
                whole = texts_of(built.connector.read(stream, None))
            for url in _hostile(clean.hosts):
                links = _Links(relinked, url, clean.hosts)
                pages, error = _until_error(bench, stream, links)
                changed += links.changed
                assert not links.strayed, f"{stream.name}: {links.strayed} calls went to another host ({url})"
                if links.changed and error is None:
                    lost = len(whole.keys() - texts_of(pages).keys())
                    assert not lost, f"{stream.name}: {lost} records behind a hostile link were lost without an error"
        assert changed, "`relinked` changed no answer; let it set the link of the vendor's answers"


class _Quota:
    """A `Fault`: an account whose calls of the day are used up. Signing in is no call."""

    def __init__(self, left: int, over: Fault | None, *, bearing: bool) -> None:
        self.calls = 0
        self.bears = False
        self.read: tuple[list[Page], SwitchyardError | None] = ([], None)
        self._left = left
        self._over = over
        self._bearing = bearing

    @classmethod
    def of(cls, bench: Bench, stream: Stream, left: int = 0, over: Fault | None = None) -> _Quota:
        """What a stream's read makes of it; without `over`, the calls that it takes."""
        first = cls(0, None, bearing=False)
        first.read = _until_error(bench, stream, first)
        quota = cls(left, over, bearing=first.bears)
        quota.read = _until_error(bench, stream, quota)
        return quota

    def __call__(self, request: httpx.Request, vendor: Api) -> httpx.Response:
        """See `Fault`."""
        bears = "authorization" in request.headers
        self.bears |= bears
        if self._bearing and not bears:
            return vendor(request)
        self.calls += 1
        return self._over(request, vendor) if self._over and self.calls > self._left else vendor(request)


class _Links:
    """A `Fault`: a vendor whose answers carry links to elsewhere. Elsewhere takes what comes, and has nothing."""

    def __init__(
        self,
        relinked: Callable[[httpx.Response, str], httpx.Response],
        url: str = "",
        home: Collection[str] | None = None,
    ) -> None:
        self.hosts: set[str] = set()
        self.strayed = self.changed = 0
        self._relinked = relinked
        self._url = url
        self._home = home

    def __call__(self, request: httpx.Request, vendor: Api) -> httpx.Response:
        """See `Fault`."""
        host = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
        self.hosts.add(host)
        if self._home is not None and host not in self._home:
            self.strayed += 1
            return httpx.Response(200, json={})
        answer = copied(vendor(request))
        other = self._relinked(copied(answer), self._url)
        self.changed += (other.content, other.headers) != (answer.content, answer.headers)
        return copied(other)


def _hostile(hosts: Iterable[str]) -> Iterator[str]:
    """Links to elsewhere, the plain one and those that look like home."""
    yield f"https://{_ELSEWHERE}/next"
    yield f"//{_ELSEWHERE}/next"
    for host in hosts:
        yield f"{host}.{_ELSEWHERE}/next"
        yield f"{host}@{_ELSEWHERE}/next"


def _until_error(bench: Bench, stream: Stream, fault: Fault) -> tuple[list[Page], SwitchyardError | None]:
    """The pages that came, and the error that ended them."""
    pages: list[Page] = []
    with bench.built(fault) as built:
        try:
            for page in built.connector.read(stream, None):
                pages.append(page)  # what came before an error must not be lost with it
        except SwitchyardError as error:
            return pages, error
    return pages, None


def _keys(stream: Stream, pages: Iterable[Page], *, deleted: bool) -> set[tuple[str, ...]]:
    """The keys of the records that are deleted, or are not."""
    rows = (row for row in records_of(pages) if bool(row.get(DELETED)) is deleted)
    return {_text(tuple(row.get(name) for name in stream.key)) for row in rows}


def _text(key: Key) -> tuple[str, ...]:
    return tuple(map(str, key))
