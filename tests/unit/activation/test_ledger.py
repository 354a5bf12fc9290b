"""The ledger comes to the same end whatever the order in which answers come, and however they are parted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from switchyard.activation.ledger import Ledger
from switchyard.activation.members import SCHEMA
from switchyard.api import ListReceipt, Rejection

PROFILES = range(1, 9)
FATES = ("added", "upserted", "refused", "later", "silent")


@st.composite
def verdicts(draw):
    """What the vendor says of people: each is new, and every word on them is a receipt of its own."""
    said = []
    for profile in PROFILES:
        key, fate = str(profile), draw(st.sampled_from(FATES))
        if fate in ("added", "upserted"):
            said.append(ListReceipt(upserted={key: f"r{key}"}))
        if fate == "added":
            said.append(ListReceipt(added=frozenset({key})))
        if fate in ("refused", "later"):
            said.append(ListReceipt(rejected={key: Rejection("NO", "no", retryable=fate == "later")}))
    return said


def joined(receipts: list[ListReceipt]) -> ListReceipt:
    return ListReceipt(
        upserted={key: value for each in receipts for key, value in each.upserted.items()},
        added=frozenset().union(*(each.added for each in receipts)),
        rejected={key: value for each in receipts for key, value in each.rejected.items()},
    )


def after(receipts: list[ListReceipt]) -> list[dict]:
    ledger = Ledger(SCHEMA.empty_table(), {})
    ledger.wanted = frozenset(PROFILES)
    ledger.sending(PROFILES, PROFILES, {profile: f"d{profile}" for profile in PROFILES})
    for receipt in receipts:
        ledger.confirm(receipt, 7)
    return sorted(ledger.table().to_pylist(), key=lambda row: row["profile_id"])


@given(verdicts(), st.randoms(), st.integers(1, 5))
def test_order_and_partition_make_no_difference(said, random, size):
    expected = after([joined(said)])
    random.shuffle(said)
    assert after([joined(said[start : start + size]) for start in range(0, len(said), size)]) == expected


def test_what_is_news_is_told_once():
    ledger = Ledger(SCHEMA.empty_table(), {})
    ledger.sending([1], [1], {1: "d"})
    assert ledger.news().rows.num_rows == 1
    assert ledger.news().rows.num_rows == 0
    ledger.confirm(ListReceipt(removed=frozenset({"1"})), 7)
    assert list(ledger.news().gone) == [1]


def test_two_people_with_one_record_have_one_place():
    ledger = Ledger(SCHEMA.empty_table(), {})
    ledger.wanted = frozenset({1, 2})
    ledger.sending([1, 2], [1, 2], {1: "d", 2: "e"})
    ledger.confirm(ListReceipt(upserted={"1": "r"}), 7)
    ledger.confirm(ListReceipt(upserted={"2": "r"}), 7)
    ledger.confirm(ListReceipt(added=frozenset({"1", "2"})), 7)
    assert [(row["state"], row["code"]) for row in ledger.table().to_pylist()] == [
        ("applied", None),
        ("rejected", "same_record"),
    ]
    ledger.observe({"r"}, 8)
    assert [row["state"] for row in ledger.table().to_pylist()] == ["verified", "rejected"]
