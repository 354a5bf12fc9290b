"""POS CSV: till receipts that arrive as files in a folder, one record per line of a receipt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from switchyard.api import ConnectorSpec, Context, Source, SourceSpec, Stream, hookimpl
from switchyard_connectors.pos_csv.config import PosCsvConfig

if TYPE_CHECKING:
    from switchyard.api.records import JSON

_LINE: dict[str, JSON] = {
    name: name for name in ("order_id", "line_id", "sku", "description", "quantity", "price", "amount", "store_id")
}
_ITEMS: dict[str, JSON] = {"sku": "sku", "quantity": "quantity", "price": "price"}


def _order(kind: str, total: str, quantity: str) -> JSON:
    return {
        "when": f"kind = '{kind}'",
        "group": "order_id",
        "at": "min(sold_at)",
        "properties": {
            "order_id": "order_id",
            "total": total,
            "quantity": quantity,
            "store_id": "any_value(store_id)",
        },
        "items": _ITEMS,
    }


LINES = Stream(
    name="lines",
    key=("order_id", "line_id"),
    mode="append",
    group=("order_id",),
    fields={"sold_at": "timestamp", "quantity": "decimal", "price": "decimal", "amount": "decimal"},
    mapping={
        "subject": "coalesce(customer_id, loyalty_card, lower(email), phone, 'order:' || order_id)",
        "observed_at": "sold_at",
        "identifiers": {
            "source_key": "customer_id",
            "email": "email",
            "phone": "phone",
            "loyalty_card": "loyalty_card",
        },
        "attributes": {"first_name": "first_name", "last_name": "last_name"},
        "events": {
            "product_purchased": {"when": "kind = 'sale'", "at": "sold_at", "properties": _LINE},
            "order_completed": _order("sale", "sum(amount)", "sum(quantity)"),
            "order_refunded": _order("refund", "abs(sum(amount))", "abs(sum(quantity))"),
        },
    },
)


def _build(config: PosCsvConfig, context: Context) -> Source:
    # Listing the connectors must not load pyarrow.
    from switchyard_connectors.pos_csv.source import PosCsv

    return PosCsv(config, context)


@hookimpl
def switchyard_connectors() -> Sequence[ConnectorSpec]:
    return (
        SourceSpec(
            name="pos_csv",
            title="Till receipts from CSV files in a folder",
            config=PosCsvConfig,
            build=_build,
            streams=(LINES,),
        ),
    )
