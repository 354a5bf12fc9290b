"""The people of the generated retailer, and how their identifiers are spelled on tickets."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.demo import catalogue

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

EMAILS, CARDS = 3, 2
NONE = -1

_COUNTRIES = ("33", "32", "44")


@dataclass(frozen=True)
class People:
    """Who there is; one entry per person in every array.

    Args:
        emails, cards: how many the person uses (0 to `EMAILS`, 0 to `CARDS`).
        phone, account: whether the person has one.
        country: index into the countries of the phone numbers; the first is the retailer's own.
        first, last: indices into the names of the catalogue.
        store: the store where the person mostly buys.
        appetite: how often the person buys, relative to others: heavy-tailed.
        since, until: the days between which the person buys; most go on to the end, the others lapse.
    """

    emails: Ints
    cards: Ints
    phone: Bools
    account: Bools
    country: Ints
    first: Ints
    last: Ints
    store: Ints
    appetite: Floats
    since: Ints
    until: Ints

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.first)


def people(rng: np.random.Generator, size: int, days: int) -> People:
    """Draw `size` people, each with at least one identifier."""
    emails = rng.choice(EMAILS + 1, size, p=(0.10, 0.62, 0.23, 0.05))
    cards = rng.choice(CARDS + 1, size, p=(0.40, 0.55, 0.05))
    joined = rng.random(size) < 0.3
    since = np.where(joined, rng.integers(0, days, size), 0)
    lapses = rng.random(size) < 0.35
    left = since + 1 + (rng.random(size) * (days - since)).astype(np.int64)
    return People(
        emails=emails,
        cards=np.maximum(cards, emails == 0),
        phone=rng.random(size) < 0.7,
        account=rng.random(size) < 0.35,
        country=rng.choice(len(_COUNTRIES), size, p=(0.9, 0.06, 0.04)),
        first=rng.integers(0, len(catalogue.FIRST_NAMES), size),
        last=rng.integers(0, len(catalogue.LAST_NAMES), size),
        store=rng.integers(0, len(catalogue.STORES), size),
        appetite=rng.lognormal(0, 1.1, size),
        since=since,
        until=np.minimum(np.where(lapses, left, days), days),
    )


def email_text(who: People, person: Ints, slot: Ints) -> pa.StringArray:
    """The e-mail address in this slot of each person; null where the slot is `NONE`. No two people share one."""
    first = pa.array(catalogue.plain(catalogue.FIRST_NAMES)).take(pa.array(who.first[person]))
    last = pa.array(catalogue.plain(catalogue.LAST_NAMES)).take(pa.array(who.last[person]))
    number = pa.array(person).cast(pa.string())
    domain = pa.array(catalogue.DOMAINS).take(pa.array((person * 7 + slot) % len(catalogue.DOMAINS)))
    local = pc.choose(
        pa.array(slot, mask=slot == NONE),
        pc.binary_join_element_wise(first, last, number, "."),
        pc.binary_join_element_wise(pc.utf8_slice_codeunits(first, 0, 1), last, number, ""),
        pc.binary_join_element_wise(last, first, number, "_"),
    )
    return pc.binary_join_element_wise(local, domain, "@")


def phone_text(who: People, person: Ints, style: Ints) -> pa.StringArray:
    """Each person's mobile number in one of six spellings; people from abroad always write the country's code."""
    country = who.country[person]
    # A multiplier without a common factor with the modulus: as many different numbers as there are people.
    serial = person * 48_271 % 10_000_000
    french = np.array([60, 61, 62, 64, 65, 66, 67, 68])[person % 8]
    start = np.where(country == 0, french, np.where(country == 1, 47, 74))
    # France and Belgium write nine digits after the zero, the United Kingdom ten.
    national = np.where(country == 2, start * 100_000_000 + serial, start * 10_000_000 + serial)
    digits = pa.array(national).cast(pa.string())
    code = pa.array(_COUNTRIES).take(pa.array(country))
    pairs = [pc.utf8_slice_codeunits(digits, at, at + 2) for at in (1, 3, 5, 7)]
    rest = pc.utf8_slice_codeunits(digits, 9, 10)
    head = pc.utf8_slice_codeunits(digits, 0, 1)
    plus = pc.binary_join_element_wise("+", code, "")
    spaced = pc.binary_join_element_wise(head, *pairs, " ")
    dotted = pc.binary_join_element_wise(pc.binary_join_element_wise("0", head, ""), *pairs, ".")
    return pc.choose(
        pa.array(np.where(country == 0, style % 6, style % 3)),
        pc.binary_join_element_wise(plus, digits, ""),
        pc.binary_join_element_wise(pc.binary_join_element_wise(plus, spaced, " "), rest, ""),
        pc.binary_join_element_wise("00", code, digits, ""),
        pc.binary_join_element_wise("0", digits, ""),
        pc.binary_join_element_wise("0", spaced, ""),
        dotted,
    )


def card_text(person: Ints, slot: Ints) -> pa.StringArray:
    """The loyalty card in this slot of each person: thirteen digits, in the text form that keeps leading zeros."""
    number = pc.utf8_lpad(pa.array(person * CARDS + slot).cast(pa.string()), 11, "0")
    return pc.binary_join_element_wise("02", number, "")


def account_text(person: Ints) -> pa.StringArray:
    """Each person's customer number, with the leading zeros that a spreadsheet would eat."""
    return pc.utf8_lpad(pa.array(person + 1).cast(pa.string()), 8, "0")
