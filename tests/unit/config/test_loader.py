import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import RootModel, SecretStr, field_validator

from switchyard.api import ConfigError, ConnectorConfig, Stream
from switchyard.config import ConfigErrors, load

PROJECT = """\
hub:
  timezone: Europe/Paris
connections:
  till:
    connector: pos_csv
    config: {folder: drop}
    streams:
      tickets:
        mapping:
          identifiers:
            phone: {value: tel, region: FR}
        transforms:
          quality: {identifier.email: {required: true}}
  crm:
    connector: hubspot
    config:
      token: ${env:CRM_TOKEN}
audiences:
  regulars:
    segment: regulars
    connection: crm
    list: Regular customers
"""
SEGMENT = "segment: regulars\nwhere: count(order_completed) > 3\n"


def errors(folder, **options):
    with pytest.raises(ConfigErrors) as caught:
        load(folder, **options)
    return [str(error) for error in caught.value.errors]


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("CRM_TOKEN", "s3cret-token")


def test_a_project_is_loaded_whole(write, token):
    loaded = load(write(PROJECT, regulars=SEGMENT))
    assert loaded.project.connections["till"].config == {"folder": "drop"}
    assert loaded.project.audiences["regulars"].list == "Regular customers"
    (definition,) = loaded.definitions
    assert (definition.name, definition.file) == ("regulars", "segments/regulars.yaml")
    assert definition.body == {"segment": "regulars", "where": "count(order_completed) > 3"}
    assert loaded.document.position(("connections", "crm")).line == 14
    assert loaded.locate("regulars", "count(order_completed) > 3").line == 2


def test_an_empty_file_and_empty_sections_are_a_project(write):
    assert load(write("")).project == load(write("hub:\nconnections:\naudiences:\nidentity:\n")).project


def test_a_folder_without_a_project_says_how_to_make_one(tmp_path):
    (error,) = errors(tmp_path)
    assert error == f"there is no switchyard.yaml in {tmp_path}; create one with `switchyard init`"


def test_all_errors_come_together_each_with_its_line_and_key(write, monkeypatch):
    monkeypatch.delenv("CRM_TOKEN", raising=False)
    text = PROJECT.replace("folder: drop", "folder: '${file:gone}'").replace("timezone: Europe", "timezon: Europe")
    text = text.replace("segment: regulars", "segment: regular").replace("connection: crm", "conection: crm")
    found = errors(write(text, regulars=SEGMENT, broken="segment: [\n"), keys=("segment",))
    assert found[1:] == [
        "switchyard.yaml:2: hub.timezon: unknown key 'timezon'; did you mean 'timezone'?",
        "switchyard.yaml:6: connections.till.config.folder: the secret file gone cannot be read: "
        "No such file or directory",
        "switchyard.yaml:17: connections.crm.config.token: the environment variable CRM_TOKEN is not set or empty",
        "switchyard.yaml:19: audiences.regulars.connection: the key 'connection' is missing",
        "switchyard.yaml:21: audiences.regulars.conection: unknown key 'conection'; did you mean 'connection'?",
    ]
    assert found[0].startswith("segments/broken.yaml:2: is not YAML")


def test_an_audience_names_what_exists(write, token):
    text = PROJECT.replace("segment: regulars", "segment: regular").replace("connection: crm", "connection: cmr")
    assert errors(write(text, regulars=SEGMENT)) == [
        "switchyard.yaml:20: audiences.regulars.segment: no segment 'regular'; did you mean 'regulars'?",
        "switchyard.yaml:21: audiences.regulars.connection: no connection 'cmr'; did you mean 'crm'?",
    ]


def test_an_error_in_an_alternative_is_one_error_and_names_the_key_deep_inside(write, token):
    text = PROJECT.replace("region: FR", "regoin: FR").replace(
        "list: Regular", "guard: {max_removal: [1]}\n    list: R"
    )
    assert errors(write(text, regulars=SEGMENT)) == [
        "switchyard.yaml:11: connections.till.streams.tickets.mapping.identifiers.phone.regoin: "
        "unknown key 'regoin'; did you mean 'region'?",
        "switchyard.yaml:22: audiences.regulars.guard.max_removal: "
        "input should be a valid integer; or input should be a valid string",
    ]


