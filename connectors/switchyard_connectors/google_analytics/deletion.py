"""The sink that deletes: whoever enters its audience is deleted in Google Analytics, and does not come back."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import httpx

from switchyard.api import Batch, ConfigError, Context, Receipt, Rejection
from switchyard.api.http import concurrently
from switchyard_connectors.google_analytics.auth import EDIT, bearer
from switchyard_connectors.google_analytics.config import DeletionConfig
from switchyard_connectors.google_analytics.quota import Verdicts, Wall, utc_now

_LANES = 4
_GMAIL = ("gmail.com", "googlemail.com")


def normalised_email(address: str) -> str:
    """As `userProvidedData` wants an address: lower case, no blanks, at Gmail no dots before the @ (v1alpha)."""
    local, at, domain = re.sub(r"\s", "", address).lower().rpartition("@")
    return f"{local.replace('.', '') if domain in _GMAIL else local}{at}{domain}"


def normalised_phone(number: str) -> str:
    """As `userProvidedData` wants a phone number: + and digits (v1alpha)."""
    return "+" + re.sub(r"\D", "", number)


_FIELDS: dict[str, tuple[str, Callable[[str], str]]] = {
    "client_id": ("clientId", str),
    "user_id": ("userId", str),
    "app_instance_id": ("appInstanceId", str),
    "email": ("userProvidedData", normalised_email),
    "phone": ("userProvidedData", normalised_phone),
}
"""The audience's key → the request's field, and how its value is written."""


class UserDeletion:
    """Asks for the deletion of users, one call for each. A `Sink` and `Checkable`.

    Who leaves the audience again stays deleted. What was exported to BigQuery is not deleted by this.
    """

    def __init__(self, config: DeletionConfig, context: Context, now: Wall = utc_now) -> None:
        self._property = config.property
        self._now = now
        token = bearer(config.service_account, config.sign_in_url, EDIT, context, now)
        self._http = context.http(config.admin_url, bearer=token)

    def check(self) -> None:
        """Ask for the property itself.

        Raises:
            AuthError: the service account is refused.
        """
        self._http.get(f"/v1alpha/properties/{self._property}", classify=Verdicts(self._now))

    def write(self, batch: Batch) -> Receipt:
        """Have those deleted who entered. Asking again for the same person does no more than asking once.

        Raises:
            ConfigError: the audience's key is none of the ids that Google Analytics deletes by.
        """
        if batch.key_field not in _FIELDS:
            raise ConfigError(
                f"Google Analytics deletes nobody by {batch.key_field!r}; let the audience's key be one of "
                f"{', '.join(sorted(_FIELDS))}"
            )
        entered = {change.key: index for index, change in enumerate(batch.changes) if change.kind == "entered"}
        calls = (partial(self._delete, batch.key_field, key, index) for key, index in entered.items())
        found = dict(concurrently(calls, _LANES))
        return Receipt(rejected={index: why for index, why in found.items() if why is not None})

    def _delete(self, key_field: str, key: str, index: int) -> tuple[int, Rejection | None]:
        name, written = _FIELDS[key_field]
        answer = self._http.post(
            f"/v1alpha/properties/{self._property}:submitUserDeletion",
            json={name: written(key)},
            repeatable=True,
            accept=(400, 404),
            classify=Verdicts(self._now),
        )
        if answer.is_success:
            return index, None
        if answer.status_code == httpx.codes.NOT_FOUND:
            return index, Rejection("NOT_FOUND", "Google Analytics does not know the property or the user")
        return index, Rejection("INVALID_ARGUMENT", f"Google Analytics takes no such {key_field}")
