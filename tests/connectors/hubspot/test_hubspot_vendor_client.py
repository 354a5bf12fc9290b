"""HubSpot's own Python client, as an independent witness that the simulator speaks HubSpot's API."""

from __future__ import annotations

import pytest

from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC, OAuthApp


@pytest.fixture
def simulator():
    with HubSpotSimulator(Account(tier=None)) as simulator:
        yield simulator


@pytest.fixture
def client(simulator):
    hubspot = pytest.importorskip("hubspot")
    return hubspot.HubSpot(access_token=STATIC, host=simulator.url)


def test_contacts_are_created_upserted_read_and_paged(simulator, client):
    from hubspot.crm.contacts import (
        BatchInputSimplePublicObjectBatchInputUpsert,
        BatchReadInputSimplePublicObjectId,
        SimplePublicObjectBatchInputUpsert,
        SimplePublicObjectId,
        SimplePublicObjectInputForCreate,
    )

    made = client.crm.contacts.basic_api.create(
        SimplePublicObjectInputForCreate(properties={"email": "Ann@X.example"}, associations=[])
    )
    inputs = [
        SimplePublicObjectBatchInputUpsert(id_property="email", id=address, properties={"city": "Graz"})
        for address in ("ann@x.example", "bob@x.example")
    ]
    answer = client.crm.contacts.batch_api.upsert(BatchInputSimplePublicObjectBatchInputUpsert(inputs=inputs))
    assert {result.properties["email"]: result.new for result in answer.results} == {
        "ann@x.example": False,
        "bob@x.example": True,
    }
    read = client.crm.contacts.batch_api.read(
        BatchReadInputSimplePublicObjectId(
            properties=["city"],
            properties_with_history=[],
            id_property="email",
            inputs=[SimplePublicObjectId(id="ann@x.example"), SimplePublicObjectId(id="nobody@x.example")],
        )
    )
    assert [(result.id, result.properties["city"]) for result in read.results] == [(made.id, "Graz")]
    assert read.errors[0].context == {"ids": ["nobody@x.example"]}
    page = client.crm.contacts.basic_api.get_page(limit=1)
    rest = client.crm.contacts.basic_api.get_page(limit=1, after=page.paging.next.after)
    assert {row.id for row in (*page.results, *rest.results)} == set(simulator.contacts.records)
    assert rest.paging is None


def test_a_duplicate_address_is_a_conflict_with_the_id(simulator, client):
    from hubspot.crm.contacts import ApiException, SimplePublicObjectInputForCreate

    there = simulator.contacts.add({"email": "ann@x.example"})
    with pytest.raises(ApiException) as refusal:
        client.crm.contacts.basic_api.create(
            SimplePublicObjectInputForCreate(properties={"email": "ann@x.example"}, associations=[])
        )
    assert refusal.value.status == 409
    assert f"Existing ID: {there.id}" in refusal.value.body


def test_lists_are_created_filled_read_deleted_and_restored(simulator, client):
    from hubspot.crm.lists import ListCreateRequest, ListSearchRequest, MembershipChangeRequest

    ids = [simulator.contacts.add({"email": f"p{each}@x.example"}).id for each in range(3)]
    api, members = client.crm.lists.lists_api, client.crm.lists.memberships_api
    made = api.create(ListCreateRequest(object_type_id="0-1", processing_type="MANUAL", name="vip")).list
    assert members.add(made.list_id, [*ids[:2], "999"]).record_ids_missing == ["999"]
    changed = members.add_and_remove(
        made.list_id, MembershipChangeRequest(record_ids_to_add=ids[2:], record_ids_to_remove=ids[:1])
    )
    assert (changed.records_ids_added, changed.record_ids_removed) == (ids[2:], ids[:1])
    assert [row.record_id for row in members.get_page(made.list_id, limit=250).results] == ids[1:]
    assert members.remove(made.list_id, ids[1:2]).record_ids_removed == ids[1:2]
    found = api.do_search(ListSearchRequest(query="vi", count=10, offset=0, additional_properties=["hs_list_size"]))
    assert [(row.name, row.additional_properties["hs_list_size"]) for row in found.lists] == [("vip", "1")]
    api.remove(made.list_id)
    api.restore(made.list_id)
    assert api.get_by_name(object_type_id="0-1", list_name="vip").list.list_id == made.list_id


def test_properties_are_created_and_listed(client):
    from hubspot.crm.properties import PropertyCreate

    made = client.crm.properties.core_api.create(
        "contacts",
        PropertyCreate(name="rfm_cell", label="RFM", type="string", field_type="text", group_name="contactinformation"),
    )
    assert made.name == "rfm_cell"
    names = {row.name for row in client.crm.properties.core_api.get_all("contacts").results}
    assert {"email", "rfm_cell"} <= names


def test_oauth_tokens_are_refreshed(client):
    app = OAuthApp()
    tokens = client.oauth.tokens_api.create(
        grant_type="refresh_token",
        client_id=app.client_id,
        client_secret=app.client_secret,
        refresh_token=app.refresh_token,
    )
    client.access_token = tokens.access_token
    assert client.crm.contacts.basic_api.get_page(limit=1).results == []
