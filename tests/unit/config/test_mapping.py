import pytest
from pydantic import ValidationError

from switchyard.config.mapping import Mapping, MappingPatch, merge_mapping

DEFAULT = {
    "subject": "id",
    "observed_at": "updated",
    "identifiers": {"email": "mail", "phone": {"value": "tel", "region": "US"}},
    "attributes": {"city": "town", "vip": "is_vip"},
    "events": {
        "order_completed": {
            "at": "bought",
            "when": "state = 'paid'",
            "group": "receipt",
            "properties": {"total": "sum(amount)", "store_id": "any_value(store)"},
            "items": {"sku": "sku", "quantity": "qty"},
        }
    },
}


def merged(**user):
    return merge_mapping(DEFAULT, MappingPatch.model_validate(user))


def test_without_a_users_mapping_the_default_stands():
    assert merge_mapping(DEFAULT) == Mapping.model_validate(
        DEFAULT | {"identifiers": {"email": {"value": "mail"}, "phone": {"value": "tel", "region": "US"}}}
    )


def test_entries_are_laid_over_one_by_one():
    mapping = merged(
        attributes={"city": "upper(town)", "age": "age"},
        events={"order_completed": {"properties": {"total": "max(total)"}}, "page_viewed": {"at": "seen"}},
    )
    assert mapping.attributes == {"city": "upper(town)", "vip": "is_vip", "age": "age"}
    order = mapping.events["order_completed"]
    assert order.properties == {"total": "max(total)", "store_id": "any_value(store)"}
    assert (order.at, order.group) == ("bought", "receipt")
    assert mapping.events["page_viewed"].at == "seen"


def test_null_takes_an_entry_away_at_every_depth():
    mapping = merged(
        observed_at=None,
        identifiers={"phone": None},
        attributes={"vip": None},
        events={"order_completed": {"when": None, "items": None, "properties": {"store_id": None}}},
    )
    assert mapping.observed_at is None
    assert set(mapping.identifiers) == {"email"}
    assert set(mapping.attributes) == {"city"}
    order = mapping.events["order_completed"]
    assert (order.when, order.items, set(order.properties)) == (None, None, {"total"})


def test_null_takes_a_whole_section_away():
    assert merged(events=None).events == {}
    assert merged(events={"order_completed": None}).events == {}


def test_an_identifier_in_short_form_replaces_the_whole_and_the_long_form_a_part():
    assert merged(identifiers={"phone": "mobile"}).identifiers["phone"].region is None
    phone = merged(identifiers={"phone": {"region": "FR"}}).identifiers["phone"]
    assert (phone.value, phone.region) == ("tel", "FR")
    email = merged(identifiers={"email": {"region": "FR"}}).identifiers["email"]
    assert (email.value, email.region) == ("mail", "FR")


def test_numbers_and_booleans_are_expressions_too():
    assert merged(attributes={"one": 1, "half": 0.5, "yes": True}).attributes | {} == {
        "city": "town", "vip": "is_vip", "one": "1", "half": "0.5", "yes": "true",
    }  # fmt: skip


@pytest.mark.parametrize(
    "user",
    [{"subject": None}, {"identifiers": {"email": {"value": None}}}],
    ids=["no subject", "identifier without value"],
)
def test_what_remains_must_be_a_mapping(user):
    with pytest.raises(ValidationError):
        merged(**user)


def test_laying_over_leaves_the_default_as_it_was():
    before = repr(DEFAULT)
    merged(attributes={"city": None}, identifiers={"phone": None})
    assert repr(DEFAULT) == before
