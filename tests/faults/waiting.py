"""Waits that take no time: whoever would sleep moves a clock instead."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from switchyard.activation.delivery import Delivery
from switchyard.api.budget import Budget
from switchyard.app.hub import Hub
from switchyard.testing.simulator import ManualClock

DEFAULTS = Budget.__init__.__kwdefaults__


def paced_by(clock: ManualClock) -> dict[str, Any]:
    """What `Budget` takes by default where everybody goes by this clock."""
    return {**DEFAULTS, "clock": clock, "sleep": clock.advance, "wall": clock}


def deliver_by(hub: Hub, clock: ManualClock) -> None:
    """Let the hub's deliveries go by this clock, too."""

    def now() -> datetime:
        return datetime.fromtimestamp(clock(), UTC).replace(tzinfo=None)

    hub.delivery = Delivery(hub.database, hub.working, now, clock.advance)
