"""Live, with the vendors' own pushes: what changes inside one system is on another's list, whoever is killed, slow, or
gone meanwhile; on both stores.
"""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.projects import Folder
from tests.scenarios.serving import Serving, answered, serving, wait_until
from tests.scenarios.test_canaries import EMAIL, NAME, PHONE, assert_none, shown
from tests.scenarios.test_live import SECRET, client_of, post_order

from switchyard.testing.simulator import Answer
from switchyard_connectors.hubspot.simulator import Account as Portal
from switchyard_connectors.hubspot.simulator import HubSpotSimulator
from switchyard_connectors.hubspot.simulator_hooks import Subscriber
from switchyard_connectors.marketo.simulator import Account as Instance
from switchyard_connectors.marketo.simulator import MarketoSimulator
from switchyard_connectors.marketo.simulator_identity import CLIENT_ID, CLIENT_SECRET
from switchyard_connectors.salesforce.simulator import SalesforceSimulator
from switchyard_connectors.salesforce.simulator_auth import App
from switchyard_connectors.salesforce.simulator_org import ORGANIZATION
from switchyard_connectors.salesforce.simulator_pushes import Subscription
from switchyard_connectors.webhook.simulator import SECRET as SENDING
from switchyard_connectors.webhook.simulator import WebhookEndpoint

APP_SECRET = "the-secret-of-an-app-of-hubspots"
TOKEN = "a-token-in-an-address"
ONCE = {"schedule": {"every": "1 day"}}
"""Read at the start, and then only when something is pushed."""
PLANS = {
    "subject": "email",
    "observed_at": 'CAST("at" AS TIMESTAMPTZ)',
    "identifiers": {"email": "email"},
    "attributes": {"plan": "plan", "first_name": "first_name"},
}


@pytest.fixture
def portal() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Portal(tier=None)) as simulator:
        yield simulator


@pytest.fixture
def marketo() -> Iterator[MarketoSimulator]:
    with MarketoSimulator(Instance(limited=False)) as simulator:
        yield simulator


@pytest.fixture
def org() -> Iterator[SalesforceSimulator]:
    with SalesforceSimulator() as simulator:
        yield simulator


def hubspot(simulator: HubSpotSimulator, **more: Any) -> dict[str, Any]:
    config = {"base_url": simulator.url, "token": "pat-na1-simulator", "tier": "none", **more}
    return {"connector": "hubspot", "config": config, **ONCE}


def pushing_hubspot(simulator: HubSpotSimulator, **more: Any) -> dict[str, Any]:
    pushed = {"read": "contacts", "settle": 0, "pull_every": 3_600, "webhooks": {"secrets": APP_SECRET}}
    return hubspot(simulator, **pushed, **more)


