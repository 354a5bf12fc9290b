"""A stand-in for HubSpot: records, lists, events, webhooks, sign-in and limits, on all versions of its paths."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack

from switchyard.testing.simulator import Answer, Request, Route, Simulator, SimulatorOptions
from switchyard_connectors.hubspot.paths import PATHS, Paths
from switchyard_connectors.hubspot.simulator_associations import Associations
from switchyard_connectors.hubspot.simulator_auth import STATIC, Auth, OAuthApp
from switchyard_connectors.hubspot.simulator_hooks import Hooks, Subscriber
from switchyard_connectors.hubspot.simulator_limits import TierLimits
from switchyard_connectors.hubspot.simulator_lists import Lists
from switchyard_connectors.hubspot.simulator_marketing import Marketing
from switchyard_connectors.hubspot.simulator_objects import Objects
from switchyard_connectors.hubspot.simulator_portal import COMPANY, CONTACT, DEAL, Kind, Portal, Problem, custom_kind
from switchyard_connectors.hubspot.simulator_properties import Properties, Schemas
from switchyard_connectors.hubspot.simulator_search import Search
from switchyard_connectors.hubspot.tiers import Tier


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
        custom: names of the types of custom objects there are; the first has the id 2-1.
    """

    tier: Tier | None = "enterprise"
    tokens: Collection[str] = (STATIC,)
    app: OAuthApp = field(default_factory=OAuthApp)
    scopes: Collection[str] | None = None
    daily: int | None = None
    time_zone: str = "UTC"
    per_call: int = 100_000
    custom: Sequence[str] = ()


