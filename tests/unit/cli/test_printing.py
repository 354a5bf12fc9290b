"""What a person sees."""

import io

from hypothesis import given
from hypothesis import strategies as st

from switchyard.cli import printing


def shown(rows: list[dict[str, object]]) -> str:
    out = io.StringIO()
    printing.table(printing.console(out), "Title", ("name", "count", "note"), rows)
    return out.getvalue()


def test_a_column_that_nobody_fills_is_left_out() -> None:
    text = shown([{"name": "a", "count": 12_345}, {"name": "b", "count": None}])
    assert "12,345" in text
    assert "note" not in text


def test_no_rows_are_said() -> None:
    assert shown([]) == "Title: none\n"


@given(st.text(min_size=1, max_size=30))
def test_nothing_steers_the_terminal_or_counts_as_markup(text: str) -> None:
    out = shown([{"name": f"[bold]{text}\x1b[2J", "count": 1}])
    assert "\x1b" not in out
    assert "[bold]" in out
