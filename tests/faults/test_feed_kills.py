"""SIGKILL at every call and every commit of a delivery to a webhook, then once more to the end: everybody is told what
became of them, once as far as the endpoint can tell, in order, and a kill cost no more than the batch under way.
"""

from __future__ import annotations

import itertools
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.databases import Postgres
from tests.faults.deliveries import Deliveries, Shop, deliveries, people
from tests.projects import shop

from switchyard_connectors.webhook.simulator import SECRET, WebhookEndpoint

CHANGES = 9
"""Three enter, three leave, three have another name."""


@dataclass
class Small:
    """A shop at the moment before a delivery that has `CHANGES` to tell of.

    Args:
        store: gives the url of a copy of a PostgreSQL store as it was then; None for SQLite, which is in the folder.
    """

    shop: Shop
    endpoint: WebhookEndpoint
    files: Path
    process: Deliveries
    store: Callable[[], str] | None = None

    def killed(self, unit: str, point: int, moment: str) -> bool:
        """Deliver with a kill at this point, then again to the end; whether the kill found the delivery still alive."""
        folder = self.restored()
        since = self.endpoint.journal.total
        code, _ = self.process.run(folder, **{unit: (point, moment)})
        if code == 0:
            return False
        assert code == -signal.SIGKILL, f"the delivery ended with {code}"
        code, answers = self.process.run(folder, times=2)
        assert code == 0
        assert [(answer.get("error"), answer["held"], answer["waiting"]) for answer in answers] == [(None, 6, 0)] * 2
        told = [(message["type"].split(".")[1], message["data"]["key"]) for message in self.endpoint.told]
        entered, left, changed = (
            [(type, email) for email in emails]
            for type, emails in (
                ("entered_segment", people(6, 9)),
                ("left_segment", people(0, 3)),
                ("changed", people(3, 6)),
            )
        )
        assert sorted(told) == sorted([*entered, *left, *changed])
        assert self.endpoint.journal.total - since <= 2 * CHANGES
        assert len({request.headers["webhook-id"] for request in self.endpoint.requests}) == CHANGES
        return True

    def sweep(self, unit: str, moment: str) -> int:
        """Kill at the first such point, the second, …, until a delivery ends by itself; how many there were."""
        return next(point for point in itertools.count() if not self.killed(unit, point + 1, moment))

    def restored(self) -> Path:
        self.endpoint.forget()
        self.endpoint.forget_script()
        folder = self.shop.folder
        shutil.rmtree(folder.path / ".switchyard")
        shutil.copytree(self.files, folder.path / ".switchyard")
        if self.store is not None:
            folder.config["hub"]["store"] = self.store()
            folder.write()
        return folder.path


def opened(path: Path, endpoint: WebhookEndpoint, process: Deliveries, store: str | None = None) -> Small:
    """Told of six buyers; of these three are none any more, three have another name, and three are new."""
    folder = shop(path, store)
    send = {"url": endpoint.url, "secrets": SECRET, "internal_hosts": "127.0.0.1", "concurrency": 1}
    folder.config["connections"]["partner"] = {"connector": "webhook", "config": {"send": send}}
    audience = {"segment": "buyers", "connection": "partner", "list": "Buyers", "guard": {"max_removal": "100%"}}
    folder.config["audiences"] = {"buyers": audience | {"fields": {"name": "first_name"}}}
    folder.write()
    told = Shop(folder, endpoint)  # type: ignore[arg-type]  # what is used of it, every simulator has
    told.sell(people(0, 6), orders=2)
    told.settle()
    code, (first,) = process.run(path)
    assert (code, first["held"]) == (0, 6)
    told.sell(people(3, 6), orders=1, name="Anna")
    told.sell(people(6, 9), orders=3)
    told.require(3)
    told.settle()
    files = path.with_name("start")
    shutil.copytree(path / ".switchyard", files)
    return Small(told, endpoint, files, process)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[WebhookEndpoint]:
    with WebhookEndpoint() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def process(endpoint: WebhookEndpoint) -> Iterator[Deliveries]:
    with deliveries(endpoint) as running:  # type: ignore[arg-type]
        yield running


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, endpoint: WebhookEndpoint, process: Deliveries) -> Small:
    return opened(tmp_path_factory.mktemp("feed") / "shop", endpoint, process)


@pytest.fixture(scope="module")
def postgresql(
    tmp_path_factory: pytest.TempPathFactory,
    endpoint: WebhookEndpoint,
    process: Deliveries,
    postgres: Postgres,
    postgres_template: str,
) -> Small:
    names = [postgres.create(postgres_template)]
    path = tmp_path_factory.mktemp("postgresql") / "shop"
    one = opened(path, endpoint, process, postgres.url(names[0]))

    def copy() -> str:
        """The store as it was, in place of the last such copy."""
        for name in names[1:]:
            postgres.drop(name)
        names[1:] = [postgres.create(names[0])]
        return postgres.url(names[1])

    one.store = copy
    return one


@pytest.mark.parametrize(("number", "moment"), [(1, "before"), (1, "applied"), (5, "applied"), (9, "answered")])
def test_a_delivery_killed_at_a_call(small, number, moment):
    assert small.killed("call", number, moment)


@pytest.mark.parametrize("commit", range(1, 5))
def test_a_delivery_killed_before_a_commit(small, commit):
    assert small.killed("commit", commit, "before")


@pytest.mark.parametrize(("unit", "point"), [("call", 5), ("commit", 4)])
def test_a_delivery_from_postgresql_killed(postgresql, unit, point):
    assert postgresql.killed(unit, point, "applied" if unit == "call" else "before")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "applied"])
def test_a_delivery_killed_at_any_call(small, moment):
    assert small.sweep("call", moment) == CHANGES


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_delivery_killed_at_any_commit(small, moment):
    assert small.sweep("commit", moment) >= 5


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "moment"), [("call", "applied"), ("commit", "before"), ("commit", "after")])
def test_a_delivery_from_postgresql_killed_anywhere(postgresql, unit, moment):
    assert postgresql.sweep(unit, moment) >= 5
