"""The two kinds of files, and the columns that each of them always has."""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Layout:
    """`subject`, `at` and `page` name the columns that files are sorted by and pruned by; they alone have statistics
    in the footer, so that no personal value stands outside the data pages.
    """

    kind: str
    fixed: pa.Schema
    subject: str
    at: str
    page: str | None = None

    @property
    def pruned(self) -> list[str]:
        return [column for column in (self.subject, self.at, self.page) if column is not None]


EVENT = Layout(
    kind="event",
    fixed=pa.schema(
        [("_id", pa.binary(16)), ("_subject", pa.int64()), ("_at", pa.timestamp("us")), ("_page", pa.int64())]
    ),
    subject="_subject",
    at="_at",
    page="_page",
)
MEMBERSHIP = Layout(
    kind="membership",
    fixed=pa.schema(
        [
            ("profile_id", pa.int64()),
            ("segment", pa.string()),
            ("version", pa.int64()),
            ("entered", pa.bool_()),
            ("at", pa.timestamp("us")),
            ("noticed", pa.timestamp("us")),
            ("reason", pa.string()),
            ("run_id", pa.int64()),
        ]
    ),
    subject="profile_id",
    at="at",
)
LAYOUTS = {layout.kind: layout for layout in (EVENT, MEMBERSHIP)}