class HubSpotSimulator(Simulator):
    """One HubSpot account.

    `contacts`, `companies`, `deals`, `custom` (by name), `lists`, `properties` (those of contacts), `associations` and
    `marketing` hold its state; what a person would do inside HubSpot is their methods, and `edits` over the control
    API. `hooks` sends webhooks to whom `subscribe` names.
    """

    def __init__(self, account: Account = Account(), **options: Unpack[SimulatorOptions]) -> None:
        super().__init__(**options)
        self._portal = Portal(self.clock, self.random)
        self._account = account
        self._limits: TierLimits | None = None
        self.auth = Auth(self._portal, account.tokens, account.app, account.scopes)
        self.hooks = Hooks(self._portal)
        self.lists = Lists(self._portal, lambda record_id: self.contacts.live(record_id) is not None, account.per_call)
        self.associations = Associations(self._portal, self._kind, self._associated)
        self.marketing = Marketing(self._portal)
        self._schemas = Schemas(self._portal)
        self._properties: dict[str, Properties] = {}
        self._objects: dict[str, Objects] = {}
        kinds = [custom_kind(number, name) for number, name in enumerate(account.custom, 1)]
        for kind in (CONTACT, COMPANY, DEAL, *kinds):
            self._hold(kind)
        self.contacts, self.companies, self.deals = (self._objects[kind.id] for kind in (CONTACT, COMPANY, DEAL))
        self.custom = {kind.name: self._objects[kind.id] for kind in kinds}
        self.properties = self._properties[CONTACT.id]
        self._set_tier(account.tier)
        for paths in PATHS.values():
            self._register(paths)

    def subscribe(self, subscriber: Subscriber | None) -> None:
        """Send webhooks there from now on."""
        self.hooks.subscribe(subscriber)

    def stop(self) -> None:
        try:
            self.hooks.close()
        finally:
            super().stop()

    def forget(self, kind: Kind, record_id: str, heir: str | None) -> None:
        """A record ceases to be; `heir` takes its place on lists and in associations."""
        if kind is CONTACT:
            self.lists.forget(record_id, heir)
        self.associations.forget(kind, record_id, heir)

    def tell(self, kind: Kind, event: str, record_id: str, **said: Any) -> None:
        """Something happened to a record."""
        self.hooks.tell(kind, event, record_id, **said)

    def properties_of(self, kind: str) -> Properties:
        """The properties of a type of records, by its name or id."""
        return self._properties[self._kind(kind).id]

    def member_emails(self, name: str) -> set[str]:
        """The main e-mails of the people on the list with this name."""
        found = self.lists.named(name)
        if found is None:
            raise LookupError(f"no list named {name!r}")
        members = (self.contacts.records[str(record_id)] for record_id in found.members)
        return {each.properties.get("email", "") for each in members}

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
            "others": {kind: objects.dump() for kind, objects in self._objects.items() if kind != CONTACT.id},
            "properties": {kind: properties.dump() for kind, properties in self._properties.items()},
            "associations": self.associations.dump(),
            "lists": self.lists.dump(),
            "marketing": self.marketing.dump(),
            "auth": self.auth.dump(),
            "day": self._limits.day.dump() if self._limits else None,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Be the account that `dump` gave. Windows of seconds begin anew; the day's calls are those of that day."""
        for kind, properties in self._properties.items():
            properties.load(state["properties"][kind])
        for kind, objects in self._objects.items():
            objects.load(state["contacts"] if kind == CONTACT.id else state["others"][kind])
        self.associations.load(state["associations"])
        self.lists.load(state["lists"])
        self.marketing.load(state["marketing"])
        self.auth.load(state["auth"])
        if self._limits and state["day"]:
            self._limits.day.load(state["day"])

    def settings(self) -> Mapping[str, Callable[[Any], object]]:
        return {
            **super().settings(),
            "list_lag": lambda seconds: setattr(self.lists, "lag", float(seconds)),
            "index_lag": self._set_index_lag,
            "merges_keep_id": lambda keep: setattr(self.contacts, "merges_keep_id", bool(keep)),
            "tier": self._set_tier,
            "webhooks": lambda wanted: self.subscribe(Subscriber(**wanted) if wanted else None),
            "seed_contacts": lambda count: self.contacts.seed(int(count)),
            "event_names": lambda names: setattr(self.marketing, "event_names", set(names)),
        }

    def edits(self) -> Mapping[str, Callable[..., Any]]:
        """Lists may be named by id or name, contacts by id or e-mail."""
        lists, contacts, a_list, a_contact = self.lists, self.contacts, self._list_id, self._record_id
        return {
            "create_contact": lambda values: contacts.add(values).id,
            "update_contact": lambda record_id, values: contacts.update(a_contact(record_id), values),
            "archive_contact": lambda record_id: contacts.archive(a_contact(record_id)),
            "merge_contacts": lambda primary_id, other_id: contacts.merge(a_contact(primary_id), a_contact(other_id)),
            "restore_contact": contacts.restore,
            "erase_contact": lambda record_id: contacts.erase(a_contact(record_id)),
            "create_record": lambda kind, values: self._objects[self._kind(kind).id].add(values).id,
            "update_record": lambda kind, record_id, values: self._objects[self._kind(kind).id].update(
                record_id, values
            ),
            "archive_record": lambda kind, record_id: self._objects[self._kind(kind).id].archive(record_id),
            "associate": self.associations.join,
            "email_event": self.marketing.email,
            "create_form": self.marketing.add_form,
            "submit_form": self.marketing.submit,
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

    def _kind(self, wanted: str) -> Kind:
        """The type that a path calls so. Raises Refusal."""
        found = next((each.kind for each in self._objects.values() if wanted in each.kind.names), None)
        if found is None:
            raise self._portal.invalid(f"Unable to infer object type from: {wanted}")
        return found

    def _associated(self, kind: Kind, record_id: str, other: Kind, other_id: str, removed: bool) -> None:
        said = {"fromObjectId": int(record_id), "toObjectId": int(other_id), "associationRemoved": removed}
        name = f"{kind.single}_TO_{other.single}".upper()
        self.hooks.tell(kind, "associationChange", record_id, **said, associationType=name)

    def _hold(self, kind: Kind) -> None:
        properties = Properties(self._portal, kind)
        self._properties[kind.id] = properties
        self._schemas.add(kind, properties)
        self._objects[kind.id] = Objects(self._portal, kind, properties, self)

    def _set_index_lag(self, seconds: float) -> None:
        for objects in self._objects.values():
            objects.lag = float(seconds)

    def _set_tier(self, tier: Tier | None) -> None:
        """The limits of this tier hold from now on, with nothing used; None for no limits."""
        account = self._account
        self._limits = None if tier is None else TierLimits(tier, account.daily, account.time_zone)

    def _register(self, paths: Paths) -> None:
        self.route("POST", paths.oauth, self.auth.token)
        for objects in self._objects.values():
            search = Search(self._portal, objects)
            for name in objects.kind.names:
                root = f"{paths.objects}/{name}"
                # Before the pattern of single records, which fits it too.
                self.route("POST", f"{root}/search", search.answer)
                for method, path, handler in objects.routes():
                    self.route(method, f"{root}{path}", handler)
        self._register_lists(paths.lists)
        properties = f"{paths.properties}/{{object_type}}"
        self.route("GET", properties, lambda request: self._schemas.of(request).list_all(request))
        self.route("POST", properties, lambda request: self._schemas.of(request).create(request))
        self.route(
            "POST", f"{properties}/batch/create", lambda request: self._schemas.of(request).batch_create(request)
        )
        self.route("GET", f"{properties}/{{name}}", lambda request: self._schemas.of(request).get(request))
        self.route("GET", paths.schemas, self._list_schemas)
        # As HubSpot's own client calls it.
        self.route("GET", "/crm-object-schemas/v3/schemas", self._list_schemas)
        between = f"{paths.associations}/{{from}}/{{to}}/batch"
        self.route("POST", f"{between}/read", self.associations.batch_read)
        self.route("POST", f"{between}/create", self.associations.batch_create)
        self.route("POST", f"{between}/associate/default", self.associations.batch_create)
        self.route("POST", f"{between}/archive", self.associations.batch_archive)
        self.route("POST", paths.send, self.marketing.send_one)
        self.route("POST", f"{paths.send}/batch", self.marketing.send_batch)
        self.route("GET", paths.forms, self.marketing.list_forms)
        self.route("GET", f"{paths.submissions}/{{form_id}}", self.marketing.read_submissions)
        self.route("GET", paths.email_events, self.marketing.read_emails)

    def _list_schemas(self, _: Request) -> Answer:
        rows = [
            {
                "id": kind.id.removeprefix("2-"),
                "objectTypeId": kind.id,
                "name": kind.name,
                "fullyQualifiedName": kind.single,
                "labels": {"singular": kind.name, "plural": kind.name},
                "properties": self._properties[kind.id].dump(),
                "associations": [],
                "requiredProperties": [],
            }
            for kind in (each.kind for each in self.custom.values())
        ]
        return Answer(body={"results": rows})

    def _register_lists(self, root: str) -> None:
        lists = self.lists
        self.route("POST", root, lists.create)
        self.route("GET", root, lists.get_many)
        self.route("POST", f"{root}/search", lists.search)
        self.route("POST", f"{root}/all", lists.every)
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
