"""What bulk jobs of the Marketo simulator read and write: the stores of one instance, together."""

from __future__ import annotations

from dataclasses import dataclass

from switchyard_connectors.marketo.simulator_fields import Fields
from switchyard_connectors.marketo.simulator_leads import Leads
from switchyard_connectors.marketo.simulator_lists import Lists
from switchyard_connectors.marketo.simulator_log import Log
from switchyard_connectors.marketo.simulator_objects import Objects
from switchyard_connectors.marketo.simulator_people import People
from switchyard_connectors.marketo.simulator_programs import Programs


@dataclass(frozen=True, slots=True)
class Database:
    """The stores."""

    fields: Fields
    people: People
    leads: Leads
    lists: Lists
    log: Log
    programs: Programs
    objects: Objects
