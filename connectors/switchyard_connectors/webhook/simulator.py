"""An endpoint that is told of changes: it checks every signature, and heeds each message once."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Collection
from typing import Any, Unpack

from switchyard.testing.simulator import Answer, Request, Simulator, SimulatorOptions

SECRET = "whsec_" + base64.b64encode(b"a secret for simulators only").decode()  # guards nothing
_TOLERANCE = 300


class WebhookEndpoint(Simulator):
    """Takes messages at any path.

    `told` holds the messages that took effect, in order: one that comes again under the same id changes nothing, and
    one that is refused or not signed by `SECRET` does not count. `requests` holds all that came to be judged.
    """

    def __init__(self, **options: Unpack[SimulatorOptions]) -> None:
        super().__init__(**options)
        self.told: list[dict[str, Any]] = []
        self.requests: list[Request] = []
        self._known: set[str] = set()
        self._refused: frozenset[str] = frozenset()
        self._status = 400
        self.route("POST", "/", self._take)
        self.route("POST", "/{name}", self._take)
        self.route("POST", "/{name}/{more}", self._take)

    def refuse(self, keys: Collection[str], status: int = 400) -> None:
        """From now on refuse messages about people with these keys, and no others."""
        self._refused, self._status = frozenset(keys), status

    def forget(self) -> None:
        """Forget everything that was told."""
        self.told.clear()
        self.requests.clear()
        self._known.clear()

    def people(self) -> dict[str, dict[str, Any]]:
        """Who is in, by what was told: key → fields."""
        found: dict[str, dict[str, Any]] = {}
        for message in self.told:
            data = message["data"]
            if message["type"] == "profile.left_segment":
                found.pop(data["key"], None)
            else:
                found[data["key"]] = data["fields"]
        return found

    def state(self) -> dict[str, Any]:
        """See `Simulator.state`."""
        return {"told": self.told}

    def _take(self, request: Request) -> Answer:
        self.requests.append(request)
        if not self._is_signed(request):
            return Answer(401, {"message": "the signature does not fit"})
        message = request.json()
        if message["data"]["key"] in self._refused:
            return Answer(self._status, {"message": "this message is not taken"})
        id = request.headers["webhook-id"]
        if id not in self._known:
            self._known.add(id)
            self.told.append(message)
        return Answer(204)

    def _is_signed(self, request: Request) -> bool:
        id, stamp = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        if not stamp.isdecimal() or abs(int(stamp) - self.clock()) > _TOLERANCE:
            return False
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        wanted = base64.b64encode(hmac.digest(key, f"{id}.{stamp}.".encode() + request.body, "sha256")).decode()
        given = request.headers.get("webhook-signature", "").split(" ")
        return any(hmac.compare_digest(f"v1,{wanted}", each) for each in given)
