"""The kit for sources."""

# ruff: noqa: S101  # a kit is made of assertions

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

import httpx
import pytest

from switchyard.api import AuthError, Stream, TransientError
from switchyard.api.errors import SwitchyardError
from switchyard.testing.bench import (
    HOSTILE_RECORDS,
    Bench,
    Setting,
    held,
    is_json,
    keys_of,
    leaves_of,
    records_of,
    texts_of,
)
from switchyard.testing.conformance.common import (
    BUSY_FOR_LONG,
    assert_secrets_stay,
    assert_told,
    error_of,
    left_behind,
)
from switchyard.testing.conformance.source_faults import SourceFaults
from switchyard.testing.conformance.source_fixtures import over_http
from switchyard.testing.wire import Fault, after, answering, once, unheard

_SHORT = 7.0


class SourceConformance(SourceFaults):
    """The checks for sources.

    Give `spec` and `config`, and `api` for a vendor that is a function. Serve at least two pages, with equal cursor
    values on both sides of a page's end. Give `empty` and `hostile` too, and of `exhausted`, `deleting`, `drifted` and
    `relinked` those that the vendor can; without them their checks are skipped.
    """

    def test_secrets_stay_secret(
        self, bench: Bench, streams: Sequence[Stream], caplog: pytest.LogCaptureFixture
    ) -> None:
        """No secret in what configuration, connector, errors, cursors and log say."""

        def traces() -> Iterator[tuple[str, str]]:
            for refuse in (None, answering(httpx.Response(401))):
                with bench.built(refuse) as built:
                    yield "the connector", f"{built.connector!r} {built.connector}"
                    for stream in streams:
                        try:
                            pages = list(built.connector.read(stream, None))
                        except SwitchyardError as error:
                            yield "an error", "".join(traceback.format_exception(error))
                        else:
                            yield "a cursor or an origin", repr([(page.cursor, page.origin) for page in pages])

        assert_secrets_stay(bench, traces(), caplog)

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
        self._assert_faults(bench, streams, answering(httpx.Response(401)), AuthError)

    def test_a_long_retry_after_is_told(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """429 with a wait of hours ends the run, and the error says how long."""
        assert_told(self._assert_faults(bench, streams, BUSY_FOR_LONG, TransientError))

    def test_a_short_retry_after_is_waited_out(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """429 with a wait of seconds is waited out, and nothing is missing."""
        for stream, _ in over_http(bench, streams):
            with bench.built(once(answering(httpx.Response(429, headers={"retry-after": str(_SHORT)})))) as built:
                read = texts_of(built.connector.read(stream, None))
                assert max(built.context.waits, default=0) >= _SHORT, f"{stream.name}: Retry-After was not waited out"
            assert read == texts_of(bench.read(stream)), f"{stream.name}: records are missing after a 429"

    def test_an_unavailable_vendor_is_a_passing_fault(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """503 passes; the next run goes on."""
        self._assert_faults(bench, streams, answering(httpx.Response(503)), TransientError)

    def test_a_timeout_is_a_passing_fault(self, bench: Bench, streams: Sequence[Stream]) -> None:
        """A vendor that does not answer may do so later."""
        self._assert_faults(bench, streams, unheard, TransientError)

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
                left = left_behind(before)
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
        fault: Fault,
        meaning: type[SwitchyardError],
    ) -> list[SwitchyardError]:
        """The errors that reading ends with where the vendor fails at once, and where it fails after one answer."""
        errors = []
        for stream, requests in over_http(bench, streams):
            for answers in range(min(requests, 2)):
                with bench.built(after(answers, fault)) as built:
                    pages = built.connector.read(stream, None)
                    errors.append(error_of(partial(list, pages), meaning))
        return errors
