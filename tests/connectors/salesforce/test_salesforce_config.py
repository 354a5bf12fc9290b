from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from switchyard_connectors.salesforce import LISTS, SOURCE
from switchyard_connectors.salesforce.config import ObjectConfig, SalesforceConfig, is_trusted
from switchyard_connectors.salesforce.streams import OBJECTS, STREAMS

from .conftest import SIGN_IN

ACME = "https://acme.my.salesforce.com"


def config(**given: Any) -> SalesforceConfig:
    return SalesforceConfig(**{"base_url": ACME} | SIGN_IN | given)


@pytest.mark.parametrize(
    "url",
    [
        "https://login.salesforce.com",
        "https://test.salesforce.com",
        "http://acme.my.salesforce.com",
        "https://acme.my.salesforce.com/services",
        "https://evil.example/.salesforce.com",
        "https://salesforce.com",
        "https://user:pw@acme.my.salesforce.com",
        "acme",
        "https://acme.my.salesforce.com:x",
    ],
)
def test_only_a_my_domain_is_an_address(url):
    with pytest.raises(ValidationError, match="My Domain"):
        config(base_url=url)


@pytest.mark.parametrize("url", [f"{ACME}/", "https://acme--dev.sandbox.my.salesforce.com", "http://127.0.0.1:8080"])
def test_a_my_domain_a_sandbox_and_a_simulator_are_addresses(url):
    assert config(base_url=url).base_url == url.rstrip("/")


def test_inside_addresses_are_instances_only_of_orgs_inside():
    assert is_trusted("http://127.0.0.1:1", inside=True)
    assert not is_trusted("http://127.0.0.1:1", inside=False)
    assert not is_trusted("https://10.0.0.1", inside=False)


@pytest.mark.parametrize(
    "ways", [{}, SIGN_IN | {"refresh": {"client_id": "a", "refresh_token": "b"}}], ids=["none", "two"]
)
def test_there_is_one_way_to_sign_in(ways):
    with pytest.raises(ValidationError, match="give one of client_credentials, jwt and refresh"):
        SalesforceConfig(**{"base_url": ACME} | ways)


@pytest.mark.parametrize("name", ["Loyalty__c WHERE x", "a'b", "", "1a", "Ä"])
def test_names_cannot_carry_a_query(name):
    with pytest.raises(ValidationError):
        ObjectConfig(name=name, where=None)


def test_an_object_is_named_once():
    with pytest.raises(ValidationError, match="named twice"):
        config(objects=[{"name": "Visit__c"}, {"name": "visit__c"}])


def test_a_short_push_token_is_refused():
    with pytest.raises(ValidationError, match="at least 16 characters"):
        config(push={"token": "short", "organization_id": "00D5g0000000001"})


def test_old_versions_without_honest_upsert_results_are_refused():
    with pytest.raises(ValidationError):
        config(version="v52.0")


def test_custom_objects_become_streams_and_standard_ones_stay_as_they_are():
    asked = config(objects=[{"name": "Visit__c"}, {"name": "Contact", "fields": ["Email"]}])
    assert SOURCE.objects is not None
    assert [stream.name for stream in SOURCE.objects(asked)] == [*OBJECTS, "visit__c"]


@pytest.mark.parametrize(
    ("read", "streams"),
    [(None, list(OBJECTS)), ((), ["visit__c"]), (("leads", "contacts"), ["contacts", "leads", "visit__c"])],
)
def test_a_connection_reads_what_it_is_told_to(read, streams):
    asked = config(read=read, objects=[{"name": "Visit__c"}] if read is not None else [])
    assert [stream.name for stream in SOURCE.objects(asked)] == streams
    with pytest.raises(ValidationError):
        config(read=["contact"])


def test_calls_are_counted_per_org_and_limited_by_the_day():
    for spec in (SOURCE, LISTS):
        assert spec.account is not None and spec.limits is not None
        assert spec.account(config()) == ACME
        assert spec.limits(config(daily_calls=5_000)).daily == 5_000
        assert not spec.limits(config()).windows


def test_nothing_is_received_unless_it_is_asked_for():
    assert SOURCE.receiver is not None
    assert SOURCE.receiver(config()) is None
    assert SOURCE.pulled
    assert all(stream.pushed for stream in STREAMS)
