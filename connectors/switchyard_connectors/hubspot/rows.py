"""From HubSpot's rows to records: properties as fields, further addresses and merged ids as records of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from switchyard.api.records import DELETED, JSON

Row: TypeAlias = "Mapping[str, Any]"
Record: TypeAlias = "dict[str, JSON]"

OWN = ("id", "alias", "created_at", "updated_at", "merged_into", DELETED)
"""Fields that are no properties; a property of that name is in the field `property_…`."""
NEEDED = ("hs_merged_object_ids",)
NEEDED_OF_CONTACTS = ("email", "hs_additional_emails", *NEEDED)
"""Properties that are read whatever the configuration says: they tell which people are one."""


def records_of(rows: Iterable[Row], belonging: Mapping[str, Mapping[str, Sequence[str]]]) -> list[Record]:
    """The records of some rows, each key once.

    A contact with further addresses gives one more record for each: `id`, `alias` and `email`. A record that others
    were merged into gives one for each of them: deleted, and with `merged_into`, so that both ids identify one person.

    Args:
        belonging: the type of what belongs to a record → the record's id → ids. Becomes a field of the type's name.
    """
    found: dict[tuple[str, str], Record] = {}
    losers: dict[tuple[str, str], Record] = {}
    for row in rows:
        main = _main(row, belonging)
        record_id = str(main["id"])
        found[record_id, ""] = main
        for address in _listed(main.get("hs_additional_emails")):
            extra: Record = {"id": record_id, "alias": address, "email": address, "updated_at": main["updated_at"]}
            found[record_id, address] = extra
        for loser in _listed(main.get("hs_merged_object_ids")):
            if loser != record_id:
                losers[loser, ""] = gone(loser, record_id)
    # What searching still finds of one that was merged away is older than the merge.
    return list((found | losers).values())


def gone(record_id: str, heir: str | None = None) -> Record:
    """The record of one that is deleted, or was merged into another."""
    record: Record = {"id": record_id, "alias": "", DELETED: True}
    return record if heir is None else record | {"merged_into": heir}


def archived_of(row: Row) -> Iterator[Record]:
    """What an archived row takes back: its own record, and those of its further addresses."""
    record_id = str(row["id"])
    yield gone(record_id)
    for address in _listed((row.get("properties") or {}).get("hs_additional_emails")):
        yield {"id": record_id, "alias": address, DELETED: True}


def milliseconds(instant: Any) -> int:
    """HubSpot's ISO 8601, or epoch milliseconds, as epoch milliseconds; 0 for what is neither."""
    if isinstance(instant, int):
        return instant
    text = str(instant or "")
    if text.isdecimal():
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return 0
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def iso(at: int) -> str:
    """Epoch milliseconds as an instant in UTC without a zone."""
    return datetime.fromtimestamp(at / 1000, UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def _main(row: Row, belonging: Mapping[str, Mapping[str, Sequence[str]]]) -> Record:
    record_id = str(row["id"])
    taken = {*OWN, *belonging}
    properties = row.get("properties") or {}
    fields: Record = {(f"property_{name}" if name in taken else name): value for name, value in properties.items()}
    return {
        **fields,
        **{name: list(ids.get(record_id, ())) for name, ids in belonging.items()},
        "id": record_id,
        "alias": "",
        "created_at": row.get("createdAt"),
        "updated_at": row.get("updatedAt"),
    }


def _listed(value: JSON) -> Iterator[str]:
    """The parts of a value that HubSpot joins by semicolons."""
    return (part.strip() for part in str(value or "").split(";") if part.strip())
