"""Tickets as CSV text, without a Python object per row."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.demo import people as persons
from switchyard.demo.catalogue import (
    BLOCKED_EMAIL,
    BLOCKED_PHONE,
    FIRST_NAMES,
    LAST_NAMES,
    STORES,
    TILL_PHONES,
    Catalogue,
    quoted,
)
from switchyard.demo.people import NONE, Bools, Floats, Ints, People
from switchyard.demo.tickets import KINDS, MOST, Tickets
from switchyard.demo.truth import line_cents

HEADER = (
    "order_id,line_no,kind,sold_at,store_id,till,sku,description,category,quantity,price,"
    "customer_id,email,phone,loyalty_card,first_name,last_name\n"
)
PROBLEMS = ("too_few_columns", "bad_date", "bad_number")


class Texts:
    """Gives the rows of any lines of the tickets, in any order."""

    def __init__(
        self, rng: np.random.Generator, what: Catalogue, who: People, sold: Tickets, calendar: Sequence[date]
    ) -> None:
        self._what = what
        self._sold = sold
        self._order = _orders(sold)
        self._middle = _middles(sold, calendar)
        self._end = _ends(rng, who, sold)
        prices, self._price = np.unique(line_cents(what, sold), return_inverse=True)
        self._prices = pa.array([f"{cents // 100}.{cents % 100:02d}" for cents in prices.tolist()])
        self._small = pa.array([str(number) for number in range(-MOST, MOST + 1)])

    def rows(self, wanted: Ints, broken: Sequence[tuple[int, str]] = (), serial: int = 0) -> tuple[bytes, list[int]]:
        """The rows of the lines `wanted`, as UTF-8, with broken ones among them.

        Args:
            wanted: numbers of lines.
            broken: for each broken row, how many of the wanted ones stand before it, and its problem; in that order.
            serial: how many broken rows there were before.

        Returns:
            The text, and the line in the file of each broken row, where a header of one line stands above.
        """
        sold, product = self._sold, self._sold.product[wanted]
        ticket = pa.array(sold.ticket[wanted])
        text = pc.binary_join_element_wise(
            self._order.take(ticket),
            self._small.take(pa.array(sold.number[wanted] + MOST)),
            self._middle.take(ticket),
            self._what.text.take(pa.array(product)),
            self._small.take(pa.array(sold.quantity[wanted] + MOST)),
            self._prices.take(pa.array(self._price[wanted])),
            self._end.take(ticket),
            ",",
        )
        if not broken:
            return _bytes(text), []
        before = [place for place, _ in broken]
        bad = pa.array([_broken_row(serial + number, problem) for number, (_, problem) in enumerate(broken, 1)])
        order = np.insert(np.arange(len(wanted)), before, len(wanted) + np.arange(len(broken)))
        ends = np.concatenate([[0], np.cumsum(1 + self._what.breaks[product])])
        lines = [2 + int(ends[place]) + number for number, place in enumerate(before)]
        return _bytes(pa.concat_arrays([text, bad]).take(pa.array(order))), lines


def _orders(sold: Tickets) -> pa.StringArray:
    number = pc.utf8_lpad(pa.array(np.arange(1, len(sold.day) + 1)).cast(pa.string()), 8, "0")
    return pc.binary_join_element_wise(pa.array(STORES).take(pa.array(sold.store)), number, "-")


def _middles(sold: Tickets, calendar: Sequence[date]) -> pa.StringArray:
    """Kind, local time, store and till of each ticket."""
    days = pa.array([day.strftime("%d/%m/%Y") for day in calendar])
    minutes = pa.array([f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(24 * 60)])
    return pc.binary_join_element_wise(
        pa.array(KINDS).take(pa.array(sold.kind)),
        pc.binary_join_element_wise(days.take(pa.array(sold.day)), minutes.take(pa.array(sold.minute)), " "),
        pa.array(STORES).take(pa.array(sold.store)),
        pa.array(sold.till).cast(pa.string()),
        ",",
    )


def _ends(rng: np.random.Generator, who: People, sold: Tickets) -> pa.StringArray:
    """Customer number, e-mail, phone, card and names of each ticket."""
    person = np.maximum(sold.person, 0)
    count = len(person)
    named = sold.account | (sold.card != NONE)
    email = _spelled(persons.email_text(who, person, sold.email), rng.random(count))
    typed = pa.array(TILL_PHONES).take(pa.array(sold.till_phone, mask=sold.till_phone == NONE))
    phone = _where(sold.phone, persons.phone_text(who, person, rng.integers(0, 6, count)))
    columns = (
        _where(sold.account, persons.account_text(person)),
        pc.if_else(pa.array(sold.blocked), BLOCKED_EMAIL, email),
        pc.if_else(pa.array(sold.blocked), BLOCKED_PHONE, pc.coalesce(phone, typed)),
        _where(sold.card != NONE, persons.card_text(person, sold.card)),
        _where(named, pa.array([quoted(name) for name in FIRST_NAMES]).take(pa.array(who.first[person]))),
        _where(named, pa.array([quoted(name) for name in LAST_NAMES]).take(pa.array(who.last[person]))),
    )
    return pc.binary_join_element_wise(*(pc.fill_null(column, "") for column in columns), ",")


def _spelled(email: pa.StringArray, luck: Floats) -> pa.StringArray:
    """Some cashiers type in capitals, some leave a blank behind."""
    shouted = pc.if_else(pa.array(luck < 0.08), pc.utf8_upper(email), email)
    return pc.if_else(pa.array(luck > 0.95), pc.binary_join_element_wise(email, "", " "), shouted)


def _where(shown: Bools, text: pa.StringArray) -> pa.StringArray:
    return pc.if_else(pa.array(shown), text, None)


def _broken_row(serial: int, problem: str) -> str:
    """A row of an order of its own, so that refusing it takes nothing from a good order."""
    order = f"BAD-{serial:06d}"
    if problem == "too_few_columns":
        return f"{order},1,sale"
    sold_at = "31/02/2026 10:00" if problem == "bad_date" else "02/03/2026 10:00"
    quantity = "1O" if problem == "bad_number" else "1"
    return f"{order},1,sale,{sold_at},S01,1,KI00001,Bol,kitchen,{quantity},9.90,,,,,,"


def _bytes(rows: pa.StringArray) -> bytes:
    """The rows, each ended by a line feed: an Arrow array holds its texts one after the other already."""
    ended = pc.binary_join_element_wise(rows, "", "\n")
    _, offsets, values = ended.buffers()
    if not len(ended):
        return b""
    ends = np.frombuffer(offsets, dtype=np.int32)[ended.offset : ended.offset + len(ended) + 1]
    return memoryview(values)[int(ends[0]) : int(ends[-1])].tobytes()
