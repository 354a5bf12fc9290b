"""One sync: a stream read from its cursor to its end, page by page, each page committed before the next one's turn.

Reading and mapping the next page goes on in a second thread while the last one is committed.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from switchyard.api.connectors import Source
from switchyard.api.records import Cursor, Page
from switchyard.pipeline.intake import Arrival, Counts, Intake
from switchyard.pipeline.mapping import Mapped, Mapper

AHEAD = 1
"""Mapped pages that wait for the commit: enough to use a second core, few enough to stay small."""

Progress = Callable[[Counts, str | None], None]


@dataclass(frozen=True)
class _Failed:
    error: BaseException


@dataclass(frozen=True)
class Stretch:
    """What one sync reads: a stream from a cursor on, on behalf of a run."""

    source: Source
    mapper: Mapper
    run_id: int
    stream_id: int
    cursor: Cursor


def sync(intake: Intake, stretch: Stretch, progress: Progress) -> Counts:
    """Read the stretch to its end.

    Args:
        progress: called after each commit with what was counted so far and where the page came from.

    Raises:
        SwitchyardError: what ended the sync early. Every page before it is committed.
    """
    total = Counts()
    with _mapped(stretch) as pages:
        for page, mapped in pages:
            arrival = Arrival(stretch.run_id, mapped, page.cursor, page.marks, page.origin)
            total += intake.commit(stretch.stream_id, stretch.mapper, arrival)
            progress(total, page.origin)
    return total


@contextmanager
def _mapped(stretch: Stretch) -> Iterator[Iterator[tuple[Page, Mapped]]]:
    """The source's pages, mapped ahead in a thread, which ends when this context does."""
    mapper = stretch.mapper
    ready: queue.Queue[tuple[Page, Mapped] | _Failed | None] = queue.Queue(maxsize=AHEAD)
    ended = threading.Event()

    def put(item: tuple[Page, Mapped] | _Failed | None) -> bool:
        while not ended.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            pages = stretch.source.read(mapper.plan.stream, stretch.cursor)
            try:
                for page in pages:
                    if not put((page, mapper.map(page))):
                        return
            finally:
                # A generator holds connections and files; a plain iterator has nothing to close.
                getattr(pages, "close", lambda: None)()
            put(None)
        except BaseException as error:
            put(_Failed(error))

    def taken() -> Iterator[tuple[Page, Mapped]]:
        while (item := ready.get()) is not None:
            if isinstance(item, _Failed):
                raise item.error
            yield item

    thread = threading.Thread(target=read, name=f"read {mapper.plan.connection}", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        ended.set()
        thread.join()
