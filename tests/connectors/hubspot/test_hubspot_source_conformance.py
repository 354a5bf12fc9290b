"""The kit for sources, with the simulator as the vendor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.received import inbox

from switchyard.api import Context, Source, SourceSpec, Stream
from switchyard.testing.builders import SimpleContext
from switchyard.testing.conformance import HOSTILE_RECORDS, Drift, SourceConformance
from switchyard_connectors.hubspot import SOURCE, HubSpotConfig
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC
from switchyard_connectors.hubspot.streams import streams_of

READ = ("contacts", "companies", "deals", "lists", "list_memberships", "email_events", "form_submissions")
LONG_AGO = 1_700_000_000.0


@contextmanager
def account(more: Mapping[str, int]) -> Iterator[HubSpotSimulator]:
    """An account with so many more properties of each type."""
    with HubSpotSimulator(Account(tier=None, custom=("cars",))) as simulator:
        for kind, count in more.items():
            for number in range(count):
                simulator.properties_of(kind).define({"name": f"a_property_with_a_long_name_{number:03}"})
        yield simulator


def config_of(simulator: HubSpotSimulator, **config: Any) -> dict[str, Any]:
    now = {"settle": 0, "look_back": 0, "archived_every": 0}
    known = {"token": STATIC, "base_url": simulator.url, "tier": "none", "read": READ, "custom_objects": ("cars",)}
    return {**known, **now, **config}


def serve_hostile(simulator: HubSpotSimulator) -> None:
    for record in HOSTILE_RECORDS:
        for name in record:
            if name not in simulator.properties.known:
                simulator.properties.define({"name": name})
        simulator.contacts.add(record)


@contextmanager
def changed(simulator: HubSpotSimulator) -> Iterator[HubSpotSimulator]:
    """The same account after the properties of its contacts were changed."""
    with account({}) as other:
        other.load(simulator.dump())
        del other.properties.known["firstname"]
        other.properties.define({"name": "shoe_size", "type": "number"})
        for record in other.contacts.records.values():
            record.properties.pop("firstname", None)
            record.properties |= {"shoe_size": "42", "city": "17"}
        yield other


def used_up() -> httpx.Response:
    with HubSpotSimulator(Account(daily=0)) as simulator:
        return httpx.get(
            f"{simulator.url}/crm/lists/2026-03/1", headers={"authorization": f"Bearer {STATIC}"}, trust_env=False
        )


def relink(answer: httpx.Response, url: str) -> httpx.Response:
    if answer.headers.get("content-type", "").startswith("application/json") and b'"link"' in answer.content:
        body = answer.json()
        body["paging"]["next"]["link"] = url
        return httpx.Response(answer.status_code, json=body)
    return answer


class TestHubSpotSource(SourceConformance):
    @pytest.fixture
    def more(self) -> Mapping[str, int]:
        return {}

    @pytest.fixture
    def simulator(self, more: Mapping[str, int]) -> Iterator[HubSpotSimulator]:
        with account(more) as simulator:
            contacts = simulator.contacts
            people = [
                contacts.add({"email": f"p{each}@x.example", "firstname": "Ann", "city": "Graz"}).id
                for each in range(450)
            ]
            contacts.update(people[7], {"hs_additional_emails": "other@x.example"})
            contacts.merge(people[3], people[4])
            company = simulator.companies.add({"name": "Acme"}).id
            for person in people[10:20]:
                simulator.associations.join("contacts", person, "companies", company)
                simulator.deals.add({"dealname": person})
            simulator.custom["cars"].add({"plate": "W-1"})
            for name in ("vip", "all"):
                simulator.lists.put_on(simulator.lists.add(name).id, people[10:300])
            for number in range(2_100):
                simulator.marketing.email(f"p{number}@x.example", "OPEN", at=LONG_AGO + number // 3)
            for name in ("Contact us", "Newsletter"):
                form = simulator.marketing.add_form(name)
                for number in range(120):
                    values = {"email": f"p{number}@x.example"}
                    simulator.marketing.submit(form, values, at=LONG_AGO + number // 3)
            yield simulator

    @pytest.fixture
    def spec(self) -> SourceSpec:
        return SOURCE

    @pytest.fixture
    def config(self, simulator: HubSpotSimulator) -> Mapping[str, Any]:
        return config_of(simulator, associations={"companies": ("contacts",)})

    @pytest.fixture
    def streams(self, config: Mapping[str, Any]) -> Sequence[Stream]:
        return streams_of(HubSpotConfig.model_validate(config))

    @pytest.fixture
    def empty(self, more: Mapping[str, int]) -> Iterator[Mapping[str, Any]]:
        with account(more) as simulator:
            yield config_of(simulator)

    @pytest.fixture
    def hostile(self, more: Mapping[str, int]) -> Iterator[Mapping[str, Any]]:
        with account(more) as simulator:
            serve_hostile(simulator)
            yield config_of(simulator)

    @pytest.fixture
    def exhausted(self) -> httpx.Response:
        return used_up()

    @pytest.fixture
    def deleting(self, simulator: HubSpotSimulator) -> Callable[[], Mapping[str, Any]]:
        def delete() -> Mapping[str, Any]:
            contacts = simulator.contacts
            gone = [record.id for record in contacts.records.values() if record.archived is None][20:25]
            deals = list(simulator.deals.records)[:2]
            for record_id in gone:
                contacts.archive(record_id)
            for record_id in deals:
                simulator.deals.archive(record_id)
            return {"contacts": [(each, "") for each in gone], "deals": [(each, "") for each in deals]}

        return delete

    @pytest.fixture
    def drifted(self, simulator: HubSpotSimulator, config: Mapping[str, Any]) -> Iterator[Drift]:
        with changed(simulator) as other:
            yield Drift({**config, "base_url": other.url}, gone="firstname", new="shoe_size", retyped="city")

    @pytest.fixture
    def relinked(self) -> Callable[[httpx.Response, str], httpx.Response]:
        return relink


class TestHubSpotSourceByPages(TestHubSpotSource):
    """With so many properties that all records come page by page, or by id."""

    @pytest.fixture
    def more(self) -> Mapping[str, int]:
        return {"contacts": 100, "companies": 300}


class TestHubSpotSourcePushed(SourceConformance):
    """Told of every record, and of a privacy deletion, by webhooks; pulled beside that."""

    @pytest.fixture
    def events(self) -> list[Mapping[str, Any]]:
        return []

    @pytest.fixture
    def simulator(self, events: list[Mapping[str, Any]]) -> Iterator[HubSpotSimulator]:
        with account({}) as simulator:
            for number in range(60):
                person = simulator.contacts.add({"email": f"p{number}@x.example", "firstname": "Ann"}).id
                simulator.associations.join("deals", simulator.deals.add({"dealname": "A deal"}).id, "contacts", person)
            events += (told(kind, each) for kind in ("contact", "deal") for each in records_of(simulator, kind))
            yield simulator

    @pytest.fixture
    def spec(self, events: list[Mapping[str, Any]]) -> SourceSpec:
        def build(config: HubSpotConfig, context: Context) -> Source:
            assert isinstance(context, SimpleContext)
            # No inbox is that of another account.
            if config.webhooks is not None and config.webhooks.signatures == ("v3",):
                context.pushed = list(
                    inbox([(f"d{number}", {}, each) for number, each in enumerate(events)], per_table=50)
                )
            return SOURCE.build(config, context)

        return replace(SOURCE, build=build)

    @pytest.fixture
    def config(self, simulator: HubSpotSimulator) -> Mapping[str, Any]:
        return pushed_config_of(simulator)

    @pytest.fixture
    def streams(self, config: Mapping[str, Any]) -> Sequence[Stream]:
        return streams_of(HubSpotConfig.model_validate(config))

    @pytest.fixture
    def empty(self) -> Iterator[Mapping[str, Any]]:
        with account({}) as simulator:
            yield pushed_config_of(simulator, "v2")

    @pytest.fixture
    def hostile(self) -> Iterator[Mapping[str, Any]]:
        with account({}) as simulator:
            serve_hostile(simulator)
            yield pushed_config_of(simulator, "v2")

    @pytest.fixture
    def exhausted(self) -> httpx.Response:
        return used_up()

    @pytest.fixture
    def deleting(self, simulator: HubSpotSimulator, events: list[Mapping[str, Any]]) -> Callable[[], Mapping[str, Any]]:
        def delete() -> Mapping[str, Any]:
            gone = list(simulator.contacts.records)[20:25]
            for each in gone:
                simulator.contacts.erase(each)
                events.append(told("contact", each, "privacyDeletion"))
            return {"contacts": [(each, "") for each in gone]}

        return delete

    @pytest.fixture
    def drifted(self, simulator: HubSpotSimulator) -> Iterator[Drift]:
        with changed(simulator) as other:
            yield Drift(pushed_config_of(other), gone="firstname", new="shoe_size", retyped="city")


def pushed_config_of(simulator: HubSpotSimulator, signature: str = "v3") -> dict[str, Any]:
    webhooks = {"secrets": "an-apps-s3cret", "signatures": signature}
    read = {"read": ("contacts", "deals"), "custom_objects": ()}
    return config_of(simulator, webhooks=webhooks, pull_every=0, **read)


def records_of(simulator: HubSpotSimulator, kind: str) -> Sequence[str]:
    return list((simulator.contacts if kind == "contact" else simulator.deals).records)


def told(kind: str, record_id: str, what: str = "creation") -> Mapping[str, Any]:
    return {"subscriptionType": f"{kind}.{what}", "objectId": int(record_id), "occurredAt": 1, "eventId": 1}
