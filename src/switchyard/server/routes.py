"""Routes: which connection takes what is posted to which path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from switchyard.api.receiving import Receiver
from switchyard.app.project import Project

HOOKS = "/hooks/"

Taker = tuple[str, Receiver]
"""A connection and its receiver."""


@runtime_checkable
class Routed(Protocol):
    """A receiver with paths of its own, which connections of its kind share; it is not found below `/hooks`.

    Where several connections have a path, they are asked one after the other, until one does not answer 401.
    """

    @property
    def paths(self) -> Sequence[str]:
        """Paths such as `/v1/track`."""


@runtime_checkable
class Sized(Protocol):
    """A receiver that takes bodies of another size than `Settings.body`."""

    @property
    def max_bytes(self) -> int:
        """The largest body as sent."""


@dataclass(frozen=True)
class Routes:
    """Who takes what.

    Args:
        takers: path → who is asked, in this order.
        sizes: path → its largest body, where its receivers say.
        open_paths: those that a page of another origin may post to.
    """

    takers: Mapping[str, Sequence[Taker]]
    sizes: Mapping[str, int] = field(default_factory=dict)
    open_paths: frozenset[str] = frozenset()


def routes(receivers: Mapping[str, Receiver]) -> Routes:
    """The routes to the receivers of these connections."""
    takers: dict[str, list[Taker]] = {}
    sizes: dict[str, int] = {}
    shared: set[str] = set()
    for connection, receiver in receivers.items():
        paths: Sequence[str] = [HOOKS + connection]
        if isinstance(receiver, Routed):
            paths = receiver.paths
            shared.update(paths)
        for path in paths:
            takers.setdefault(path, []).append((connection, receiver))
            if isinstance(receiver, Sized):
                sizes[path] = max(receiver.max_bytes, sizes.get(path, 0))
    return Routes(takers, sizes, frozenset(shared))


def routes_of(project: Project) -> Routes:
    """The routes of a project.

    Raises:
        ConfigError: the configuration of a connection that is pushed to is wrong, or lacks its secret.
    """
    built = {
        connection: spec.receiver(project.config(connection))
        for connection, spec in project.sources.items()
        if spec.receiver is not None
    }
    return routes({connection: receiver for connection, receiver in built.items() if receiver is not None})