def test_a_bad_name_is_placed_at_the_name(write):
    (error,) = errors(write("connections:\n  My-Till: {connector: pos_csv}\n"))
    assert error.startswith("switchyard.yaml:2: connections.My-Till: a name starts with a lower-case letter")


def test_two_documents_are_no_project(write):
    assert errors(write("hub:\n---\nhub:\n")) == [
        "switchyard.yaml:3: must hold one YAML document, and this is a second one"
    ]


class Acme(ConnectorConfig):
    token: SecretStr
    port: int = 443
    folder: str = ""

    @field_validator("folder")
    @classmethod
    def _refuse(cls, folder: str) -> str:
        if folder:
            raise ValueError(f"cannot use {folder}")
        return folder


CONFIG = ("connections", "crm", "config")
ACME = "connections:\n  crm:\n    connector: acme\n    config:\n"


def test_a_connectors_model_gets_the_secrets_and_the_project_keeps_the_reference(write, monkeypatch):
    monkeypatch.setenv("PORT", "8443")
    folder = write(ACME + "      token: ${file:token.txt}\n      port: ${env:PORT}\n")
    (folder / "token.txt").write_text("s3cret\n")
    loaded = load(folder)
    checked = loaded.validate(CONFIG, Acme)
    assert (checked.token.get_secret_value(), checked.port) == ("s3cret", 8443)
    assert loaded.project.connections["crm"].config == {"token": "${file:token.txt}", "port": "${env:PORT}"}
    assert "s3cret" not in f"{loaded!r} {loaded.project.model_dump_json()} {checked!r}"
    assert loaded.secrets.redact("sent s3cret to 8443") == "sent *** to ***"


def test_a_connectors_complaint_is_placed_and_shows_no_secret(write, monkeypatch):
    monkeypatch.setenv("FOLDER", "hidden/place")
    loaded = load(write(ACME + "      tokn: abc\n      folder: ${env:FOLDER}\n      port: ${env:FOLDER}\n"))
    with pytest.raises(ConfigErrors) as caught:
        loaded.validate(CONFIG, Acme)
    assert [str(error) for error in caught.value.errors] == [
        "switchyard.yaml:4: connections.crm.config.token: the key 'token' is missing",
        "switchyard.yaml:5: connections.crm.config.tokn: unknown key 'tokn'; did you mean 'token'?",
        "switchyard.yaml:6: connections.crm.config.folder: cannot use ***",
        "switchyard.yaml:7: connections.crm.config.port: input should be a valid integer, "
        "unable to parse string as an integer",
    ]


def test_a_secret_written_out_is_hidden_too(write):
    loaded = load(write(ACME + "      token: written-out\n"))
    loaded.validate(CONFIG, Acme)
    assert loaded.secrets.redact("Bearer written-out") == "Bearer ***"


def test_a_secret_elsewhere_is_refused_and_a_disabled_connection_needs_none(write):
    text = ACME + "      token: ${env:NOT_THERE}\n    enabled: false\naudiences:\n"
    assert load(write(text)).project.connections["crm"].enabled is False
    assert errors(write("connections:\n  a:\n    connector: ${env:HOME}\n")) == [
        "switchyard.yaml:3: connections.a.connector: secrets are resolved only in `connections.*.config` "
        "and `hub.store`",
        "switchyard.yaml:3: connections.a.connector: a name starts with a lower-case letter and has only lower-case "
        "letters, digits and underscores",
    ]


def test_what_runs_later_can_place_its_own_errors(write, token):
    loaded = load(write(PROJECT, regulars=SEGMENT))
    error = loaded.error("no connector 'hubspt'", ("connections", "crm", "connector"))
    assert str(error) == "switchyard.yaml:15: connections.crm.connector: no connector 'hubspt'"


def test_paths_and_the_store_start_at_the_project(write):
    loaded = load(write(""))
    assert loaded.store_url == f"sqlite:///{loaded.folder}/.switchyard/store.db"
    assert loaded.log == loaded.folder / ".switchyard/log"
    assert loaded.work == loaded.folder / ".switchyard/work.duckdb"


@pytest.mark.parametrize("url", ["sqlite:////var/hub.db", "sqlite:///:memory:", "sqlite://", "postgresql://h/db"])
def test_a_store_that_is_not_relative_stays_as_it_is(write, url):
    assert load(write(f"hub: {{store: '{url}'}}")).store_url == url


