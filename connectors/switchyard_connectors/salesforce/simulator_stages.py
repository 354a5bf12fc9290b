"""What the simulated org works out of the stage of an opportunity and the status of a task."""

from __future__ import annotations

from switchyard_connectors.salesforce.simulator_org import Org
from switchyard_connectors.salesforce.simulator_records import Row
from switchyard_connectors.salesforce.simulator_writes import Custom


class Opportunities(Custom):
    """The stages `Closed Won` and `Closed Lost` close an opportunity."""

    def prepare(self, row: Row, _: Row | None) -> None:
        row["IsClosed"] = row["StageName"].lower().startswith("closed")
        row["IsWon"] = row["StageName"].lower() == "closed won"


class Tasks(Custom):
    """The status `Completed` closes a task."""

    def __init__(self, org: Org) -> None:
        self._org = org

    def prepare(self, row: Row, _: Row | None) -> None:
        row["IsClosed"] = row["Status"] == "Completed"
        if not row["IsClosed"]:
            row["CompletedDateTime"] = None
        elif row["CompletedDateTime"] is None:
            row["CompletedDateTime"] = self._org.now()
