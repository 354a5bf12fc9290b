"""What the commands answer, and with which exit code, on a small project."""

from pathlib import Path

import pytest
from tests.unit.cli.conftest import Switchyard
from typer.testing import CliRunner

from switchyard.cli.application import app
from switchyard.cli.reference import commands
from switchyard_connectors.hubspot.simulator import HubSpotSimulator

ARGUMENTS = {
    "sync": ["tills"],
    "segments show": ["spenders"],
    "segments members": ["spenders"],
    "profiles find": ["email=ann@example.org"],
    "audiences show": ["spenders"],
    "quarantine show": ["1"],
    "check": ["--connect"],
}
NAMES = [name for name, _ in commands()]


def test_a_pass_reads_evaluates_delivers_and_accounts_for_every_record(switchyard: Switchyard) -> None:
    done = switchyard("run", "--json")
    assert done.code == 0, done.stderr
    (sync,) = done.answer["syncs"]
    assert sync == {
        "connection": "tills", "stream": "lines", "read": 5, "mapped": 3, "quarantined": 1, "duplicates": 1
    }  # fmt: skip
    assert done.answer["profiles"] == 2
    assert done.answer["segments"] == [{"segment": "spenders", "members": 1, "entered": 1, "left": 0}]
    (delivery,) = done.answer["deliveries"]
    assert {key: delivery[key] for key in ("wanted", "held", "missing", "extra", "exact")} == {
        "wanted": 1, "held": 1, "missing": 0, "extra": 0, "exact": True
    }  # fmt: skip


def test_every_command_says_what_it_is_for() -> None:
    for name, command in commands():
        assert command.help, name
        for parameter in command.params:
            assert parameter.help, f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("simulate", "serve")])
def test_every_command_answers_with_one_object(name: str, switchyard: Switchyard) -> None:
    assert switchyard("run", "--json").code == 0
    arguments = ARGUMENTS.get(name, [])
    if name == "profiles show":
        (found,) = switchyard("profiles", "find", "ann@example.org", "--json").answer["profiles"]
        arguments = [str(found["profile"])]
    done = switchyard(*name.split(), *arguments, "--json")
    assert done.code == 0, done.stderr
    assert done.answer
    assert "error" not in done.answer
    assert done.stderr == ""
    shown = switchyard(*name.split(), *arguments)
    assert shown.code == 0
    assert shown.stdout.strip()


