"""Which campaigns a request to the Salesforce simulator will write to: they are locked while it is under way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

from switchyard.testing.simulator import Request
from switchyard_connectors.salesforce.simulator_org import long_id
from switchyard_connectors.salesforce.simulator_records import Store

_MEMBER = re.compile(r"/sobjects/CampaignMember(?:/(\w+))?/?$", re.IGNORECASE)
_PREFIX = "00v"


def touched(request: Request, store: Store) -> set[str]:
    """The ids of the campaigns whose members the request creates, changes or deletes."""
    if request.method == "GET" or (b"CampaignId" not in request.body and not _may_name_members(request)):
        return set()
    try:
        body = json.loads(request.body) if request.body else None
    except ValueError:
        return set()
    return set(_campaigns(request.method, f"{request.path}?{request.query}", body, store))


def _may_name_members(request: Request) -> bool:
    return _PREFIX.encode() in request.body or _PREFIX in request.query or _PREFIX in request.path


def _campaigns(method: str, url: str, body: Any, store: Store) -> Iterator[str]:
    path, _, query = url.partition("?")
    if isinstance(body, Mapping):
        for part in (*(body.get("compositeRequest") or ()), *(body.get("batchRequests") or ())):
            yield from _campaigns(part["method"], part["url"], part.get("body"), store)
        yield from _of_records(body.get("records") or (), store)
    if method == "GET":
        return
    if match := _MEMBER.search(path):
        yield from _of_records([{**(body or {}), "Id": match[1]}], store)
    if path.endswith("/composite/sobjects"):
        ids = ",".join(parse_qs(query).get("ids", [])).split(",")
        yield from _of_records(({"Id": each} for each in ids), store)


def _of_records(records: Iterable[Any], store: Store) -> Iterator[str]:
    for record in records:
        if not isinstance(record, Mapping):
            continue
        campaign = record.get("CampaignId")
        member_id = long_id(record.get("Id"))
        if campaign is None and member_id and member_id.startswith(_PREFIX):
            member = store["CampaignMember"].get(member_id)
            campaign = member and member["CampaignId"]
        if known := long_id(campaign):
            yield known
