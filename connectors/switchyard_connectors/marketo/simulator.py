"""A stand-in for Marketo's REST, asset, bulk and identity APIs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Unpack

from switchyard.testing.simulator import Answer, Request, Route, Simulator, SimulatorOptions
from switchyard_connectors.marketo import simulator_extracts, simulator_imports
from switchyard_connectors.marketo.simulator_activities import Activities
from switchyard_connectors.marketo.simulator_assets import Assets
from switchyard_connectors.marketo.simulator_campaigns import Campaigns, Webhook
from switchyard_connectors.marketo.simulator_database import Database
from switchyard_connectors.marketo.simulator_extract_rows import Contents
from switchyard_connectors.marketo.simulator_fields import Fields
from switchyard_connectors.marketo.simulator_identity import ApiUser, Identity
from switchyard_connectors.marketo.simulator_instance import Instance
from switchyard_connectors.marketo.simulator_leads import Leads
from switchyard_connectors.marketo.simulator_limits import DAILY, Limits
from switchyard_connectors.marketo.simulator_lists import Lists
from switchyard_connectors.marketo.simulator_log import Log
from switchyard_connectors.marketo.simulator_objects import Objects
from switchyard_connectors.marketo.simulator_people import Lead, People
from switchyard_connectors.marketo.simulator_programs import Programs


@dataclass(frozen=True, slots=True)
class Account:
    """The instance that is simulated.

    Args:
        limited: whether calls per 20 seconds, at once and per day are limited.
        daily: calls in a day, which ends at midnight of US Central time.
        users: the API-only users who may sign in.
        corona: whether bulk extracts of leads may filter by `updatedAt` and smart lists, which not every
            subscription has (1035).
    """

    limited: bool = True
    daily: int = DAILY
    users: tuple[ApiUser, ...] = (ApiUser(),)
    corona: bool = True


class MarketoSimulator(Simulator):
    """One Marketo instance.

    Its attributes hold its state; what a person would do inside Marketo is their methods, and `edits` over the control
    API.
    """

    def __init__(self, account: Account = Account(), **options: Unpack[SimulatorOptions]) -> None:
        super().__init__(**options)
        instance = Instance(self.clock, self.random)
        self.instance = instance
        self.identity = Identity(instance, account.users)
        self.limits = Limits(instance, limited=account.limited, daily=account.daily)
        self.log = Log(self.clock)
        self.fields = Fields(instance)
        self.people = People(instance, self.fields, self.log)
        self.leads = Leads(instance, self.fields, self.people)
        self.lists = Lists(instance, self.people, self.leads, self.log)
        self.assets = Assets(instance, self.lists)
        self.activities = Activities(instance, self.people, self.fields, self.lists, self.log)
        self.programs = Programs(instance, self.people, self.fields, self.log)
        self.campaigns = Campaigns(instance, self.people)
        self.objects = Objects(instance)
        self.people.forget += [self.lists.forget, self.programs.forget]
        database = Database(self.fields, self.people, self.leads, self.lists, self.log, self.programs, self.objects)
        self.contents = Contents(instance, database)
        self.contents.corona = account.corona
        self.extracts = simulator_extracts.Extracts(instance, self.contents, self.identity.user)
        self.imports = simulator_imports.Imports(instance, database)
        self._register_leads()
        self._register_lists()
        self._register_activities()
        self._register_programs()
        self._register_others()

    def stop(self) -> None:
        self.campaigns.sender.close()
        super().stop()

    def seed(self, count: int, **options: Any) -> range:
        """Have this many leads more, that take no memory; see `People.seed`."""
        return self.people.seed(count, **options)

    def failed(self, code: str, message: str) -> Answer:
        """A failure in Marketo's envelope, for `script`."""
        return self.instance.failed(code, message)

    def member_emails(self, name: str) -> set[str]:
        """The e-mails of the people on the list with this name."""
        found = self.lists.named(name)
        if found is None:
            raise LookupError(f"no list named {name!r}")
        return {lead.values.get("email", "") for each in found.members if (lead := self.people.get(each)) is not None}

    def admit(self, request: Request, route: Route) -> Answer | None:
        if (refusal := self.limits.too_large(request)) is not None:
            return refusal
        if route.handler == self.identity.answer:
            return None
        self.limits.enter(request, self.identity.user(request))
        self.extracts.jobs.advance()
        self.imports.jobs.advance()
        self.leads.arrive(request)
        return None

    def decorate(self, request: Request, route: Route, answer: Answer) -> Answer:  # noqa: ARG002
        self.leads.depart(request)
        self.limits.leave(request, answer)
        return answer

    def not_found(self, request: Request) -> Answer:
        for method in ("GET", "POST", "DELETE"):
            if self._router.find(method, request.path):
                return self.instance.failed("605", f"HTTP Method '{request.method}' is not supported for this URL")
        return self.instance.failed("610", "Requested resource not found")

    def malformed(self, reason: str) -> Answer:
        return self.instance.failed("609", f"Invalid JSON: {reason}")

    def state(self) -> dict[str, Any]:
        lists = [{"id": each.id, "name": each.name, "size": len(each.members)} for each in self.lists.lists.values()]
        return {"leads": len(self.people), "lists": lists, "activities": len(self.log)}

    def dump(self) -> dict[str, Any]:
        """The whole instance but for its running jobs, as JSON: write it down before the next call."""
        return {name: part.dump() for name, part in self._parts().items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Be the instance that `dump` gave. Windows of seconds begin anew."""
        for name, part in self._parts().items():
            part.load(state[name])

    def settings(self) -> Mapping[str, Callable[[Any], object]]:
        return {
            **super().settings(),
            "list_lag": lambda seconds: setattr(self.lists, "lag", float(seconds)),
            "activity_lag": lambda seconds: setattr(self.log, "lag", float(seconds)),
            "activity_scan": lambda entries: setattr(self.log, "scan", int(entries)),
            "token_lifetime": lambda seconds: setattr(self.identity, "lifetime", float(seconds)),
            "corona": lambda has: setattr(self.contents, "corona", bool(has)),
            "status_refresh": lambda seconds: setattr(self.extracts, "refresh", float(seconds)),
            "file_lag": lambda seconds: setattr(self.extracts, "file_lag", float(seconds)),
            "extract_bytes": lambda size: setattr(self.extracts, "bytes", int(size)),
            "extract_wait": lambda seconds: setattr(self.extracts.jobs, "wait", float(seconds)),
            "extract_takes": lambda seconds: setattr(self.extracts.jobs, "takes", float(seconds)),
            "import_wait": lambda seconds: setattr(self.imports.jobs, "wait", float(seconds)),
            "import_takes": lambda seconds: setattr(self.imports.jobs, "takes", float(seconds)),
        }

    def edits(self) -> Mapping[str, Callable[..., Any]]:
        """Lists may be named by id or name, leads by id or e-mail."""
        people, lists, programs, a_list, a_lead = self.people, self.lists, self.programs, self._list_id, self._lead_id
        return {
            "seed": lambda count, days=31: len(self.seed(int(count), over=float(days) * 86_400)),
            "create_lead": lambda values: people.create(values, "Manual").id,
            "update_lead": lambda lead, values: people.update(a_lead(lead), values, "Manual"),
            "delete_lead": lambda lead: people.delete(a_lead(lead)),
            "merge_leads": lambda winner, losers: people.merge(a_lead(winner), [a_lead(each) for each in losers]),
            "create_field": lambda name, kind="string": self.fields.add(name, kind).name,
            "remove_field": self.fields.remove,
            "create_list": lambda name: lists.add(name).id,
            "rename_list": lambda list, name: setattr(lists.lists[a_list(list)], "name", name),
            "delete_list": lambda list: lists.lists.pop(a_list(list)) and None,
            "use_list": lambda list: setattr(lists.lists[a_list(list)], "in_use", True),
            "add_members": lambda list, leads: lists.put_on(a_list(list), map(a_lead, leads)),
            "remove_members": lambda list, leads: lists.take_off(a_list(list), map(a_lead, leads)),
            "record_activity": lambda kind, lead, **more: self.activities.record(int(kind), a_lead(lead), **more),
            "create_program": lambda name: programs.add(name).id,
            "set_status": lambda program, leads, status: programs.put(int(program), map(a_lead, leads), status),
            "create_campaign": lambda name, **webhook: (
                self.campaigns.add(name, webhook=Webhook(**webhook) if webhook else None).id
            ),
            "call_webhook": lambda campaign, leads: self.campaigns.call_webhook(
                int(campaign), [a_lead(each) for each in leads]
            ),
            "create_object_type": lambda name, fields, key, link=None: (
                self.objects.add_type(name, fields, key, tuple(link) if link else None).api_name
            ),
            "put_object": self.objects.put,
            "drop_object": self.objects.drop,
            "expire_tokens": self.identity.expire,
            "revoke_tokens": self.identity.revoke,
        }

    def _parts(self) -> Mapping[str, Any]:
        names = (
            "fields",
            "people",
            "log",
            "activities",
            "lists",
            "assets",
            "programs",
            "campaigns",
            "objects",
            "identity",
            "limits",
        )
        return {name: getattr(self, name) for name in names}

    def _list_id(self, wanted: int | str) -> int:
        found = self.lists.named(str(wanted)) or self.lists.lists.get(int(wanted) if str(wanted).isdigit() else 0)
        if found is None:
            raise LookupError(f"no list {wanted}")
        return found.id

    def _lead_id(self, wanted: int | str) -> int:
        if str(wanted).isdigit() and self.people.get(int(wanted)) is not None:
            return int(wanted)
        found = self.people.matches("email", wanted)
        if len(found) != 1:
            raise LookupError(f"no lead {wanted}, or more than one")
        return found[0]

    def _register_leads(self) -> None:
        leads, fields = self.leads, self.fields
        self.route("GET", "/rest/v1/leads.json", leads.get)
        self.route("POST", "/rest/v1/leads.json", leads.post)
        self.route("DELETE", "/rest/v1/leads.json", leads.delete)
        self.route("POST", "/rest/v1/leads/delete.json", leads.delete)
        self.route("GET", "/rest/v1/lead/{lead_id}.json", leads.get_one)
        self.route("GET", "/rest/v1/leads/partitions.json", leads.list_partitions)
        self.route("GET", "/rest/v1/leads/describe.json", fields.describe)
        self.route("GET", "/rest/v1/leads/describe2.json", fields.describe2)
        self.route("GET", "/rest/v1/leads/schema/fields.json", fields.schema)
        self.route("POST", "/rest/v1/leads/schema/fields.json", fields.create)
        self.route("GET", "/rest/v1/leads/schema/fields/{name}.json", fields.schema_one)
        self.route("POST", "/rest/v1/leads/{lead_id}/merge.json", leads.merge)
        self.route("GET", "/rest/v1/leads/{lead_id}/listMembership.json", self.lists.of_lead)

    def _register_lists(self) -> None:
        lists, assets = self.lists, self.assets
        self.route("GET", "/rest/v1/lists.json", lists.browse)
        self.route("GET", "/rest/v1/lists/{list_id}.json", lists.get)
        for root in ("/rest/v1/lists/{list_id}/leads", "/rest/v1/list/{list_id}/leads"):
            self.route("GET", f"{root}.json", lists.members)
            self.route("POST", f"{root}.json", lists.add_members)
            self.route("DELETE", f"{root}.json", lists.remove_members)
        for method in ("GET", "POST"):
            self.route(method, "/rest/v1/lists/{list_id}/leads/ismember.json", lists.are_members)
        self.route("GET", "/rest/asset/v1/folder/byName.json", assets.folder_by_name)
        self.route("GET", "/rest/asset/v1/folder/{folder_id}.json", assets.folder_by_id)
        self.route("POST", "/rest/asset/v1/folders.json", assets.create_folder)
        self.route("GET", "/rest/asset/v1/staticList/byName.json", assets.list_by_name)
        self.route("GET", "/rest/asset/v1/staticLists.json", assets.browse_lists)
        self.route("POST", "/rest/asset/v1/staticLists.json", assets.create_list)
        self.route("GET", "/rest/asset/v1/staticList/{list_id}.json", assets.list_by_id)
        self.route("POST", "/rest/asset/v1/staticList/{list_id}.json", assets.change_list)
        self.route("POST", "/rest/asset/v1/staticList/{list_id}/delete.json", assets.delete_list)

    def _register_activities(self) -> None:
        activities, root = self.activities, "/rest/v1/activities"
        self.route("GET", f"{root}.json", activities.get)
        self.route("GET", f"{root}/pagingtoken.json", activities.paging_token)
        self.route("GET", f"{root}/leadchanges.json", activities.changes)
        self.route("GET", f"{root}/deletedleads.json", activities.deleted)
        self.route("GET", f"{root}/types.json", activities.list_types)
        self.route("GET", f"{root}/external/types.json", activities.list_custom)
        self.route("POST", f"{root}/external.json", activities.add_custom)

    def _register_programs(self) -> None:
        programs, members = self.programs, "/rest/v1/programs/{program_id}/members"
        self.route("GET", "/rest/asset/v1/programs.json", programs.browse)
        self.route("GET", "/rest/asset/v1/program/byName.json", programs.by_name)
        self.route("GET", "/rest/asset/v1/program/{program_id}.json", programs.by_id)
        self.route("GET", "/rest/v1/programs/members/describe.json", programs.describe)
        self.route("GET", f"{members}.json", programs.members)
        self.route("POST", f"{members}.json", programs.change)
        self.route("POST", f"{members}/status.json", programs.set_status)
        self.route("POST", f"{members}/delete.json", programs.delete)
        self.route("GET", "/rest/v1/campaigns.json", self.campaigns.browse)
        self.route("GET", "/rest/v1/campaigns/{campaign_id}.json", self.campaigns.get)
        self.route("POST", "/rest/v1/campaigns/{campaign_id}/trigger.json", self.campaigns.trigger)
        self.route("POST", "/rest/v1/campaigns/{campaign_id}/schedule.json", self.campaigns.schedule)

    def _register_others(self) -> None:
        objects, root = self.objects, "/rest/v1/customobjects"
        self.route("GET", f"{root}.json", objects.list_types)
        self.route("GET", f"{root}/{{api_name}}.json", objects.get)
        self.route("POST", f"{root}/{{api_name}}.json", objects.post)
        self.route("GET", f"{root}/{{api_name}}/describe.json", objects.describe)
        self.route("POST", f"{root}/{{api_name}}/delete.json", objects.delete)
        bulk = {**simulator_extracts.routes(self.extracts), **simulator_imports.routes(self.imports)}
        for (method, path), handler in bulk.items():
            self.route(method, path, handler)
        for stats, handler in (("usage", self.limits.usage), ("errors", self.limits.errors)):
            self.route("GET", f"/rest/v1/stats/{stats}.json", handler)
            self.route("GET", f"/rest/v1/stats/{stats}/last7days.json", handler)
        for method in ("GET", "POST"):
            self.route(method, "/identity/oauth/token", self.identity.answer)


__all__ = ["Account", "ApiUser", "Lead", "MarketoSimulator"]