def test_the_stores_password_is_resolved_and_hidden(write, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "hunter22")
    loaded = load(write("hub: {store: 'postgresql://u:${env:DB_PASSWORD}@h/db'}"))
    assert loaded.store_url == "postgresql://u:hunter22@h/db"
    assert "hunter22" not in repr(loaded)
    written = load(write("hub: {store: 'postgresql://u:hunter33@h/db'}"))
    assert written.secrets.redact(written.store_url) == "postgresql://u:***@h/db"


def test_a_streams_mapping_is_the_default_with_the_users_over_it(write, token):
    loaded = load(write(PROJECT, regulars=SEGMENT))
    stream = Stream("tickets", ("id",), mapping={"subject": "id", "identifiers": {"phone": "p", "email": "mail"}})
    mapping = loaded.mapping("till", stream)
    assert (mapping.identifiers["phone"].value, mapping.identifiers["phone"].region) == ("tel", "FR")
    assert mapping.identifiers["email"].value == "mail"


def test_a_mapping_without_a_subject_is_placed_at_the_mapping(write, token):
    loaded = load(write(PROJECT, regulars=SEGMENT))
    with pytest.raises(ConfigErrors) as caught:
        loaded.mapping("till", Stream("tickets", ("id",)))
    place = "switchyard.yaml:9: connections.till.streams.tickets.mapping.subject"
    assert str(caught.value) == f"{place}: the key 'subject' is missing"


def test_plugins_may_resolve_further_schemes(write):
    text = ACME + "      token: ${vault:crm/token}\n"
    loaded = load(write(text), resolve=lambda scheme, reference: f"{scheme}!{reference}")
    assert loaded.validate(CONFIG, Acme).token.get_secret_value() == "vault!crm/token"


def test_the_environment_overrides_the_hub(write, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_STORE", "postgresql://u:hunter22@h/db")
    monkeypatch.setenv("SWITCHYARD_FLUSH_ROWS", "7")
    monkeypatch.setenv("SWITCHYARD_LOG", "elsewhere")
    loaded = load(write("hub: {store: 'sqlite:///x.db', file_rows: 9}"))
    assert (loaded.project.hub.flush_rows, loaded.project.hub.file_rows) == (7, 9)
    assert loaded.log == loaded.folder / "elsewhere"
    assert loaded.store_url == "postgresql://u:hunter22@h/db"
    assert "hunter22" not in repr(loaded)


def test_a_bad_override_names_its_variable(write, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_FLUSH_ROWS", "many")
    monkeypatch.setenv("SWITCHYARD_TIMEZONE", "Paris")
    assert errors(write("hub: {file_rows: 0}")) == [
        "SWITCHYARD_TIMEZONE: no such time zone; write an IANA name such as Europe/Paris",
        "SWITCHYARD_FLUSH_ROWS: input should be a valid integer, unable to parse string as an integer",
        "switchyard.yaml:1: hub.file_rows: input should be greater than 0",
    ]


def test_every_error_of_the_configuration_is_a_config_error():
    assert issubclass(ConfigErrors, ConfigError)
    assert ConfigErrors.exit_code == 2


def test_importing_configuration_and_plugins_loads_nothing_heavy():
    script = "import sys, switchyard.config, switchyard.plugins; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    heavy = {"pyarrow", "duckdb", "ibis", "scipy", "numpy", "structlog", "httpx", "sqlalchemy"}
    assert heavy.isdisjoint(ran.stdout.split())


class Rule(ConnectorConfig):
    required: bool = False


class Rules(RootModel[dict[str, list[Rule]]]):
    """Columns by name, as `quality` has them."""


def test_a_transforms_config_is_placed_under_its_stream(write):
    text = """\
        connections:
          till:
            connector: pos_csv
            streams:
              tickets:
                transforms:
                  quality:
                    identifier.email:
                      - required: true
                      - requird: true
        """
    path = ("connections", "till", "streams", "tickets", "transforms", "quality")
    with pytest.raises(ConfigErrors) as caught:
        load(write(text)).validate(path, Rules)
    assert str(caught.value) == (
        "switchyard.yaml:10: connections.till.streams.tickets.transforms.quality.identifier.email[1].requird: "
        "unknown key 'requird'; did you mean 'required'?"
    )