MISTAKES = {
    "an unknown event": ("segments/spenders.yaml", "order_completed", "order_complete", "segments/spenders.yaml:2"),
    "a mapping that is no SQL": (
        "switchyard.yaml",
        "connector: pos_csv",
        "connector: pos_csv\n    streams: {lines: {mapping: {attributes: {town: 'lower('}}}}",
        "switchyard.yaml:5: connections.tills.streams.lines.mapping.attributes.town",
    ),
    "a mapping of another type": (
        "switchyard.yaml",
        "connector: pos_csv",
        "connector: pos_csv\n    streams:\n      lines:\n        mapping: {attributes: {town: sold_at * 2}}",
        "switchyard.yaml:7: connections.tills.streams.lines.mapping.attributes.town",
    ),
    "a field that nothing gives": ("switchyard.yaml", "email: email}", "email: e_mail}", "audiences.spenders"),
    "an unknown key": ("switchyard.yaml", "ready: rename", "raedy: rename", "switchyard.yaml:7"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_check_says_where_a_mistake_stands(mistake: str, switchyard: Switchyard, folder: Path) -> None:
    file, sound, wrong, place = MISTAKES[mistake]
    path = folder / file
    path.write_text(path.read_text().replace(sound, wrong))
    done = switchyard("check")
    assert done.code == 2
    assert place in done.stderr


def test_check_says_all_mistakes_in_segments_at_once(switchyard: Switchyard, folder: Path) -> None:
    for name, where in (("a", "did(nothing)"), ("b", "sum(order_completed.totl) > 5"), ("c", "in segment c2")):
        (folder / "segments" / f"{name}.yaml").write_text(f"segment: {name}\n\nwhere: {where}\n")
    (folder / "segments" / "c2.yaml").write_text("segment: c2\nwhere: in segment c\n")
    errors = switchyard("check", "--json").answer["error"]["errors"]
    assert {(each["file"], each["line"]) for each in errors if "circle" not in each["message"]} == {
        ("segments/a.yaml", 3),
        ("segments/b.yaml", 3),
    }
    assert [each["message"] for each in errors if "circle" in each["message"]]


def test_a_vendor_that_cannot_be_reached_does_not_hide_the_others(switchyard: Switchyard, folder: Path) -> None:
    (folder / "secrets" / "token").write_text("wrong")
    done = switchyard("check", "--connect", "--json")
    assert done.code == 3
    assert [(each["connection"], each["reached"]) for each in done.answer["connections"]] == [
        ("tills", True),
        ("crm", False),
    ]


def test_doctor_finds_what_is_broken(switchyard: Switchyard, folder: Path) -> None:
    assert switchyard("run").code == 0
    (folder / "secrets" / "token").chmod(0o644)
    (folder / "plugins").mkdir()
    (folder / "plugins" / "mine.py").write_text("import nothing_of_that_name")
    warned = switchyard("doctor", "--json")
    assert warned.code == 0
    states = {each["check"]: each["state"] for each in warned.answer["checks"]}
    assert {name for name, state in states.items() if state == "warn"} == {"secrets", "plugins"}
    for file in (folder / ".switchyard").glob("store.db*"):
        file.unlink()
    (folder / ".switchyard" / "store.db").write_text("this is no database, and long enough to look like one")
    failed = switchyard("doctor", "--json")
    assert failed.code == 1
    assert not failed.answer["healthy"]


def test_doctor_names_a_file_of_the_log_that_is_gone(switchyard: Switchyard, folder: Path) -> None:
    settings = folder / "switchyard.yaml"
    settings.write_text("hub: {flush_rows: 1, file_rows: 1}\n" + settings.read_text())
    assert switchyard("run").code == 0
    gone = next((folder / ".switchyard" / "log").rglob("*.parquet"))
    gone.unlink()
    done = switchyard("doctor")
    assert done.code == 1
    assert gone.name in done.stderr


def test_commands_without_a_project_that_need_one_say_how_to_make_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--project", str(tmp_path), "status"])
    assert done.exit_code == 2
    assert "switchyard init" in done.stderr


def test_a_new_project_is_sound_and_written_once(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["init", str(tmp_path / "new"), "--json"])
    assert made.exit_code == 0
    for name in ("check", "status", "doctor", "segments"):
        arguments = [name, "list"] if name == "segments" else [name]
        assert CliRunner().invoke(app, ["--project", str(tmp_path / "new"), *arguments]).exit_code == 0
    (tmp_path / "new" / "switchyard.yaml").write_text("mine")
    again = CliRunner().invoke(app, ["init", str(tmp_path / "new")])
    assert again.exit_code == 0
    assert (tmp_path / "new" / "switchyard.yaml").read_text() == "mine"


def test_removals_beyond_the_guard_are_held_back_until_confirmed(
    switchyard: Switchyard, folder: Path, hubspot: HubSpotSimulator
) -> None:
    settings = folder / "switchyard.yaml"
    settings.write_text(settings.read_text().replace("list: Spenders", "list: Spenders, guard: {max_removal: 0}"))
    assert switchyard("run").code == 0
    (folder / "segments" / "spenders.yaml").write_text("segment: spenders\nwhere: sum(order_completed.total) > 5000\n")
    held = switchyard("run", "--json")
    assert held.code == 1
    assert held.answer["deliveries"][0]["blocked"] == 1
    assert "--confirm-removals" in held.stderr
    assert hubspot.member_emails("Spenders") == {"ann@example.org"}
    assert switchyard("deliver", "spenders", "--confirm-removals").code == 0
    assert hubspot.member_emails("Spenders") == set()


def test_a_list_that_is_not_exact_fails_its_verification(switchyard: Switchyard, hubspot: HubSpotSimulator) -> None:
    assert switchyard("run").code == 0
    assert switchyard("audiences", "verify").code == 0
    found = hubspot.lists.named("Spenders")
    assert found is not None
    hubspot.lists.take_off(found.id, [str(each) for each in found.members])
    done = switchyard("audiences", "verify", "spenders", "--json")
    assert done.code == 1
    assert done.answer["audiences"][0]["missing"] == 1


def test_a_record_is_shown_whole_and_replayed_after_the_mend(switchyard: Switchyard, folder: Path) -> None:
    settings, segment = folder / "switchyard.yaml", folder / "segments" / "spenders.yaml"
    sound = settings.read_text()
    nobody = "streams: {lines: {mapping: {subject: \"CASE WHEN email LIKE 'bob%' THEN NULL ELSE email END\"}}}"
    settings.write_text(sound.replace("connector: pos_csv", f"connector: pos_csv\n    {nobody}"))
    segment.write_text("segment: spenders\nwhere: sum(order_completed.total) = 120\n")
    assert switchyard("run", "--json").answer["syncs"][0]["quarantined"] == 3
    found = switchyard("quarantine", "list", "--code", "no_subject", "--json").answer
    assert [(each["code"], each["waiting"]) for each in found["counts"]] == [("no_subject", 2)]
    record = switchyard("quarantine", "show", str(found["quarantine"][0]["id"]), "--json").answer
    assert (record["state"], record["origin"], record["line"]) == ("waiting", "day.csv", 3)
    assert record["record"]["amount"] == "100.0000"

    settings.write_text(sound)
    done = switchyard("quarantine", "replay", "--connection", "tills", "--json")
    assert done.code == 0, done.stderr
    replayed = done.answer
    assert replayed["mapped"] == 2
    assert replayed["quarantined"] + replayed["left"] == 1
    assert switchyard("evaluate", "--json").answer["segments"][0]["members"] == 1
    assert switchyard("quarantine", "show", str(record["id"]), "--json").answer["state"] == "replayed"
    assert switchyard("quarantine", "replay", "--json").answer["mapped"] == 0


def test_a_limit_counts_after_the_choice(switchyard: Switchyard, folder: Path) -> None:
    rows = "".join(f"{number},1,2026-01-02,1,1,e{number}@example.org\n" for number in range(10, 20))
    header = "order,line,at,n,amount,mail\n"
    (folder / "drop" / "next.csv").write_text(f"{header}{rows}30,1,bad,1,1,\n31,1,2026-01-02,x,1,\n")
    assert switchyard("sync", "tills").code == 0
    listed = switchyard("quarantine", "list", "--limit", "1", "--json").answer
    assert len(listed["quarantine"]) == 1
    assert sum(each["waiting"] for each in listed["counts"]) == 3
    (code,) = {each["code"] for each in listed["counts"]} - {listed["quarantine"][0]["code"]}
    (chosen,) = switchyard("quarantine", "list", "--limit", "1", "--code", code, "--json").answer["quarantine"]
    assert chosen["code"] == code


def test_status_of_a_project_that_ran(switchyard: Switchyard) -> None:
    assert switchyard("run").code == 0
    answer = switchyard("status", "--json").answer
    assert answer["started"]
    assert answer["engine"]["process"] is None
    (tills, crm) = answer["connections"]
    assert crm["streams"] == []
    assert tills["streams"][0]["last_run"]["read"] == 5
    assert [each["waiting"] for each in answer["quarantine"]] == [1]
    assert answer["audiences"][0]["proof"]["held"] == 1
    assert answer["interrupted"] == []
