"""The configuration of `quality`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

Value: TypeAlias = int | float | str
OnFailure: TypeAlias = Literal["quarantine", "drop_value", "flag"]
CHECKS = ("required", "format", "range", "one_of")


class Range(BaseModel):
    """Both ends belong to the range. Instants and days are written as ISO 8601 text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: Value | None = None
    max: Value | None = None

    @model_validator(mode="after")
    def _has_an_end(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self


class Rule(BaseModel):
    """One rule for one column. A missing value breaks `required` and nothing else.

    Args:
        required: the value must be there; blank text counts as missing.
        format: `email`, `date` (YYYY-MM-DD), or a regular expression (RE2) that the whole text must match.
        range: the least and the greatest value allowed.
        one_of: the values allowed.
        on_failure: quarantine the record, drop the value, or flag the record.
        name: with `flag`, names the boolean column `flag.<name>`; without it, the rule's column does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    required: Literal[True] | None = None
    format: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    range: Range | None = None
    one_of: Annotated[list[Value], Field(min_length=1)] | None = None
    on_failure: OnFailure = "quarantine"
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Rule:
        if all(getattr(self, check) is None for check in CHECKS):
            raise ValueError(f"a rule needs one of {', '.join(CHECKS)}")
        if self.required and self.on_failure == "drop_value":
            raise ValueError("a missing value cannot be dropped; quarantine or flag it")
        if self.name is not None and self.on_failure != "flag":
            raise ValueError("only a rule with `on_failure: flag` has a name")
        return self


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Rules: TypeAlias = Annotated[
    list[Rule], Field(min_length=1), BeforeValidator(_as_list, json_schema_input_type=Rule | list[Rule])
]


class QualityConfig(RootModel[dict[str, Rules]]):
    """Column (`identifier.email`, `attribute.city`, `event.order_completed.total`) → its rule or rules.

    Rules run in the order written, each on what those before it left.
    """

    model_config = ConfigDict(frozen=True)
