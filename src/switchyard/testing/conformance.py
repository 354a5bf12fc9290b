"""Conformance kits: subclass one, give a few fixtures, and pytest runs its checks against your connector.

::

    class TestAcme(SourceConformance):
        @pytest.fixture
        def spec(self):
            return acme.SOURCE

        @pytest.fixture
        def config(self):
            return {"token": "s3cret-t0ken"}

        @pytest.fixture
        def api(self):
            return fake_acme          # httpx.Request -> httpx.Response

Without `api` the connector speaks to what its configuration names: a simulator on this machine, or files.
"""

# ruff: noqa: S101  # a kit is made of assertions

from __future__ import annotations

import copy
import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import httpx
import pytest
from pydantic import ValidationError

from switchyard.api import (
    AuthError,
    ConnectorSpec,
    ListChanges,
    ListReceipt,
    ListRef,
    ListSink,
    Member,
    PermanentError,
    RemoteList,
    SourceSpec,
    Stream,
    TransientError,
)
from switchyard.api.connectors import Pollable
from switchyard.api.errors import SwitchyardError
from switchyard.api.records import JSON
from switchyard.testing.bench import (
    HOSTILE_RECORDS,
    Bench,
    Joining,
    Setting,
    after,
    held,
    is_json,
    keys_of,
    leaves_of,
    once,
    records_of,
    remote_ids_of,
    secrets_of,
    texts_of,
)
from switchyard.testing.builders import Api

__all__ = ["HOSTILE_RECORDS", "ListSinkConformance", "Remote", "Setting", "SourceConformance"]

_LONG = 7200.0
_SHORT = 7.0
_PATIENCE = 100  # looks, 10 ms apart, at what a server takes a moment to let go of


class _Conformance:
    @pytest.fixture
    def spec(self) -> ConnectorSpec:
        """The spec of the connector."""
        raise NotImplementedError("give the fixture `spec`: the connector's spec")

    @pytest.fixture
    def config(self) -> Mapping[str, JSON]:
        """Its configuration, as it stands under `config:` once references to secrets are replaced."""
        raise NotImplementedError("give the fixture `config`: the connector's configuration")

    @pytest.fixture
    def api(self) -> Api | None:
        """The vendor as a function from request to response; None where `config` leads to a simulator or to files."""
        return None

    @pytest.fixture
    def bench(self, spec: ConnectorSpec, config: Mapping[str, JSON], api: Api | None, tmp_path: Path) -> Bench:
        """The connector under test. Not for authors to override."""
        return Bench(spec, config, api, tmp_path)

    def test_config_rejects_unknown_keys(self, bench: Bench) -> None:
        """A misspelt key is an error, not silence."""
        try:
            bench.among({**bench.config, "misspelt": 1}).checked()
        except ValidationError as error:
            assert "misspelt" in str(error), "the error about an unknown key does not name it"
        else:
            pytest.fail("the configuration takes an unknown key without a word")


