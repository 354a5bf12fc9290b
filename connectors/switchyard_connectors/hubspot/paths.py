"""Where HubSpot's resources live, per API version.

The shapes differ between versions by more than the number, so this table is the only place that knows them (vendor
documentation, developer-tooling/platform/versioning, and the OpenAPI files of each version). A dated version is
supported for 18 months; v4 ends in March 2027, v1 to v3 in September 2027. A resource that a version does not have is
used at the newest address that is documented for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Version: TypeAlias = Literal["v3", "2026-03", "2026-09"]
PIN: Version = "2026-03"
"""The version that is spoken unless the configuration names another."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The roots of the resources; objects, properties and associations go on with the object type."""

    objects: str
    properties: str
    lists: str
    associations: str
    schemas: str
    send: str
    oauth: str
    forms: str = "/marketing/v3/forms"
    # These two have no successor yet.
    submissions: str = "/form-integrations/v1/submissions/forms"
    email_events: str = "/email/public/v1/events"


PATHS: Mapping[Version, Paths] = {
    "v3": Paths(
        objects="/crm/v3/objects",
        properties="/crm/v3/properties",
        lists="/crm/v3/lists",
        associations="/crm/v4/associations",
        schemas="/crm/v3/schemas",
        send="/events/v3/send",
        oauth="/oauth/v1/token",
    ),
    "2026-03": Paths(
        objects="/crm/objects/2026-03",
        properties="/crm/properties/2026-03",
        lists="/crm/lists/2026-03",
        associations="/crm/associations/2026-03",
        schemas="/crm/v3/schemas",
        send="/events/2026-03/send",
        oauth="/oauth/2026-03/token",
    ),
    "2026-09": Paths(
        objects="/crm/objects/2026-09",
        properties="/crm/properties/2026-09",
        lists="/crm/lists/2026-09",
        associations="/crm/associations/2026-09",
        schemas="/crm-object-schemas/2026-09/schemas",
        send="/events/2026-03/send",
        oauth="/oauth/2026-03/token",
    ),
}
