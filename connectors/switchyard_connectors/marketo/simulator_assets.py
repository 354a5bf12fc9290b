"""Folders and static lists as assets of the Marketo simulator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.marketo.simulator_instance import Arguments, Instance, asset_iso, instant
from switchyard_connectors.marketo.simulator_lists import Lists, StaticList

GROUP_LISTS = 13
"""The id of the system folder in which lists belong that no program has."""
PAGE, DEFAULT = 200, 20


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, or a program as the folder of its assets (`type` Program)."""

    id: int
    name: str
    parent: int
    created: float
    system: bool = False
    type: str = "Folder"


class Assets:
    """`folder` and `staticList` of the asset API."""

    def __init__(self, instance: Instance, lists: Lists) -> None:
        self.folders: dict[int, Folder] = {}
        self._instance = instance
        self._lists = lists
        made = instance.clock()
        for folder in (
            Folder(1, "Default", 0, made, system=True),
            Folder(12, "Lead Database", 1, made, system=True),
            Folder(GROUP_LISTS, "Group Lists", 12, made, system=True),
        ):
            self.folders[folder.id] = folder

    def add_folder(self, name: str, parent: int = GROUP_LISTS, kind: str = "Folder") -> Folder:
        """Make a folder, as a person inside Marketo would."""
        made = Folder(max(*self.folders, 1_000) + 1, name, parent, self._instance.clock(), type=kind)
        self.folders[made.id] = made
        return made

    def folder_by_name(self, request: Request) -> Answer:
        arguments = Arguments(request)
        kinds = (arguments.text("type"),) if "type" in arguments else ("Folder", "Program")
        found = [each for each in self.folders.values() if each.name == arguments.text("name") and each.type in kinds]
        return self._instance.asset([self._folder(each) for each in found])

    def folder_by_id(self, request: Request) -> Answer:
        text = request.params["folder_id"]
        found = self.folders.get(int(text)) if text.isdigit() else None
        return self._instance.asset([self._folder(found)] if found else [])

    def create_folder(self, request: Request) -> Answer:
        form = request.form()
        parent = self._wanted_folder(form.get("parent", ""))
        name = form.get("name", "")
        if not name or any(each.name == name and each.parent == parent.id for each in self.folders.values()):
            raise self._instance.failure("709", f"Folder with name '{name}' already exists, or has no name")
        return self._instance.asset([self._folder(self.add_folder(name, parent.id))])

    def list_by_name(self, request: Request) -> Answer:
        found = self._lists.named(Arguments(request).text("name"))
        return self._instance.asset([self._list(found)] if found else [])

    def list_by_id(self, request: Request) -> Answer:
        found = self._found(request)
        return self._instance.asset([self._list(found)] if found else [])

    def browse_lists(self, request: Request) -> Answer:
        """A page of `staticLists.json`."""
        arguments = Arguments(request)
        earliest, latest = (self._instant(arguments, name) for name in ("earliestUpdatedAt", "latestUpdatedAt"))
        folder = self._wanted_folder(arguments.text("folder")).id if "folder" in arguments else None
        found = [
            each
            for each in self._lists.lists.values()
            if (folder is None or each.folder == folder)
            and (earliest is None or each.updated >= earliest)
            and (latest is None or each.updated <= latest)
        ]
        start, size = int(arguments.text("offset") or 0), arguments.size("maxReturn", PAGE, DEFAULT)
        return self._instance.asset([self._list(each) for each in found[start : start + size]])

    def create_list(self, request: Request) -> Answer:
        """Create a list of a form: `folder` as JSON, `name`, `description`."""
        form = request.form()
        name = form.get("name", "")
        if not name:
            raise self._instance.failure("1002", "Missing value for required parameter 'name'")
        folder = self._wanted_folder(form.get("folder", ""))
        if self._lists.named(name) is not None:
            raise self._instance.failure("709", f"Static list with the same name '{name}' already exists")
        made = self._lists.add(name, folder.id, folder.type, form.get("description", ""))
        made.program = folder.name if folder.type == "Program" else None
        return self._instance.asset([self._list(made)])

    def change_list(self, request: Request) -> Answer:
        found, form = self._must(request), request.form()
        if form.get("name") and self._lists.named(form["name"]) not in (None, found):
            raise self._instance.failure("709", "Static list with the same name already exists")
        found.name, found.description = form.get("name", found.name), form.get("description", found.description)
        found.updated = self._instance.clock()
        return self._instance.asset([self._list(found)])

    def delete_list(self, request: Request) -> Answer:
        found = self._must(request)
        if found.in_use:
            raise self._instance.failure("709", f"Static list '{found.name}' is in use and cannot be deleted")
        del self._lists.lists[found.id]
        return self._instance.asset([{"id": found.id}])

    def dump(self) -> list[dict[str, Any]]:
        """All folders, as JSON."""
        return [asdict(each) for each in self.folders.values()]

    def load(self, state: list[Mapping[str, Any]]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.folders = {each["id"]: Folder(**each) for each in state}

    def _must(self, request: Request) -> StaticList:
        found = self._found(request)
        if found is None:
            raise self._instance.failure("702", f"Static list '{request.params['list_id']}' not found")
        return found

    def _found(self, request: Request) -> StaticList | None:
        text = request.params["list_id"]
        return self._lists.lists.get(int(text)) if text.isdigit() else None

    def _wanted_folder(self, text: str) -> Folder:
        try:
            wanted = json.loads(text)
            found = self.folders.get(int(wanted["id"]))
        except (ValueError, KeyError, TypeError):
            raise self._instance.failure("701", "folder must be JSON with an id and a type") from None
        if found is None or found.type != wanted.get("type"):
            raise self._instance.failure("711", f"Folder {text} not found")
        return found

    def _instant(self, arguments: Arguments, name: str) -> float | None:
        try:
            return instant(arguments.text(name)) if name in arguments else None
        except ValueError:
            raise self._instance.failure("704", f"Invalid date format of '{name}'") from None

    def _folder(self, folder: Folder) -> dict[str, Any]:
        path, up = [folder.name], folder
        while (above := self.folders.get(up.parent)) is not None:
            path.append(above.name)
            up = above
        return {
            "id": folder.id,
            "name": folder.name,
            "description": "",
            "createdAt": asset_iso(folder.created),
            "updatedAt": asset_iso(folder.created),
            "url": f"https://app.marketo.example/#{'PG' if folder.type == 'Program' else 'MF'}{folder.id}A1",
            "folderId": {"id": folder.id, "type": folder.type},
            "folderType": "Marketing Program" if folder.type == "Program" else "Marketing Folder",
            "parent": {"id": folder.parent, "type": "Folder"},
            "path": "/" + "/".join(reversed(path)),
            "isArchive": False,
            "isSystem": folder.system,
            "accessZoneId": 1,
            "workspace": "Default",
        }

    def _list(self, entry: StaticList) -> dict[str, Any]:
        url = f"https://app.marketo.example/#ST{entry.id}A1"
        return {
            "id": entry.id,
            "name": entry.name,
            "description": entry.description,
            "createdAt": asset_iso(entry.created),
            "updatedAt": asset_iso(entry.updated),
            "folder": {"id": entry.folder, "type": entry.folder_type},
            "url": url,
            "computedUrl": url,
            "workspace": "Default",
        }