class SourceConformance(_Conformance):
    """The checks for sources.

    Give `spec` and `config`, and `api` for a vendor that is a function. Serve at least two pages, with equal cursor
    values on both sides of a page's end. Give `empty` and `hostile` too; without them their checks are skipped.
    """

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

    def test_secrets_stay_secret(
        self, bench: Bench, streams: Sequence[Stream], caplog: pytest.LogCaptureFixture
    ) -> None:
        """No secret in what configuration, connector, errors, cursors and log say."""

        def traces() -> Iterator[tuple[str, str]]:
            for refuse in (None, lambda _: httpx.Response(401)):
                with bench.built(refuse) as built:
                    yield "the connector", f"{built.connector!r} {built.connector}"
                    for stream in streams:
                        try:
                            pages = list(built.connector.read(stream, None))
                        except SwitchyardError as error:
                            yield "an error", "".join(traceback.format_exception(error))
                        else:
                            yield "a cursor or an origin", repr([(page.cursor, page.origin) for page in pages])

        _assert_secrets_stay(bench, traces(), caplog)

    def test_cursors_survive_json(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """The store keeps cursors as JSON."""
        for stream in streams:
            for page in bench.read(stream):
                assert page.cursor is None or isinstance(page.cursor, dict), f"{stream.name}: a cursor is no object"
                assert is_json(page.cursor), f"{stream.name}: JSON does not give the cursor back: {page.cursor!r}"

    def test_keys_are_present(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """Every record has every field of the stream's key."""
        for stream in streams:
            for record in records_of(bench.read(stream)):
                missing = [name for name in stream.key if record.get(name) is None]
                assert not missing, f"{stream.name}: a record has no {', '.join(missing)}"

    def test_keys_are_unique(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """Append: a key comes once. Upsert: once in a page, or nobody knows which is the newer version."""
        for stream in streams:
            pages = bench.read(stream)
            for together in [pages] if stream.mode == "append" else [[page] for page in pages]:
                counts = Counter(keys_of(stream, together))
                doubled = [key for key, count in counts.items() if count > 1]
                assert not doubled, f"{stream.name}: {len(doubled)} keys come more than once"

    def test_same_cursor_gives_the_same_records(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """Reading changes nothing, neither in the connector nor at the vendor."""
        for stream in streams:
            fresh = texts_of(bench.read(stream))
            with bench.built() as built:
                for _ in range(2):
                    again = texts_of(built.connector.read(stream, None))
                    assert again == fresh, f"{stream.name}: the same cursor gave other records the second time"

    def test_resuming_loses_nothing(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """Whatever page was committed last, the next run goes on behind it."""
        whole = [(stream, bench.read(stream)) for stream in streams]
        assert any(len(pages) > 1 for _, pages in whole), "serve at least two pages, or resuming shows nothing"
        for stream, pages in whole:
            for number in range(1, len(pages) + 1):
                resumed = texts_of([*pages[:number], *bench.read(stream, pages[:number])])
                lost = len(texts_of(pages).keys() - resumed.keys())
                assert not lost, f"{stream.name}: resuming after page {number} lost {lost} records"

    def test_resuming_doubles_nothing(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """What is appended does not come again."""
        if not (appended := [stream for stream in streams if stream.mode == "append"]):
            pytest.skip("no stream is appended to")
        for stream in appended:
            pages = bench.read(stream)
            for number in range(1, len(pages) + 1):
                done = set(keys_of(stream, pages[:number]))
                again = done.intersection(keys_of(stream, bench.read(stream, pages[:number])))
                assert not again, f"{stream.name}: resuming after page {number} gave {len(again)} records again"

    def test_refused_credentials_are_an_auth_error(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """401 needs a person: the connection waits for sign-in."""
        self._assert_faults(bench, streams, lambda _: httpx.Response(401), AuthError)

    def test_a_long_retry_after_is_told(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """429 with a wait of hours ends the run, and the error says how long."""

        def busy(_: httpx.Request) -> httpx.Response:
            return httpx.Response(429, headers={"retry-after": str(_LONG)})

        for error in self._assert_faults(bench, streams, busy, TransientError):
            assert isinstance(error, TransientError)
            assert error.retry_after == _LONG, f"Retry-After: {_LONG} became {error.retry_after}"

    def test_a_short_retry_after_is_waited_out(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """429 with a wait of seconds is waited out, and nothing is missing."""
        for stream, _ in _over_http(bench, streams):
            with bench.built(once(httpx.Response(429, headers={"retry-after": str(_SHORT)}))) as built:
                read = texts_of(built.connector.read(stream, None))
                assert max(built.context.waits, default=0) >= _SHORT, f"{stream.name}: Retry-After was not waited out"
            assert read == texts_of(bench.read(stream)), f"{stream.name}: records are missing after a 429"

    def test_an_unavailable_vendor_is_a_passing_fault(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """503 passes; the next run goes on."""
        self._assert_faults(bench, streams, lambda _: httpx.Response(503), TransientError)

    def test_a_timeout_is_a_passing_fault(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """A vendor that does not answer may do so later."""

        def hang(request: httpx.Request) -> httpx.Response:
            raise httpx.ReadTimeout("hangs", request=request)

        self._assert_faults(bench, streams, hang, TransientError)

    def test_an_empty_stream_is_fine(self, bench: Bench, streams: Sequence[Stream], empty: Setting | None) -> None:
        """Nothing to read is no fault."""
        if empty is None:
            pytest.skip("give the fixture `empty`: a `config` or an `api` without records")
        for stream in streams:
            assert not texts_of(bench.among(empty).read(stream)), f"{stream.name}: records in an empty stream"

    def test_hostile_data_passes(self, bench: Bench, streams: Sequence[Stream], hostile: Setting | None) -> None:
        """Odd but legal values come through as they are."""
        if hostile is None:
            pytest.skip("give the fixture `hostile`: a `config` or an `api` that serves HOSTILE_RECORDS")
        pages = bench.among(hostile).read(streams[0])
        assert not any(page.rejected for page in pages), "a hostile but legal record was rejected"
        records = list(records_of(pages))
        assert len(records) == len(HOSTILE_RECORDS), f"{len(records)} of {len(HOSTILE_RECORDS)} hostile records came"
        come = {(name, str(value)) for record in records for name, value in leaves_of(record)}
        for name, value in HOSTILE_RECORDS[0].items():
            assert (name, str(value)) in come, f"the field {name!r} did not come through unchanged"

    def test_closing_early_releases_everything(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """The hub may stop after any page; files, connections and threads must not stay behind."""
        for stream in streams:
            bench.read(stream)  # what is opened once for the whole process is open now
            before = held()
            with bench.built() as built:
                pages = built.connector.read(stream, None)
                next(pages, None)
                if hasattr(pages, "close"):
                    pages.close()
                built.context.close()
                left = _left_behind(before)
                assert not left, f"{stream.name}: closing after one page left open: {', '.join(sorted(left))}"

    def test_default_mapping_is_json(self, streams: Sequence[Stream]) -> None:
        """The default mapping is what a user could have written."""
        for stream in streams:
            assert is_json(stream.mapping), f"{stream.name}: the default mapping is not JSON"

    def test_what_is_marked_is_not_read_again(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """A second run over completed files or jobs yields nothing."""
        read = [(stream, bench.read(stream)) for stream in streams]
        whole = [(stream, pages) for stream, pages in read if any(page.marks for page in pages)]
        if not whole:
            pytest.skip("no page carries marks")
        for stream, pages in whole:
            again = sum(texts_of(bench.read(stream, pages)).values())
            assert not again, f"{stream.name}: {again} records came again although their marks were committed"

    def _assert_faults(
        self,
        bench: Bench,
        streams: Sequence[Stream],
        fault: Callable[[httpx.Request], httpx.Response],
        meaning: type[SwitchyardError],
    ) -> list[SwitchyardError]:
        """The errors that reading ends with where the vendor fails at once, and where it fails after one answer."""
        errors = []
        for stream, requests in _over_http(bench, streams):
            for answers in range(min(requests, 2)):
                with bench.built(after(answers, fault)) as built:
                    pages = built.connector.read(stream, None)
                    errors.append(_error(partial(list, pages), meaning))
        return errors


class Remote(Protocol):
    """The vendor's side of a list, as the vendor itself sees it. Usually a few lines around a simulator."""

    def lists(self) -> Collection[str]:
        """Ids of the lists there are."""

    def members(self, list_id: str) -> Collection[str]:
        """Ids of the records on the list."""

    def records(self) -> Collection[str]:
        """Ids of the records there are."""

    def calls(self) -> int:
        """Calls received so far."""

    def refuse(self, value: JSON) -> None:
        """From now on refuse to write the record whose key field has this value."""

    def delete(self, list_id: str) -> None:
        """Delete the list by hand."""


class ListSinkConformance(_Conformance):
    """The checks for list sinks. Give `spec`, `config`, `remote`, and `api` for a vendor that is a function."""

    @pytest.fixture
    def remote(self) -> Remote:
        """The vendor's own view, of a vendor without lists."""
        raise NotImplementedError("give the fixture `remote`: the vendor's own view of its lists")

    @pytest.fixture
    def wanted(self) -> RemoteList:
        """The list to work on."""
        return RemoteList("Switchyard conformance", key_field="email")

    @pytest.fixture
    def people(self, wanted: RemoteList) -> Sequence[Mapping[str, JSON]]:
        """Fields of people whom the vendor does not know: more than one page of the read-back holds."""
        return [{wanted.key_field: f"kit{number}@example.com"} for number in range(300)]

    def test_secrets_stay_secret(self, bench: Bench, wanted: RemoteList, caplog: pytest.LogCaptureFixture) -> None:
        """No secret in what configuration, connector, errors and log say."""

        def traces() -> Iterator[tuple[str, str]]:
            with bench.built(lambda _: httpx.Response(401)) as built:
                yield "the connector", f"{built.connector!r} {built.connector}"
                try:
                    built.connector.ensure(wanted, None)
                except SwitchyardError as error:
                    yield "an error", "".join(traceback.format_exception(error))

        _assert_secrets_stay(bench, traces(), caplog)

    def test_ensuring_twice_gives_one_list(self, bench: Bench, wanted: RemoteList, remote: Remote) -> None:
        """A list that exists is found, by its id and by its name."""
        with bench.built() as built:
            first = built.connector.ensure(wanted, None)
            for known in (first.id, None):
                again = built.connector.ensure(wanted, known)
                assert again.id == first.id, f"ensure with known={known and 'its id'} gave another list"
                assert not again.created, "ensure says that it created a list which was there"
        assert list(remote.lists()) == [first.id], "ensure made a second list"

    def test_a_known_list_that_is_gone_is_an_error(self, bench: Bench, wanted: RemoteList, remote: Remote) -> None:
        """A list deleted by hand stops the delivery; it is never silently made anew."""
        with bench.built() as built:
            known = built.connector.ensure(wanted, None).id
            remote.delete(known)
            _error(lambda: built.connector.ensure(wanted, known), PermanentError)
        assert not remote.lists(), "ensure made a new list in place of the one that is gone"

    def test_the_same_changes_twice_leave_one_effect(self, bench: Bench, remote: Remote, joining: Joining) -> None:
        """After a crash the hub sends the same changes again."""
        with bench.built() as built:
            ref = joining.ref(built)
            effects = []
            for _ in range(2):
                _apply(built.connector, ref, joining.changes)
                effects.append((sorted(remote.members(ref.id)), sorted(remote.records())))
        assert effects[0] == effects[1], "the same changes (same id) had an effect the second time"

    def test_every_key_gets_one_verdict(self, bench: Bench, joining: Joining) -> None:
        """Each key of each part is confirmed or rejected, once."""
        with bench.built() as built:
            ref = joining.ref(built)
            receipts = _apply(built.connector, ref, joining.changes)
            _assert_verdicts(joining.changes, receipts)
            leaving = joining.leaving(receipts)
            _assert_verdicts(leaving, _apply(built.connector, ref, leaving))

    def test_rejections_name_the_right_key(
        self, bench: Bench, wanted: RemoteList, remote: Remote, joining: Joining
    ) -> None:
        """One refused row neither fails nor hides its neighbours."""
        refused = joining.changes.upsert[1]
        remote.refuse(refused.fields[wanted.key_field])
        with bench.built() as built:
            ref = joining.ref(built)
            receipts = _apply(built.connector, ref, joining.changes)
        rejected = {key for receipt in receipts for key in receipt.rejected}
        confirmed = {key for receipt in receipts for key in receipt.added}
        expected = {member.key for member in joining.changes.add} - {refused.key}
        assert rejected == {refused.key}, f"refused was {refused.key}, and the receipts reject {sorted(rejected)}"
        assert confirmed == expected, f"one refused row hid {len(expected - confirmed)} of its neighbours"

    def test_empty_changes_make_no_call(self, bench: Bench, wanted: RemoteList, remote: Remote) -> None:
        """No change means no call."""
        with bench.built() as built:
            ref = built.connector.ensure(wanted, None)
            before = remote.calls()
            _apply(built.connector, ref, ListChanges(id="nothing"))
            assert remote.calls() == before, f"empty changes made {remote.calls() - before} calls"

    def test_removal_leaves_the_record(self, bench: Bench, remote: Remote, joining: Joining) -> None:
        """Whoever leaves the list stays in the vendor's system."""
        with bench.built() as built:
            ref = joining.ref(built)
            leaving = joining.leaving(_apply(built.connector, ref, joining.changes))
            records = set(remote.records())
            _apply(built.connector, ref, leaving)
            gone = {member.remote_id for member in leaving.remove}
            assert not gone & set(remote.members(ref.id)), "members that were removed are still on the list"
            assert set(remote.records()) == records, "removing members from the list deleted records"

    def test_read_back_equals_what_was_confirmed(self, bench: Bench, remote: Remote, joining: Joining) -> None:
        """The read-back is the proof, so it tells what the vendor holds."""
        with bench.built() as built:
            ref = joining.ref(built)
            receipts = _apply(built.connector, ref, joining.changes)
            read = remote_ids_of(built.connector.members(ref, None))
        assert sorted(read) == sorted(remote.members(ref.id)), "the read-back differs from what the vendor holds"
        ids = {key: remote_id for receipt in receipts for key, remote_id in receipt.upserted.items()}
        confirmed = sorted({ids[key] for receipt in receipts for key in receipt.added})
        assert sorted(read) == confirmed, "the read-back differs from what the receipts confirmed"

    def test_read_back_resumes(self, bench: Bench, joining: Joining) -> None:
        """The hub may read a long list in several runs."""
        with bench.built() as built:
            ref = joining.ref(built)
            _apply(built.connector, ref, joining.changes)
            pages = list(built.connector.members(ref, None))
            assert len(pages) > 1, "the read-back has one page; give more `people`"
            for number in range(1, len(pages)):
                rest = list(built.connector.members(ref, copy.deepcopy(pages[number - 1].cursor)))
                whole = remote_ids_of([*pages[:number], *rest])
                assert sorted(whole) == sorted(remote_ids_of(pages)), f"resuming after page {number} read another list"

    def test_cursors_survive_json(self, bench: Bench, joining: Joining) -> None:
        """The store keeps cursors as JSON."""
        with bench.built() as built:
            ref = joining.ref(built)
            _apply(built.connector, ref, joining.changes)
            for page in built.connector.members(ref, None):
                assert is_json(page.cursor), f"JSON does not give the cursor back: {page.cursor!r}"

    def test_refused_credentials_are_an_auth_error(self, bench: Bench, joining: Joining) -> None:
        """401 needs a person: the connection waits for sign-in."""
        self._assert_faults(bench, joining, lambda _: httpx.Response(401), AuthError)

    def test_a_long_retry_after_is_told(self, bench: Bench, joining: Joining) -> None:
        """429 with a wait of hours ends the delivery, and the error says how long."""

        def busy(_: httpx.Request) -> httpx.Response:
            return httpx.Response(429, headers={"retry-after": str(_LONG)})

        for error in self._assert_faults(bench, joining, busy, TransientError):
            assert isinstance(error, TransientError)
            assert error.retry_after == _LONG, f"Retry-After: {_LONG} became {error.retry_after}"

    def test_an_unavailable_vendor_is_a_passing_fault(self, bench: Bench, joining: Joining) -> None:
        """503 passes; the next delivery goes on."""
        self._assert_faults(bench, joining, lambda _: httpx.Response(503), TransientError)

    @pytest.fixture
    def joining(self, wanted: RemoteList, people: Sequence[Mapping[str, JSON]]) -> Joining:
        """Everybody joins. Not for authors to override."""
        upsert = [Member(key=f"k{number}", fields=fields) for number, fields in enumerate(people)]
        return Joining(wanted, ListChanges(id="kit-join", upsert=upsert, add=upsert))

    def _assert_faults(
        self,
        bench: Bench,
        joining: Joining,
        fault: Callable[[httpx.Request], httpx.Response],
        meaning: type[SwitchyardError],
    ) -> list[SwitchyardError]:
        """The errors that each call ends with where the vendor fails."""
        with bench.built() as built:
            ref = joining.ref(built)
            if not built.wire.requests:
                pytest.skip("the connector makes no HTTP call")
        with bench.built(fault) as built:
            sink = built.connector
            return [
                _error(lambda: sink.ensure(joining.wanted, None), meaning),
                _error(lambda: list(sink.apply(ref, joining.changes)), meaning),
                _error(lambda: list(sink.members(ref, None)), meaning),
            ]


def _assert_secrets_stay(bench: Bench, traces: Iterable[tuple[str, str]], caplog: pytest.LogCaptureFixture) -> None:
    config = bench.checked()
    secrets = set(secrets_of(config))
    if not secrets:
        pytest.skip("the configuration has no secret")
    with caplog.at_level(logging.DEBUG):
        said = [("the configuration", f"{config!r} {config}"), *traces]
    said += [("the log", f"{record.getMessage()} {record.args} {record.exc_text}") for record in caplog.records]
    told = sorted({place for place, text in said if any(secret in text for secret in secrets)})
    assert not told, f"a secret shows in {', '.join(told)}"


def _over_http(bench: Bench, streams: Sequence[Stream]) -> list[tuple[Stream, int]]:
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


def _error(act: Callable[[], object], meaning: type[SwitchyardError]) -> SwitchyardError:
    try:
        act()
    except meaning as error:
        return error
    except Exception as error:  # any other error is the finding
        pytest.fail(f"expected {meaning.__name__}, got {type(error).__name__}: {error}")
    pytest.fail(f"expected {meaning.__name__}, and it ended as if all were well")


def _left_behind(before: set[str]) -> set[str]:
    for _ in range(_PATIENCE):
        if not held() - before:
            break
        time.sleep(0.01)
    return held() - before


def _apply(sink: ListSink, ref: ListRef, changes: ListChanges) -> list[ListReceipt]:
    """All receipts, with those that the vendor gives later."""
    receipts = list(sink.apply(ref, changes))
    tickets = [receipt.ticket for receipt in receipts if receipt.ticket]
    for ticket in tickets:
        assert isinstance(sink, Pollable), "a receipt carries a ticket, and the sink has no `poll`"
        for _ in range(100):
            polled = list(sink.poll(ref, ticket))
            receipts += polled
            if not polled or polled[-1].ticket is None:
                break
        else:
            pytest.fail("a ticket was polled a hundred times and is still not settled")
    return receipts


def _assert_verdicts(changes: ListChanges, receipts: Sequence[ListReceipt]) -> None:
    rejected = Counter(key for receipt in receipts for key in receipt.rejected)
    parts = {
        "upsert": (changes.upsert, Counter(key for receipt in receipts for key in receipt.upserted)),
        "add": (changes.add, Counter(key for receipt in receipts for key in receipt.added)),
        "remove": (changes.remove, Counter(key for receipt in receipts for key in receipt.removed)),
    }
    for part, (members, confirmed) in parts.items():
        keys = {member.key for member in members}
        assert confirmed.keys() <= keys, f"{part}: a receipt confirms keys that were not in the changes"
        silent = keys - confirmed.keys() - rejected.keys()
        assert not silent, f"{part}: {len(silent)} keys are neither confirmed nor rejected"
        doubled = [key for key in keys if confirmed[key] > 1 or rejected[key] > 1]
        assert not doubled, f"{part}: {len(doubled)} keys have more than one verdict"
    for part in ("add", "remove"):
        both = parts[part][1].keys() & rejected.keys()
        assert not both, f"{part}: {len(both)} keys are both confirmed and rejected"
