"""What a correct reading of the generated files comes to, computed from the numbers, never from the files."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from switchyard.demo.catalogue import Catalogue
from switchyard.demo.people import CARDS, EMAILS, NONE, Ints
from switchyard.demo.tickets import REFUND, SALE, VOID, Tickets

_SLOTS = EMAILS + CARDS + 2


@dataclass(frozen=True)
class Broken:
    """A row nobody can read: its file, its line there (from 1, the header is line 1), and what is wrong with it."""

    file: str
    line: int
    problem: str


@dataclass(frozen=True)
class Truth:
    """The counts to expect.

    Args:
        files: how many were written.
        records: data rows in them: `lines` + `duplicates` + broken ones.
        lines: different readable lines, voided ones among them.
        duplicates: lines sent again with a later file.
        anonymous_lines: sold or returned lines without an identifier of anybody.
        void_lines: lines of tickets cancelled at the till.
        orders, refunds, voids: tickets by kind.
        revenue_cents, refunded_cents: what the lines of orders and of refunds come to; both positive.
        people: how many people gave an identifier at least once.
        identifiers: how many different ones they gave; made-up ones and the tills' own numbers do not count.
        profiles: groups of identifiers that stood on tickets together: what deterministic resolution must find.
            More than `people` where somebody's two addresses never met.
        broken: the unreadable rows.
    """

    files: int
    records: int
    lines: int
    duplicates: int
    anonymous_lines: int
    void_lines: int
    orders: int
    refunds: int
    voids: int
    revenue_cents: int
    refunded_cents: int
    people: int
    identifiers: int
    profiles: int
    broken: tuple[Broken, ...]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")


def line_cents(what: Catalogue, sold: Tickets) -> Ints:
    """The price of one article on each line: a fifth less, rounded down to the cent, where it is reduced."""
    return np.where(sold.reduced, what.cents[sold.product] * 4 // 5, what.cents[sold.product])


def truth(what: Catalogue, sold: Tickets, files: int, duplicates: int, broken: Sequence[Broken]) -> Truth:
    """Count what the tickets hold."""
    kind = sold.kind[sold.ticket]
    amount = line_cents(what, sold) * sold.quantity
    identifiers, profiles = _components(sold)
    return Truth(
        files=files,
        records=len(kind) + duplicates + len(broken),
        lines=len(kind),
        duplicates=duplicates,
        anonymous_lines=int(((kind != VOID) & ~sold.known[sold.ticket]).sum()),
        void_lines=int((kind == VOID).sum()),
        orders=int((sold.kind == SALE).sum()),
        refunds=int((sold.kind == REFUND).sum()),
        voids=int((sold.kind == VOID).sum()),
        revenue_cents=int(amount[kind == SALE].sum()),
        refunded_cents=-int(amount[kind == REFUND].sum()),
        people=len(np.unique(sold.person[sold.known])),
        identifiers=identifiers,
        profiles=profiles,
        broken=tuple(broken),
    )


def _components(sold: Tickets) -> tuple[int, int]:
    """How many identifiers were shown, and how many groups they form by standing on one ticket."""
    base = sold.person * _SLOTS
    shown = [
        np.where(sold.email != NONE, base + sold.email, NONE),
        np.where(sold.card != NONE, base + EMAILS + sold.card, NONE),
        np.where(sold.phone, base + EMAILS + CARDS, NONE),
        np.where(sold.account, base + EMAILS + CARDS + 1, NONE),
    ]
    anchor = np.maximum.reduce(shown)
    nodes, flat = np.unique(np.concatenate([anchor, *shown]), return_inverse=True)
    ends = flat.reshape(len(shown) + 1, -1)
    nobody = int(nodes[0] == NONE)
    left, right = np.tile(ends[0], len(shown)), ends[1:].ravel()
    # Node 0 is "nothing shown": an edge to it would tie everybody together.
    kept = (right >= nobody) & (left >= nobody)
    graph = coo_array((np.ones(int(kept.sum()), dtype=np.int8), (left[kept], right[kept])), shape=(len(nodes),) * 2)
    groups, _ = connected_components(graph, directed=False)
    return len(nodes) - nobody, groups - nobody
