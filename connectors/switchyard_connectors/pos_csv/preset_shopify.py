"""Shopify's export of orders, of the till and of the web shop alike (headers of public export files, 2018 to 2026)."""

from __future__ import annotations

from switchyard_connectors.pos_csv.preset import LINE, Preset, order

_ORDER_ONLY = (
    "Id",
    "Email",
    "Financial Status",
    "Paid at",
    "Fulfillment Status",
    "Fulfilled at",
    "Accepts Marketing",
    "Currency",
    "Subtotal",
    "Shipping",
    "Taxes",
    "Total",
    "Discount Code",
    "Discount Amount",
    "Shipping Method",
    "Created at",
    "Billing Name",
    "Billing City",
    "Billing Zip",
    "Billing Country",
    "Billing Phone",
    "Shipping Name",
    "Shipping City",
    "Shipping Zip",
    "Shipping Country",
    "Shipping Phone",
    "Notes",
    "Note Attributes",
    "Cancelled at",
    "Payment Method",
    "Payment Reference",
    "Refunded Amount",
    "Outstanding Balance",
    "Employee",
    "Location",
    "Device ID",
    "Tags",
    "Risk Level",
    "Source",
    "Phone",
    "Receipt Number",
    "Duties",
    "Payment ID",
)
"""Columns that stand on the first line of an order and are blank on its others."""
_DECIMALS = (
    "subtotal",
    "shipping",
    "taxes",
    "total",
    "discount_amount",
    "refunded_amount",
    "outstanding_balance",
    "duties",
    "lineitem_discount",
    "lineitem_compare_at_price",
)

ORDERS = Preset(
    columns={
        # The number, such as #1001, stands on every line; the id on the first only. Both are unique in a shop.
        "order_id": "Name",
        "sold_at": "Created at",
        "sku": "Lineitem sku",
        "description": "Lineitem name",
        "quantity": "Lineitem quantity",
        "price": "Lineitem price",
        "email": "Email",
        "phone": "Phone",
        "store_id": "Location",
        "kind": "Financial Status",
    },
    required=("order_id", "sold_at", "quantity", "price"),
    settings={"kinds": {"refund": (), "void": ("voided", "pending", "authorized", "expired")}},
    types={**dict.fromkeys(_DECIMALS, "decimal"), **dict.fromkeys(("paid_at", "cancelled_at"), "timestamp")},
    names={"financial_status": "Financial Status"},
    # Lines are told apart by their places, so that an order that is exported again is the same one.
    identity=(),
    filled=_ORDER_ONLY,
    # After a refund an order is exported again, changed: a newer version of the same lines.
    mode="upsert",
    mapping={
        "subject": "coalesce(lower(email), phone, 'order:' || order_id)",
        "observed_at": "sold_at",
        "identifiers": {"email": "email", "phone": "coalesce(phone, ltrim(billing_phone, ''''))"},
        "attributes": {
            "full_name": "nullif(trim(billing_name), '')",
            "city": "nullif(trim(billing_city), '')",
            "postal_code": "nullif(ltrim(trim(billing_zip), ''''), '')",
            "country": "nullif(trim(billing_country), '')",
            "accepts_marketing": "lower(accepts_marketing) IN ('yes', 'true')",
        },
        "events": {
            "product_purchased": {
                "when": "kind = 'sale'",
                "at": "sold_at",
                "id": "order_id || '/' || line_id",
                "properties": {**LINE, "vendor": "vendor", "source": "source"},
            },
            "order_completed": order(
                "sale",
                "max(total)",
                "sum(quantity)",
                shopify_id="any_value(id)",
                currency="any_value(currency)",
                source="any_value(source)",
                employee="any_value(employee)",
            ),
            "order_refunded": {
                "when": "refunded_amount > 0",
                "at": "coalesce(cancelled_at, sold_at)",
                "id": "order_id",
                "properties": {
                    "order_id": "order_id",
                    "total": "refunded_amount",
                    "financial_status": "financial_status",
                    "store_id": "store_id",
                },
            },
        },
    },
)
