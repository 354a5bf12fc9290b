"""What became of records: into which others they were merged, and which are there no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from switchyard_connectors.salesforce.org import Body, Org

_ONWARD = 5
"""How often a winner may have lost to another before it is given up."""


def gone(org: Org, name: str, ids: Sequence[str]) -> set[str]:
    """Those of some records that were deleted, or merged into others."""
    living = {str(record["Id"]) for record in _states(org, name, ids) if record["IsDeleted"] is False}
    return set(ids) - living


def winners(org: Org, name: str, ids: Sequence[str]) -> dict[str, str]:
    """Id → the living record that this one was merged into, for those that were."""
    states: dict[str, Body] = {}
    asked = set(ids)
    for _ in range(_ONWARD):
        states |= {str(record["Id"]): record for record in _states(org, name, sorted(asked))}
        asked = {str(each["MasterRecordId"]) for each in states.values() if each["MasterRecordId"]} - states.keys()
    found = {each: each for each in ids}
    for _ in range(_ONWARD):
        masters = {each: states.get(at, {}).get("MasterRecordId") for each, at in found.items()}
        found |= {each: str(master) for each, master in masters.items() if master}
    return {each: at for each, at in found.items() if at != each and states.get(at, {}).get("IsDeleted") is False}


def _states(org: Org, name: str, ids: Sequence[str]) -> Iterator[Body]:
    return org.by_ids(name, ("Id", "IsDeleted", "MasterRecordId"), ids, deleted=True)
