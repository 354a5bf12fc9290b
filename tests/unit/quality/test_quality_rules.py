import subprocess
import sys

import pytest
from pydantic import ValidationError

from switchyard_plugins import quality
from switchyard_plugins.quality.rules import QualityConfig


def rules(*written):
    return QualityConfig.model_validate({"attribute.city": list(written)}).root["attribute.city"]


def test_one_rule_needs_no_list_and_quarantines():
    (rule,) = QualityConfig.model_validate({"attribute.city": {"required": True}}).root["attribute.city"]
    assert (rule.required, rule.on_failure) == (True, "quarantine")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "a rule needs one of required, format, range, one_of"),
        ({"on_failure": "flag"}, "a rule needs one of"),
        ({"required": True, "on_failure": "drop_value"}, "a missing value cannot be dropped"),
        ({"format": "email", "name": "x"}, "only a rule with `on_failure: flag` has a name"),
        ({"range": {}}, "give min, max or both"),
        ({"one_of": []}, "at least 1 item"),
        ({"required": False}, "Input should be True"),
        ({"formt": "email"}, "Extra inputs are not permitted"),
        ({"format": "email", "on_failure": "drop"}, "Input should be 'quarantine', 'drop_value' or 'flag'"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule, message):
    with pytest.raises(ValidationError, match=message):
        rules(rule)


def test_a_column_has_at_least_one_rule():
    with pytest.raises(ValidationError):
        rules()


def test_it_is_registered_as_quality():
    (spec,) = quality.switchyard_transforms()
    assert (spec.name, spec.config) == ("quality", QualityConfig)


def test_registering_it_loads_no_arrow():
    script = "import sys, switchyard_plugins.quality as q; q.switchyard_transforms(); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"pyarrow", "duckdb", "numpy"}.isdisjoint(ran.stdout.split())
