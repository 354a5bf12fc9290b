"""The source: which reader reads a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeAlias

from switchyard.api import Context, Cursor, Page, Stream
from switchyard_connectors.marketo.activities import Activities, LeadChanges
from switchyard_connectors.marketo.client import Marketo
from switchyard_connectors.marketo.config import MarketoConfig
from switchyard_connectors.marketo.exports import Exports
from switchyard_connectors.marketo.leads import Leads
from switchyard_connectors.marketo.members import Catalogue, ListMembers, ProgramMembers
from switchyard_connectors.marketo.objects import CustomObjects
from switchyard_connectors.marketo.schema import Schema

_Read: TypeAlias = "Callable[[Cursor], Iterator[Page]]"


class MarketoSource:
    """Reads one Marketo instance. A `Source` and `Checkable`."""

    def __init__(self, config: MarketoConfig, context: Context) -> None:
        self._marketo = Marketo(config, context)
        schema = Schema(self._marketo)
        catalogue = Catalogue(self._marketo)
        exports = partial(self._exports, context)
        self._readers: Mapping[str, _Read] = {
            "leads": Leads(config, self._marketo, schema, exports("leads")).read,
            "activities": Activities(config, self._marketo, exports("activities")).read,
            "lead_changes": LeadChanges(config, self._marketo, schema).read,
            "list_members": ListMembers(config, self._marketo).read,
            "program_members": ProgramMembers(config, self._marketo, exports("program_members")).read,
            "lists": catalogue.lists,
            "programs": catalogue.programs,
            **{
                each.name: CustomObjects(config, each, self._marketo, exports(each.name)).read
                for each in config.custom_objects
            },
        }

    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:
        """See `Source`."""
        return self._readers[stream.name](cursor)

    def check(self) -> None:
        """Ask how many calls were made today."""
        self._marketo.get("/rest/v1/stats/usage.json")

    def _exports(self, context: Context, name: str) -> Exports:
        return Exports(self._marketo, context.workspace / "exports" / name)
