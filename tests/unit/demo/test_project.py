"""The demo's folder: made from the example configuration, which is sound."""

import io
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from switchyard.api.transforms import Schema
from switchyard.config.loader import Loaded, load
from switchyard.demo import show
from switchyard.demo.project import PORT, TOKEN, WEBSHOP, WEBSITE, DemoError, Project, fill, lay_out
from switchyard.demo.retailer import Retailer
from switchyard.demo.texts import HEADER
from switchyard_connectors.hubspot import HubSpotConfig
from switchyard_connectors.hubspot.simulator_auth import STATIC
from switchyard_connectors.pos_csv.config import PosCsvConfig
from switchyard_connectors.tracking.config import TrackingConfig
from switchyard_connectors.webhook.config import WebhookConfig
from switchyard_plugins.segmentation.transform import Segmentation


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return lay_out(tmp_path / "demo")


@pytest.fixture
def loaded(project: Project) -> Loaded:
    return load(project.folder)


def test_the_till_configuration_reads_the_generated_columns(loaded: Loaded) -> None:
    tills = loaded.validate(("connections", "tills", "config"), PosCsvConfig)
    headers = {*tills.columns.values(), *tills.extra.values()}
    assert headers == set(HEADER.strip().split(",")) - {"till"}
    assert tills.ready == "rename"


def test_hubspot_is_the_stand_in_of_this_folder(project: Project, loaded: Loaded) -> None:
    crm = loaded.validate(("connections", "crm", "config"), HubSpotConfig)
    assert crm.base_url == f"http://127.0.0.1:{project.port}"
    assert crm.token is not None
    assert crm.token.get_secret_value() == TOKEN == STATIC


def test_what_is_pushed_needs_a_secret_of_this_folder_alone(project: Project, loaded: Loaded, tmp_path: Path) -> None:
    shop = loaded.validate(("connections", WEBSHOP, "config"), WebhookConfig)
    site = loaded.validate(("connections", WEBSITE, "config"), TrackingConfig)
    given = [secret.get_secret_value() for secret in (*shop.secrets, *site.write_keys)]
    assert given == [project.secret(WEBSHOP), project.secret(WEBSITE)]
    other = lay_out(tmp_path / "other")
    assert not {*given} & {other.secret(WEBSHOP), other.secret(WEBSITE)}
    assert {path.stat().st_mode & 0o777 for path in (project.folder / "secrets").iterdir()} == {0o600}


def test_every_segment_compiles_and_every_audience_has_one(loaded: Loaded) -> None:
    order = {"total": "decimal", "store_id": "text"}
    names = frozenset(each.name for each in loaded.definitions)
    schema = Schema(events={"order_completed": order, "order_refunded": order}, segments=names)
    assert Segmentation().compile(loaded.definitions, schema).reads.keys() == names
    assert len(names) >= 6
    assert {audience.segment for audience in loaded.project.audiences.values()} < names


def test_a_port_in_use_is_left_alone(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", PORT))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which serves as well
        project = lay_out(tmp_path / "demo")
    assert project.port != PORT
    assert f":{project.port}" in (project.folder / "switchyard.yaml").read_text()


def test_an_earlier_demo_is_made_anew(project: Project) -> None:
    left = project.folder / "drop" / "old.csv"
    left.parent.mkdir()
    left.touch()
    lay_out(project.folder)
    assert not left.exists()


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    mine = tmp_path / "thesis.txt"
    mine.touch()
    with pytest.raises(DemoError, match="no earlier demo") as refused:
        lay_out(tmp_path)
    assert refused.value.code == 2
    assert mine.exists()


def test_tickets_are_counted_as_they_come(project: Project) -> None:
    days: list[int] = []
    truth = fill(project, Retailer(people=50, days=5, lines=400), days.append)
    assert days == [1, 2, 3, 4, 5]
    assert len(list((project.folder / "drop").iterdir())) == truth.files == 5


def test_what_was_found_is_held_against_the_truth(project: Project) -> None:
    truth = fill(project, Retailer(people=50, days=5, lines=400), lambda _: None)
    found = {"records": truth.records, "profiles": truth.profiles}
    printed = Console(file=io.StringIO(), width=100)
    assert show.against_truth(printed, truth, found)
    assert not show.against_truth(printed, replace(truth, profiles=truth.profiles + 1), found)
