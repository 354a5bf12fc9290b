"""A connector on the bench: built anew for each check, read, failed, and looked at from all sides. No pytest here."""

from __future__ import annotations

import copy
import json
import re
import threading
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, SecretBytes, SecretStr

from switchyard.api import ConnectorConfig, ConnectorSpec, Limits, Page, Stream
from switchyard.api.records import BYTE, JSON, LINE
from switchyard.testing.builders import SimpleContext
from switchyard.testing.wire import Api, Fault, Wire

HOSTILE_RECORDS: Sequence[Mapping[str, JSON]] = (
    {
        "emoji": "Zoë 🧑🏽‍🚀",
        "quotes": 'O\'Hara, "Ann"; DROP',
        "right to left": "\u202eمرحبا",
        "name with spaces": "x",
        "beyond double": 2**53 + 1,
    },
    {},
)
"""Records for the fixture `hostile`: give each the key, and what else the vendor always sends, and serve them."""

Setting: TypeAlias = "Mapping[str, JSON] | Api"
"""Another `config` or another `api`."""

_SECRET_NAME = re.compile(r"token|secret|password|passphrase|api_?key|credential", re.IGNORECASE)


@dataclass(frozen=True)
class Bench:
    """A connector on the bench: the spec, its configuration as written, the vendor, and a folder."""

    spec: ConnectorSpec
    config: Mapping[str, JSON]
    api: Api | None
    folder: Path

    def checked(self) -> ConnectorConfig:
        """The configuration as its model."""
        return self.spec.config.model_validate(copy.deepcopy(dict(self.config)))

    @property
    def limits(self) -> Limits:
        """What the vendor allows."""
        return self.spec.limits(self.checked()) if self.spec.limits else Limits()

    def among(self, setting: Setting) -> Bench:
        """The same connector with another configuration, or another vendor."""
        config, api = (self.config, setting) if callable(setting) else (setting, self.api)
        return Bench(self.spec, config, api, self.folder)

    @contextmanager
    def built(self, fault: Fault | None = None) -> Iterator[Built]:
        """The connector, built anew, with its context; everything it opened is closed afterwards."""
        config = self.checked()
        wire = Wire(self.api, fault)
        context = SimpleContext(self.folder, transport=wire, limits=self.limits)
        try:
            yield Built(self.spec.build(config, context), context, wire)
        finally:
            context.close()
            wire.close()

    def read(self, stream: Stream, done: Sequence[Page] = ()) -> list[Page]:
        """All pages of the stream behind those that are done and committed."""
        with self.built() as built:
            for page in done:
                built.context.commit(stream.name, page)
            return list(built.connector.read(stream, copy.deepcopy(done[-1].cursor) if done else None))


@dataclass(frozen=True)
class Built:
    """A connector with what it was built from."""

    connector: Any
    context: SimpleContext
    wire: Wire


def secrets_of(value: Any, name: str = "") -> Iterator[str]:
    """Values of a secret type, and texts under a name that says they are secret."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode(errors="replace")
    elif isinstance(value, str):
        if value and _SECRET_NAME.search(name):
            yield value
    elif isinstance(value, BaseModel):
        yield from secrets_of(value.__dict__, name)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secrets_of(inner, str(key))
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from secrets_of(inner, name)


def records_of(pages: Iterable[Page]) -> Iterator[Mapping[str, Any]]:
    """The records of pages of either shape, as dicts."""
    for page in pages:
        rows = page.records if isinstance(page.records, Sequence) else page.records.to_pylist()
        for row in rows:
            yield {name: value for name, value in row.items() if name not in (LINE, BYTE)}


def keys_of(stream: Stream, pages: Iterable[Page]) -> Iterator[Hashable]:
    """The keys of the records that have one."""
    for record in records_of(pages):
        key = tuple(record.get(name) for name in stream.key)
        if None not in key:
            yield key


def texts_of(pages: Iterable[Page]) -> Counter[str]:
    """The records, comparable, and how often each came."""
    return Counter(json.dumps(record, sort_keys=True, default=str) for record in records_of(pages))


def leaves_of(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value inside, with the name of the nearest field around it."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves_of(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves_of(inner, name)
    else:
        yield name, value


def is_json(value: Any) -> bool:
    """Whether JSON gives the value back as it is."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def held() -> set[str]:
    """Open files, connections and running threads of this process, as far as the system tells."""
    threads = {f"thread {thread.name}" for thread in threading.enumerate()}
    handles = Path("/proc/self/fd")
    if not handles.exists():
        return threads
    found = set(threads)
    for handle in list(handles.iterdir()):
        try:
            found.add(f"{handle.name} -> {handle.readlink()}")
        except OSError:  # the one that listed the folder
            continue
    return found
