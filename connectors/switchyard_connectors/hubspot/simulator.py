"""A stand-in for HubSpot's CRM API: contacts, properties, lists, sign-in and limits, on v3 and dated paths alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Unpack

from switchyard.testing.simulator import (
    Answer,
    DailyQuota,
    RateWindow,
    Request,
    Route,
    Simulator,
    SimulatorOptions,
)
from switchyard_connectors.hubspot.paths import PATHS, Paths
from switchyard_connectors.hubspot.simulator_auth import STATIC, Auth, OAuthApp
from switchyard_connectors.hubspot.simulator_contacts import Contacts
from switchyard_connectors.hubspot.simulator_lists import Lists
from switchyard_connectors.hubspot.simulator_portal import Portal, Problem
from switchyard_connectors.hubspot.simulator_properties import Properties
from switchyard_connectors.hubspot.simulator_search import Search
from switchyard_connectors.hubspot.tiers import SEARCHES, TIERS, WINDOW, Tier


@dataclass(frozen=True, slots=True)
class Account:
    """The account that is simulated.

    Args:
        tier: whose limits hold; None for no limits.
        tokens: static bearer tokens that are good.
        app: the app that may refresh OAuth tokens.
        scopes: what tokens may do; None for everything.
        daily: calls in a day, where not those of the tier.
        time_zone: the IANA zone whose midnight begins a day.
        per_call: members that one call may add and remove together. HubSpot documents no such limit.
    """

    tier: Tier | None = "enterprise"
    tokens: Collection[str] = (STATIC,)
    app: OAuthApp = field(default_factory=OAuthApp)
    scopes: Collection[str] | None = None
    daily: int | None = None
    time_zone: str = "UTC"
    per_call: int = 100_000


class HubSpotSimulator(Simulator):
    """One HubSpot account.

    `contacts`, `lists` and `properties` hold its state; what a person would do inside HubSpot is their methods, and
    `edits` over the control API.
    """

    def __init__(self, account: Account = Account(), **options: Unpack[SimulatorOptions]) -> None:
        super().__init__(**options)
        self._portal = Portal(self.clock, self.random)
        self.auth = Auth(self._portal, account.tokens, account.app, account.scopes)
        self.properties = Properties(self._portal)
        self.lists = Lists(self._portal, lambda record_id: self.contacts.live(record_id) is not None, account.per_call)
        self.contacts = Contacts(self._portal, self.properties, self.lists.forget)
        self._search = Search(self._portal, self.contacts)
        self._account = account
        self._limits: _Limits | None = None
        self._set_tier(account.tier)
        for paths in PATHS.values():
            self._register(paths)

    def member_emails(self, name: str) -> set[str]:
        """The main e-mails of the people on the list with this name."""
        found = self.lists.named(name)
        if found is None:
            raise LookupError(f"no list named {name!r}")
        contacts = (self.contacts.records[str(record_id)] for record_id in found.members)
        return {contact.properties.get("email", "") for contact in contacts}

    def admit(self, request: Request, route: Route) -> Answer | None:
        if route.handler == self.auth.token:
            return None
        self.auth.check(request, route)
        return self._limits.refusal(self._portal, route, self.clock()) if self._limits else None

    def decorate(self, request: Request, route: Route, answer: Answer) -> Answer:
        if self._limits is None or route.handler == self.auth.token:
            return answer
        headers = self._limits.headers(route, self.clock(), oauth=self.auth.by_oauth(request))
        return Answer(answer.status, answer.body, {**headers, **answer.headers})

    def not_found(self, _: Request) -> Answer:
        return Answer(
            404, "<html><head><title>Error 404 Not Found</title></head></html>", {"content-type": "text/html"}
        )

    def malformed(self, reason: str) -> Answer:
        return self._portal.error(400, Problem("VALIDATION_ERROR", f"Invalid input JSON: {reason}"))

    def state(self) -> dict[str, Any]:
        lists = [
            {
                "id": entry.id,
                "name": entry.name,
                "size": len(entry.members),
                "processing_type": entry.kind,
                "deleted": entry.deleted is not None,
            }
            for entry in self.lists.lists.values()
        ]
        custom = sorted(name for name, known in self.properties.known.items() if not known["hubspotDefined"])
        return {"contacts": len(self.contacts.records), "lists": lists, "properties": custom}

    def dump(self) -> dict[str, Any]:
        """The whole account, as JSON. It shares parts with the account: write it down before the next call."""
        return {
            "contacts": self.contacts.dump(),
            "lists": self.lists.dump(),
            "properties": self.properties.dump(),
            "auth": self.auth.dump(),
            "day": self._limits.day.dump() if self._limits else None,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Be the account that `dump` gave. Windows of seconds begin anew; the day's calls are those of that day."""
        self.properties.load(state["properties"])
        self.contacts.load(state["contacts"])
        self.lists.load(state["lists"])
        self.auth.load(state["auth"])
        if self._limits and state["day"]:
            self._limits.day.load(state["day"])

    def settings(self) -> Mapping[str, Callable[[Any], object]]:
        return {
            **super().settings(),
            "list_lag": lambda seconds: setattr(self.lists, "lag", float(seconds)),
            "index_lag": lambda seconds: setattr(self.contacts, "lag", float(seconds)),
            "merges_keep_id": lambda keep: setattr(self.contacts, "merges_keep_id", bool(keep)),
            "tier": self._set_tier,
        }

    def edits(self) -> Mapping[str, Callable[..., Any]]:
        """Lists may be named by id or name, contacts by id or e-mail."""
        lists, contacts, a_list, a_contact = self.lists, self.contacts, self._list_id, self._record_id
        return {
            "create_contact": lambda values: contacts.add(values).id,
            "update_contact": lambda record_id, values: contacts.update(a_contact(record_id), values),
            "archive_contact": lambda record_id: contacts.archive(a_contact(record_id)),
            "merge_contacts": lambda primary_id, other_id: contacts.merge(a_contact(primary_id), a_contact(other_id)),
            "erase_contact": lambda record_id: contacts.erase(a_contact(record_id)),
            "create_list": lambda name, kind="MANUAL": lists.add(name, kind).id,
            "add_members": lambda list_id, record_ids: lists.put_on(a_list(list_id), map(a_contact, record_ids)),
            "remove_members": lambda list_id, record_ids: lists.take_off(a_list(list_id), map(a_contact, record_ids)),
            "rename_list": lambda list_id, name: lists.rename(a_list(list_id), name),
            "delete_list": lambda list_id: lists.remove(a_list(list_id)),
            "restore_list": lambda list_id: lists.bring_back(a_list(list_id)),
            "expire_tokens": self.auth.expire,
        }

    def _list_id(self, wanted: str) -> str:
        # A deleted list keeps its name, for whoever restores it by that.
        named = (entry.id for entry in reversed(self.lists.lists.values()) if entry.name == wanted)
        found = wanted if wanted in self.lists.lists else next(named, None)
        if found is None:
            raise LookupError(f"no list {wanted}")
        return found

    def _record_id(self, wanted: str) -> str:
        contact = self.contacts.find("email", wanted) or self.contacts.live(self.contacts.resolved(wanted))
        if contact is None:
            raise LookupError(f"no contact {wanted}")
        return contact.id

    def _set_tier(self, tier: Tier | None) -> None:
        """The limits of this tier hold from now on, with nothing used; None for no limits."""
        self._limits = None if tier is None else _Limits(tier, self._account)

    def _register(self, paths: Paths) -> None:
        self.route("POST", paths.oauth, self.auth.token)
        for name in ("contacts", "contact", "0-1"):
            self._register_contacts(f"{paths.objects}/{name}")
        self._register_lists(paths.lists)
        properties = f"{paths.properties}/{{object_type}}"
        self.route("GET", properties, self.properties.list_all)
        self.route("POST", properties, self.properties.create)
        self.route("POST", f"{properties}/batch/create", self.properties.batch_create)
        self.route("GET", f"{properties}/{{name}}", self.properties.get)

    def _register_contacts(self, root: str) -> None:
        contacts = self.contacts
        self.route("GET", root, contacts.list_page)
        self.route("POST", root, contacts.create_one)
        self.route("POST", f"{root}/batch/read", contacts.batch_read)
        self.route("POST", f"{root}/batch/create", contacts.batch_create)
        self.route("POST", f"{root}/batch/update", contacts.batch_update)
        self.route("POST", f"{root}/batch/upsert", contacts.batch_upsert)
        self.route("POST", f"{root}/batch/archive", contacts.batch_archive)
        self.route("POST", f"{root}/search", self._search.answer)
        self.route("POST", f"{root}/merge", contacts.merge_call)
        self.route("POST", f"{root}/gdpr-delete", contacts.erase_call)
        self.route("GET", f"{root}/{{id}}", contacts.get_one)
        self.route("PATCH", f"{root}/{{id}}", contacts.update_one)
        self.route("DELETE", f"{root}/{{id}}", contacts.archive_one)

    def _register_lists(self, root: str) -> None:
        lists = self.lists
        self.route("POST", root, lists.create)
        self.route("GET", root, lists.get_many)
        self.route("POST", f"{root}/search", lists.search)
        self.route("GET", f"{root}/object-type-id/{{object_type}}/name/{{name}}", lists.get_by_name)
        self.route("GET", f"{root}/records/{{object_type}}/{{record_id}}/memberships", lists.of_record)
        self.route("GET", f"{root}/{{list_id}}", lists.get)
        self.route("DELETE", f"{root}/{{list_id}}", lists.delete)
        self.route("PUT", f"{root}/{{list_id}}/restore", lists.restore)
        self.route("PUT", f"{root}/{{list_id}}/update-list-name", lists.rename_call)
        members = f"{root}/{{list_id}}/memberships"
        self.route("GET", members, lists.members)
        self.route("DELETE", members, lists.clear)
        self.route("GET", f"{members}/join-order", lists.members_by_joining)
        self.route("PUT", f"{members}/add", lists.add_members)
        self.route("PUT", f"{members}/remove", lists.remove_members)
        self.route("PUT", f"{members}/add-and-remove", lists.add_and_remove)


