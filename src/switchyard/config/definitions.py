"""The files under `segments/`: each document defines one thing, and a profile transform's key in it says which kind."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from switchyard.api.transforms import Definition
from switchyard.config.document import Document, read
from switchyard.config.errors import NAME_PATTERN, Problems, placed, suggestion

FOLDER = "segments"


@dataclass(frozen=True, slots=True)
class Defined:
    """A definition and the document it was read from."""

    definition: Definition
    document: Document


def read_definitions(folder: Path, keys: Collection[str], problems: Problems) -> list[Defined]:
    """The definitions of a project's folder, by file name; what is wrong with the others is added to `problems`."""
    found: dict[str, Defined] = {}
    files = (path for path in (folder / FOLDER).glob("[!.]*") if path.suffix in (".yaml", ".yml"))
    for path in sorted(files):
        documents: list[Document] = []
        with problems.collect():
            documents = read(path, f"{FOLDER}/{path.name}")
        for document in documents:
            if document.data is None:
                continue
            with problems.collect():
                definition = _definition(document, keys)
                if first := found.get(definition.name):
                    place = f"{first.document.file}:{first.document.position(()).line}"
                    raise placed(f"'{definition.name}' is already defined in {place}", document, ())
                found[definition.name] = Defined(definition, document)
    return list(found.values())


def _definition(document: Document, keys: Collection[str]) -> Definition:
    body, expected = document.data, ", ".join(sorted(keys))
    if not isinstance(body, dict):
        raise placed(f"must be a mapping with one of the keys {expected}", document, ())
    mine = [key for key in keys if key in body]
    if not mine:
        near = next((hint for key in body if "mean" in (hint := suggestion(key, keys))), "")
        raise placed(f"must say what it defines by one of the keys {expected}{near}", document, ())
    if len(mine) > 1:
        raise placed(f"has the keys {' and '.join(mine)}, and defines one thing only", document, (mine[1],))
    name = body[mine[0]]
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        raise placed(
            "must be a name: a lower-case letter, then such letters, digits and underscores", document, (mine[0],)
        )
    return Definition(name=name, body=body, file=document.file)
