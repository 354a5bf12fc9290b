"""What a user can say about a folder of POS files."""

from __future__ import annotations

import codecs
import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints, field_validator, model_validator

from switchyard.api import ConnectorConfig
from switchyard_connectors.pos_csv.preset import Preset
from switchyard_connectors.pos_csv.presets import PRESETS, PresetName
from switchyard_connectors.pos_csv.zones import is_iana

Role = Literal[
    "order_id",
    "line_id",
    "sold_at",
    "date",
    "time",
    "time_zone",
    "sku",
    "description",
    "quantity",
    "price",
    "amount",
    "customer_id",
    "email",
    "phone",
    "loyalty_card",
    "first_name",
    "last_name",
    "store_id",
    "kind",
]
ROLES: tuple[Role, ...] = get_args(Role)
FIELDS: tuple[Role, ...] = tuple(role for role in ROLES if role not in ("date", "time", "time_zone"))
"""The columns every page has, in this order; a role without a header is NULL."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Char = Annotated[str, StringConstraints(min_length=1, max_length=1)]

# Raised whenever another version of the connector would cut the same file into other pages.
_CUTS = 1
_NOT_READING = {"folder", "pattern", "stable_seconds", "markers", "order", "processed"}


class Kinds(ConnectorConfig):
    """What the values of the role `kind` mean, in any case. What is not named is a sale, unless `sale` is given:
    then it is a reject.
    """

    sale: tuple[str, ...] | None = None
    refund: tuple[str, ...] = ("refund",)
    void: tuple[str, ...] = ("void",)


class PosCsvConfig(ConnectorConfig):
    """Where the files are, when one is complete, and how it is written."""

    folder: Path
    preset: PresetName | None = Field(None, description="whose export the files are; says what is not said here")
    pattern: tuple[str, ...] = ("*.csv*", "*.zip")
    ready: Literal["stable", "marker", "rename"] = "stable"
    stable_seconds: float = Field(default=2.0, ge=0, le=3600)
    markers: tuple[str, ...] = (".done", ".ok")
    order: Literal["name", "mtime"] = "name"
    processed: Literal["keep", "move"] = "keep"

    encoding: str = "auto"
    delimiter: Char | None = None
    quote: Annotated[str, StringConstraints(max_length=1)] = '"'
    columns: dict[Role, str] = Field(default_factory=dict)
    extra: dict[Name, str] = Field(default_factory=dict)
    types: dict[Name, Literal["decimal", "timestamp"]] = Field(
        default_factory=dict, description="further columns, by their names in the page, that are not text"
    )
    nulls: tuple[str, ...] = ()
    strip_float_ids: frozenset[Role] = frozenset()

    formats: tuple[str, ...] = ()
    timezone: str = "UTC"
    zones: dict[str, str] = Field(default_factory=dict, description="names of zones in the files → IANA names")
    decimal: Literal[".", ","] = "."
    thousands: Char | None = None
    currency: Annotated[str, StringConstraints(max_length=8, pattern=r"^[^\\0-9]*$")] = ""
    kinds: Kinds = Kinds()

    max_bytes: int = Field(default=2_000_000_000, gt=0)
    max_record_bytes: int = Field(default=1 << 20, gt=0, le=1 << 26)
    page_rows: int = Field(default=150_000, gt=0)
    order_window: int = Field(default=10_000, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _by_preset(cls, data: Any) -> Any:
        """What the preset says, under what is said here."""
        if not isinstance(data, dict) or data.get("preset") not in PRESETS:
            return data
        preset = PRESETS[data["preset"]]
        types = data.get("types", {})
        return {**preset.settings, **data, "types": {**preset.types, **types} if isinstance(types, dict) else types}

    @field_validator("pattern", "formats", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        if value == "auto":
            return value
        try:
            b"aa".decode(value, "replace")
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError(f"unknown encoding {value!r}; name one, such as utf-8 or cp1252, or write auto") from None

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if not is_iana(value):
            raise ValueError(f"unknown time zone {value!r}; use an IANA name such as Europe/Paris")
        return value

    @field_validator("zones")
    @classmethod
    def _known_zones(cls, zones: dict[str, str]) -> dict[str, str]:
        for zone in zones.values():
            cls._known_zone(zone)
        return zones

    @field_validator("delimiter", "quote")
    @classmethod
    def _one_byte(cls, value: str | None) -> str | None:
        if value and (not value.isascii() or value in "\r\n\0"):
            raise ValueError("must be one ASCII character other than a line end")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> PosCsvConfig:
        if self.thousands == self.decimal:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}: numbers could be read in two ways")
        if self.delimiter and self.delimiter == self.quote:
            raise ValueError("delimiter and quote are the same character")
        if "sold_at" in self.columns and {"date", "time"} & self.columns.keys():
            raise ValueError("columns: give sold_at, or date and time, not both")
        if taken := set(self.extra) & set(FIELDS):
            raise ValueError(f"extra: {', '.join(sorted(taken))} is a role; name its header under columns")
        if taken := set(self.types) & set(FIELDS):
            raise ValueError(f"types: {', '.join(sorted(taken))} is a role, which has its type")
        if self.described and self.described.local and "timezone" not in self.model_fields_set:
            raise ValueError(f"preset {self.preset}: give the restaurant's timezone; its files do not say it")
        return self

    @property
    def described(self) -> Preset | None:
        """The preset's description of the files."""
        return PRESETS[self.preset] if self.preset else None

    def digest(self) -> str:
        """Sixteen hex digits that change with everything that decides how a file is read and cut into pages."""
        reading = self.model_dump(mode="json", exclude=_NOT_READING)
        reading["strip_float_ids"] = sorted(self.strip_float_ids)
        return hashlib.sha256(f"{_CUTS} {sorted(reading.items())}".encode()).hexdigest()[:16]


class FileRefused(Exception):
    """A file that is not read at all: why, and where that showed (line from 1, byte from 0)."""

    def __init__(self, reason: str, *, line: int | None = None, byte: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.byte = byte
