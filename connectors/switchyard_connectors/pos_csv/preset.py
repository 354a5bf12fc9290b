"""What a preset says of the files of one vendor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from switchyard.api import Stream
from switchyard.api.records import JSON
from switchyard.api.transforms import DataType

LINE: dict[str, JSON] = {
    name: name for name in ("order_id", "line_id", "sku", "description", "quantity", "price", "amount", "store_id")
}
ITEMS: dict[str, JSON] = {"sku": "sku", "quantity": "quantity", "price": "price"}


def order(kind: str, total: str, quantity: str, group: str = "order_id", **more: str) -> JSON:
    """The event of an order: of its lines of one kind, together."""
    properties: dict[str, JSON] = {
        "order_id": "any_value(order_id)" if group != "order_id" else "order_id",
        "total": total,
        "quantity": quantity,
        "store_id": "any_value(store_id)",
        **more,
    }
    return {"when": f"kind = '{kind}'", "group": group, "at": "min(sold_at)", "properties": properties, "items": ITEMS}


@dataclass(frozen=True, slots=True)
class Preset:
    """The columns of a vendor's export by the names of their headers, and how it is written.

    Vendors add and rename columns from year to year; whatever a file has none of is missing, but for what `required`
    names.

    Args:
        columns: role → header.
        aliases: other names that a header has had → its name.
        required: roles without whose headers a file is refused.
        settings: of the configuration, where it does not say otherwise.
        types: of further columns, by their names in the page.
        names: further names in the page for headers that play a role.
        identity: headers that tell the lines of an order apart, where lines have no id; equal ones are numbered. They
            are in every version of the export, so that a line is the same in a file of more columns.
        filled: headers of columns that an order has on its first line only.
        local: whether the files say nothing of their time zone.
        mapping, mode: the defaults of the stream.
    """

    columns: Mapping[str, str]
    mapping: Mapping[str, JSON]
    aliases: Mapping[str, str] = field(default_factory=dict)
    required: Sequence[str] = ("order_id",)
    settings: Mapping[str, Any] = field(default_factory=dict)
    types: Mapping[str, Literal["decimal", "timestamp"]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    identity: Sequence[str] | None = None
    filled: Sequence[str] = ()
    local: bool = False
    mode: Literal["append", "upsert"] = "append"

    def stream(self) -> Stream:
        """The stream of lines, as this vendor's files give it."""
        numbers: dict[str, DataType] = dict.fromkeys(("quantity", "price", "amount"), "decimal")
        return Stream(
            name="lines",
            key=("order_id", "line_id"),
            mode=self.mode,
            group=("order_id",),
            fields={"sold_at": "timestamp", **numbers, **self.types},
            mapping=self.mapping,
        )