def marketo_list(simulator: MarketoSimulator, **more: Any) -> dict[str, Any]:
    """A Marketo whose calls are not paced: its lists are what is looked at."""
    config = {"base_url": simulator.url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    config |= {"calls_per_window": 100, **more}
    off = {name: {"enabled": False} for name in ("leads", "activities")}
    return {"connector": "marketo", "config": config, "streams": off}


def pushing_salesforce(simulator: SalesforceSimulator) -> dict[str, Any]:
    app = App()
    config = {
        "base_url": simulator.url,
        "client_credentials": {"client_id": app.client_id, "client_secret": app.client_secret},
        "push": {"token": TOKEN, "organization_id": ORGANIZATION},
        "pull_every": 3_600,
    }
    others = ("leads", "accounts", "campaigns", "campaign_members", "opportunities", "tasks")
    off = {name: {"enabled": False} for name in others}
    return {"connector": "salesforce", "config": config, "streams": off, **ONCE}


def plans() -> dict[str, Any]:
    """A connection to which people's plans are pushed, by `tell_plan`."""
    config = {"scheme": "standard_webhooks", "secrets": "whsec_" + base64.b64encode(SECRET).decode()}
    return {"connector": "webhook", "config": config, "streams": {"deliveries": {"mapping": PLANS}}}


def audience(segment: str, connection: str, title: str, **fields: str) -> dict[str, Any]:
    return {
        "segment": segment,
        "connection": connection,
        "list": title,
        "fields": {"email": "email", **fields},
        "guard": {"max_removal": "100%"},
    }


def folder_of(
    path: Path, store: str, connections: dict[str, Any], audiences: dict[str, Any], **segments: str
) -> Folder:
    config = {"hub": {"store": store}, "connections": connections, "audiences": audiences}
    return Folder(path, config, dict(segments)).write()


def tell_plan(client: httpx.Client, number: int, email: str, plan: str, first_name: str = "") -> None:
    said = {"order_id": f"d{number}", "email": email, "plan": plan, "first_name": first_name or None}
    post_order(client, said | {"at": datetime.now(UTC).isoformat()}, "plans").raise_for_status()


def members(vendor: HubSpotSimulator | MarketoSimulator, name: str) -> set[str]:
    """Who is on a list; nobody where there is none yet."""
    return vendor.member_emails(name) if vendor.lists.named(name) else set()


def wait_for(vendor: HubSpotSimulator | MarketoSimulator, name: str, people: set[str], hub: Serving) -> None:
    wait_until(lambda: members(vendor, name) == people, lambda: f"{sorted(members(vendor, name))}: {hub.events()[-9:]}")


def subscribe(portal: HubSpotSimulator, hub: Serving, connection: str = "crm") -> None:
    portal.subscribe(Subscriber(f"{hub.url}/hooks/{connection}", APP_SECRET))


def settled(portal: HubSpotSimulator) -> None:
    """Wait until every webhook was taken."""
    wait_until(lambda: portal.hooks.sender.waiting == 0, lambda: str(portal.hooks.sender.attempts[-3:]))


BURST = 500


def test_what_changes_inside_hubspot_is_on_a_marketo_list(
    tmp_path: Path, database_url: str, portal: HubSpotSimulator, marketo: MarketoSimulator
) -> None:
    connections = {"crm": pushing_hubspot(portal), "mail": marketo_list(marketo)}
    lists = {"customers": audience("customers", "mail", "Customers")}
    folder = folder_of(tmp_path, database_url, connections, lists, customers='lifecycle_stage = "customer"')
    people = portal.contacts
    stages = {"ann": "lead", "bob": "customer", "cat": "customer", "dan": "lead", "eve": "customer", "fay": "customer"}
    ids = {name: people.add({"email": f"{name}@x.org", "lifecyclestage": stage}).id for name, stage in stages.items()}
    crowd = [people.add({"email": f"c{each}@x.org", "lifecyclestage": "lead"}).id for each in range(BURST)]
    with serving(folder.path) as hub:
        wait_for(marketo, "Customers", {f"{name}@x.org" for name in ("bob", "cat", "eve", "fay")}, hub)
        subscribe(portal, hub)
        begun = portal.journal.total

        people.update(ids["ann"], {"lifecyclestage": "customer"})
        wait_for(marketo, "Customers", {f"{name}@x.org" for name in ("ann", "bob", "cat", "eve", "fay")}, hub)
        people.update(ids["bob"], {"lifecyclestage": "lead"})
        people.archive(ids["cat"])
        # Who two become has what the first of them has.
        people.merge(ids["dan"], ids["eve"])
        wait_for(marketo, "Customers", {"ann@x.org", "fay@x.org"}, hub)
        # Deleted for good, and nothing of it stays.
        people.erase(ids["fay"])
        wait_for(marketo, "Customers", {"ann@x.org"}, hub)

        settled(portal)
        before = portal.journal.total
        for each in crowd:
            people.update(each, {"lifecyclestage": "customer"})
        wait_for(marketo, "Customers", {"ann@x.org", *(f"c{each}@x.org" for each in range(BURST))}, hub)
        settled(portal)
        assert hub.stop() == 0
    reads = portal.count("POST", "/contacts/batch/read", since=before)
    assert ceil(BURST / 100) <= reads <= ceil(BURST / 100) + 12
    assert portal.count("POST", "/search", since=begun) == 0, "what was pushed is read by id, and nothing is pulled"
    assert portal.count("GET", "/objects/contacts", since=begun) == 0
    assert {attempt.status for attempt in portal.hooks.sender.attempts} == {200}


def test_what_salesforce_told_before_a_kill_is_on_a_hubspot_list_after_it(
    tmp_path: Path, database_url: str, portal: HubSpotSimulator, org: SalesforceSimulator
) -> None:
    connections = {"sales": pushing_salesforce(org), "crm": hubspot(portal)}
    lists = {"web": audience("web", "crm", "From the web")}
    folder = folder_of(tmp_path, database_url, connections, lists, web='lead_source = "Web"')
    edit, sender = org.edits(), org.pushes.sender
    ann = org.add("Contact", LastName="A", Email="ann@x.org", LeadSource="Web")
    bob = org.add("Contact", LastName="B", Email="bob@x.org")
    org.pushes.flush()

    def told() -> None:
        wait_until(lambda: sender.waiting == 0, lambda: str(sender.attempts[-3:]))

    with serving(folder.path) as hub:
        wait_for(portal, "From the web", {"ann@x.org"}, hub)
        subscription = Subscription(f"{hub.url}/hooks/sales?token={TOKEN}", "Contact", fields=("Email", "LeadSource"))
        org.pushes.subscribe(subscription)
        edit["update"](bob, {"LeadSource": "Web"})
        wait_for(portal, "From the web", {"ann@x.org", "bob@x.org"}, hub)
        told()
        before = org.journal.total

        def kill() -> None:
            # The message is taken, and what it is about was asked for and never came.
            told()
            hub.process.send_signal(signal.SIGKILL)

        org.kill_at(before + 1, kill, "before")
        edit["update"](ann, {"LeadSource": "Partner"})
        assert hub.process.wait(60) == -signal.SIGKILL
    assert [attempt.status for attempt in sender.attempts] == [200, 200], "taken at once, and not told again"
    org.pushes.subscriptions.clear()
    with serving(folder.path) as hub:
        wait_for(portal, "From the web", {"bob@x.org"}, hub)
        assert hub.stop() == 0
    reads = [call for call in org.calls(since=before) if "/oauth2/" not in call.path]
    assert [call.path.endswith("/composite") for call in reads] == [True, True], "read by its id, and nothing pulled"
    assert all(ann in str(call.json()) for call in reads)


def endpoint(simulator: WebhookEndpoint) -> dict[str, Any]:
    send = {"url": f"{simulator.url}/hook", "secrets": SENDING, "internal_hosts": "127.0.0.1"}
    return {"connector": "webhook", "config": {"send": send}}


@pytest.fixture
def partners() -> Iterator[dict[str, WebhookEndpoint]]:
    with WebhookEndpoint() as sound, WebhookEndpoint() as troubled, WebhookEndpoint() as gone:
        yield {"sound": sound, "troubled": troubled, "gone": gone}


Told = dict[str, list[tuple[str, str]]]


def told(partner: WebhookEndpoint) -> Told:
    """Person → what took effect of it: kind and first name. Several people's messages go side by side."""
    found: Told = {}
    for each in list(partner.told):
        data = each["data"]
        found.setdefault(data["key"], []).append((each["type"].removeprefix("profile."), data["fields"]["name"]))
    return found


@pytest.mark.slow
def test_partners_are_told_each_change_once_through_kills_failures_and_an_end(
    tmp_path: Path, database_url: str, partners: dict[str, WebhookEndpoint]
) -> None:
    connections = {"plans": plans()} | {name: endpoint(partner) for name, partner in partners.items()}
    audiences = {name: audience("pro", name, "Pro", name="first_name") for name in partners}
    folder = folder_of(tmp_path, database_url, connections, audiences, pro='plan = "pro"')
    sound, troubled, gone = partners.values()

    def wait_for_all(wanted: Told, *those: WebhookEndpoint) -> None:
        wait_until(
            lambda: all(told(each) == wanted for each in those),
            lambda: f"{[told(each) for each in those]}: {hub.events()[-9:]}",
        )

    with serving(folder.path) as hub, client_of(hub) as client:
        tell_plan(client, 1, "bob@x.org", "free", "Bob")
        tell_plan(client, 2, "ann@x.org", "pro", "Ann")
        ann = [("entered_segment", "Ann")]
        wait_for_all({"ann@x.org": ann}, sound, troubled, gone)
        tell_plan(client, 3, "ann@x.org", "pro", "Anna")
        ann += [("changed", "Anna")]
        wait_for_all({"ann@x.org": ann}, sound, troubled, gone)

        troubled.script("POST", "", [Answer(500)])
        gone.script("POST", "", [Answer(410)])
        tell_plan(client, 4, "ann@x.org", "free", "Anna")
        ann += [("left_segment", "Anna")]
        wait_for_all({"ann@x.org": ann}, sound)
        hub.wait_for("delivery_failed", count=2)
        # Those are left alone for now, or for ever; the others go on.
        tell_plan(client, 5, "bob@x.org", "pro", "Bob")
        bob = [("entered_segment", "Bob")]
        wait_for_all({"ann@x.org": ann, "bob@x.org": bob}, sound)

        # It was told, and the hub never learns of it.
        sound.kill_at(sound.journal.total + 1, hub.process.kill, "applied")
        tell_plan(client, 6, "bob@x.org", "pro", "Rob")
        assert hub.process.wait(60) == -signal.SIGKILL
    bob += [("changed", "Rob")]
    with serving(folder.path) as hub:
        wait_until(lambda: len(sound.requests) > len(ann + bob), lambda: str(hub.events()[-9:]))
        wait_until(lambda: told(troubled).get("bob@x.org", [("", "")])[-1][1] == "Rob", lambda: str(hub.events()[-9:]))
        hub.wait_for("delivery_failed")
        status = answered(folder.path, "status")[1]
        checks = answered(folder.path, "doctor")[1]["checks"]
        assert hub.stop() == 0
    assert [(each["kind"], each["name"]) for each in status["failures"]] == [("deliver", "gone")]
    assert "answered 410 and is disabled" in status["attention"][0]["what"]
    assert "is disabled" in next(each["finding"] for each in checks if each["check"] == "runs")
    assert told(sound) == {"ann@x.org": ann, "bob@x.org": bob}
    assert told(troubled)["ann@x.org"] == ann
    # Whether his entry waited in its own words, or was never begun.
    assert told(troubled)["bob@x.org"] in (bob, [("entered_segment", "Rob")])
    for partner, again in ((sound, 1), (troubled, 0)):
        ids = [request.headers["webhook-id"] for request in partner.requests]
        assert len(ids) == len(set(ids)) + again
    assert gone.journal.total == 3


def test_a_slow_job_of_marketo_keeps_nobody_waiting(
    tmp_path: Path, database_url: str, portal: HubSpotSimulator, marketo: MarketoSimulator
) -> None:
    mail = marketo_list(marketo, extract="auto", since=str(datetime.now(UTC).date()))
    del mail["streams"]["leads"]
    connections = {"plans": plans(), "crm": hubspot(portal), "mail": mail}
    lists = {"pro": audience("pro", "crm", "Pro"), "mailed": audience("pro", "mail", "Pro")}
    folder = folder_of(tmp_path, database_url, connections, lists, pro='plan = "pro"')
    marketo.settings()["extract_takes"](86_400)
    with serving(folder.path) as hub, client_of(hub) as client:
        wait_until(lambda: marketo.count("GET", "/status.json"), lambda: str(hub.events()))
        tell_plan(client, 1, "ann@x.org", "pro")
        wait_for(portal, "Pro", {"ann@x.org"}, hub)
        # The instance whose job is waited for is written to meanwhile.
        wait_for(marketo, "Pro", {"ann@x.org"}, hub)
        tell_plan(client, 2, "ann@x.org", "free")
        wait_for(portal, "Pro", set(), hub)
        wait_for(marketo, "Pro", set(), hub)
        (doing,) = answered(folder.path, "status")[1]["engine"]["doing"]
        assert (doing["kind"], doing["name"]) == ("sync", "mail/leads")
        # It asks after its job once a minute, and is not waited for.
        hub.process.send_signal(signal.SIGTERM)
        assert hub.process.wait(30) == 0
    assert marketo.count("POST", "/create.json") == 1
    (failed,) = hub.events("sync_failed")
    assert failed["exit_code"] == 4


def refusal(status: int) -> Answer:
    said = f"{EMAIL} of {NAME}, {PHONE}, is refused with {CLIENT_SECRET}"
    return Answer(status, [{"errorCode": "INVALID", "message": said, "fields": [EMAIL]}])


@pytest.mark.slow
def test_status_forecasts_the_budgets_and_nothing_personal_gets_out(
    tmp_path: Path,
    database_url: str,
    portal: HubSpotSimulator,
    marketo: MarketoSimulator,
    org: SalesforceSimulator,
    partners: dict[str, WebhookEndpoint],
) -> None:
    crm = pushing_hubspot(portal)
    crm["config"]["tier"] = "enterprise"
    connections = {
        "crm": crm,
        "sales": pushing_salesforce(org),
        "mail": marketo_list(marketo),
        "partner": endpoint(partners["sound"]),
    }
    lists = {
        "partner": audience("known", "partner", "Known", name="first_name"),
        "mail": audience("known", "mail", "Known", firstName="first_name"),
    }
    where = 'lifecycle_stage = "customer" or lead_source = "Web"'
    folder = folder_of(tmp_path, database_url, connections, lists, known=where)
    with serving(folder.path) as hub, client_of(hub) as client:
        hub.wait_for("synced", count=2)
        portal.script("POST", "batch/read", [refusal(status) for status in (400, 500)])
        org.script("POST", "/composite", [refusal(400)])
        marketo.script("POST", "/leads.json", [marketo.failed("1003", f"{EMAIL} is no address of {NAME}")])
        partners["sound"].script("POST", "", [refusal(400)])
        subscribe(portal, hub)
        org.pushes.subscribe(Subscription(f"{hub.url}/hooks/sales?token={TOKEN}", "Contact", fields=("Email",)))
        portal.contacts.add({"email": EMAIL, "firstname": NAME, "phone": PHONE, "lifecyclestage": "customer"})
        org.edits()["create"]("Contact", {"LastName": NAME, "Email": f"other.{EMAIL}", "LeadSource": "Web"})
        refused = client.post(f"/hooks/sales?token={NAME}", content=EMAIL, headers={"x-switchyard-token": TOKEN[:-1]})
        assert refused.status_code == 401
        both = {EMAIL, f"other.{EMAIL}"}
        wait_for(marketo, "Known", both, hub)
        wait_until(lambda: partners["sound"].people().keys() == both, lambda: str(hub.events()[-9:]))
        status = answered(folder.path, "status")[1]
        seen = {"status": str(status), "refused": refused.text, "metrics": client.get("/metrics").text}
        seen |= {name: shown(folder, name) for name in ("status", "doctor")}
        assert hub.stop() == 0
        assert hub.process.stdout is not None
        seen |= {"stdout": hub.process.stdout.read(), "log": hub.log.read_text()}
    secrets = (APP_SECRET, TOKEN, CLIENT_SECRET, SENDING, App().client_secret, "pat-na1-simulator")
    for what, text in seen.items():
        assert_none(what, text)
        assert [secret for secret in secrets if secret in text] == [], what
    # All of it did happen.
    assert {event["connection"] for event in hub.events("sync_failed")} == {"crm", "sales"}
    assert {event["audience"] for event in hub.events("delivery_failed")} == {"mail", "partner"}
    budgets = {each["connections"][0]: each for each in status["budgets"]}
    assert {"crm", "sales", "mail"} <= budgets.keys()
    for name in ("crm", "sales", "mail"):
        budget = budgets[name]
        assert budget["left"] == budget["daily"] - budget["calls"] - budget["elsewhere"]
        assert (sum(budget["kinds"].values()), budget["runs_out_at"]) == (budget["calls"], None)
        assert budget["needs"] >= 0
