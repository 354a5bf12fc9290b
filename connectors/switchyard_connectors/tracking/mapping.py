"""The default mapping: who sent an event, what is known of them, and which events of ours theirs are.

Names of events and properties are those of Segment's specification (segment.com/docs/connections/spec).
"""

from __future__ import annotations

from switchyard.api.records import JSON

MONEY = "DECIMAL(18, 4)"


def _of(kind: str, **types: str) -> dict[str, JSON]:
    """A track call of this name as an event of ours: property → type, each read from the property of its name.

    An expression is evaluated for every record, and one that fails refuses the record: so each asks first whether it
    is meant.
    """
    named = f"event_type = '{kind}'"
    properties: dict[str, JSON] = {
        name: f"CASE WHEN {named} THEN CAST(properties->>'{name}' AS {sql}) END" for name, sql in types.items()
    }
    return {"when": named, "properties": properties}


def _trait(name: str) -> str:
    return f"traits->>'{name}'"


def _place(name: str) -> str:
    return f"coalesce(properties->>'{name}', context->'page'->>'{name}')"


# `extra` is where events keep what no expression names; of a call that is its context.
_WHOLE: dict[str, JSON] = {"properties": "properties", "extra": "context"}
_PRODUCT = {
    "product_id": "VARCHAR",
    "sku": "VARCHAR",
    "name": "VARCHAR",
    "category": "VARCHAR",
    "brand": "VARCHAR",
    "price": MONEY,
    "quantity": MONEY,
    "currency": "VARCHAR",
}
_ORDER = {
    "order_id": "VARCHAR",
    "total": MONEY,
    "revenue": MONEY,
    "currency": "VARCHAR",
    "coupon": "VARCHAR",
    "products": "VARCHAR",
}

MAPPING: dict[str, JSON] = {
    # An alias says who somebody was: that it is about the former, and names the new, is what joins the two.
    "subject": "CASE WHEN type = 'alias' THEN previous_id ELSE coalesce(user_id, anonymous_id) END",
    "observed_at": "timestamp",
    "identifiers": {
        "user_id": "user_id",
        "anonymous_id": "CASE WHEN type = 'alias' THEN previous_id ELSE anonymous_id END",
        "email": _trait("email"),
    },
    "attributes": {
        "first_name": _trait("firstName"),
        "last_name": _trait("lastName"),
        "name": _trait("name"),
        "gender": _trait("gender"),
        "birthday": _trait("birthday"),
        "title": _trait("title"),
        "group_id": "group_id",
        "group_name": "group_traits->>'name'",
    },
    "events": {
        "page_viewed": {
            "when": "type = 'page'",
            "properties": {
                "name": "name",
                "category": "category",
                "url": _place("url"),
                "path": _place("path"),
                "title": _place("title"),
                "referrer": _place("referrer"),
                "utm_source": "context->'campaign'->>'source'",
                "utm_medium": "context->'campaign'->>'medium'",
                "utm_campaign": "context->'campaign'->>'name'",
                **_WHOLE,
            },
        },
        "screen_viewed": {"when": "type = 'screen'", "properties": {"name": "name", "category": "category", **_WHOLE}},
        "tracked": {"when": "type = 'track'", "properties": {"name": "event", **_WHOLE}},
        "product_viewed": _of("product_viewed", **_PRODUCT),
        "product_added": _of("product_added", **_PRODUCT, cart_id="VARCHAR"),
        "cart_viewed": _of("cart_viewed", cart_id="VARCHAR", products="VARCHAR"),
        "checkout_started": _of("checkout_started", **_ORDER),
        "order_completed": _of("order_completed", **_ORDER),
        "order_refunded": _of("order_refunded", **_ORDER),
    },
}
