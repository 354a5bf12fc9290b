"""Static lists as assets: found by id or by name, or created in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from switchyard.api import ListRef, PermanentError
from switchyard.api.records import JSON
from switchyard_connectors.marketo.client import Marketo
from switchyard_connectors.marketo.config import Folder
from switchyard_connectors.marketo.envelope import NO_SUCH
from switchyard_connectors.marketo.memberships import gone

_TAKEN = "709"


class StaticLists:
    """Finds and creates static lists.

    Args:
        folder: where lists are created.
    """

    def __init__(self, marketo: Marketo, folder: Folder) -> None:
        self._marketo = marketo
        self._folder = folder
        self._place: dict[str, JSON] | None = None

    def by_id(self, list_id: str) -> ListRef:
        """A list that is known.

        Raises:
            ListGone: it was deleted.
        """
        answer = self._marketo.get(f"/rest/v1/lists/{quote(list_id, safe='')}.json", expected=(NO_SUCH,))
        if not answer.result:
            raise gone(list_id)
        return _ref(answer.result[0])

    def by_name(self, name: str) -> ListRef | None:
        """The list with exactly this name.

        Raises:
            PermanentError: several programs have one.
        """
        found = self._marketo.get("/rest/asset/v1/staticList/byName.json", params={"name": name}).result
        if len(found) > 1:
            raise PermanentError("several static lists in Marketo have the audience's name; rename the others")
        return _ref(found[0]) if found else None

    def create(self, name: str) -> ListRef:
        """A new list.

        Raises:
            UnknownOutcome: the answer was lost; the next run finds the list, or makes it.
            PermanentError: there is no such folder, or it takes no list.
        """
        form = {"name": name, "folder": json.dumps(self._where())}
        answer = self._marketo.call("POST", "/rest/asset/v1/staticLists.json", form=form, once=True, expected=(_TAKEN,))
        if answer.code == _TAKEN:
            # Somebody may have taken the name a moment ago.
            if ref := self.by_name(name):
                return ref
            raise PermanentError(
                "Marketo refuses to create the list (709); look at the audience's list name and folder"
            )
        if not answer.result:
            raise PermanentError("Marketo created a list and gave no id of it")
        made = _ref(answer.result[0])
        return ListRef(made.id, made.name or name, created=True)

    def _where(self) -> dict[str, JSON]:
        if self._place is None:
            self._place = self._found()
        return self._place

    def _found(self) -> dict[str, JSON]:
        if self._folder.id is not None:
            return {"id": self._folder.id, "type": self._folder.type}
        kind = self._folder.type.lower()
        answer = self._marketo.get(f"/rest/asset/v1/{kind}/byName.json", params={"name": self._folder.name})
        if not answer.result:
            raise PermanentError(f"Marketo has no {kind} {self._folder.name!r} to create lists in; look at folder")
        found = answer.result[0]
        place = found.get("folderId")
        return dict(place) if isinstance(place, dict) else {"id": found.get("id"), "type": self._folder.type}


def _ref(found: Mapping[str, Any]) -> ListRef:
    return ListRef(str(found["id"]), str(found.get("name", "")))
