"""What of a status a person should know first."""

from collections.abc import Iterator
from typing import Literal

from switchyard.app.control import Answer
from switchyard.app.health import LATE

Level = Literal["urgent", "warning", "note"]
_ORDER: tuple[Level, ...] = ("urgent", "warning", "note")
SLOW, STUCK = 60, 900
"""Seconds after which a delivery that is not read is worth a word, and after which it is urgent."""
_SCARCE = 0.1
"""Share of a day's quota below which it is worth a word."""


def attention(answer: Answer) -> list[Answer]:
    """The findings in an answer of `status`, the worst first.

    Returns:
        `[{"level": "urgent", "warning" or "note", "what", "mend"}]`
    """
    found = [
        {"level": level, "what": what, "mend": mend}
        for part in (_engine, _inbox, _failures, _lists, _schedules, _budgets, _quarantine, _interrupted)
        for level, what, mend in part(answer)
    ]
    return sorted(found, key=lambda each: _ORDER.index(each["level"]))


Found = Iterator[tuple[Level, str, str]]


def _engine(answer: Answer) -> Found:
    engine = answer["engine"]
    left = engine["lease_seconds"]
    if engine["process"] is not None and left is not None and left < 0:
        yield (
            "urgent",
            f"the engine (process {engine['process']}) has not renewed its lease for {-left:,} s: it stands still, or "
            "does not reach the store",
            "look into its log; then start it again",
        )
    elif engine["process"] is None and left is not None and left > 0 and not engine["is_ours"]:
        yield "note", f"another hub ({engine['holder']}) is at work on this store", "ask it, or stop it"


def _inbox(answer: Answer) -> Found:
    for each in answer["inbox"]:
        what = f"{each['rows']:,} deliveries to {each['connection']} wait to be read, the first since "
        what += f"{each['oldest_at']}"
        if answer["engine"]["process"] is None and not _elsewhere(answer):
            yield "urgent", f"{what}; nobody reads them", "switchyard serve"
        elif each["oldest_seconds"] > SLOW:
            level: Level = "urgent" if each["oldest_seconds"] > STUCK else "warning"
            yield level, what, f"see below why it does not read; by hand: switchyard sync {each['connection']}"


def _failures(answer: Answer) -> Found:
    for each in answer["failures"]:
        level: Level = "warning" if each["exit_code"] == 4 else "urgent"
        yield level, f"{each['kind']} {each['name']} failed at {each['failed_at']}: {each['error']}", each["mend"]


def _lists(answer: Answer) -> Found:
    for each in answer["audiences"]:
        proof = each["proof"]
        if proof and (proof["missing"] or proof["extra"]):
            what = f"{proof['missing']:,} missing and {proof['extra']:,} extra on the list '{each['list']}'"
            what += f" of {each['audience']}, read back at {proof['read_at']}"
            yield "warning", what, f"switchyard deliver {each['audience']}"


def _schedules(answer: Answer) -> Found:
    late = [each for each in answer["schedules"] if each["overdue_seconds"] > LATE.total_seconds()]
    if late and answer["engine"]["process"] is None and not _elsewhere(answer):
        yield "note", f"no engine is at work, and {len(late)} schedules are overdue", "switchyard serve"
        return
    for each in late:
        what = f"{each['kind']} {each['name']} is overdue since {each['next_at']}"
        yield "warning", what, "the engine is busy, or pauses after a failure; its log says which"


def _budgets(answer: Answer) -> Found:
    for each in answer["budgets"]:
        whose = ", ".join(each["connections"]) or each["account"]
        if each["left"] is None:
            continue
        if each["left"] and each.get("runs_out_at"):
            what = (
                f"the account of {whose} has {each['left']:,} of {each['daily']:,} calls left today, and at this pace "
            )
            what += f"none from {each['runs_out_at']} on"
            yield "warning", what, "backfills and syncs end first; let what is less needed run less often"
            continue
        if each["left"] > each["daily"] * _SCARCE:
            continue
        what = f"the account of {whose} has {each['left']:,} of {each['daily']:,} calls left today"
        yield "note" if each["left"] else "warning", what, "what does not fit waits for the account's next day"


def _quarantine(answer: Answer) -> Found:
    for each in answer["quarantine"]:
        stream = f"{each['connection']}/{each['stream']}"
        what = f"{each['waiting']:,} records of {stream} wait in quarantine: {each['code']}"
        yield "note", what, f"switchyard quarantine list --code {each['code']}"


def _interrupted(answer: Answer) -> Found:
    for each in answer["interrupted"]:
        yield "note", f"{each['kind']} {each['name']} was cut off at {each['finished_at']}", "the next run goes on"


def _elsewhere(answer: Answer) -> bool:
    """Whether an engine of another folder or machine is at work."""
    left = answer["engine"]["lease_seconds"]
    return left is not None and left > 0 and not answer["engine"]["is_ours"]
