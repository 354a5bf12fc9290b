"""What is said of lists that are not what their segments are."""

from __future__ import annotations

from typing import Any

import pytest

from switchyard.cli.faults import of_verified

PART = {"audience": "a", "list": "L", "missing": 0, "extra": 0, "settling": 0, "blocked": 0}


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        ({"missing": 2}, 1, "2 missing and 0 extra on the list 'L'; repair it with: switchyard deliver a"),
        ({"extra": 40, "blocked": 40}, 1, "takes 40 people off, more than the guard lets pass"),
        ({"extra": 40, "blocked": 40}, 1, "switchyard deliver a --confirm-removals"),
        ({"settling": 3}, 4, "does not show 3 confirmed changes yet; look again later: switchyard audiences verify a"),
        ({"error": "no", "exit_code": 3}, 3, "a: no"),
    ],
)
def test_a_mend_is_named_that_will_be_carried_out(found: dict[str, Any], code: int, said: str) -> None:
    ((worst, message),) = of_verified({"audiences": [PART | found]})
    assert worst == code
    assert said in message


def test_an_exact_list_is_no_fault() -> None:
    assert of_verified({"audiences": [PART]}) == []
