"""Environment variables that override `hub.*`: `SWITCHYARD_STORE`, `SWITCHYARD_LOG` and so on."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError, create_model
from pydantic_settings import BaseSettings, SettingsConfigDict

from switchyard.api.errors import ConfigError
from switchyard.config.errors import ConfigErrors, message
from switchyard.config.models import Hub

PREFIX = "SWITCHYARD_"


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)


_FIELDS: dict[str, Any] = dict.fromkeys(Hub.model_fields, (str | None, None))
_HubEnvironment = create_model("_HubEnvironment", __base__=_Environment, **_FIELDS)


def overrides() -> dict[str, str]:
    """The values of `hub` that the environment sets.

    The store is given as a reference to its variable: its URL may hold a password, which no model keeps.

    Raises:
        ConfigErrors: a value is not what the setting takes; `key` is the variable.
    """
    values: dict[str, str] = _HubEnvironment().model_dump(exclude_none=True)
    if "store" in values:
        values["store"] = f"${{env:{PREFIX}STORE}}"
    try:
        Hub.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise ConfigErrors(
            [ConfigError(message(each, Hub), key=f"{PREFIX}{each['loc'][0]}".upper()) for each in details]
        ) from None
    return values
