"""The mappings that the documentation shows, through the whole spine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.projects import Spine

from switchyard.store.tables import Identifier
from switchyard_connectors.webhook import DELIVERIES, SOURCE

from .conftest import Read

_PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "receive-webhooks.md"
Site = Callable[[str], Spine]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A spine with the mapping that the page shows for a connection."""
    opened: list[Spine] = []

    def make(connection: str) -> Spine:
        blocks = [yaml.safe_load(each.split("```")[0]) for each in _PAGE.read_text().split("```yaml\n")[1:]]
        (shown,) = [block["connections"][connection] for block in blocks if connection in block["connections"]]
        opened.append(Spine(tmp_path, DELIVERIES, shown["streams"]["deliveries"]["mapping"]))
        return opened[-1]

    yield make
    for spine in opened:
        spine.close()


def feed(spine: Spine, read: Read, *deliveries: Any, **config: Any) -> Any:
    (page,) = read(*deliveries, **config)
    return spine.feed(page.records, rejected=page.rejected)


def identifiers(spine: Spine) -> set[str]:
    return {each.value for each in spine.rows(Identifier)}


def test_an_order_of_shopify(site: Site, read: Read) -> None:
    spine = site("shopify_orders")
    order = {
        "id": 820982911946154508, "email": "jon@example.com", "phone": None, "total_price": "199.00",
        "created_at": "2024-04-30T21:00:00-04:00", "currency": "EUR", "line_items": [{"sku": "a"}],
        "customer": {"id": 115310627314723954, "first_name": "John", "last_name": "Smith"},
    }  # fmt: skip
    created, other = {"x-shopify-topic": "orders/create"}, {"x-shopify-topic": "orders/updated"}
    counts = feed(spine, read, ("w1", created, order), ("w1", created, order), ("w2", other, order))
    assert (counts.mapped, counts.duplicate) == (2, 1)
    (event,) = spine.events("order_completed")
    assert (event["order_id"], event["total"]) == ("820982911946154508", Decimal("199.0000"))
    assert event["_at"] == datetime(2024, 5, 1, 1)
    assert '"sku": "a"' in event["extra"]
    assert identifiers(spine) == {"jon@example.com", "shop/115310627314723954"}


def test_a_charge_of_stripe(site: Site, read: Read) -> None:
    spine = site("stripe")
    charge = {"customer": "cus_1", "amount": 2750, "currency": "eur", "billing_details": {"email": "ann@x.org"}}
    feed(
        spine, read,
        {"id": "evt_1", "type": "charge.succeeded", "created": 1714564800, "data": {"object": charge}},
        {"id": "evt_2", "type": "customer.updated", "created": 1714564801, "data": {"object": {"customer": "cus_1"}}},
    )  # fmt: skip
    (event,) = spine.events("charge_succeeded")
    assert (event["currency"], event["_at"]) == ("eur", datetime(2024, 5, 1, 12))
    assert repr(event["amount"]) == repr(Decimal("27.5000"))
    assert identifiers(spine) == {"ann@x.org", "shop/cus_1"}


def test_changes_of_hubspot(site: Site, read: Read) -> None:
    spine = site("hubspot_changes")
    change = {"subscriptionId": 1, "objectId": 51, "occurredAt": 1714564800123, "attemptNumber": 0}
    counts = feed(
        spine, read, [change, change | {"objectId": 52}], [change | {"attemptNumber": 1}], scheme="hubspot_v3"
    )
    assert (counts.mapped, counts.duplicate) == (2, 1)
    assert identifiers(spine) == {"shop/51", "shop/52"}


def test_a_ticket_of_a_sender_that_does_not_sign(site: Site, read: Read) -> None:
    spine = site("tickets_7hq2x9fwm4kd")
    ticket = {"ticket": {"id": 7, "subject": "Broken"}, "requester": {"email": "Ann@X.org"}}
    counts = feed(spine, read, ticket, "no json", {"ticket": {"id": 8}})
    assert (counts.mapped, counts.quarantined) == (1, 2)
    assert [event["subject"] for event in spine.events("support_ticket_created")] == ["Broken"]
    assert identifiers(spine) == {"ann@x.org"}


def test_the_configurations_shown_are_valid() -> None:
    blocks = [yaml.safe_load(each.split("```")[0]) for each in _PAGE.read_text().split("```yaml\n")[1:]]
    for block in blocks:
        for connection in block["connections"].values():
            SOURCE.config.model_validate(connection["config"])
