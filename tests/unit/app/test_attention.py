from typing import Any

import pytest

from switchyard.app.attention import attention

IDLE: dict[str, Any] = {
    "engine": {"process": 7, "since": "x", "doing": [], "holder": "h:/f", "is_ours": True, "lease_seconds": 20},
    "inbox": [], "failures": [], "audiences": [], "schedules": [], "budgets": [], "quarantine": [], "interrupted": [],
}  # fmt: skip
NOBODY = IDLE["engine"] | {"process": None, "lease_seconds": -9}
WAITING = {"connection": "shop", "rows": 3, "oldest_at": "x", "oldest_seconds": 5}
LATE = {"kind": "sync", "name": "till/lines", "next_at": "x", "overdue_seconds": 900}


def found(**parts: Any) -> list[tuple[str, str]]:
    return [(each["level"], each["mend"]) for each in attention(IDLE | parts)]


def failed(exit_code: int) -> dict[str, Any]:
    return {"kind": "sync", "name": "a/b", "failed_at": "x", "error": "no", "exit_code": exit_code, "mend": "m"}


def test_where_all_is_well_nothing_is_said():
    proof = {"missing": 0, "extra": 0, "read_at": "x"}
    assert found(inbox=[WAITING], audiences=[{"audience": "a", "list": "A", "proof": proof}]) == []


@pytest.mark.parametrize(
    ("parts", "level", "mend"),
    [
        ({"engine": IDLE["engine"] | {"lease_seconds": -40}}, "urgent", "look into its log; then start it again"),
        ({"engine": NOBODY, "inbox": [WAITING]}, "urgent", "switchyard serve"),
        ({"engine": NOBODY, "schedules": [LATE]}, "note", "switchyard serve"),
        ({"failures": [failed(3)]}, "urgent", "m"),
        ({"failures": [failed(4)]}, "warning", "m"),
        ({"budgets": [{"connections": ["crm"], "account": "x", "daily": 100, "left": 0}]}, "warning",
         "what does not fit waits for the account's next day"),
        ({"quarantine": [{"connection": "a", "stream": "b", "code": "c", "waiting": 2}]}, "note",
         "switchyard quarantine list --code c"),
        ({"audiences": [{"audience": "a", "list": "A", "proof": {"missing": 1, "extra": 0, "read_at": "x"}}]},
         "warning", "switchyard deliver a"),
    ],
)  # fmt: skip
def test_what_a_person_should_know(parts: dict[str, Any], level: str, mend: str):
    assert found(**parts) == [(level, mend)]


def test_what_is_not_read_is_the_more_urgent_the_longer_it_waits():
    levels = [found(inbox=[WAITING | {"oldest_seconds": seconds}]) for seconds in (60, 61, 901)]
    assert [[level for level, _ in each] for each in levels] == [[], ["warning"], ["urgent"]]


def test_the_worst_comes_first():
    quarantine = [{"connection": "a", "stream": "b", "code": "c", "waiting": 2}]
    assert [level for level, _ in found(quarantine=quarantine, failures=[failed(4), failed(1)])] == [
        "urgent", "warning", "note",
    ]  # fmt: skip
