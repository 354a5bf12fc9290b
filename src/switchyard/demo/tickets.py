"""What happened in the stores: tickets, their lines, and which identifiers stand on each. Numbers only, no text."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from switchyard.demo.catalogue import STORES, TILL_PHONES, TILLS, Catalogue
from switchyard.demo.people import NONE, Bools, Ints, People

KINDS = ("sale", "refund", "void")
SALE, REFUND, VOID = range(3)
MOST = 20
"""No ticket has more lines, and no line more pieces."""

_OPENS, _CLOSES = 9 * 60, 20 * 60
_WEEK = (0.8, 0.9, 0.9, 1.0, 1.2, 1.7, 0.5)
_ANONYMOUS = 0.22
_VOIDED = 0.01
_TILL_PHONE = 0.03
_BLOCKED = 0.01


@dataclass(frozen=True)
class Tickets:
    """All tickets in order of time, and their lines in the same order.

    Args:
        day, minute: local time: the day from 0, the minute of the day.
        store, till, kind: indices; `kind` into `KINDS`.
        person: who bought; `NONE` where nobody was recognised.
        email, card: slot of what the person showed, or `NONE`; phone, account: whether it was shown.
        till_phone: index of the store's own number, typed in place of a customer's, or `NONE`.
        blocked: whether a made-up address and number were typed.
        first_line: where the ticket's lines begin; one entry more than tickets.
        ticket, number, product, quantity: of each line; `number` counts from 1 within the ticket.
        reduced: whether the line was sold at the sale price.
    """

    day: Ints
    minute: Ints
    store: Ints
    till: Ints
    kind: Ints
    person: Ints
    email: Ints
    card: Ints
    phone: Bools
    account: Bools
    till_phone: Ints
    blocked: Bools
    first_line: Ints
    ticket: Ints
    number: Ints
    product: Ints
    quantity: Ints
    reduced: Bools

    @property
    def known(self) -> Bools:
        """Which tickets carry an identifier of somebody."""
        known: Bools = (self.email != NONE) | (self.card != NONE) | self.phone | self.account
        return known


def tickets(rng: np.random.Generator, who: People, what: Catalogue, calendar: Sequence[date], lines: int) -> Tickets:
    """Draw tickets with exactly `lines` lines over the days. Everybody buys once where there are tickets enough."""
    refunds = lines // 100
    sizes = _sizes(rng, lines - refunds)
    person = _buyers(rng, who, len(sizes))
    kind = np.where((person == NONE) & (rng.random(len(sizes)) < _VOIDED / _ANONYMOUS), VOID, SALE)
    day = _days(rng, who, person, calendar)
    minute = _OPENS + (rng.beta(2.2, 1.8, len(sizes)) * (_CLOSES - _OPENS)).astype(np.int64)
    at_home = (person != NONE) & (rng.random(len(sizes)) < 0.8)
    store = np.where(at_home, who.store[person], rng.integers(0, len(STORES), len(sizes)))
    # A refund takes back the first line of an earlier sale, some days later and after the day's last sale.
    taken = rng.choice(np.flatnonzero(kind == SALE), refunds, replace=False)
    back = np.minimum(day[taken] + rng.integers(1, 21, refunds), len(calendar) - 1)
    source = np.concatenate([np.arange(len(sizes)), taken])
    day = np.concatenate([day, back])
    minute = np.concatenate([minute, np.full(refunds, _CLOSES + 5)])
    kind = np.concatenate([kind, np.full(refunds, REFUND)])
    sizes = np.concatenate([sizes, np.ones(refunds, dtype=np.int64)])
    order = np.lexsort((source, minute, day))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    day, source = day[order], source[order]
    person = person[source]
    season = np.array([at.month % 12 // 3 for at in calendar])[day]
    return Tickets(
        day=day,
        minute=minute[order],
        store=store[source],
        till=rng.integers(1, TILLS + 1, len(order)),
        kind=kind[order],
        person=person,
        **_shown(rng, who, person, store[source]),
        **_lines(rng, what, season, sizes[order], np.where(kind[order] == REFUND, place[source], NONE)),
    )


def _sizes(rng: np.random.Generator, lines: int) -> Ints:
    """Lines per ticket: few have many. They add up to `lines`."""
    sizes = np.minimum(rng.geometric(0.34, lines), MOST)
    ends = np.cumsum(sizes)
    count = int(np.searchsorted(ends, lines)) + 1
    chosen: Ints = sizes[:count]
    chosen[-1] -= int(ends[count - 1]) - lines
    return chosen


def _buyers(rng: np.random.Generator, who: People, count: int) -> Ints:
    weights = np.cumsum(who.appetite * (who.until - who.since))
    person = np.searchsorted(weights, rng.random(count) * weights[-1], side="right")
    recognised = np.flatnonzero(rng.random(count) >= _ANONYMOUS)
    first = rng.permutation(who.size)[: len(recognised)]
    buyers = np.full(count, NONE)
    buyers[recognised] = person[recognised]
    buyers[recognised[: len(first)]] = first
    return buyers


def _days(rng: np.random.Generator, who: People, person: Ints, calendar: Sequence[date]) -> Ints:
    """A day for each ticket while its person buys, by the shape of the year: crowded Decembers and Saturdays."""
    days = len(calendar)
    year = np.array([at.timetuple().tm_yday for at in calendar])
    week = np.array([_WEEK[at.weekday()] for at in calendar])
    busy = week * (1 + 0.25 * np.cos(2 * np.pi * (year - 355) / 365))
    passed = np.concatenate([[0.0], np.cumsum(busy)])
    since = np.where(person == NONE, 0, who.since[person])
    until = np.where(person == NONE, days, who.until[person])
    share = passed[since] + rng.random(len(person)) * (passed[until] - passed[since])
    return np.clip(np.searchsorted(passed, share, side="right") - 1, since, until - 1)


def _shown(rng: np.random.Generator, who: People, person: Ints, store: Ints) -> dict[str, npt.NDArray[Any]]:
    """Which identifiers stand on each ticket. A person's first ticket fills in the form: most of what there is."""
    count = len(person)
    nobody = person == NONE
    first = np.zeros(count, dtype=bool)
    first[np.unique(person, return_index=True)[1]] = True
    registers = first & ~nobody & (rng.random(count) < 0.6)
    email = np.minimum(rng.choice(3, count, p=(0.72, 0.23, 0.05)), who.emails[person] - 1)
    email = np.where(registers, np.minimum(who.emails[person] - 1, 0), email)
    email = np.where(nobody | ~(registers | (rng.random(count) < 0.45)), NONE, email)
    card = np.minimum((rng.random(count) < 0.3).astype(np.int64), who.cards[person] - 1)
    card = np.where(nobody | ~(registers | (rng.random(count) < 0.5)), NONE, card)
    phone = ~nobody & who.phone[person] & (registers | (rng.random(count) < 0.25))
    account = ~nobody & who.account[person] & (registers | (rng.random(count) < 0.3))
    # Who showed nothing of all that gave the main address, and without one the card.
    silent = ~nobody & (email == NONE) & (card == NONE) & ~phone & ~account
    email = np.where(silent & (who.emails[person] > 0), 0, email)
    card = np.where(silent & (who.emails[person] == 0), 0, card)
    typed = ~phone & (rng.random(count) < _TILL_PHONE)
    made_up = (email == NONE) & ~phone & ~typed & (rng.random(count) < _BLOCKED)
    return {
        "email": email,
        "card": card,
        "phone": phone,
        "account": account,
        "till_phone": np.where(typed, store * len(TILL_PHONES) // len(STORES), NONE),
        "blocked": made_up,
    }


def _lines(
    rng: np.random.Generator, what: Catalogue, season: Ints, sizes: Ints, refunded: Ints
) -> dict[str, npt.NDArray[Any]]:
    """The lines of all tickets; a ticket with `refunded` takes back the first line of that other ticket."""
    first_line = np.concatenate([[0], np.cumsum(sizes)])
    ticket = np.repeat(np.arange(len(sizes)), sizes)
    # One sorted row for all seasons, so that a single search finds the article.
    popularity = (what.popularity + np.arange(len(what.popularity))[:, None]).ravel()
    drawn = np.searchsorted(popularity, season[ticket] + rng.random(len(ticket)), side="right")
    product = np.minimum(drawn - season[ticket] * what.popularity.shape[1], what.popularity.shape[1] - 1)
    quantity = np.minimum(np.where(rng.random(len(ticket)) < 0.8, 1, 1 + rng.geometric(0.5, len(ticket))), MOST)
    reduced = rng.random(len(ticket)) < 0.12
    back = np.flatnonzero(refunded != NONE)
    there, here = first_line[refunded[back]], first_line[back]
    product[here], reduced[here], quantity[here] = product[there], reduced[there], -quantity[there]
    return {
        "first_line": first_line,
        "ticket": ticket,
        "number": np.arange(len(ticket)) - first_line[ticket] + 1,
        "product": product,
        "quantity": quantity,
        "reduced": reduced,
    }
