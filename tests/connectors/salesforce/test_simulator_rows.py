"""Records of the simulator, one at a time and in collections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.connectors.salesforce.simulator_client import Client, code, codes, records, signed_in

CREATE, BY_EXT = "/composite/sobjects", "/composite/sobjects/Contact/Ext__c"


@pytest.fixture
def client() -> Iterator[Client]:
    with signed_in() as client:
        yield client


def test_one_record_is_created_read_changed_and_deleted(client):
    made = client.post("/sobjects/Contact", {"LastName": " Ann ", "Email": "Ann@X.example"})
    assert made.status_code == 201
    ann = made.json()["id"]
    assert (len(ann), ann[:3]) == (18, "003")
    client.clock.advance(60)
    assert client.patch(f"/sobjects/Contact/{ann[:15]}", {"FirstName": "Ann", "Phone": "1"}).status_code == 204
    read = client.get(f"/sobjects/Contact/{ann}", fields="Name,Email,CreatedDate,SystemModstamp").json()
    assert (read["Name"], read["Email"]) == ("Ann Ann", "ann@x.example")
    assert (read["CreatedDate"], read["SystemModstamp"]) == (
        "2026-09-21T14:13:20.000+0000",
        "2026-09-21T14:14:20.000+0000",
    )
    assert client.delete(f"/sobjects/Contact/{ann}").status_code == 204
    assert code(client.get(f"/sobjects/Contact/{ann}")) == (404, "ENTITY_IS_DELETED")
    assert code(client.delete(f"/sobjects/Contact/{ann}")) == (404, "ENTITY_IS_DELETED")
    assert code(client.get("/sobjects/Contact/0035g0000000099AAA")) == (404, "NOT_FOUND")


def test_an_external_id_creates_then_changes_and_is_read_by(client):
    path = "/sobjects/Contact/Ext__c/e%2F1"
    first, second = client.patch(path, {"LastName": "Ann"}), client.patch(path, {"LastName": "Anna"})
    assert (first.status_code, first.json()["created"]) == (201, True)
    assert (second.status_code, second.json()["created"]) == (200, False)
    assert client.get(path).json()["LastName"] == "Anna"


def test_an_external_id_of_several_records_is_300_with_their_addresses(client):
    ids = [client.simulator.add("Contact", LastName=name, Code__c="c") for name in ("Ann", "Bob")]
    answer = client.patch("/sobjects/Contact/Code__c/c", {"LastName": "X"})
    assert answer.status_code == 300
    assert answer.json() == [f"/services/data/v62.0/sobjects/Contact/{each}" for each in ids]
    rows = records("Contact", [{"Code__c": "c", "LastName": "X"}])
    assert codes(client.patch("/composite/sobjects/Contact/Code__c", rows)) == ["DUPLICATE_EXTERNAL_ID"]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"FirstName": "x"}, "REQUIRED_FIELD_MISSING"),
        ({"LastName": ""}, "REQUIRED_FIELD_MISSING"),
        ({"LastName": "x", "Foo": 1}, "INVALID_FIELD"),
        ({"LastName": "x", "IsDeleted": True}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"LastName": "x", "Email": "nobody"}, "INVALID_EMAIL_ADDRESS"),
        ({"LastName": "x" * 81}, "STRING_TOO_LONG"),
        ({"LastName": "x", "Ext__c": "taken"}, "DUPLICATE_VALUE"),
        ({"LastName": "x", "Score__c": "many"}, "JSON_PARSER_ERROR"),
        ({"LastName": "x", "HasOptedOutOfEmail": "perhaps"}, "JSON_PARSER_ERROR"),
        ({"LastName": "x", "Birthdate": "5.1.1990"}, "JSON_PARSER_ERROR"),
        ({"LastName": "x", "AccountId": "0015g0000000099AAA"}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"LastName": "x", "AccountId": "7015g0000000099AAA"}, "FIELD_INTEGRITY_EXCEPTION"),
        ({"LastName": "x", "Account": {"Ext__c": "none"}}, "INVALID_FIELD"),
    ],
)
def test_a_refused_row_hides_nothing_of_its_neighbours(client, row, error):
    client.simulator.add("Contact", LastName="Taken", Ext__c="taken")
    answer = client.post(CREATE, records("Contact", [{"LastName": "A"}, row, {"LastName": "B"}]))
    assert codes(answer) == [None, error, None]
    assert client.values("SELECT LastName FROM Contact") == ["Taken", "A", "B"]
    assert code(client.post("/sobjects/Contact", row)) == (400, error)


def test_an_upsert_answers_in_order_and_says_what_is_new(client):
    client.simulator.add("Contact", LastName="Old", Ext__c="b")
    rows = [{"Ext__c": each, "LastName": each.upper()} for each in "abc"]
    answer = client.patch(BY_EXT, records("Contact", rows)).json()
    assert [row["created"] for row in answer] == [True, False, True]
    assert [client.simulator.row(row["id"])["LastName"] for row in answer] == ["A", "B", "C"]


def test_a_failed_upsert_may_still_carry_the_id(client):
    there = client.simulator.add("Contact", LastName="Old", Ext__c="b")
    body = records("Contact", [{"Ext__c": "b", "Email": "nobody"}])
    new, old = client.patch(BY_EXT, body), client.patch(f"/services/data/v52.0{BY_EXT}", body)
    assert codes(new) == codes(old) == ["INVALID_EMAIL_ADDRESS"]
    assert new.json()[0]["id"] == there
    assert "id" not in old.json()[0]


def test_one_external_id_twice_in_a_call_fails_both_rows(client):
    rows = [{"Ext__c": each, "LastName": "x"} for each in ("a", "A", "b", "")]
    answer = client.patch(BY_EXT, records("Contact", rows))
    assert codes(answer) == ["DUPLICATE_EXTERNAL_ID", "DUPLICATE_EXTERNAL_ID", None, "MISSING_ARGUMENT"]


def test_all_or_none_takes_everything_back(client):
    there = client.simulator.add("Contact", LastName="Old", Ext__c="b")
    rows = [{"Ext__c": "a", "LastName": "New"}, {"Ext__c": "b", "LastName": "Other"}, {"Ext__c": "c"}]
    answer = client.patch(BY_EXT, {**records("Contact", rows), "allOrNone": True})
    assert codes(answer) == ["ALL_OR_NONE_OPERATION_ROLLED_BACK"] * 2 + ["REQUIRED_FIELD_MISSING"]
    assert client.values("SELECT LastName FROM Contact") == ["Old"]
    assert client.simulator.row(there)["LastName"] == "Old"
    assert client.patch(BY_EXT, records("Contact", rows[:1])).json()[0]["created"] is True


def test_updates_and_deletes_of_what_is_not_there(client):
    gone = client.simulator.add("Contact", LastName="Gone")
    client.simulator.life.delete(gone)
    unknown = "0035g0000000099AAA"
    rows = [{"Id": gone, "LastName": "x"}, {"Id": unknown, "LastName": "x"}, {"LastName": "x"}]
    assert codes(client.patch(CREATE, records("Contact", rows))) == [
        "ENTITY_IS_DELETED",
        "INVALID_CROSS_REFERENCE_KEY",
        "MISSING_ARGUMENT",
    ]
    answer = client.delete(CREATE, ids=f"{gone},{unknown},junk", allOrNone="false")
    assert codes(answer) == ["ENTITY_IS_DELETED", "NOT_FOUND", "MALFORMED_ID"]


def test_collections_have_limits(client):
    rows = [{"LastName": "x"}] * 201
    assert client.post(CREATE, records("Contact", rows[:200])).status_code == 200
    assert code(client.post(CREATE, records("Contact", rows))) == (400, "EXCEEDED_ID_LIMIT")
    assert code(client.delete(CREATE, ids=",".join(["0035g0000000001AAA"] * 201)))[0] == 400
    assert code(client.post(CREATE, {"records": "none"})) == (400, "JSON_PARSER_ERROR")
    assert client.http.post("/services/data/v62.0/composite/sobjects", content=b"{").json()[0]["errorCode"] == (
        "JSON_PARSER_ERROR"
    )


def test_a_collection_is_read_in_order_with_null_for_what_is_missing(client):
    ids = [client.simulator.add("Contact", LastName=name) for name in ("Ann", "Bob")]
    answer = client.post(
        "/composite/sobjects/Contact", {"ids": [ids[1], "0035g0000000099AAA", ids[0]], "fields": ["LastName"]}
    ).json()
    assert [row and row["LastName"] for row in answer] == ["Bob", None, "Ann"]
    (row,) = client.get("/composite/sobjects/Contact", ids=ids[0], fields="LastName,Email").json()
    assert (row["LastName"], row["Email"]) == ("Ann", None)


def test_references_by_external_id(client):
    account = client.simulator.add("Account", Name="ACME", Ext__c="acme")
    rows = [{"LastName": "Ann", "Account": {"Ext__c": "ACME"}}]
    (row,) = client.post(CREATE, records("Contact", rows)).json()
    assert client.simulator.row(row["id"])["AccountId"] == account


def test_duplicate_rules_block_or_warn(client):
    client.simulator.add("Contact", LastName="Ann", Email="ann@x.example")
    client.simulator.find_duplicates("Contact", "Email", blocks=False)
    body = records("Contact", [{"LastName": "Ann", "Email": "ANN@x.example"}])
    header = {"sforce-duplicate-rule-header": "allowSave=true; runAsCurrentUser=true"}
    assert codes(client.post(CREATE, body)) == ["DUPLICATES_DETECTED"]
    assert codes(client.post(f"/services/data/v51.0{CREATE}", body, header)) == ["DUPLICATES_DETECTED"]
    assert codes(client.post(CREATE, body, header)) == [None]
    client.simulator.find_duplicates("Contact", "Email", blocks=True)
    assert codes(client.post(CREATE, body, header)) == ["DUPLICATES_DETECTED"]


def test_rows_are_refused_as_the_test_would_have_it(client):
    client.simulator.refuse_rows("Contact", "UNABLE_TO_LOCK_ROW", times=2, match={"LastName": "b"})
    body = records("Contact", [{"LastName": each} for each in "ab"])
    assert [codes(client.post(CREATE, body)) for _ in range(3)] == [
        [None, "UNABLE_TO_LOCK_ROW"],
        [None, "UNABLE_TO_LOCK_ROW"],
        [None, None],
    ]


def test_objects_are_described_and_not_again_while_they_are_the_same(client):
    answer = client.get("/sobjects/Contact/describe")
    fields = {field["name"]: field for field in answer.json()["fields"]}
    assert fields["Email"]["type"] == "email"
    assert fields["Ext__c"]["externalId"] is True
    assert fields["MailingCity"]["compoundFieldName"] == "MailingAddress"
    assert fields["AccountId"]["relationshipName"] == "Account"
    since = {"if-modified-since": answer.headers["last-modified"]}
    assert client.get("/sobjects/Contact/describe", headers=since).status_code == 304
    client.clock.advance(60)
    client.simulator.add_field("Contact", "Tier__c", "picklist", values=("gold", "silver"))
    again = client.get("/sobjects/Contact/describe", headers=since)
    assert "Tier__c" in {field["name"] for field in again.json()["fields"]}
    assert client.post("/sobjects/Contact", {"LastName": "x", "Tier__c": "gold"}).status_code == 201


def test_custom_objects_are_like_others(client):
    client.simulator.add_object("Visit__c", "a01", {"Who__c": "reference", "Pages__c": "double", "At__c": "datetime"})
    assert "Visit__c" in {each["name"] for each in client.get("/sobjects").json()["sobjects"]}
    made = client.post("/sobjects/Visit__c", {"Pages__c": 3, "At__c": "2026-01-02T03:04:05Z"}).json()["id"]
    assert made[:3] == "a01"
    assert client.rows("SELECT Pages__c, At__c FROM Visit__c WHERE Pages__c > 2") == [
        {"Pages__c": 3.0, "At__c": "2026-01-02T03:04:05.000+0000"}
    ]


def test_objects_that_the_user_may_not_see_are_not_there(client):
    client.simulator.store.hidden = frozenset({"Campaign", "CampaignMember"})
    assert "Campaign" not in {each["name"] for each in client.get("/sobjects").json()["sobjects"]}
    assert code(client.get("/sobjects/Campaign/describe")) == (404, "NOT_FOUND")
    assert code(client.asked("SELECT Id FROM Campaign")) == (400, "INVALID_TYPE")
