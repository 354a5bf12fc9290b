from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.connectors.salesforce.simulator_client import Client, code, signed_in

AT = "2026-09-01T10:00:0{}.000+0000"


@pytest.fixture
def client() -> Iterator[Client]:
    with signed_in() as client:
        yield client


@pytest.fixture
def people(client) -> list[str]:
    """Ann and Bob of one second, Cem of the next, and Dora who has no address."""
    add = client.simulator.add
    account = add("Account", Name="ACME", NumberOfEmployees=12)
    return [
        add(
            "Contact", LastName="Ann", Email="ann@x.example", Score__c=3, AccountId=account, SystemModstamp=AT.format(1)
        ),
        add("Contact", LastName="Bob", Email="bob@x.example", Score__c=5, SystemModstamp=AT.format(1)),
        add("Contact", LastName="Cem", Email="cem@y.example", Birthdate="1990-05-01", SystemModstamp=AT.format(2)),
        add("Contact", LastName="Dora", HasOptedOutOfEmail=True, SystemModstamp=AT.format(3)),
    ]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("Email = 'ANN@x.example'", "Ann"),
        ("Email != 'ann@x.example'", "Bob Cem Dora"),
        ("Email = null", "Dora"),
        ("Email != null", "Ann Bob Cem"),
        ("Email LIKE '%@x.example'", "Ann Bob"),
        ("LastName LIKE '_nn'", "Ann"),
        ("LastName IN ('Ann', 'Cem')", "Ann Cem"),
        ("LastName NOT IN ('Ann', 'Cem')", "Bob Dora"),
        ("Score__c > 3", "Bob"),
        ("Score__c >= 3 AND Score__c < 5.5", "Ann Bob"),
        ("HasOptedOutOfEmail = true", "Dora"),
        ("Birthdate < 2000-01-01", "Cem"),
        ("SystemModstamp > 2026-09-01T10:00:01Z", "Cem Dora"),
        ("SystemModstamp > 2026-09-01T12:00:01.000+02:00", "Cem Dora"),
        ("(LastName = 'Ann' OR LastName = 'Bob') AND Score__c = 5", "Bob"),
        ("NOT (Email LIKE 'ann%')", "Bob Cem Dora"),
        ("Account.Name = 'acme'", "Ann"),
        ("LastName = 'O\\'Hara'", ""),
    ],
)
def test_conditions(client, people, condition, found):
    assert client.values(f"SELECT LastName FROM Contact WHERE {condition}") == found.split()


def test_a_keyset_over_equal_stamps_finds_every_row_once(client, people):
    query = "SELECT Id, SystemModstamp FROM Contact {} ORDER BY SystemModstamp, Id LIMIT 1"
    seen, where = [], ""
    while rows := client.rows(query.format(where)):
        row = rows[0]
        stamp = row["SystemModstamp"].replace("+0000", "Z")
        seen.append(row["Id"])
        where = f"WHERE (SystemModstamp = {stamp} AND Id > '{row['Id']}') OR SystemModstamp > {stamp}"
    assert seen == people


def test_order_nulls_limit_and_offset(client, people):
    assert client.values("SELECT LastName FROM Contact ORDER BY Score__c DESC NULLS LAST, LastName DESC") == [
        "Bob",
        "Ann",
        "Dora",
        "Cem",
    ]
    assert client.values("SELECT LastName FROM Contact ORDER BY Score__c LIMIT 2") == ["Cem", "Dora"]
    assert client.values("SELECT LastName FROM Contact ORDER BY LastName LIMIT 2 OFFSET 1") == ["Bob", "Cem"]


def test_relationships_are_nested_and_attributes_name_the_record(client, people):
    record = client.asked("select id, account.name from contact where LastName = 'Ann'").json()["records"][0]
    assert record["attributes"]["url"].endswith(f"/sobjects/Contact/{people[0]}")
    assert record["Account"]["Name"] == "ACME"
    assert client.rows("SELECT Account.Name FROM Contact WHERE LastName = 'Bob'") == [{"Account": None}]


