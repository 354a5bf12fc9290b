"""What a user can say about a folder of POS files."""

from __future__ import annotations

import codecs
import hashlib
from pathlib import Path
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints, field_validator, model_validator

from switchyard.api import ConnectorConfig

Role = Literal[
    "order_id",
    "line_id",
    "sold_at",
    "date",
    "time",
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
FIELDS: tuple[Role, ...] = tuple(role for role in ROLES if role not in ("date", "time"))
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
    nulls: tuple[str, ...] = ()
    strip_float_ids: frozenset[Role] = frozenset()

    formats: tuple[str, ...] = ()
    timezone: str = "UTC"
    decimal: Literal[".", ","] = "."
    thousands: Char | None = None
    currency: Annotated[str, StringConstraints(max_length=8, pattern=r"^[^\\0-9]*$")] = ""
    kinds: Kinds = Kinds()

    max_bytes: int = Field(default=2_000_000_000, gt=0)
    max_record_bytes: int = Field(default=1 << 20, gt=0, le=1 << 26)
    page_rows: int = Field(default=150_000, gt=0)
    order_window: int = Field(default=10_000, gt=0)

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
        try:
            ZoneInfo(value)
        except (OSError, ValueError, KeyError):
            raise ValueError(f"unknown time zone {value!r}; use an IANA name such as Europe/Paris") from None
        return value

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
        return self

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
