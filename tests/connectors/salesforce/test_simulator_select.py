"""Rows that are worked out when they are looked at are found as if they were kept."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.testing.simulator import ManualClock
from switchyard_connectors.salesforce.simulator_org import Org, id_of, instant, long_id, number_of, stamp
from switchyard_connectors.salesforce.simulator_records import Store
from switchyard_connectors.salesforce.simulator_select import Select
from switchyard_connectors.salesforce.simulator_soql import parse

COUNT, PER_SECOND = 40, 7
START = int(ManualClock().now) - 900 - COUNT // PER_SECOND
STAMPS = [stamp(START + second).replace("+0000", "Z") for second in range(-1, 8)]
IDS = [id_of("003", n) for n in range(1, COUNT + 4)]
OPERATORS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])

comparisons = st.one_of(
    st.builds("SystemModstamp {} {}".format, OPERATORS, st.sampled_from(STAMPS)),
    st.builds("Id {} '{}'".format, OPERATORS, st.sampled_from(IDS)),
    st.builds("Ext__c {} 'SEED-{}'".format, OPERATORS, st.integers(0, COUNT + 1)),
    st.builds("Email IN ('seed{}@example.com', 'new0@example.com', null)".format, st.integers(0, COUNT)),
    st.builds("IsDeleted = {}".format, st.sampled_from(["true", "false"])),
)
conditions = st.recursive(
    comparisons,
    lambda parts: st.one_of(
        st.builds("NOT ({})".format, parts),
        st.builds("({} AND {})".format, parts, parts),
        st.builds("({} OR {})".format, parts, parts),
    ),
    max_leaves=5,
)
orders = st.sampled_from(
    ["Id", "SystemModstamp, Id", "SystemModstamp DESC, Id DESC", "LastName DESC, Id", "SystemModstamp DESC, Id"]
)
changes = st.lists(st.tuples(st.integers(0, COUNT - 1), st.sampled_from(["update", "delete", "drop"])), max_size=5)


def org(*, lazy: bool) -> Store:
    """Forty contacts of one second or another, as a seed or as kept rows."""
    store = Store(Org(ManualClock(), random.Random(0)))
    seed = store.seed("Contact", COUNT, PER_SECOND, {})
    if not lazy:
        table = store["Contact"]
        table.seed = None
        for n in range(COUNT):
            table.put(seed.row(n))
    return store


def change(store: Store, done: list[tuple[int, str]], added: int) -> None:
    table = store["Contact"]
    for n, what in done:
        row = table.get(IDS[n])
        if row is None:
            continue
        if what == "drop":
            table.drop(row["Id"])
        else:
            table.put({**row, "SystemModstamp": stamp(START + 3), "LastName": "Z", "IsDeleted": what == "delete"})
    for n in range(added):
        row = {
            **dict.fromkeys(table.kind.fields),
            "IsDeleted": False,
            "Id": IDS[COUNT + n],
            "Email": f"new{n}@example.com",
            "LastName": "A",
        }
        table.put({**row, "SystemModstamp": stamp(START + n * 3 - 1)})


@settings(max_examples=150, deadline=None)
@given(conditions, orders, st.integers(0, COUNT) | st.none(), changes, st.integers(0, 3), st.booleans())
def test_seeded_rows_are_found_as_kept_ones_are(condition, order, limit, done, added, everything):
    text = f"SELECT Id FROM Contact WHERE {condition} ORDER BY {order}" + ("" if limit is None else f" LIMIT {limit}")
    found = []
    for lazy in (True, False):
        store = org(lazy=lazy)
        change(store, done, added)
        selection = Select(store).run(parse(text), everything=everything)
        found.append([row["Id"] for row in selection.rows(0, len(selection))])
    assert found[0] == found[1]


@given(st.integers(0, 62**8 - 1))
def test_ids_are_numbers_with_a_check(number):
    made = id_of("003", number)
    assert number_of(made) == number
    assert long_id(made[:15]) == made


@given(st.integers(0, 4_000_000_000))
def test_stamps_are_instants(at):
    assert instant(stamp(at)) == at