def test_count_gives_no_records(client, people):
    assert client.asked("SELECT COUNT() FROM Contact WHERE Email != null").json() == {
        "totalSize": 3,
        "done": True,
        "records": [],
    }


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("SELECT Foo FROM Contact", "INVALID_FIELD"),
        ("SELECT Id FROM Foo", "INVALID_TYPE"),
        ("SELECT Id FROM Contact WHERE SystemModstamp > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE LastName = 5", "INVALID_FIELD"),
        ("SELECT Id FROM ActivityFieldHistory WHERE SystemModstamp > 2026-01-01T00:00:00Z", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE LastName = 'a' OR LastName = 'b' AND Email = null", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE LastName = 'O'Hara'", "MALFORMED_QUERY"),
        ("SELECT Id, Id FROM Contact", "MALFORMED_QUERY"),
        ("SELECT * FROM Contact", "MALFORMED_QUERY"),
        ("DELETE FROM Contact", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact LIMIT", "MALFORMED_QUERY"),
    ],
)
def test_queries_that_are_none(client, query, error):
    assert code(client.asked(query)) == (400, error)


def test_pages_follow_a_cursor_and_may_be_smaller_than_asked(client):
    for number in range(450):
        client.simulator.add("Contact", LastName=f"P{number}")
    asked = client.asked("SELECT LastName FROM Contact", **{"sforce-query-options": "batchSize=200"}).json()
    assert (asked["totalSize"], len(asked["records"]), asked["done"]) == (450, 200, False)
    client.simulator.queries.page = 50
    more = client.get(asked["nextRecordsUrl"], headers={"sforce-query-options": "batchSize=200"}).json()
    assert [row["LastName"] for row in more["records"]] == [f"P{number}" for number in range(200, 250)]
    assert len(client.rows("SELECT Id FROM Contact")) == 450


def test_a_cursor_ends_after_two_days(client):
    client.simulator.seed("Contact", 5_000)
    first = client.asked("SELECT Id FROM Contact").json()
    client.simulator.auth.life = 1e9
    client.sign_in()
    client.clock.advance(2 * 86_400 - 1)
    assert client.get(first["nextRecordsUrl"]).status_code == 200
    client.clock.advance(1)
    assert code(client.get(first["nextRecordsUrl"])) == (400, "INVALID_QUERY_LOCATOR")


def test_deleted_rows_are_found_by_query_all_until_the_bin_is_emptied(client, people):
    client.simulator.life.delete(people[0])
    assert client.values("SELECT LastName FROM Contact") == ["Bob", "Cem", "Dora"]
    assert client.values("SELECT LastName FROM Contact WHERE IsDeleted = true", deleted=True) == ["Ann"]
    client.simulator.auth.life = 1e9
    client.sign_in()
    client.clock.advance(15 * 86_400 + 1)
    assert client.values("SELECT LastName FROM Contact", deleted=True) == ["Bob", "Cem", "Dora"]


def test_a_row_may_become_visible_later_than_its_stamp_says(client, people):
    client.simulator.store.lag = 120.0
    stamped = client.clock()
    late = client.simulator.add("Contact", LastName="Late")
    client.simulator.writes.update("Contact", people[0], {"LastName": "Anna"})
    client.clock.advance(119)
    assert client.values("SELECT LastName FROM Contact") == ["Ann", "Bob", "Cem", "Dora"]
    client.clock.advance(1)
    assert client.values("SELECT LastName FROM Contact") == ["Anna", "Bob", "Cem", "Dora", "Late"]
    assert client.simulator.row(late)["SystemModstamp"].startswith("2026-09-21T14:13:20")
    assert stamped == 1_790_000_000.0


def test_a_formula_changes_without_a_stamp(client):
    client.simulator.add_field("Contact", "Worth__c", "double", derived=True, createable=False)
    ann = client.simulator.add("Contact", LastName="Ann")
    client.clock.advance(60)
    client.simulator.life.recalculate(ann, Worth__c=9.5)
    (row,) = client.rows("SELECT Worth__c, SystemModstamp, CreatedDate FROM Contact")
    assert row["Worth__c"] == 9.5
    assert row["SystemModstamp"] == row["CreatedDate"]


def test_ids_of_fifteen_characters_are_understood(client, people):
    assert client.values(f"SELECT LastName FROM Contact WHERE Id = '{people[1][:15]}'") == ["Bob"]
