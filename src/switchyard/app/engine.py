"""The engine of a hub that serves: one thread that does what is most urgent, and waits for the next.

In this order: commands that came through the door, what was pushed, people whom time moves, and what the schedule says.
Between two pages of a long sync it looks whether something more urgent has come. Deliveries go beside it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from switchyard.api.errors import ConfigError, PermanentError, SwitchyardError, TransientError
from switchyard.app import audiences, commands
from switchyard.app.control import Answer, Request
from switchyard.app.deliveries import Deliveries, Wanted
from switchyard.app.failing import said
from switchyard.app.hub import Hub
from switchyard.app.jobs import PROVE, SYNC, Job, jobs, last_done
from switchyard.app.pauses import LONGEST, Pauses
from switchyard.app.pushes import Pushes
from switchyard.app.segments import evaluated
from switchyard.app.syncs import drained, sync_connection
from switchyard.store.clock import now
from switchyard.store.inbox import Depth
from switchyard.store.leases import LeaseLost

_LONGEST_WAIT = 5.0
"""Seconds after which the clock is looked at again, should it have been set."""
_TIDY = timedelta(minutes=5)


class Calendar(Protocol):
    """Says when what is to be done; `switchyard.scheduling.Timetable` is one."""

    def plan(self, jobs: Mapping[Job, datetime | None]) -> None:
        """Take these jobs in the place of the ones before, each with the instant at which it was last begun."""

    def due(self) -> Job | None:
        """The job that is due longest and not under way."""

    def next(self) -> datetime | None:
        """When the next job is due."""

    def begun(self, kind: str, name: str) -> None:
        """A job was begun."""

    def ended(self, kind: str, name: str, again_in: float | None = None) -> None:
        """It has ended, and is to be done again in so many seconds, or else by its schedule."""


class Observer(Protocol):
    """Told what the engine does, for logs and metrics."""

    def __call__(self, event: str, **facts: Any) -> None:
        """`event` in the past tense, such as "synced"; facts are numbers, names and texts without personal values."""


class Stopping(TransientError):
    """The engine is told to stop; what was under way goes on at the next start."""


class Engine:
    """Carries out what an open hub has to do. `run` in the thread that opened the hub; `stop` and `wake` anywhere, in
    signal handlers too.

    Args:
        pushes: of the inbox; None where nothing is received.
        on_renewal: called when the hub's configuration has changed.
        clock: the instant, UTC without a zone.
    """

    def __init__(
        self,
        hub: Hub,
        calendar: Calendar,
        observe: Observer,
        pushes: Callable[[Callable[[], None]], Pushes] | None = None,
        on_renewal: Callable[[], None] = lambda: None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.is_running = False
        self._hub = hub
        self._calendar = calendar
        self._observe = observe
        self._on_renewal = on_renewal
        self._clock = clock
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._delivered: SimpleQueue[tuple[str, Wanted, Answer | Exception]] = SimpleQueue()
        self._commands: deque[Request] = deque()
        self._helpers: list[threading.Thread] = []
        self._pauses = Pauses()
        self._reading: set[str] = set()
        self._is_stale = self._is_behind = True
        self._due: datetime | None = None
        self._arrived: datetime | None = None
        self._next: Mapping[str, datetime | None] = {}
        self._tidied = clock()
        self._stopped = False
        self._pushes = pushes(self.wake) if pushes else None
        self._deliveries = Deliveries(hub, self._note)
        hub.door.on_request = self.wake

    def fault(self) -> str | None:
        """Why it does not do its work now; None where it does."""
        if not self.is_running:
            return "the engine is not running"
        try:
            self._hub.lease.require()
        except LeaseLost as error:
            return str(error)
        return None

    def depths(self) -> Mapping[str, Depth]:
        """Connection → what was pushed to it and waits to be read."""
        return self._pushes.depths() if self._pushes else {}

    def next(self) -> Mapping[str, datetime | None]:
        """When it has something to do by the clock, as far as it knew when it last waited: "time" moves somebody, or
        the "schedule" says so.
        """
        return self._next

    def wake(self) -> None:
        """Have it look around."""
        # The one queue that a signal handler may use while the same thread is inside of it.
        self._wake.put(None)

    def stop(self) -> None:
        """Have `run` return soon."""
        self._stopped = True
        self.wake()

    def run(self) -> None:
        """Work until `stop`.

        Raises:
            LeaseLost: another hub has taken over.
            PermanentError: the working database is of no more use to this process.
        """
        self.is_running = True
        try:
            self._configure()
            if self._pushes:
                self._pushes.start()
            while not self._stopped:
                if not self._step():
                    self._wait()
        finally:
            self.is_running = False
            if self._pushes:
                self._pushes.stop()
            for request in (*self._commands, *iter(self._hub.door.next, None)):
                request.give_back()
                request.close()

    def end_deliveries(self, patience: float) -> bool:
        """After `run`: wait for the deliveries under way; False where they take longer than so many seconds."""
        end = time.monotonic() + patience
        done = self._deliveries.stop(patience)
        for helper in self._helpers:
            helper.join(max(end - time.monotonic(), 0.0))
        return done and not any(helper.is_alive() for helper in self._helpers)

    def _step(self) -> bool:
        """Do the most urgent thing; False where there is none."""
        self._heed_deliveries()
        return self._command() or self._urgent() or self._job() or self._tidy()

    def _wait(self) -> None:
        waits = [_LONGEST_WAIT]
        now = self._clock()
        due = self._due if self._pauses.is_over("evaluation") else None
        self._next = {"time": self._due, "schedule": self._calendar.next()}
        waits += [(at - now).total_seconds() for at in (due, self._next["schedule"]) if at is not None]
        waits += [left for left in (self._pauses.left(),) if left is not None]
        try:
            self._wake.get(timeout=max(min(waits), 0.001))
            while True:
                self._wake.get_nowait()
        except Empty:
            pass

    def _configure(self) -> None:
        """Take the hub's configuration as it is."""
        left, self._deliveries = self._deliveries.left(), Deliveries(self._hub, self._note)
        self._hub.until_renewed(self._end_what_is_beside)
        with self._hub.database.read() as session:
            self._calendar.plan({job: last_done(session, job) for job in jobs(self._hub.project)})
        self._pauses = Pauses()
        self._is_stale = self._is_behind = True
        for audience in left.keys() & self._hub.project.loaded.project.audiences.keys():
            self._deliver(audience, left[audience])

    def _end_what_is_beside(self) -> None:
        self._deliveries.stop()
        for helper in self._helpers:
            helper.join()

    def _renew(self) -> None:
        """Take the configuration as it now is, if it changed and is right."""
        before = self._hub.project
        try:
            self._hub.renew()
        except ConfigError as error:
            if self._pauses.is_over("configuration"):
                self._pauses.failed("configuration", LONGEST)
                self._tell("configuration_refused", error)
        self._renewed(before)

    def _renewed(self, before: object) -> None:
        if self._hub.project is not before:
            self._configure()
            try:
                self._on_renewal()
            except ConfigError as error:
                self._tell("configuration_refused", error)
            self._observe("configuration_renewed")

    def _command(self, only: frozenset[str] | None = None) -> bool:
        """Carry out the next command, of these only; False where there is none."""
        while request := self._hub.door.next():
            self._commands.append(request)
        for request in self._commands:
            if only is None or request.command in only:
                self._commands.remove(request)
                self._attend(request, is_between=only is not None)
                return True
        return False

    def _attend(self, request: Request, is_between: bool) -> None:
        began, before = time.monotonic(), self._hub.project
        error = None

        def progress(name: str, far: Mapping[str, Any]) -> None:
            request.progress(name, far)
            self._between()

        try:
            if is_between or commands.renewed(self._hub, request):
                self._renewed(before)
                if rest := commands.attend(self._hub, request, progress):
                    self._beside(request, rest)
        except LeaseLost:
            raise
        except Exception as fault:
            # It was told to whoever gave the command.
            error = fault
        if request.command in ("sync", "evaluate", "quarantine replay"):
            self._is_stale = self._is_behind = True
        self._due = self._hub.evaluation.due()
        facts = {"error_type": type(error).__name__} if error else {}
        self._observe("asked", command=request.command, seconds=time.monotonic() - began, **facts)

    def _beside(self, request: Request, rest: commands.Rest) -> None:
        hub = self._hub.beside()

        def work() -> None:
            try:
                commands.finish(hub, request, rest)
            except Exception as error:
                self._note("", Wanted(), error)
            finally:
                hub.working.close()

        self._helpers = [each for each in self._helpers if each.is_alive()]
        self._helpers.append(threading.Thread(target=work, name="command", daemon=True))
        self._helpers[-1].start()

    def _between(self) -> None:
        """Called between two commits of something long.

        Raises:
            Stopping: it has to end here.
        """
        if self._stopped:
            raise Stopping("the hub was stopped; it goes on from here at the next start")
        self._heed_deliveries()
        while self._command(commands.QUERIES):
            continue
        self._urgent()

    def _urgent(self) -> bool:
        """Read what was pushed, evaluate whom that touched and whom time moves, and have them delivered."""
        unread = self._unread()
        for name in unread:
            self._read(name)
        is_due = self._due is not None and self._due <= self._clock()
        if not (self._is_stale or is_due) or not self._pauses.is_over("evaluation"):
            return bool(unread)
        self._evaluate()
        return True

    def _unread(self) -> list[str]:
        """The connections that have been pushed to and can be read now."""
        if self._pushes is None:
            return []
        try:
            unread = self._pushes.unread(self._hub.project)
        except SwitchyardError as error:
            self._tell("inbox_failed", error)
            return []
        ready = [name for name in unread if name not in self._reading and self._pauses.is_over(name)]
        if len(ready) < len(unread):
            self._pushes.again()
        return ready

    def _read(self, connection: str) -> None:
        """Read what was pushed to a connection."""
        assert self._pushes is not None  # noqa: S101  # for the type checker: it said which connection
        self._reading.add(connection)
        try:
            upto = self._pushes.newest()
            streams = [each.name for each in self._hub.project.pushed(connection)]
            failed = self._sync(connection, streams)
            if failed is None:
                self._arrived = self._first(self._pushes.since.get(connection))
                # What came while it read is read too, and no reason to read again.
                self._pushes.read(connection, max(upto, drained(self._hub, connection)))
                self._pauses.done(connection)
            else:
                self._pauses.failed(connection, failed.get("retry_after"))
                self._pushes.again()
        except SwitchyardError as error:
            self._tell("inbox_failed", error, connection=connection)
            self._pauses.failed(connection)
            self._pushes.again()
        finally:
            self._reading.discard(connection)

    def _first(self, came: datetime | None) -> datetime | None:
        return min((each for each in (self._arrived, came) if each is not None), default=None)

    def _evaluate(self) -> None:
        began = time.monotonic()
        try:
            moved = [each for each in evaluated(self._hub) if each["entered"] or each["left"]]
            self._due = self._hub.evaluation.due()
            self._is_stale = False
            self._pauses.done("evaluation")
        except Exception as error:
            self._tell("evaluation_failed", error)
            self._pauses.failed("evaluation")
            if not self._hub.working.is_usable():
                raise PermanentError("the working database has failed; start the hub again, nothing is lost") from None
            return
        entered, left = (sum(each[name] for each in moved) for name in ("entered", "left"))
        since, self._arrived = self._arrived, None
        took = {"seconds": time.monotonic() - began} | self._lag(since)
        self._observe("evaluated", entered=entered, left=left, **took)
        segments = {each["segment"] for each in moved}
        altered = self._hub.evaluation.altered()
        self._is_behind |= altered is None
        for name, audience in self._hub.project.loaded.project.audiences.items():
            columns = (altered or {}).get(audience.segment, ())
            if audience.segment in segments or any(each in columns for each in audience.shown.values()):
                self._deliver(name, Wanted(since=since))
            elif self._is_behind and self._differs(name):
                self._deliver(name, Wanted())
        self._is_behind = False

    def _lag(self, since: datetime | None) -> dict[str, float]:
        """How long ago the first of the events came."""
        return {} if since is None else {"lag": max((self._clock() - since).total_seconds(), 0.0)}

    def _differs(self, audience: str) -> bool:
        """Whether the list is not what the segment is, as far as that is known without a call."""
        (plan,) = audiences.deliver(self._hub, audience, dry_run=True)
        return any(plan.get(name) for name in ("upserted", "added", "removed", "notes"))

    def _job(self) -> bool:
        job = self._calendar.due()
        if job is None:
            return False
        self._renew()
        job = self._calendar.due()
        if job is None:
            return True
        self._calendar.begun(job.kind, job.name)
        if job.kind == PROVE:
            self._deliver(job.name, Wanted(is_proof=True))
            return True
        failed: Answer | None = None
        connection, _, stream = job.name.partition("/")
        # What is pushed to it meanwhile waits: two must not move one cursor.
        self._reading.add(connection)
        try:
            failed = self._sync(connection, [stream])
            if self._pushes and failed is None:
                self._pushes.read(connection, drained(self._hub, connection))
        except SwitchyardError as error:
            self._tell("inbox_failed", error, connection=connection)
        finally:
            self._reading.discard(connection)
            self._calendar.ended(SYNC, job.name, failed.get("retry_after") if failed else None)
        return True

    def _sync(self, connection: str, streams: Sequence[str]) -> Answer | None:
        """Sync; the answer of a stream that failed."""
        began = time.monotonic()
        try:
            answers = [
                answer
                for stream in streams
                for answer in sync_connection(self._hub, connection, stream, progress=lambda *_: self._between())
            ]
        except Exception as error:
            self._is_stale = True
            self._tell("sync_failed", error, connection=connection)
            return {}
        for answer in answers:
            self._is_stale |= answer["read"] > 0
            self._observe("sync_failed" if "error" in answer else "synced", seconds=time.monotonic() - began, **answer)
        return next((answer for answer in answers if "error" in answer), None)

    def _deliver(self, audience: str, wanted: Wanted) -> None:
        if wanted.is_proof:
            self._calendar.begun(PROVE, audience)
        self._deliveries.want(audience, wanted)

    def _note(self, audience: str, wanted: Wanted, answer: Answer | Exception) -> None:
        self._delivered.put((audience, wanted, answer))
        self.wake()

    def _heed_deliveries(self) -> None:
        """Take note of the deliveries that have ended."""
        while not self._delivered.empty():
            audience, wanted, answer = self._delivered.get()
            is_proof = wanted.is_proof
            if isinstance(answer, Exception):
                if is_proof:
                    self._calendar.ended(PROVE, audience)
                self._tell("delivery_failed", answer, audience=audience)
                continue
            name, again = f"audience {audience}", None
            if answer.get("exit_code") == TransientError.exit_code:
                again = self._pauses.failed(name, answer.get("retry_after"))
            else:
                self._pauses.done(name)
            if answer.get("read_at") and not is_proof:
                self._calendar.begun(PROVE, audience)
            if is_proof or answer.get("read_at") or again is not None:
                # What could not be sent now is sent, and proven, then.
                self._calendar.ended(PROVE, audience, again)
            lag = {} if "error" in answer else self._lag(wanted.since)
            self._observe("delivery_failed" if "error" in answer else "delivered", **answer, **lag)

    def _tidy(self) -> bool:
        """Now and then: delete what was read from the inbox, make files of the journal, heed a new configuration."""
        now = self._clock()
        if abs(now - self._tidied) < _TIDY:
            return False
        self._tidied = now
        self._renew()
        try:
            if self._pushes:
                self._pushes.tidy(now)
            self._hub.intake.flush()
        except Exception as error:
            self._tell("tidying_failed", error)
        return True

    def _tell(self, event: str, error: Exception, **facts: Any) -> None:
        """Tell of an error.

        Raises:
            LeaseLost: it is one.
        """
        if isinstance(error, LeaseLost):
            raise error
        self._observe(event, error_type=type(error).__name__, error=said(self._hub, error), **facts)
