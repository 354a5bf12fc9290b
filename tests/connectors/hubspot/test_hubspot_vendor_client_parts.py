"""HubSpot's own Python client on the further parts of the simulator: searching, merging, deals, events, webhooks."""

from __future__ import annotations

import pytest

from switchyard.testing.simulator import ManualClock
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC
from switchyard_connectors.hubspot.simulator_hooks import Subscriber, signed


@pytest.fixture
def simulator():
    with HubSpotSimulator(Account(tier=None, custom=("cars",)), clock=ManualClock()) as simulator:
        yield simulator


@pytest.fixture
def client(simulator):
    hubspot = pytest.importorskip("hubspot")
    return hubspot.HubSpot(access_token=STATIC, host=simulator.url)


def test_searching_pages_and_ends_at_10_000(simulator, client):
    from hubspot.crm.contacts import ApiException, Filter, FilterGroup, PublicObjectSearchRequest

    simulator.contacts.seed(10_100)
    changed = {"propertyName": "hs_object_id", "direction": "ASCENDING"}

    def search(after=None):
        known = Filter(property_name="lastmodifieddate", operator="GTE", value="0")
        return client.crm.contacts.search_api.do_search(
            PublicObjectSearchRequest(
                filter_groups=[FilterGroup(filters=[known])],
                sorts=[changed],
                limit=200,
                after=after,
                properties=["email"],
            )
        )

    first = search()
    assert (first.total, len(first.results), first.paging.next.after) == (10_100, 200, "200")
    last = search("9800")
    assert last.results[-1].properties["email"] == "p9999@seed.example"
    with pytest.raises(ApiException) as refusal:
        search("10000")
    assert refusal.value.status == 400


def test_archived_contacts_are_listed_apart(simulator, client):
    ids = [simulator.contacts.add({"email": f"p{each}@x.example"}).id for each in range(3)]
    client.crm.contacts.basic_api.archive(ids[1])
    page = client.crm.contacts.basic_api.get_page(archived=True)
    assert [(row.id, row.archived, row.archived_at is not None) for row in page.results] == [(ids[1], True, True)]
    assert [row.id for row in client.crm.contacts.basic_api.get_page().results] == [ids[0], ids[2]]


def test_merged_contacts_become_a_new_one_that_names_them(simulator, client):
    from hubspot.crm.contacts import PublicMergeInput

    one, two = (simulator.contacts.add({"email": f"{name}@x.example"}).id for name in "ab")
    merged = client.crm.contacts.basic_api.merge(PublicMergeInput(primary_object_id=one, object_id_to_merge=two))
    assert merged.id not in (one, two)
    read = client.crm.contacts.basic_api.get_by_id(two, properties=["hs_merged_object_ids"])
    assert (read.id, read.properties["hs_merged_object_ids"].split(";")) == (merged.id, [one, two])


def test_an_erased_address_cannot_be_used_again(simulator, client):
    from hubspot.crm.contacts import ApiException, PublicGdprDeleteInput, SimplePublicObjectInputForCreate

    simulator.contacts.add({"email": "ann@x.example"})
    for address in ("ann@x.example", "never@x.example"):
        client.crm.contacts.basic_api.purge(PublicGdprDeleteInput(object_id=address, id_property="email"))
        with pytest.raises(ApiException) as refusal:
            client.crm.contacts.basic_api.create(
                SimplePublicObjectInputForCreate(properties={"email": address}, associations=[])
            )
        assert refusal.value.status == 400
    assert not simulator.contacts.records


def test_companies_deals_and_custom_objects_are_created_and_associated(simulator, client):
    from hubspot.crm.associations.v4 import (
        BatchInputPublicDefaultAssociationMultiPost,
        BatchInputPublicFetchAssociationsBatchRequest,
        PublicDefaultAssociationMultiPost,
        PublicFetchAssociationsBatchRequest,
        PublicObjectId,
    )
    from hubspot.crm.companies import SimplePublicObjectInputForCreate as Company
    from hubspot.crm.deals import SimplePublicObjectInputForCreate as Deal
    from hubspot.crm.objects import SimplePublicObjectInputForCreate as Car

    company = client.crm.companies.basic_api.create(Company(properties={"name": "Acme"}, associations=[]))
    deal = client.crm.deals.basic_api.create(Deal(properties={"dealname": "Big", "amount": "12"}, associations=[]))
    simulator.properties_of("cars").define({"name": "plate"})
    car = client.crm.objects.basic_api.create("2-1", Car(properties={"plate": "W-1"}, associations=[]))
    assert simulator.custom["cars"].records[car.id].properties["plate"] == "W-1"
    schemas = client.crm.schemas.core_api.get_all().results
    assert [(schema.object_type_id, schema.name) for schema in schemas] == [("2-1", "cars")]
    ends = {"_from": PublicObjectId(id=deal.id), "to": PublicObjectId(id=company.id)}
    client.crm.associations.v4.batch_api.create_default(
        "deals",
        "companies",
        BatchInputPublicDefaultAssociationMultiPost(inputs=[PublicDefaultAssociationMultiPost(**ends)]),
    )
    read = client.crm.associations.v4.batch_api.get_page(
        "companies",
        "deals",
        BatchInputPublicFetchAssociationsBatchRequest(inputs=[PublicFetchAssociationsBatchRequest(id=company.id)]),
    )
    (row,) = read.results
    assert (row._from.id, [str(each.to_object_id) for each in row.to]) == (company.id, [deal.id])
    assert row.to[0].association_types[0].type_id == 342


def test_custom_events_are_kept_once(simulator, client):
    from hubspot.events.send import (
        ApiException,
        BatchedBehavioralEventHttpCompletionRequest,
        BehavioralEventHttpCompletionRequest,
    )

    simulator.marketing.event_names = {"pe1_entered"}

    def send(name):
        event = BehavioralEventHttpCompletionRequest(
            event_name=name, email="ann@x.example", uuid="u-1", properties={"segment": "buyers"}
        )
        client.events.send.batch_api.send(BatchedBehavioralEventHttpCompletionRequest(inputs=[event]))

    send("pe1_entered")
    send("pe1_entered")
    assert [event["email"] for event in simulator.marketing.sent.values()] == ["ann@x.example"]
    with pytest.raises(ApiException) as refusal:
        send("pe1_unknown")
    assert refusal.value.status == 400


def test_forms_are_listed(simulator, client):
    forms = {simulator.marketing.add_form(f"Form {number}") for number in range(3)}
    first = client.marketing.forms.forms_api.get_page(limit=2)
    rest = client.marketing.forms.forms_api.get_page(limit=2, after=first.paging.next.after)
    assert {form.id for form in (*first.results, *rest.results)} == forms


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_webhooks_are_signed_as_hubspots_client_checks_them(version):
    signature = pytest.importorskip("hubspot.utils.signature").Signature
    body, url, secret = '[{"eventId":1}]', "https://hub.example.com/hooks/crm?x=1", "app-secret"
    headers = signed(Subscriber(url, secret, version), url, body.encode(), 1_700_000_000.0)
    given = headers["x-hubspot-signature-v3" if version == "v3" else "x-hubspot-signature"]
    stamp = headers.get("x-hubspot-request-timestamp")
    assert given == signature.get_signature(secret, body, version, url, "POST", stamp)
