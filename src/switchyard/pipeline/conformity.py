"""Types that stay: a property or attribute keeps the type with which it first came."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api.errors import ConfigError, PermanentError
from switchyard.eventlog.types import conform, type_text

Types = Mapping[str, str]
"""Property or attribute → type text."""


def events(name: str, table: pa.Table, registered: Types) -> tuple[pa.Table, dict[str, str]]:
    """The events with their properties in the types registered for them, and the types that are new.

    A column without a single value says nothing of its type: it is left out where it is not registered yet. What is
    not a number (NaN, infinity) becomes missing, since engines order it differently.

    Raises:
        ConfigError: values came whose type does not fit the one registered.
    """
    types: dict[str, str] = {}
    for column in [each for each in table.column_names if not each.startswith("_")]:
        if column not in registered and table[column].null_count == table.num_rows:
            table = table.drop_columns([column])
            continue
        if pa.types.is_floating(table[column].type):
            finite = pc.if_else(pc.is_finite(table[column]), table[column], pa.scalar(None, table[column].type))
            table = table.set_column(table.column_names.index(column), column, finite)
        types[column] = registered.get(column) or type_text(table[column].type)
    try:
        return conform(table, types), {column: text for column, text in types.items() if column not in registered}
    except PermanentError as error:
        raise ConfigError(f"{name}: {error}") from error


def attributes(records: pa.Table, registered: Types) -> dict[str, str]:
    """The types of attributes that came for the first time with these mapped records.

    Raises:
        ConfigError: an attribute came with values of another type than before.
    """
    new: dict[str, str] = {}
    for column in [each for each in records.column_names if each.startswith("attribute.")]:
        name = column.removeprefix("attribute.")
        if records[column].null_count == records.num_rows:
            continue
        text = type_text(records[column].type)
        if registered.get(name, text) != text:
            raise ConfigError(
                f"attribute '{name}' was {registered[name]} and comes as {text} now; cast it in the mapping, "
                "or give it another name"
            )
        if name not in registered:
            new[name] = text
    return new
