"""The presets, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from switchyard_connectors.pos_csv import preset_shopify, preset_square, preset_toast
from switchyard_connectors.pos_csv.preset import Preset

PresetName = Literal[
    "square_items",
    "square_transactions",
    "shopify_orders",
    "toast_item_selection_details",
    "toast_check_details",
    "toast_payment_details",
]
PRESETS: Mapping[PresetName, Preset] = {
    "square_items": preset_square.ITEMS,
    "square_transactions": preset_square.TRANSACTIONS,
    "shopify_orders": preset_shopify.ORDERS,
    "toast_item_selection_details": preset_toast.ITEM_SELECTIONS,
    "toast_check_details": preset_toast.CHECKS,
    "toast_payment_details": preset_toast.PAYMENTS,
}
