"""One sync: a stream read from its cursor to its end, page by page.

Reading and mapping go on in a second thread while pages are committed.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass

from switchyard.api.connectors import Source
from switchyard.api.records import Cursor, Page
from switchyard.pipeline.intake import Arrival, Counts, Intake
from switchyard.pipeline.mapping import Mapped, Mapper, together

AHEAD = 20_000
"""Records that may wait for the commit; a page that is larger waits alone."""

Progress = Callable[[Counts, str | None], None]
_LONGEST_END = 2.0
"""Seconds that a source has to come to its end when it is closed."""
_PATIENCE = 0.1
"""Seconds without a page after which others may have a turn, again and again."""


@dataclass(frozen=True)
class Stretch:
    """What one sync reads: a stream from a cursor on, on behalf of a run."""

    source: Source
    mapper: Mapper
    run_id: int
    stream_id: int
    cursor: Cursor


def sync(intake: Intake, stretch: Stretch, progress: Progress, meanwhile: Callable[[], None] = lambda: None) -> Counts:
    """Read the stretch to its end.

    Args:
        progress: called after each commit with what was counted so far and where its last page came from.
        meanwhile: called again and again while no page comes: a vendor may take minutes for the next one.

    Raises:
        SwitchyardError: what ended the sync early. Every page before it is committed.
    """
    total = Counts()
    with _read(stretch) as ready:
        while waiting := ready.take(meanwhile):
            pages, mapped = zip(*waiting, strict=True)
            marks = [mark for page in pages for mark in page.marks]
            arrival = Arrival(stretch.run_id, together(mapped), pages[-1].cursor, marks)
            total += intake.commit(stretch.stream_id, stretch.mapper, arrival)
            progress(total, pages[-1].origin)
    return total


class _Ready:
    """Mapped pages between the thread that reads and the one that commits.

    What waits is taken at once: small pages share a commit exactly where commits are slower than reading.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._mapping = threading.Lock()
        self._waiting: deque[tuple[Page, Mapped]] = deque()
        self._rows = 0
        self._error: BaseException | None = None
        self._closed = False

    def mapped(self, page: Page, mapper: Mapper) -> Mapped | None:
        """The page, mapped; None where nobody takes any more: the mapper then serves another reader."""
        with self._mapping:
            return None if self._closed else mapper.map(page)

    def put(self, page: Page, mapped: Mapped) -> bool:
        """Wait for room; False where nobody takes any more."""
        rows = mapped.page.num_rows
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._waiting or self._rows + rows <= AHEAD)
            if not self._closed:
                self._waiting.append((page, mapped))
                self._rows += rows
                self._changed.notify_all()
            return not self._closed

    def close(self, error: BaseException | None = None) -> None:
        """Take no more; where a page is being mapped, once that is done."""
        with self._changed:
            self._error = self._error or error
            self._closed = True
            self._changed.notify_all()
        with self._mapping:
            pass

    def take(self, meanwhile: Callable[[], None]) -> list[tuple[Page, Mapped]]:
        """The pages that wait, as far as they can be committed together; none at the end.

        Raises:
            BaseException: what ended the reading, after all pages before it were taken.
        """
        while not self._wait():
            meanwhile()
        with self._changed:
            taken: list[tuple[Page, Mapped]] = []
            while self._waiting and (not taken or taken[0][1].joins(self._waiting[0][1])):
                taken.append(self._waiting.popleft())
                self._rows -= taken[-1][1].page.num_rows
            if not taken and self._error is not None:
                raise self._error
            self._changed.notify_all()
            return taken

    def _wait(self) -> bool:
        """Whether there is something to take, or nothing more to come."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting) or self._closed, _PATIENCE)


@contextmanager
def _read(stretch: Stretch) -> Iterator[_Ready]:
    """The source's pages, mapped ahead in a thread, which ends when this context does."""
    ready = _Ready()

    def read() -> None:
        error = None
        pages: Iterator[Page] = iter(())
        try:
            pages = stretch.source.read(stretch.mapper.plan.stream, stretch.cursor)
            for page in pages:
                if (mapped := ready.mapped(page, stretch.mapper)) is None or not ready.put(page, mapped):
                    break
        except BaseException as failure:
            error = failure
        finally:
            # A generator holds connections and files; a plain iterator has nothing to close.
            getattr(pages, "close", lambda: None)()
            ready.close(error)

    # In the context of the sync: how urgent its calls are is said there.
    name = f"read {stretch.mapper.plan.connection}"
    thread = threading.Thread(target=copy_context().run, args=(read,), name=name, daemon=True)
    thread.start()
    try:
        yield ready
    finally:
        ready.close()
        # A vendor that takes minutes for an answer need not be waited for: nobody takes what it brings.
        thread.join(_LONGEST_END)
