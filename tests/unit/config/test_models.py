import pytest
from pydantic import ValidationError

from switchyard.config.models import Audience, Guard, Hub, Identity, Project

AUDIENCE = {"segment": "s", "connection": "c", "list": "L"}


@pytest.mark.parametrize(
    ("guard", "held", "limit"),
    [
        ({}, 1000, 300),
        ({}, 20, 10),
        ({"at_least": 0}, 10, 3),
        ({"max_removal": "5%"}, 1999, 99),
        ({"max_removal": "100%"}, 40, 40),
        ({"max_removal": "0%", "at_least": 0}, 1000, 0),
        ({"max_removal": 3}, 1000, 3),
        ({"max_removal": 0}, 1000, 0),
    ],
)
def test_the_guard_limits_what_one_delivery_removes(guard, held, limit):
    assert Guard(**guard).limit(held) == limit


@pytest.mark.parametrize("value", ["30", "101%", "-1%", "1.5%", "many", -1, "%"])
def test_a_limit_is_a_number_or_a_share(value):
    with pytest.raises(ValidationError):
        Guard(max_removal=value)


def test_an_audience_needs_segment_connection_and_list_and_has_safe_defaults():
    audience = Audience(**AUDIENCE)
    assert (audience.key, audience.extra, audience.on_missing_key) == ("email", "remove", "skip")
    assert audience.guard == Guard(max_removal="30%", at_least=10)
    for key in AUDIENCE:
        with pytest.raises(ValidationError):
            Audience(**{name: value for name, value in AUDIENCE.items() if name != key})


@pytest.mark.parametrize("extra", ["remove", "keep", "report"])
def test_members_added_by_hand_have_three_fates(extra):
    assert Audience(**AUDIENCE, extra=extra).extra == extra


def test_a_kind_of_identifier_has_its_own_default_limit_until_one_is_written():
    identity = Identity.model_validate({"kinds": {"email": {"blocked": ["test@test.com"]}, "phone": {"limit": 3}}})
    assert (identity.rule("email").limit, identity.rule("email").blocked) == (20, ["test@test.com"])
    assert identity.rule("phone").limit == 3
    limits = {kind: Identity().rule(kind).limit for kind in ("email", "phone", "loyalty_card", "source_key", "other")}
    assert limits == {"email": 20, "phone": 10, "loyalty_card": 10, "source_key": 1000, "other": 20}


def test_models_are_frozen():
    with pytest.raises(ValidationError):
        Project().hub = Hub()


@pytest.mark.parametrize(
    "hub", [{"timezone": "Paris"}, {"timezone": "../x"}, {"flush_rows": 0}, {"default_region": "us"}]
)
def test_the_hub_refuses_what_it_cannot_use(hub):
    with pytest.raises(ValidationError):
        Hub(**hub)


@pytest.mark.parametrize("name", ["Crm", "1crm", "crm-eu", "", "a" * 64])
def test_names_are_plain(name):
    with pytest.raises(ValidationError):
        Project.model_validate({"connections": {name: {"connector": "x"}}})


def test_what_is_written_in_a_connection_is_not_shown_by_repr():
    project = Project.model_validate({"connections": {"crm": {"connector": "x", "config": {"token": "s3cret"}}}})
    assert "s3cret" not in repr(project)
