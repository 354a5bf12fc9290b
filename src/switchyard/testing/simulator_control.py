"""How a simulator is looked at and led from outside its process.

Beside the vendor's paths a simulator answers:

========================== ==========================================================================
GET /_simulator/calls      `?since=N`: calls after number N, counted by method and route, and the last number
GET /_simulator/journal    `?since=N&limit=M`: the calls themselves, without bodies
GET /_simulator/state      what the vendor's system holds, in brief
POST /_simulator/script    `{"method", "path", "steps": [...]}`: script faults (see `fault_from_json`)
DELETE /_simulator/script  forget what was scripted
POST /_simulator/settings  `{"latency": seconds, "slow": [{"seconds", "jitter", "method", "path"}]}`, and the vendor's
GET /_simulator/edit       the changes by hand that there are, with their arguments
POST /_simulator/edit/NAME a change made by hand inside the vendor's system; the body holds its arguments
========================== ==========================================================================
"""

from __future__ import annotations

import inspect
from collections import Counter
from typing import TYPE_CHECKING

from switchyard.testing.simulator_faults import fault_from_json
from switchyard.testing.simulator_messages import Answer, Handler, Request, Route, Router

if TYPE_CHECKING:
    from switchyard.testing.simulator import Simulator

CONTROL = "/_simulator/"


def control_routes(simulator: Simulator) -> Router:
    """The routes of the control API of a simulator."""
    router = Router()

    def add(method: str, path: str, handler: Handler) -> None:
        router.add(Route(method, CONTROL + path, handler))

    def calls(request: Request) -> Answer:
        since = int(request.arguments().get("since", 0))
        if since == 0:
            counts = dict(simulator.journal.counts)
        else:
            counts = Counter((call.method, call.route) for call in simulator.calls(since=since))
        rows = [{"method": method, "route": route, "count": count} for (method, route), count in sorted(counts.items())]
        return Answer(body={"last": simulator.journal.total, "total": sum(counts.values()), "calls": rows})

    def journal(request: Request) -> Answer:
        arguments = request.arguments()
        found = simulator.calls(since=int(arguments.get("since", 0)))[: int(arguments.get("limit", 1_000))]
        names = ("number", "method", "path", "route", "query", "at", "status")
        return Answer(body={"calls": [{name: getattr(call, name) for name in names} for call in found]})

    def script(request: Request) -> Answer:
        wanted = request.json()
        simulator.script(wanted.get("method"), wanted["path"], [fault_from_json(step) for step in wanted["steps"]])
        return Answer(204)

    def forget(_: Request) -> Answer:
        simulator.forget_script()
        return Answer(204)

    def settings(request: Request) -> Answer:
        known = simulator.settings()
        wanted = request.json()
        if unknown := wanted.keys() - known.keys():
            return Answer(404, {"message": f"no setting {', '.join(unknown)}; there are {', '.join(sorted(known))}"})
        for name, value in wanted.items():
            known[name](value)
        return Answer(204)

    def edits(_: Request) -> Answer:
        return Answer(body={name: list(inspect.signature(act).parameters) for name, act in simulator.edits().items()})

    def edit(request: Request) -> Answer:
        known = simulator.edits()
        name = request.params["name"]
        if name not in known:
            return Answer(404, {"message": f"no edit {name!r}; there are {', '.join(sorted(known))}"})
        return Answer(body={"result": known[name](**(request.json() if request.body else {}))})

    add("GET", "calls", calls)
    add("GET", "journal", journal)
    add("GET", "state", lambda _: Answer(body=simulator.state()))
    add("POST", "script", script)
    add("DELETE", "script", forget)
    add("POST", "settings", settings)
    add("GET", "edit", edits)
    add("POST", "edit/{name}", edit)
    return router
