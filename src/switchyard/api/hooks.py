"""The hooks a plugin may implement, in three families that are never mixed.

*contribute*: return specs; pure, no I/O. *decide*: the first answer that is not None wins. *observe*: return
nothing; each is called in a try of its own, so an observer cannot fail a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pluggy

from switchyard.api.connectors import ConnectorSpec
from switchyard.api.transforms import TransformSpec

PROJECT = "switchyard"
hookimpl = pluggy.HookimplMarker(PROJECT)
_hookspec = pluggy.HookspecMarker(PROJECT)


@_hookspec
def switchyard_connectors() -> Sequence[ConnectorSpec]:  # type: ignore[empty-body]  # a hook has no body
    """Contribute connectors."""


@_hookspec
def switchyard_transforms() -> Sequence[TransformSpec]:  # type: ignore[empty-body]  # a hook has no body
    """Contribute record transforms and profile transforms."""


@_hookspec(firstresult=True)
def switchyard_resolve_secret(scheme: str, reference: str) -> str | None:
    """Decide what `${scheme:reference}` stands for; None where this plugin does not know the scheme."""


@_hookspec
def switchyard_run_started(kind: str, name: str) -> None:
    """Observe that a run starts: `kind` is "sync", "evaluate" or "deliver", `name` what it is of."""


@_hookspec
def switchyard_run_finished(kind: str, name: str, counts: Mapping[str, int], error: str | None) -> None:
    """Observe that a run ended, with what it counted, and the error where it failed."""


@_hookspec
def switchyard_membership_changed(segment: str, entered: int, left: int) -> None:
    """Observe that an evaluation moved people: how many entered and left the segment."""
