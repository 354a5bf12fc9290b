"""The streams of custom objects: by bulk extract in windows of the time of change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from switchyard.api import Cursor, Page, PermanentError
from switchyard_connectors.marketo import windows
from switchyard_connectors.marketo.client import Marketo
from switchyard_connectors.marketo.config import CustomObject, MarketoConfig
from switchyard_connectors.marketo.exports import Exports, Extract

_KEY = "marketoGUID"
_ALWAYS = (_KEY, "createdAt", "updatedAt")


class CustomObjects:
    """Reads one custom object. The cursor is a place of its span; see `windows.Place`."""

    def __init__(self, config: MarketoConfig, wanted: CustomObject, marketo: Marketo, exports: Exports) -> None:
        self._since = windows.midnight_of(config.since)
        self._wanted = wanted
        self._marketo = marketo
        self._exports = exports

    def read(self, cursor: Cursor) -> Iterator[Page]:
        """The pages behind the cursor."""
        extract = Extract(f"customobjects/{self._wanted.name}", self._fields(), "updatedAt", {})
        place = windows.looking_back(cursor or {"at": self._since}, self._since)
        yield from windows.read(self._exports, extract, place, windows.end_of(place), lambda at: at)

    def _fields(self) -> Sequence[str]:
        """The fields to ask for.

        Raises:
            PermanentError: the object, or the field that names the person, does not exist.
        """
        path = f"/rest/v1/customobjects/{self._wanted.name}/describe.json"
        found = self._marketo.get(path).result
        if not found:
            raise PermanentError(f"this Marketo instance has no custom object {self._wanted.name}")
        known = [str(each.get("name")) for each in found[0].get("fields") or () if isinstance(each, dict)]
        wanted = [*_ALWAYS, self._wanted.lead, *(self._wanted.fields or known)]
        if missing := sorted(set(wanted) - set(known) - set(_ALWAYS)):
            raise PermanentError(f"the custom object {self._wanted.name} has no field {', '.join(missing)}")
        return list(dict.fromkeys(wanted))
