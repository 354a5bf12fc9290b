"""The streams: what a record of each has, and who and what it is by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from switchyard.api import Stream
from switchyard.api.records import JSON
from switchyard.api.transforms import DataType
from switchyard_connectors.google_analytics.config import (
    EVENTS,
    Audience,
    GoogleAnalyticsConfig,
    Report,
    audience_stream,
    field_name,
)

_COUNTED = frozenset(
    {
        *("active1DayUsers", "active28DayUsers", "active7DayUsers", "activeUsers", "addToCarts", "checkouts"),
        *("cohortActiveUsers", "cohortTotalUsers", "ecommercePurchases", "engagedSessions", "eventCount"),
        *("firstTimePurchasers", "itemListClickEvents", "itemListViewEvents", "itemPromotionClicks", "itemViewEvents"),
        *("itemsAddedToCart", "itemsCheckedOut", "itemsClickedInList", "itemsPurchased", "itemsViewed", "newUsers"),
        *("screenPageViews", "scrolledUsers", "sessions", "totalPurchasers", "totalUsers", "transactions"),
        "userEngagementDuration",
    }
)
_MONEY = frozenset(
    {
        *("advertiserAdCost", "grossItemRevenue", "grossPurchaseRevenue", "itemDiscountAmount", "itemRefundAmount"),
        *("itemRevenue", "purchaseRevenue", "refundAmount", "shippingAmount", "taxAmount"),
        *("totalAdRevenue", "totalRevenue"),
    }
)
"""Metrics that are whole numbers, and those that are money (API schema, metrics). Every other is a number."""


def metric_type(name: str) -> DataType:
    """The type of a metric's values."""
    return "integer" if name in _COUNTED else "decimal" if name in _MONEY else "number"


def report_stream(report: Report) -> Stream:
    """The stream of a report. A record is a row of it: about a day and some dimensions, and about nobody.

    So each is a subject of its own without identifiers, and its values are attributes, which a later version of the row
    replaces and a deletion takes back; events would stay as they were first read.
    """
    dimensions = [field_name(each) for each in report.dimensions[1:]]
    metrics = {field_name(each): metric_type(each) for each in report.metrics}
    fields: dict[str, DataType] = {
        "date": "date",
        **metrics,
        "thresholded": "boolean",
        "other_row": "boolean",
        "sampled": "number",
    }
    attributes: dict[str, JSON] = {name: name for name in ("report", "date", *dimensions, *metrics)}
    mapping: Mapping[str, JSON] = {"subject": "row_id", "observed_at": "date", "attributes": attributes}
    return Stream(name=report.name, key=("row_id",), mode="upsert", mapping=mapping, fields=fields)


def audience_of(audience: Audience) -> Stream:
    """The stream of an audience. A record is a user who is in it; one who left is given as deleted."""
    mapping: Mapping[str, JSON] = {
        "subject": "coalesce(user_id, device_id)",
        "observed_at": "exported_at",
        "identifiers": {"user_id": "user_id", "ga_client_id": "device_id"},
        "attributes": {f"in_ga_{audience.name}": "true", "ads_personalization": "ads_personalization"},
    }
    fields: dict[str, DataType] = {"ads_personalization": "boolean", "exported_at": "timestamp"}
    return Stream(audience_stream(audience.name), key=("member_id",), mode="upsert", mapping=mapping, fields=fields)


def asked_for(config: GoogleAnalyticsConfig) -> tuple[Stream, ...]:
    """A stream for each report and for each audience of the configuration."""
    return (*map(report_stream, config.reports), *map(audience_of, config.audiences))


ITEM_TEXTS = ("sku", "name", "brand", "category", "variant", "coupon")
ITEM_NUMBERS = ("quantity", "price", "amount")
_ITEM = [f"{name} text" for name in ITEM_TEXTS] + [f"{name} decimal" for name in ITEM_NUMBERS]
# How the hub writes a list of structs with the names of their fields.
ITEMS = cast("DataType", f"items({', '.join(_ITEM)})")
"""The type of an event's items."""

_PAGE: dict[str, JSON] = {
    "url": "page_location",
    "title": "page_title",
    "referrer": "page_referrer",
    "source": "source",
    "medium": "medium",
    "campaign": "campaign",
    "device": "device_category",
    "country": "country",
}
_PRODUCT: dict[str, JSON] = {
    "product_id": "items[1].sku",
    "sku": "items[1].sku",
    "name": "items[1].name",
    "category": "items[1].category",
    "brand": "items[1].brand",
    "price": "items[1].price",
    "quantity": "items[1].quantity",
    "currency": "currency",
    "items": "items",
}
_CART: dict[str, JSON] = {"total": "value", "currency": "currency", "coupon": "coupon", "items": "items"}
_ORDER: dict[str, JSON] = {
    "order_id": "transaction_id",
    **_CART,
    "tax": "tax",
    "shipping": "shipping",
    "quantity": "quantity",
    "source": "source",
    "medium": "medium",
    "campaign": "campaign",
}
_VOCABULARY: Mapping[str, tuple[str, dict[str, JSON]]] = {
    "page_viewed": ("event_name IN ('page_view', 'screen_view')", _PAGE),
    "product_viewed": ("event_name = 'view_item'", _PRODUCT),
    "product_added": ("event_name = 'add_to_cart'", _PRODUCT),
    "cart_viewed": ("event_name = 'view_cart'", _CART),
    "checkout_started": ("event_name = 'begin_checkout'", _CART),
    "order_completed": ("event_name IN ('purchase', 'in_app_purchase', 'ecommerce_purchase')", _ORDER),
    "order_refunded": ("event_name = 'refund'", _ORDER),
    "form_submitted": ("event_name IN ('form_submit', 'generate_lead')", {"form_id": "form_id", **_PAGE}),
}
_KNOWN = " OR ".join(when for when, _ in _VOCABULARY.values())

EVENT_STREAM = Stream(
    name=EVENTS,
    key=("event_id",),
    mode="append",
    fields={
        "event_at": "timestamp",
        "event_date": "date",
        "session_id": "integer",
        "session_number": "integer",
        "engagement_ms": "integer",
        "value": "decimal",
        "tax": "decimal",
        "shipping": "decimal",
        "quantity": "decimal",
        "items": ITEMS,
    },
    mapping={
        "subject": "coalesce(user_id, ga_client_id, 'event:' || event_id)",
        "observed_at": "event_at",
        "identifiers": {"user_id": "user_id", "ga_client_id": "ga_client_id"},
        "events": {
            # First, so that what no expression names goes into its `extra`.
            "tracked": {
                "when": f"NOT ({_KNOWN})",
                "properties": {"name": "event_name", "properties": "params"},
            },
            **{name: {"when": when, "properties": properties} for name, (when, properties) in _VOCABULARY.items()},
        },
    },
)
