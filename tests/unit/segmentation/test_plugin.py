from __future__ import annotations

import subprocess
import sys

from switchyard.api.transforms import Definition, Explainable, Printable, ProfileTransformSpec
from switchyard_plugins import segmentation


def only_spec() -> ProfileTransformSpec:
    (spec,) = segmentation.switchyard_transforms()
    assert isinstance(spec, ProfileTransformSpec)
    return spec


def test_a_file_is_recognised_by_its_key() -> None:
    assert (only_spec().name, only_spec().key, only_spec().gives) == ("segmentation", "segment", "membership")


def test_the_transform_explains_and_prints() -> None:
    transform = only_spec().build()
    assert isinstance(transform, Explainable)
    assert isinstance(transform, Printable)


def test_registering_imports_neither_the_parser_nor_the_compiler() -> None:
    code = "import sys, switchyard_plugins.segmentation as s; s.switchyard_transforms(); "
    code += "print([name for name in ('lark', 'ibis', 'duckdb', 'pyarrow') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_canonical_text_says_what_bears_on_the_meaning_and_no_more() -> None:
    transform = only_spec().build()
    assert isinstance(transform, Printable)
    body = {
        "where": "city = 'Paris'",
        "name": "Parisians",
        "description": "of all ages",
        "leave": {"min_stay": "1 day"},
    }
    assert transform.canonical(Definition("s", body)) == 'city = "Paris"'
    body |= {"nulls": "match", "timezone": "Europe/Paris"}
    assert transform.canonical(Definition("s", body)) == 'city = "Paris"\nnulls: match\ntimezone: Europe/Paris'
