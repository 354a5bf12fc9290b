"""Reads JSON Lines files, trims texts, and selects people by their number of orders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from switchyard import api
from switchyard.api import transforms

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

ORDERS = api.Stream(
    name="orders",
    key=("order_id",),
    mode="append",
    mapping={
        "subject": "customer_id",
        "observed_at": "CAST(at AS TIMESTAMP)",
        "identifiers": {"email": "email"},
        "attributes": {"city": "city"},
        "events": {"order_completed": {"id": "order_id", "properties": {"total": "total::DECIMAL(18, 4)"}}},
    },
)


class JsonLinesConfig(api.ConnectorConfig):
    folder: Path
    page_rows: int = 1000


@dataclass(frozen=True)
class JsonLines:
    """Reads the folder's `*.jsonl` files by name. Files only ever grow, and later ones sort behind earlier ones."""

    config: JsonLinesConfig
    context: api.Context

    def read(self, stream: api.Stream, cursor: api.Cursor) -> Iterator[api.Page]:
        name, lines = (str(cursor["file"]), int(str(cursor["lines"]))) if cursor else ("", 0)
        for path in sorted((self.context.project / self.config.folder).glob("*.jsonl")):
            if path.name >= name:
                yield from self._pages(path, lines if path.name == name else 0)

    def _pages(self, path: Path, skip: int) -> Iterator[api.Page]:
        # What stands behind the last line break is still being written.
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        for start in range(skip, len(lines), self.config.page_rows):
            end = min(start + self.config.page_rows, len(lines))
            records, rejected = list[dict[str, Any]](), list[api.Reject]()
            for number in range(start, end):
                try:
                    records.append(dict(json.loads(lines[number])))
                except (ValueError, TypeError):
                    rejected.append(api.Reject("bad_json", "is no JSON object", lines[number], line=number + 1))
            yield api.Page(records, {"file": path.name, "lines": end}, rejected, origin=path.name)


class TrimConfig(BaseModel):
    columns: list[str]


@dataclass(frozen=True)
class Trim:
    """Takes the blanks off both ends of texts."""

    config: TrimConfig

    def apply(self, page: pa.Table) -> tuple[pa.Table, Sequence[api.Reject]]:
        import pyarrow.compute as pc

        for name in self.config.columns:
            page = page.set_column(page.column_names.index(name), name, pc.utf8_trim_whitespace(page.column(name)))
        return page, ()


@dataclass(frozen=True)
class ToyProgram:
    """Nobody loses an order, so the only change that time brings is an order dated in the future."""

    least: Mapping[str, int]

    @property
    def reads(self) -> Mapping[str, transforms.Reads]:
        return dict.fromkeys(self.least, transforms.Reads(events={"order_completed": frozenset()}))

    def evaluate(self, scope: transforms.Scope, definitions: Sequence[str]) -> ir.Table:
        import ibis

        orders = scope.events("order_completed").select("profile_id", ordered="at")
        past, next_change = ibis._.ordered <= ibis._.at, ibis._.ordered.min(where=ibis._.ordered > ibis._.at)
        joined = scope.profiles.select("profile_id", "at").left_join(orders, "profile_id").group_by("profile_id")
        counted = joined.aggregate(n=past.sum().fill_null(0), next_change=next_change.fill_null(transforms.NEVER))
        keep = ("profile_id", "definition", "value", "next_change")
        each = [counted.mutate(definition=ibis.literal(d), value=ibis._.n >= self.least[d])[keep] for d in definitions]
        return reduce(lambda first, second: first.union(second), each)


class ToySegments:
    def compile(self, definitions: Sequence[transforms.Definition], schema: transforms.Schema) -> ToyProgram:
        return ToyProgram({each.name: int(str(each.body["min_orders"])) for each in definitions})


@api.hookimpl
def switchyard_connectors() -> Sequence[api.ConnectorSpec]:
    return (api.SourceSpec(name="jsonl", config=JsonLinesConfig, build=JsonLines, streams=(ORDERS,)),)


@api.hookimpl
def switchyard_transforms() -> Sequence[transforms.TransformSpec]:
    trim = transforms.RecordTransformSpec(name="trim", config=TrimConfig, build=Trim)
    return (trim, transforms.ProfileTransformSpec(name="toy_segments", key="toy_segment", build=ToySegments))
