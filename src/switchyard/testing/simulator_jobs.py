"""Asynchronous jobs of a simulated vendor: queued, processed and finished by the simulator's clock.

Nothing runs by itself. What should have happened since the last look is made up for by `Jobs.advance`, in the order in
which it would have happened, so that a run is the same at any speed. A simulator calls it before it answers anything.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

Data = TypeVar("Data")
Phase: TypeAlias = Literal["created", "queued", "processing", "complete", "failed", "cancelled"]
_OVER: frozenset[Phase] = frozenset({"complete", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class JobStates:
    """What a vendor calls the phases of one kind of job."""

    created: str
    queued: str
    processing: str
    complete: str
    failed: str
    cancelled: str


class JobError(Exception):
    """Raised by the work of a job, with the vendor's words: the job fails."""


class QueueFull(Exception):
    """As many jobs wait as the vendor lets wait."""


@dataclass(frozen=True, slots=True)
class JobFault:
    """What becomes of one job instead of the usual.

    Args:
        error: it fails with these words, without its work being done; None: it does not fail.
        rows: for the work to look at (`Job.fault`): how many rows it gets through before it fails with `error`. The
            work is then called, and what it raises or not, the job fails.
        wait: seconds in the queue, instead of the usual.
        takes: seconds of processing, instead of the usual; `math.inf` for a job that never ends.
    """

    error: str | None = None
    rows: int | None = None
    wait: float | None = None
    takes: float | None = None


_USUAL = JobFault()


@dataclass(slots=True, eq=False)
class Job(Generic[Data]):
    """One job. Instants are epoch seconds of the simulator's clock; None for what has not happened.

    Args:
        number: from 1, over all kinds.
        kind: the vendor's word or the simulator's; scripts go by it.
        data: whatever the simulator wants to remember of it.
        work: called once, when the job ends; it may fill `files` and raise JobError. It should take `ended` as its
            instant: the clock may be further on.
        files: results by name.
    """

    number: int
    id: str
    kind: str
    states: JobStates
    data: Data
    work: Callable[[Job[Data]], object]
    created: float
    phase: Phase = "created"
    queued: float | None = None
    started: float | None = None
    ended: float | None = None
    error: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    fault: JobFault = _USUAL

    @property
    def state(self) -> str:
        """The vendor's word for the phase."""
        return getattr(self.states, self.phase)

    @property
    def over(self) -> bool:
        """Whether it is complete, failed or cancelled."""
        return self.phase in _OVER


class Jobs:
    """The jobs of one vendor, with one queue for all kinds.

    Args:
        clock: epoch seconds.
        processing: how many are processed at once; None for any number.
        queued: how many may wait to be processed; None for any number.
        keep: seconds for which a job that is over is known, with its files.

    `wait` and `takes` are the usual seconds in the queue and of processing; they hold for what begins afterwards.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        processing: int | None = None,
        queued: int | None = None,
        keep: float = math.inf,
    ) -> None:
        self.wait = 0.0
        self.takes = 0.0
        self._clock = clock
        self._slots = math.inf if processing is None else processing
        self._places = math.inf if queued is None else queued
        self._keep = keep
        self._jobs: dict[str, Job[Any]] = {}
        self._waiting: list[Job[Any]] = []
        self._running: list[Job[Any]] = []
        self._slot_free = -math.inf
        self._script: dict[str | None, deque[JobFault | None]] = defaultdict(deque)
        self._made = 0

    def create(
        self, kind: str, states: JobStates, work: Callable[[Job[Data]], object], data: Data, name: str | None = None
    ) -> Job[Data]:
        """A new job, which waits for `enqueue`. `name` is its id; None: its number."""
        self._made += 1
        job = Job(self._made, name or str(self._made), kind, states, data, work, self._clock())
        self._jobs[job.id] = job
        return job

    def enqueue(self, job: Job[Any]) -> None:
        """Let a created job be processed.

        Raises:
            QueueFull: the job stays as it was created.
        """
        self.advance()
        if len(self._waiting) >= self._places:
            raise QueueFull
        job.fault = self._next_fault(job.kind)
        job.phase, job.queued = "queued", self._clock()
        self._waiting.append(job)
        self.advance()

    def cancel(self, job: Job[Any]) -> None:
        """End a job before its time; one that is over stays as it is."""
        self.advance()
        if not job.over:
            self._end(job, "cancelled", self._clock())

    def forget(self, job: Job[Any]) -> None:
        """Drop a job and its files, whatever it does."""
        self.cancel(job)
        self._jobs.pop(job.id, None)

    def find(self, name: str) -> Job[Any] | None:
        """The job with this id as it is now, or None where there is none (any more)."""
        self.advance()
        return self._jobs.get(name)

    def all(self, kind: str | None = None) -> list[Job[Any]]:
        """The jobs that are known, oldest first; of one kind, or of all."""
        self.advance()
        return [job for job in self._jobs.values() if kind in (None, job.kind)]

    def script(self, kind: str | None, faults: Iterable[JobFault | None]) -> None:
        """Let the next enqueued jobs of this kind (None: of kinds without a script of their own) meet these faults, one
        each; None: nothing unusual.
        """
        self._script[kind].extend(faults)

    def advance(self) -> None:
        """Make up for what should have happened by now."""
        now = self._clock()
        while (event := min(self._events(), default=None, key=lambda event: event[:3])) and event[0] <= now:
            at, starts, _, job = event
            if starts:
                self._start(job, at)
            else:
                self._finish(job, at)
        for job in [each for each in self._jobs.values() if each.ended is not None]:
            if job.ended is not None and now >= job.ended + self._keep:
                del self._jobs[job.id]

    def _events(self) -> Iterator[tuple[float, bool, int, Job[Any]]]:
        """(at, is a start, number, job) of what can come next. At one instant ends come before starts."""
        for job in self._running:
            assert job.started is not None  # noqa: S101  # it runs
            takes = self.takes if job.fault.takes is None else job.fault.takes
            yield job.started + takes, False, job.number, job
        if len(self._running) < self._slots:
            for job in self._waiting:
                assert job.queued is not None  # noqa: S101  # it waits
                wait = self.wait if job.fault.wait is None else job.fault.wait
                yield max(job.queued + wait, self._slot_free), True, job.number, job

    def _start(self, job: Job[Any], at: float) -> None:
        self._waiting.remove(job)
        self._running.append(job)
        job.phase, job.started = "processing", at

    def _finish(self, job: Job[Any], at: float) -> None:
        phase: Phase = "complete"
        job.ended = at
        try:
            if job.fault.error is None or job.fault.rows is not None:
                job.work(job)
            job.error = job.fault.error
        except JobError as error:
            job.error = str(error)
        if job.error is not None:
            phase = "failed"
        self._end(job, phase, at)

    def _end(self, job: Job[Any], phase: Phase, at: float) -> None:
        if job in self._running:
            self._running.remove(job)
            self._slot_free = at
        if job in self._waiting:
            self._waiting.remove(job)
        job.phase, job.ended = phase, at

    def _next_fault(self, kind: str) -> JobFault:
        script = self._script[kind] or self._script[None]
        return (script.popleft() if script else None) or _USUAL
