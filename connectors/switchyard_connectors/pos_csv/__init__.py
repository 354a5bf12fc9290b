"""POS CSV: till receipts that arrive as files in a folder, one record per line of a receipt."""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api import ConnectorSpec, Context, Source, SourceSpec, Stream, hookimpl
from switchyard_connectors.pos_csv.config import PosCsvConfig
from switchyard_connectors.pos_csv.preset import LINE, order

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
            "product_purchased": {"when": "kind = 'sale'", "at": "sold_at", "properties": LINE},
            "order_completed": order("sale", "sum(amount)", "sum(quantity)"),
            "order_refunded": order("refund", "abs(sum(amount))", "abs(sum(quantity))"),
        },
    },
)


def _build(config: PosCsvConfig, context: Context) -> Source:
    # Listing the connectors must not load pyarrow.
    from switchyard_connectors.pos_csv.source import PosCsv

    return PosCsv(config, context)


def _by_preset(config: PosCsvConfig) -> tuple[Stream, ...]:
    """The same stream with the defaults of the preset, in whose place it comes."""
    return (config.described.stream(),) if config.described else ()


@hookimpl
def switchyard_connectors() -> Sequence[ConnectorSpec]:
    return (
        SourceSpec(
            name="pos_csv",
            title="Till receipts from CSV files in a folder",
            config=PosCsvConfig,
            build=_build,
            streams=(LINES,),
            objects=_by_preset,
        ),
    )
