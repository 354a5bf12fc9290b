"""How a person is shown the answer of each command."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from switchyard.cli.invocation import Answer
from switchyard.cli.printing import facts as print_facts
from switchyard.cli.printing import harmless, line, table

if TYPE_CHECKING:
    from rich.console import Console

_SYNC = ("connection", "stream", "read", "mapped", "quarantined", "duplicates", "error")
_SEGMENT = ("segment", "members", "entered", "left")
_DELIVERY = (
    "audience", "list", "segment", "skipped", "rejected", "wanted", "held", "missing", "extra", "settling", "upserted",
    "added", "removed", "blocked", "waiting", "calls", "minimum", "error",
)  # fmt: skip
_PROOF = ("wanted", "held", "missing", "extra", "settling", "rejected", "read_at", "age")
_RARE = ("settling", "waiting")
"""Counts that are shown only where they are not 0."""
_URGENCY = ("delivery", "read_back", "sync", "backfill")
"""What calls are for, the most urgent first, as `switchyard.api.priorities` names it."""


def passed(to: Console, answer: Answer) -> None:
    synced(to, answer)
    if "error" not in answer:
        evaluated(to, answer)
        delivered(to, answer)


def synced(to: Console, answer: Answer) -> None:
    table(to, "Records", _SYNC, answer["syncs"])


def evaluated(to: Console, answer: Answer) -> None:
    table(to, f"Segments, over {answer['profiles']:,} profiles", _SEGMENT, answer["segments"])


def delivered(to: Console, answer: Answer) -> None:
    table(to, "Lists", _DELIVERY, _without_rare(answer["deliveries"]))
    _noted(to, answer["deliveries"])


def verified(to: Console, answer: Answer) -> None:
    kept = ("audience", "list", "wanted", "held", "missing", "extra", "settling", "calls", "read_at", "error")
    table(to, "Lists, read back", kept, _without_rare(answer["audiences"]))
    _noted(to, answer["audiences"])


def stands(to: Console, answer: Answer) -> None:
    line(to, f"{answer['folder']}: {_engine(answer['engine'])}")
    if not answer["started"]:
        line(to, "nothing was done here yet; start with: switchyard run")
    if answer["attention"]:
        table(to, "Needs attention, the worst first", ("level", "what", "mend"), answer["attention"])
    elif answer["started"]:
        line(to, "nothing needs attention")
    if answer["inbox"]:
        table(to, "Waits to be read", ("connection", "rows", "oldest_at"), answer["inbox"])
    if answer["started"]:
        table(to, "By the clock", ("kind", "name", "last_at", "next_at"), answer["schedules"])
    table(to, "Connections", ("connection", "connector", "stream", "state", "age", "read", "error"), _streams(answer))
    segments = answer["segments"]
    at = segments["evaluated_at"]
    table(to, f"Segments, evaluated {at}" if at else "Segments", ("segment", "members"), segments["segments"])
    table(to, "Lists, as last read back", ("audience", "connection", "list", *_PROOF), _proofs(answer["audiences"]))
    if answer["quarantine"]:
        table(to, "Quarantine", ("connection", "stream", "code", "waiting"), answer["quarantine"])
    if answer["budgets"]:
        rows = [each | {"of": each["connections"] or each["account"]} | each["kinds"] for each in answer["budgets"]]
        kinds = [name for name in _URGENCY if any(name in each["kinds"] for each in rows)]
        table(to, "Calls today", ("of", "day", "calls", *kinds, "daily", "left", "needs", "runs_out_at"), rows)
    if answer["interrupted"]:
        kept = ("kind", "name", "started_at", "read", "mapped")
        table(to, "Cut off; the next run goes on from there", kept, answer["interrupted"])


def segments(to: Console, answer: Answer) -> None:
    table(to, "Segments", ("segment", "name", "members", "transform", "file"), answer["segments"])


def members(to: Console, answer: Answer) -> None:
    rows = answer["profiles"]
    total = answer["members"]
    title = f"{answer['segment']}: {total:,} members" + (f", the first {len(rows):,}" if len(rows) < total else "")
    _columns(to, title, rows, "profile_id")


def found(to: Console, answer: Answer) -> None:
    rows = [{"profile": str(each["profile"]), **by} for each in answer["profiles"] for by in each["by"]]
    table(to, "Profiles", ("profile", "kind", "value"), rows)


def profile(to: Console, answer: Answer) -> None:
    line(to, f"profile {answer['profile']}")
    print_facts(to, answer["attributes"])
    for key in ("subjects", "identifiers", "merges", "segments", "events"):
        if answer[key]:
            _columns(to, key, answer[key], "id", "subject", "merged")


def audiences(to: Console, answer: Answer) -> None:
    table(to, "Audiences", ("audience", "segment", "connection", "list", *_PROOF), _proofs(answer["audiences"]))


def audience(to: Console, answer: Answer) -> None:
    facts(to, {name: value for name, value in answer.items() if name != "not_listed"})
    if answer["not_listed"]:
        _columns(to, "Not on the list", answer["not_listed"])


def quarantine(to: Console, answer: Answer) -> None:
    table(to, "Waiting", ("connection", "stream", "code", "waiting"), answer["counts"])
    if answer["quarantine"]:
        rows = [row | {"id": str(row["id"])} for row in answer["quarantine"]]
        _columns(to, "Records", rows)
        line(to, "one record whole: switchyard quarantine show ID; after a mend: switchyard quarantine replay")


def facts(to: Console, answer: Answer) -> None:
    """Any flat answer: a line per value."""
    print_facts(to, {name: _compact(value) for name, value in answer.items()})


def initialised(to: Console, answer: Answer) -> None:
    for name in answer["created"]:
        line(to, f"wrote {answer['folder']}/{name}")
    for name in answer["kept"]:
        line(to, f"left {answer['folder']}/{name} as it was")
    if answer["not_ignored"]:
        line(to, f"add to .gitignore: {' '.join(answer['not_ignored'])}")
    line(to, "next: edit switchyard.yaml, then: switchyard check")


def checked(to: Console, answer: Answer) -> None:
    kept = ("connection", "connector", "families", "streams", "reached", "error")
    table(to, "Connections", kept, answer["connections"])
    line(to, f"segments: {', '.join(answer['segments']) or 'none'}")
    line(to, f"audiences: {', '.join(answer['audiences']) or 'none'}")
    for plugin in answer["broken_plugins"]:
        line(to, f"plugin {plugin} is broken, and nothing here needs it; see: switchyard plugins")


def schema(to: Console, answer: Answer) -> None:
    line(to, json.dumps(answer, indent=2))


def examined(to: Console, answer: Answer) -> None:
    marks = {"ok": "OK", "warn": "warn", "fail": "FAIL"}
    rows = [check | {"state": marks[check["state"]]} for check in answer["checks"]]
    table(to, "Doctor", ("state", "check", "finding", "mend"), rows)


def connectors(to: Console, answer: Answer) -> None:
    kept = ("connector", "title", "families", "streams", "simulator", "distribution")
    table(to, "Connectors", kept, answer["connectors"])


def plugins(to: Console, answer: Answer) -> None:
    table(to, "Plugins", ("plugin", "distribution", "contributes"), answer["plugins"])
    if answer["broken"]:
        table(to, "Broken", ("plugin", "distribution", "error"), answer["broken"])


def serving(to: Console, answer: Answer) -> None:
    line(to, f"receiving at {answer['url']}, until Ctrl-C")


def simulated(to: Console, answer: Answer) -> None:
    vendor, url = answer["simulator"], answer["url"]
    line(to, f"{vendor} is simulated at {url}, until Ctrl-C; what it was asked: {url}/_simulator/calls")
    line(to, f"point a connection at it:\n\n  crm:\n    connector: {vendor}\n    config:\n      base_url: {url}")


def _engine(engine: Answer) -> str:
    if engine["process"] is None:
        return "no process is at work"
    doing = ", ".join(f"{run['kind']} {run['name']}" for run in engine["doing"]) or "waiting"
    return f"process {engine['process']} is at work since {engine['since']}: {doing}"


def _streams(answer: Answer) -> Iterable[Answer]:
    for connection in answer["connections"]:
        about = {key: connection[key] for key in ("connection", "connector")}
        for stream in connection["streams"] or [{}]:
            last = stream.get("last_run") or {}
            yield about | {
                "stream": stream.get("stream"),
                "state": last.get("state"),
                "age": _age(stream.get("age_seconds")),
                "read": last.get("read"),
                "error": last.get("error"),
            }


def _proofs(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    proven = ({**row, **(row.get("proof") or {})} for row in rows)
    return _without_rare(row | {"age": _age(row.get("age_seconds"))} for row in proven)


def _without_rare(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, **{name: row.get(name) or None for name in _RARE}} for row in rows]


def _noted(to: Console, rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        for note in row.get("notes", ()):
            line(to, f"{row['audience']}: {note}")


def _columns(to: Console, title: str, rows: list[dict[str, Any]], *ids: str) -> None:
    """All keys of the rows as columns; numbers of these columns are names and get no thousands."""
    rows = [{k: str(v) if k in ids and v is not None else _compact(v) for k, v in row.items()} for row in rows]
    table(to, title, list(dict.fromkeys(key for row in rows for key in row)), rows)


def _compact(value: Any) -> Any:
    """Nested values on one line."""
    return harmless(json.dumps(value, ensure_ascii=False)) if isinstance(value, dict | list) and value else value


def _age(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
