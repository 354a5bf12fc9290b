"""The segment language as a profile transform."""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api.transforms import Definition, Schema
from switchyard_plugins.segmentation import checker, definition, printer, sentence
from switchyard_plugins.segmentation.compiler import Program


class Segmentation:
    """Memberships from rules. Implements `ProfileTransform`, `Explainable` and `Printable`."""

    def compile(self, definitions: Sequence[Definition], schema: Schema) -> Program:
        rules = [definition.read(one) for one in definitions]
        checker.check(rules, schema)
        return Program(rules, schema)

    def explain(self, one: Definition) -> str:
        return sentence.explain(definition.read(one))

    def canonical(self, one: Definition) -> str:
        """The rule's text, and on further lines what else bears on its meaning."""
        rule = definition.read(one)
        lines = [printer.text(rule.condition)]
        if rule.nulls_match:
            lines.append("nulls: match")
        if rule.timezone:
            lines.append(f"timezone: {rule.timezone}")
        return "\n".join(lines)
