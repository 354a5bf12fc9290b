"""What HubSpot allows an account per tier (vendor documentation, usage-guidelines)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal, TypeAlias

Tier: TypeAlias = Literal["free", "starter", "pro", "enterprise"]

WINDOW = 10.0
"""Seconds of the rolling window."""
SEARCHES = 5
"""Searches in a second, of all object types; they do not count in the rolling window."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Calls per rolling window, and per day of the account's own time zone."""

    calls: int
    daily: int


TIERS: Mapping[Tier, Allowance] = {
    "free": Allowance(100, 250_000),
    "starter": Allowance(100, 250_000),
    "pro": Allowance(190, 625_000),
    "enterprise": Allowance(190, 1_000_000),
}
ADDON = Allowance(250, 1_000_000)
"""The API limit increase: these calls per window instead of the tier's, and so many more per day."""
OAUTH_CALLS = 110
"""Calls per window of an OAuth app, whatever the tier; the add-on does not raise it."""


def lanes(calls: int) -> int:
    """Calls under way at once that use a window up where each is answered in half a second, as writing 100 contacts
    is. HubSpot documents no limit of it.
    """
    return ceil(calls / WINDOW / 2)
