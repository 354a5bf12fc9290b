from __future__ import annotations

import pytest
from pydantic import ValidationError

from switchyard_connectors.marketo import CAMPAIGNS, LISTS, SOURCE, MarketoConfig
from switchyard_connectors.marketo.config import endpoint


@pytest.mark.parametrize(
    "pasted",
    [
        "123-ABC-456",
        "https://123-ABC-456.mktorest.com",
        "https://123-abc-456.mktorest.com/rest",
        "https://123-ABC-456.mktorest.com/rest/",
        "https://123-ABC-456.mktorest.com//rest/v1",
        "https://123-ABC-456.mktorest.com/identity",
        "123-ABC-456.mktorest.com/bulk/v1",
        "  https://123-ABC-456.MKTOREST.com/identity/oauth/token ",
    ],
)
def test_whatever_is_pasted_is_one_base(pasted):
    assert endpoint(pasted) == "https://123-abc-456.mktorest.com"


@pytest.mark.parametrize(
    "pasted",
    [
        "https://123-ABC-456.mktorest.com.evil.example",
        "https://evil.example/123-ABC-456.mktorest.com",
        "https://123-ABC-456.mktorest.com@evil.example",
        "http://123-ABC-456.mktorest.com",
        "https://mktorest.com",
        "https://123-ABC-456.mktorest.com/rest?access_token=x",
        "",
    ],
)
def test_no_other_host_gets_the_secret(pasted):
    with pytest.raises(ValueError):
        endpoint(pasted)


def config(**given):
    return MarketoConfig(**{"base_url": "123-ABC-456", "client_id": "i", "client_secret": "s3cret", **given})


def test_the_secret_shows_nowhere():
    assert "s3cret" not in repr(config())
    with pytest.raises(ValidationError) as refused:
        config(client_secret="s3cret", calls_per_window=101)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("spec", [SOURCE, LISTS, CAMPAIGNS])
def test_the_limits_are_those_of_the_instance(spec):
    limits = spec.limits(config(calls_per_window=100, concurrency=10))
    assert limits.daily == 50_000
    assert limits.day_zone == "America/Chicago"
    assert limits.concurrency == 10
    in_20_s = sum(window.calls * max(1, 20 // window.seconds) for each in limits.windows.values() for window in each)
    assert in_20_s <= 100
    assert spec.account(config(client_id="other")) == spec.account(config())


def test_streams_are_those_asked_for():
    asked = SOURCE.objects(config(lists=[1], programs=[2], changes=["email"], custom_objects=[{"name": "order_c"}]))
    assert [each.name for each in asked] == ["lead_changes", "list_members", "program_members", "order_c"]
    assert SOURCE.objects(config()) == ()
