"""Square's exports of items and of transactions (headers of public export files, 2018 to 2026)."""

from __future__ import annotations

from typing import Any

from switchyard.api.records import JSON
from switchyard_connectors.pos_csv.preset import LINE, Preset, order

# Days and months in both orders on purpose: a date that fits both is refused until `formats` says which is meant.
_FORMATS = tuple(
    f"{date} {time}" for date in ("%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y") for time in ("%H:%M:%S", "%I:%M:%S %p")
)
_SETTINGS: dict[str, Any] = {"formats": _FORMATS, "currency": "$", "thousands": ","}
_COMMON = {
    "order_id": "Transaction ID",
    "date": "Date",
    "time": "Time",
    "time_zone": "Time Zone",
    "customer_id": "Customer ID",
    "loyalty_card": "Customer Reference ID",
    "store_id": "Location",
    "kind": "Event Type",
}
_PERSON: dict[str, JSON] = {
    "subject": "coalesce(customer_id, loyalty_card, 'order:' || order_id)",
    "observed_at": "sold_at",
    "identifiers": {"square_customer": "customer_id", "loyalty_card": "loyalty_card"},
    "attributes": {"full_name": "nullif(trim(customer_name), '')"},
}
# A refund is a line of its own: the same transaction, another payment, negative numbers.
_REFUND = "order_id || '/' || coalesce(payment_id, line_id)"

ITEMS = Preset(
    columns={
        **_COMMON,
        "sku": "SKU",
        "description": "Item",
        "quantity": "Qty",
        "amount": "Net Sales",
    },
    required=("order_id", "date", "quantity", "amount"),
    settings=_SETTINGS,
    types=dict.fromkeys(("gross_sales", "discounts", "tax", "commission"), "decimal"),
    identity=(
        "Payment ID",
        "Event Type",
        "Item",
        "Price Point Name",
        "SKU",
        "Modifiers Applied",
        "Qty",
        "Gross Sales",
        "Discounts",
        "Net Sales",
    ),
    mapping={
        **_PERSON,
        "events": {
            "product_purchased": {
                "when": "kind = 'sale'",
                "at": "sold_at",
                "properties": {**LINE, "category": "category", "tax": "tax"},
            },
            "order_completed": order("sale", "sum(amount)", "sum(quantity)", tax="sum(tax)"),
            "order_refunded": order("refund", "abs(sum(amount))", "abs(sum(quantity))", _REFUND),
        },
    },
)

TRANSACTIONS = Preset(
    columns={**_COMMON, "line_id": "Payment ID", "description": "Description", "amount": "Net Sales"},
    aliases={"Other Tender Note": "Tender Note"},
    required=("order_id", "line_id", "date", "amount"),
    settings=_SETTINGS,
    types=dict.fromkeys(
        (
            "gross_sales",
            "discounts",
            "service_charges",
            "gift_card_sales",
            "tax",
            "tip",
            "partial_refunds",
            "total_collected",
            "card",
            "cash",
            "square_gift_card",
            "other_tender",
            "fees",
            "net_total",
        ),
        "decimal",
    ),
    mapping={
        **_PERSON,
        "events": {
            "payment_received": {
                "when": "kind = 'sale'",
                "at": "sold_at",
                "properties": {
                    "order_id": "order_id",
                    "payment_id": "line_id",
                    "amount": "amount",
                    "collected": "total_collected",
                    "tip": "tip",
                    "tax": "tax",
                    "fees": "fees",
                    "store_id": "store_id",
                    "description": "description",
                },
            },
            "order_completed": {
                "when": "kind = 'sale'",
                "group": "order_id",
                "at": "min(sold_at)",
                "properties": {
                    "order_id": "order_id",
                    "total": "sum(amount)",
                    "tax": "sum(tax)",
                    "store_id": "any_value(store_id)",
                },
            },
            "order_refunded": {
                "when": "kind = 'refund'",
                "group": "order_id || '/' || line_id",
                "at": "min(sold_at)",
                "properties": {
                    "order_id": "any_value(order_id)",
                    "total": "abs(sum(amount))",
                    "store_id": "any_value(store_id)",
                },
            },
        },
    },
)
