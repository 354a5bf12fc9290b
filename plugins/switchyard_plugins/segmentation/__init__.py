"""The segment language: people who fulfil a rule, exactly, at every instant."""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api import hookimpl
from switchyard.api.transforms import ProfileTransform, ProfileTransformSpec, TransformSpec
from switchyard_plugins.segmentation.schema import SCHEMA


def _build() -> ProfileTransform:
    # The parser and the compiler are heavy; most commands need neither.
    from switchyard_plugins.segmentation.transform import Segmentation

    return Segmentation()


@hookimpl
def switchyard_transforms() -> Sequence[TransformSpec]:
    return (
        ProfileTransformSpec(
            name="segmentation", key="segment", build=_build, title="Segments by rules", schema=SCHEMA
        ),
    )
