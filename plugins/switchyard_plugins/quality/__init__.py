"""Rules on mapped values: required, format, range, one of; and what happens to a value that breaks one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from switchyard.api import hookimpl
from switchyard.api.transforms import RecordTransformSpec, TransformSpec
from switchyard_plugins.quality.rules import QualityConfig

if TYPE_CHECKING:
    from switchyard.api.transforms import RecordTransform


def _build(config: QualityConfig) -> RecordTransform:
    # Arrow is loaded by who runs rules, not by who lists plugins.
    from switchyard_plugins.quality.transform import Quality

    return Quality(config)


@hookimpl
def switchyard_transforms() -> Sequence[TransformSpec]:
    return (
        RecordTransformSpec(
            name="quality",
            config=QualityConfig,
            build=_build,
            title="rules on mapped values: required, format, range, one of",
        ),
    )
