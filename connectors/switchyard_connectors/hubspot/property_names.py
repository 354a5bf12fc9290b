"""Which properties the records of an account have, kept for a while: a source lives for one sync only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from switchyard_connectors.hubspot.account import Account


class PropertyNames:
    """The names of all properties, by type.

    Args:
        folder: where answers are kept. Losing them costs a call.
        address: of the account: answers of another one are not taken for its own.
        good_for: seconds. No more than each sync looks back: a record whose new property nobody asked for is then read
            once more after the names are.
        clock: epoch seconds.
    """

    def __init__(
        self, account: Account, folder: Path, address: str, good_for: float, clock: Callable[[], float]
    ) -> None:
        self._account = account
        self._folder = folder
        self._address = address
        self._good_for = good_for
        self._clock = clock
        self._held: dict[str, Sequence[str]] = {}

    def of(self, name: str) -> Sequence[str]:
        """The properties of a type, sorted."""
        if name not in self._held:
            self._held[name] = self._kept(name) or self._asked(name)
        return self._held[name]

    def _asked(self, name: str) -> Sequence[str]:
        path, at = f"{self._account.paths.properties}/{name}", self._clock()
        found = self._account.found(path, params={"archived": "false"}).get("results") or ()
        names = sorted(str(row["name"]) for row in found)
        file = self._file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps({"at": at, "names": names}), encoding="utf-8")
        fresh.replace(file)
        return names

    def _kept(self, name: str) -> Sequence[str] | None:
        try:
            kept = json.loads(self._file(name).read_text(encoding="utf-8"))
            age = self._clock() - float(kept["at"])
            return [str(each) for each in kept["names"]] if 0 <= age < self._good_for else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _file(self, name: str) -> Path:
        digest = hashlib.sha256(f"{self._address} {name}".encode()).hexdigest()[:16]
        return self._folder / f"properties-{digest}.json"