class _Limits:
    """The three limits of a tier (vendor documentation, usage-guidelines). Searches count in a window of their own."""

    def __init__(self, tier: Tier, account: Account) -> None:
        self._rolling = RateWindow(TIERS[tier].calls, WINDOW)
        self._searches = RateWindow(SEARCHES, 1.0)
        self.day = DailyQuota(TIERS[tier].daily if account.daily is None else account.daily, account.time_zone)

    def refusal(self, portal: Portal, route: Route, now: float) -> Answer | None:
        if self.day.remaining(now) <= 0:
            return _policy(portal, "DAILY", "You have reached your daily limit.")
        if _is_search(route):
            if not self._searches.take(now):
                problem = Problem("RATE_LIMITS", "You have reached your secondly limit.")
                return portal.error(429, problem)
        elif not self._rolling.take(now):
            return _policy(portal, "TEN_SECONDLY_ROLLING", "You have reached your ten_secondly_rolling limit.")
        self.day.take(now)
        return None

    def headers(self, route: Route, now: float, *, oauth: bool) -> dict[str, str]:
        values: dict[str, int] = {}
        if not _is_search(route):
            values |= {
                "Max": self._rolling.calls,
                "Remaining": self._rolling.remaining(now),
                "Interval-Milliseconds": int(WINDOW * 1000),
            }
        if not oauth:
            values |= {"Daily": self.day.calls, "Daily-Remaining": self.day.remaining(now)}
        return {f"X-HubSpot-RateLimit-{name}": str(value) for name, value in values.items()}


def _is_search(route: Route) -> bool:
    return "/objects" in route.pattern and route.pattern.endswith("/search")


def _policy(portal: Portal, name: str, message: str) -> Answer:
    ids = {"correlationId": portal.correlation_id(), "requestId": portal.correlation_id()}
    return Answer(429, {"status": "error", "message": message, "errorType": "RATE_LIMIT", "policyName": name, **ids})
