"""What a user can say about tracking."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from switchyard.api import ConnectorConfig

SHORTEST = 8


class TrackingConfig(ConnectorConfig):
    """Who may send.

    Args:
        write_keys: one, or several: of several senders, or while one replaces another.
    """

    write_keys: tuple[SecretStr, ...] = Field(min_length=1, repr=False)

    @field_validator("write_keys", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str | SecretStr) else value

    @field_validator("write_keys")
    @classmethod
    def _no_guess(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value().strip()) < SHORTEST for key in keys):
            raise ValueError(f"a write key needs at least {SHORTEST} characters; make a random one")
        return keys
