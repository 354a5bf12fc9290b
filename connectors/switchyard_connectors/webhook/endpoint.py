"""How an endpoint that is told of changes has answered: when it is to be called again, and whether at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from switchyard.api.errors import PermanentError, SwitchyardError, TransientError
from switchyard.api.tokens import KeptSecret

SCHEDULE = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds after the first failure in a row, the second, … (standardwebhooks.com, "Retry schedule")."""
_SPREAD = 0.1
"""Share of a wait by which it may be longer, so that not everybody comes back at one instant."""
_ALIVE = 2
"""An endpoint that answers, but takes nothing, is called at least as often as after so many failures."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an endpoint. Instants are seconds since the epoch.

    Args:
        failures: in a row.
        next_try: it is not called before.
        disabled_at: since when it is not called at all; None while it is.
        why: what it answered last, where that was a failure.
    """

    failures: int = 0
    next_try: float = 0.0
    disabled_at: float | None = None
    why: str = ""


class Endpoint:
    """An endpoint's standing, durable in a file of the connection's workspace.

    Args:
        host: its name in messages.
        settings: all that makes it this endpoint: with others, nothing is known of it.
        clock: seconds since the epoch.
        random: between 0 and 1.
    """

    def __init__(
        self, folder: Path, host: str, settings: str, clock: Callable[[], float], random: Callable[[], float]
    ) -> None:
        # The settings hold secrets; the file is named by a hash of them, and is its owner's alone.
        self._file = KeptSecret(folder, settings)
        self._settings = settings
        self._host = host
        self._clock = clock
        self._random = random

    @property
    def standing(self) -> Standing:
        kept = self._file.read()
        return Standing() if kept == self._settings else Standing(**json.loads(kept))

    def require(self) -> None:
        """Go on only where the endpoint is to be called now.

        Raises:
            PermanentError: it is disabled.
            TransientError: not yet.
        """
        standing, now = self.standing, self._clock()
        if standing.disabled_at is not None:
            raise self._disabled(standing, standing.disabled_at)
        if standing.next_try > now:
            raise self._later(standing, standing.next_try - now)

    def succeeded(self) -> None:
        """It took something."""
        if self.standing != Standing():
            self._keep(Standing())

    def failed(self, why: str, *, asked: float | None = None, alive: bool = False) -> SwitchyardError:
        """It did not do what it should: the error that says when it is called again.

        Args:
            why: what it did.
            asked: seconds that it asked for.
            alive: whether it answers sensibly all the same; it is not disabled for that, nor left alone for long.
        """
        failures, now = self.standing.failures + 1, self._clock()
        if alive:
            failures = min(failures, _ALIVE)
        elif failures > len(SCHEDULE):
            return self.disable(f"{why}, and failed {failures} times in a row")
        wait = max(SCHEDULE[failures - 1] * (1 + _SPREAD * self._random()), asked or 0.0)
        standing = Standing(failures, now + wait, None, why)
        self._keep(standing)
        return self._later(standing, wait)

    def disable(self, why: str) -> SwitchyardError:
        """Never call it again, until its settings change: the error that says so."""
        now = self._clock()
        standing = Standing(self.standing.failures + 1, 0.0, now, why)
        self._keep(standing)
        return self._disabled(standing, now)

    def _keep(self, standing: Standing) -> None:
        self._file.keep(json.dumps(asdict(standing)))

    def _later(self, standing: Standing, wait: float) -> TransientError:
        at = datetime.fromtimestamp(self._clock() + wait, UTC)
        return TransientError(
            f"the endpoint at {self._host} {standing.why}; it is called again at {at:%Y-%m-%d %H:%M:%S} UTC",
            retry_after=wait,
        )

    def _disabled(self, standing: Standing, since: float) -> PermanentError:
        at = datetime.fromtimestamp(since, UTC)
        return PermanentError(
            f"the endpoint at {self._host} {standing.why} and is disabled since {at:%Y-%m-%d %H:%M} UTC; when its "
            "owner has mended it, set `send.resume` to something new (today's date), and what waits is told"
        )
