"""Toast's nightly exports: the selected items, the checks, the payments (vendor documentation, data exports)."""

from __future__ import annotations

from typing import Any

from switchyard.api.records import JSON
from switchyard_connectors.pos_csv.preset import LINE, Preset, order

# The documentation writes 10/08/2026 17:18:00, exported files 10/8/26 5:18 PM.
_FORMATS = tuple(
    f"{date} {time}" for date in ("%m/%d/%Y", "%m/%d/%y") for time in ("%H:%M:%S", "%H:%M", "%I:%M %p", "%I:%M:%S %p")
)
_SETTINGS: dict[str, Any] = {"formats": _FORMATS, "currency": "$", "thousands": ","}
_CHECK: dict[str, JSON] = {"toast_check": "check_id"}
"""Who paid is known to the check alone; items and payments lead to it."""

ITEM_SELECTIONS = Preset(
    columns={
        "order_id": "Order Id",
        "line_id": "Item Selection Id",
        "sold_at": "Order Date",
        "sku": "SKU",
        "description": "Menu Item",
        "quantity": "Qty",
        "amount": "Net Price",
        "store_id": "Location",
        "kind": "Void?",
    },
    aliases={"Discnt": "Discount"},
    required=("order_id", "line_id", "sold_at", "quantity", "amount"),
    settings={**_SETTINGS, "kinds": {"refund": (), "void": ("true", "yes", "1")}},
    types=dict.fromkeys(("gross_price", "discount", "tax"), "decimal"),
    local=True,
    mapping={
        "subject": "'check:' || coalesce(check_id, order_id)",
        "observed_at": "sold_at",
        "identifiers": _CHECK,
        "events": {
            "product_purchased": {
                "when": "kind = 'sale'",
                "at": "sold_at",
                "properties": {**LINE, "item_id": "item_id", "menu_group": "menu_group", "category": "sales_category"},
            },
            "order_completed": order(
                "sale",
                "sum(amount)",
                "sum(quantity)",
                "order_id || '/' || coalesce(check_id, '')",
                check_id="any_value(check_id)",
                tax="sum(tax)",
            ),
        },
    },
)

CHECKS = Preset(
    columns={
        "order_id": "Check Id",
        "line_id": "Check Id",
        "date": "Opened Date",
        "time": "Opened Time",
        "amount": "Total",
        "customer_id": "Customer Id",
        "phone": "Customer Phone",
        "email": "Customer Email",
        "store_id": "Location Code",
    },
    required=("order_id", "date", "amount"),
    settings=_SETTINGS,
    types=dict.fromkeys(("tax", "discount"), "decimal"),
    local=True,
    mode="upsert",
    mapping={
        "subject": "coalesce(customer_id, lower(email), phone, 'check:' || order_id)",
        "observed_at": "sold_at",
        "identifiers": {
            "toast_check": "order_id",
            "toast_customer": "customer_id",
            "email": "email",
            "phone": "phone",
        },
        "attributes": {"full_name": "nullif(trim(customer), '')"},
        "events": {
            "check_opened": {
                "at": "sold_at",
                "properties": {
                    "check_id": "order_id",
                    "total": "amount",
                    "tax": "tax",
                    "discount": "discount",
                    "table_size": "TRY_CAST(table_size AS INTEGER)",
                    "store_id": "store_id",
                },
            },
        },
    },
)

PAYMENTS = Preset(
    columns={
        "order_id": "Order Id",
        "line_id": "Payment Id",
        "sold_at": "Paid Date",
        "amount": "Amount",
        "store_id": "Location",
        "kind": "Status",
    },
    required=("order_id", "line_id", "sold_at", "amount"),
    settings={**_SETTINGS, "kinds": {"refund": (), "void": ("voided", "void", "denied", "cancelled", "error")}},
    types={
        **dict.fromkeys(("tip", "gratuity", "total", "refund_amount", "refund_tip_amount"), "decimal"),
        **dict.fromkeys(("refund_date", "void_date"), "timestamp"),
    },
    names={"status": "Status"},
    local=True,
    # A payment that is refunded stands in a later file again.
    mode="upsert",
    mapping={
        "subject": "'check:' || coalesce(check_id, order_id)",
        "observed_at": "sold_at",
        "identifiers": _CHECK,
        "events": {
            "payment_received": {
                "when": "kind = 'sale' AND void_date IS NULL",
                "at": "sold_at",
                "properties": {
                    "order_id": "order_id",
                    "payment_id": "line_id",
                    "check_id": "check_id",
                    "amount": "amount",
                    "tip": "tip",
                    "collected": "total",
                    "payment_type": "type",
                    "store_id": "store_id",
                },
            },
            "order_refunded": {
                "when": "refund_amount > 0",
                "at": "coalesce(refund_date, sold_at)",
                "properties": {
                    "order_id": "order_id",
                    "payment_id": "line_id",
                    "check_id": "check_id",
                    "total": "refund_amount",
                    "store_id": "store_id",
                },
            },
        },
    },
)
