"""One delivery under way: what the guard and the quota let pass, the read-backs, the repair, the report."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from switchyard.activation.allowance import Account, Allowance, Parts
from switchyard.activation.exchange import Exchange
from switchyard.activation.feed import Feed
from switchyard.activation.ledger import STRANGER, Ledger
from switchyard.activation.members import PLACED, SENT, microseconds
from switchyard.activation.report import Report, Standing, compare
from switchyard.activation.wanted import Difference
from switchyard.api.connectors import ListSink
from switchyard.api.errors import QuotaExhausted
from switchyard.api.sinks import Member
from switchyard.config.models import Audience

_PATIENCE = 30.0
"""Seconds that a delivery waits at most for a list to show what was confirmed, before it reads it once more."""


@dataclass(frozen=True)
class Route:
    """Where an audience goes: its configuration, the sink, and the account that the calls count on."""

    name: str
    audience: Audience
    sink: ListSink
    account: Account

    @property
    def allowance(self) -> Allowance:
        return Allowance(self.sink, self.account)

    def passes(self, removals: int, held: int) -> bool:
        """Whether the guard lets a delivery take so many of the members held off the list."""
        return removals <= self.audience.guard.limit(held)


@dataclass(frozen=True)
class Consent:
    """What a person agreed to: removals beyond the guard; a new list where the known one is gone or named otherwise."""

    removals: bool = False
    new_list: bool = False


NO_CONSENT = Consent()


@dataclass
class Task:
    """One delivery under way.

    Args:
        calls: what the account had made before.
        blocked, blocked_strangers: removals that the guard held back, of the hub's own members and of others.
    """

    route: Route
    exchange: Exchange
    wanted: Difference
    consent: Consent
    notes: Sequence[str]
    calls: int
    blocked: int = 0
    blocked_strangers: int = 0
    waiting: int = 0
    waits_until: datetime | None = None

    @property
    def ledger(self) -> Ledger:
        return self.exchange.ledger

    @property
    def placed(self) -> int:
        """Members who are on the list as far as is known."""
        return self.ledger.count(*PLACED)

    def difference(self) -> Parts:
        """The changes that the guard lets pass and today's quota covers; the rest is counted."""
        # A share of what the list held before anybody was taken off.
        remove = self._guarded(self.wanted.remove, self.placed + self.exchange.removed)
        self.blocked = len(self.wanted.remove) - len(remove)
        parts = Parts(self.wanted.upsert, self.wanted.add, remove)
        allowance = self.route.allowance
        if allowance.covers(*parts.sizes, held=self.placed + len(parts.add) - len(parts.remove)):
            return parts
        allowed = allowance.within(parts)
        self.waits_until, self.waiting = self.route.account.until(), parts.rows - allowed.rows
        return allowed

    @contextmanager
    def until_quota_ends(self) -> Iterator[None]:
        """End the block where the quota turns out to be used up, and remember what waits for the next one."""
        try:
            yield
        except QuotaExhausted as error:
            under_way = sum(place.state == SENT or place.sending is not None for place in self.ledger.places.values())
            self.waiting = under_way + self.exchange.sent[2] - self.exchange.removed
            self.waits_until = error.until

    def standing(self) -> Standing:
        """Read the list back and compare."""
        self.route.allowance.require_reading(self.placed)
        remote = self.exchange.read_back()
        return compare(self.ledger, self.wanted, remote, keep=self.route.audience.extra == "keep")

    def repaired(self) -> Standing:
        """Read the list back, repair it once, and wait once for what it does not show yet."""
        repaired = waited = False
        while True:
            standing = self.standing()
            if not repaired and self._repair(standing):
                repaired = True
            elif not waited and (pause := self._pause(standing)):
                self.exchange.sleep(pause)
                waited = True
            else:
                return standing

    def report(self, standing: Standing | None = None) -> Report:
        """What came of it, with what the read-back showed where there was one."""
        refused = standing.refused if standing else len(self.ledger.refused(self.wanted.digests.keys()))
        held, skipped = standing.held if standing else self.placed, len(self.wanted.skipped)
        report = Report(
            audience=self.route.name,
            list=self.exchange.ref.name,
            segment=self.wanted.segment,
            skipped=skipped,
            rejected=refused,
            wanted=self.wanted.segment - skipped - refused,
            held=held,
            upserted=self.exchange.upserted,
            added=self.exchange.added,
            removed=self.exchange.removed,
            blocked=self.blocked + self.blocked_strangers,
            waiting=self.waiting,
            calls=self.route.account.calls() - self.calls,
            minimum=self.route.allowance.minimum(*self.exchange.sent, held),
            waits_until=self.waits_until,
            notes=self.notes,
            is_list=not isinstance(self.route.sink, Feed),
        )
        if standing is None:
            return report
        return replace(
            report,
            missing=standing.missing,
            extra=len(standing.extra),
            settling=standing.settling,
            read_at=self.exchange.read_at,
        )

    def _guarded(self, remove: Sequence[Member], held: int) -> Sequence[Member]:
        """The removals, or none: which of too many are right, a person has to say."""
        count = len(remove) + self.exchange.removed
        return remove if self.consent.removals or self.route.passes(count, held) else ()

    def _repair(self, standing: Standing) -> bool:
        """Undo hand edits, and what answers that were not true have left. Returns whether anything was sent."""
        strangers = standing.strangers if self.route.audience.extra == "remove" else frozenset()
        if strangers and standing.unclear:
            # A record that was merged lives on under another id, and looks like a stranger: look for it first.
            upsert = self.wanted.written(standing.unclear)
            parts = Parts(upsert, [Member(member.key, member.remote_id) for member in upsert])
        else:
            places = self.ledger.places
            parts = Parts((), [Member(str(profile), places[profile].remote_id) for profile in standing.lost])
        sent = self._sent(parts, standing.held)
        if strangers and not self.ledger.unclear():
            found = sorted(strangers - self.ledger.remote_ids())
            # A share of what the list held before anybody was taken off.
            held = standing.held + self.exchange.removed
            remove = self._guarded([Member(f"{STRANGER}{each}", each) for each in found], held)
            self.blocked_strangers = len(found) - len(remove)
            sent |= self._sent(Parts((), (), remove), standing.held)
        return sent

    def _sent(self, parts: Parts, held: int) -> bool:
        """Apply a part of the repair, where the quota covers it with another read-back."""
        if not any(parts) or not self.route.allowance.covers(*parts.sizes, held=held):
            return False
        self.exchange.apply(parts, self.wanted.digests)
        return True

    def _pause(self, standing: Standing) -> float:
        """Seconds after which the list should show all that was confirmed; 0 where there is nothing to wait for."""
        if not standing.settling or not self.route.allowance.covers(held=standing.held):
            return 0.0
        due = self.ledger.shown_at() - microseconds(self.exchange.clock())
        return min(max(due / 1_000_000, 0.0), _PATIENCE)
