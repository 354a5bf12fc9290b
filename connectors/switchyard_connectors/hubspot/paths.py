"""Where HubSpot's resources live, per API version.

The shapes differ between versions by more than the number, so this table is the only place that knows them (vendor
documentation, developer-tooling/platform/versioning, and the OpenAPI files of each version). A dated version is
supported for 18 months; v3 ends in September 2027.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Version: TypeAlias = Literal["v3", "2026-03", "2026-09"]


@dataclass(frozen=True, slots=True)
class Paths:
    """The roots of the resources; objects and properties go on with the object type."""

    objects: str
    properties: str
    lists: str
    oauth: str


PATHS: Mapping[Version, Paths] = {
    "v3": Paths(
        objects="/crm/v3/objects",
        properties="/crm/v3/properties",
        lists="/crm/v3/lists",
        oauth="/oauth/v1/token",
    ),
    "2026-03": Paths(
        objects="/crm/objects/2026-03",
        properties="/crm/properties/2026-03",
        lists="/crm/lists/2026-03",
        oauth="/oauth/2026-03/token",
    ),
    "2026-09": Paths(
        objects="/crm/objects/2026-09",
        properties="/crm/properties/2026-09",
        lists="/crm/lists/2026-09",
        # No token endpoint of this version is documented yet; that of the one before goes on.
        oauth="/oauth/2026-03/token",
    ),
}
