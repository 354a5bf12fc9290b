"""What went wrong in the parts of an answer, as (exit code, message)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from switchyard.cli.invocation import Answer

Faults = list[tuple[int, str]]


def of_parts(answer: Answer) -> Faults:
    """Syncs, deliveries and connections that failed, and the evaluation where it did."""
    parts = [part for key in ("syncs", "deliveries", "connections") for part in answer.get(key, ())]
    found = _failed(parts)
    if error := answer.get("error"):
        found.append((int(error["exit_code"]), str(error["message"])))
    return found


def of_deliveries(answer: Answer) -> Faults:
    """The same, and removals that the guard held back."""
    held = [
        (
            1,
            f"{part['audience']}: {part['blocked']:,} removals are more than the guard lets pass; if they are meant: "
            f"switchyard deliver {part['audience']} --confirm-removals",
        )
        for part in answer.get("deliveries", ())
        if part.get("blocked")
    ]
    return of_parts(answer) + held


def of_verified(answer: Answer) -> Faults:
    """Lists that could not be read back, or are not what their segments are."""
    differing = [
        (
            1,
            f"{part['audience']}: {part['missing']:,} missing and {part['extra']:,} extra on the list "
            f"'{part['list']}'; {_repair(part)}",
        )
        for part in answer["audiences"]
        if part.get("missing") or part.get("extra")
    ]
    settling = [
        (
            4,
            f"{part['audience']}: the list '{part['list']}' does not show {part['settling']:,} confirmed changes yet; "
            f"look again later: switchyard audiences verify {part['audience']}",
        )
        for part in answer["audiences"]
        if part.get("settling")
    ]
    return _failed(answer["audiences"]) + differing + settling


def _repair(part: Mapping[str, Any]) -> str:
    deliver = f"switchyard deliver {part['audience']}"
    if part.get("blocked"):
        return (
            f"to repair it takes {part['blocked']:,} people off, more than the guard lets pass; if that is meant: "
            f"{deliver} --confirm-removals"
        )
    return f"repair it with: {deliver}"


def of_checkup(answer: Answer) -> Faults:
    """What `doctor` found broken."""
    return [
        (1, f"{check['check']}: {check['finding']}; {check['mend']}")
        for check in answer["checks"]
        if check["state"] == "fail"
    ]


def _failed(parts: Iterable[Mapping[str, Any]]) -> Faults:
    return [(int(part["exit_code"]), f"{_name(part)}: {part['error']}") for part in parts if part.get("error")]


def _name(part: Mapping[str, Any]) -> str:
    return part.get("audience") or "/".join(part[key] for key in ("connection", "stream") if key in part)
