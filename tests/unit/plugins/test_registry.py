import pytest

from switchyard.api import ConfigError
from switchyard.plugins import Owner, Plugins, Registry, load_plugins

CONNECTORS = """
class Other(ConnectorConfig):
    pass

@hookimpl
def switchyard_connectors():
    return ({specs},)
"""
SOURCE = 'SourceSpec(name="acme", config=Config, build=build, streams=())'
SINK = 'SinkSpec(name="acme", config=Config, build=build)'
LIST = 'ListSinkSpec(name="acme", config=Config, build=build)'
TRANSFORMS = """
@hookimpl
def switchyard_transforms():
    return ({specs},)
"""
RECORD = 'RecordTransformSpec(name="trim", config=Config, build=build)'
PROFILE = 'ProfileTransformSpec(name="rules", key="rule", build=build)'
ENVIRON = {"SWITCHYARD_PLUGINS": "on"}


def connectors(*specs):
    return CONNECTORS.format(specs=", ".join(specs))


def transforms(*specs):
    return TRANSFORMS.format(specs=", ".join(specs))


def registry(project):
    return Registry(load_plugins(project, ENVIRON))


def refused(project):
    with pytest.raises(ConfigError) as caught:
        registry(project)
    return str(caught.value)


def test_connectors_are_found_by_name_and_family_with_their_owner(drop_in):
    found = registry(drop_in("mine", connectors(SOURCE, SINK, LIST)))
    assert found.source("acme").streams == ()
    assert found.sink("acme").name == "acme"
    assert found.list_sink("acme").config is found.config_model("acme")
    assert found.families("acme") == ("source", "sink", "list_sink")
    assert found.families("other") == ()
    assert found.connectors["acme", "sink"].owner == Owner("plugins/mine.py")


def test_transforms_are_found_by_name_and_definitions_by_key(drop_in):
    found = registry(drop_in("mine", transforms(RECORD, PROFILE)))
    assert found.record_transform("trim").name == "trim"
    assert found.profile_transform("rule").name == "rules"
    assert "rule" in found.definition_keys
    assert found.transforms["rules"].owner == Owner("plugins/mine.py")


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (lambda found: found.source("acmee"), "no source connector 'acmee'; did you mean 'acme'?"),
        (lambda found: found.config_model("acmee"), "no connector 'acmee'; did you mean 'acme'?"),
        (lambda found: found.list_sink("acme"), "connector 'acme' is no list_sink, but a source"),
        (lambda found: found.record_transform("trmi"), "no record transform 'trmi'; did you mean 'trim'?"),
        (lambda found: found.record_transform("rules"), "no record transform 'rules'; known: "),
        (lambda found: found.profile_transform("rul"), "no kind of definition 'rul'; did you mean 'rule'?"),
    ],
)
def test_what_is_not_there_comes_with_what_is_near(drop_in, look, message):
    found = registry(drop_in("mine", connectors(SOURCE) + transforms(RECORD, PROFILE)))
    with pytest.raises(ConfigError) as caught:
        look(found)
    assert str(caught.value).startswith(message)


def test_who_looks_in_vain_hears_of_plugins_that_are_broken(drop_in):
    project = drop_in("mine", connectors(SOURCE))
    found = registry(drop_in("sick", "import no_such_module"))
    assert found.source("acme")
    with pytest.raises(ConfigError, match=r"plugin 'plugins/sick\.py' could not be loaded: ModuleNotFoundError"):
        registry(project).source("sick")


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        (connectors(SOURCE), connectors(SOURCE), "connector 'acme'"),
        (connectors(SOURCE), connectors(LIST), "connector 'acme'"),
        (transforms(RECORD), transforms(RECORD), "transform 'trim'"),
        (transforms(RECORD), transforms(PROFILE.replace("rules", "trim")), "transform 'trim'"),
        (transforms(PROFILE), transforms(PROFILE.replace("rules", "laws")), "kind of definition 'rule'"),
    ],
    ids=["same connector", "same name in two families", "same transform", "two kinds of transform", "same key"],
)
def test_two_plugins_that_clash_are_both_named(drop_in, first, second, what):
    drop_in("one", first)
    message = refused(drop_in("two", second))
    assert message.startswith(f"the {what} comes from two plugins: ")
    assert "'plugins/one.py'" in message
    assert "'plugins/two.py'" in message


def test_a_stranger_cannot_take_a_name_of_ours(drop_in):
    message = refused(drop_in("mine", transforms(RECORD.replace("trim", "quality"))))
    assert "'plugins/mine.py'" in message
    assert "'quality' (switchyard-hub 0.1.0)" in message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (connectors(SOURCE, SOURCE), "plugin 'plugins/mine.py' contributes the connector 'acme' twice"),
        (
            connectors(SOURCE, LIST.replace("config=Config", "config=Other")),
            "plugin 'plugins/mine.py': the source and the list_sink 'acme' must share a config model",
        ),
        (connectors(SOURCE.replace("acme", "Acme CRM")), "plugin 'plugins/mine.py': 'Acme CRM' is no name; "),
        (connectors(RECORD), "plugin 'plugins/mine.py': switchyard_connectors must return a sequence of specs"),
        (
            "@hookimpl\ndef switchyard_connectors(): pass\n",
            "plugin 'plugins/mine.py': switchyard_connectors must return a sequence of specs",
        ),
        (
            "@hookimpl\ndef switchyard_transforms(): return 1 / 0\n",
            "plugin 'plugins/mine.py': switchyard_transforms failed: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_contribution_that_is_none_names_plugin_and_hook(drop_in, body, message):
    assert refused(drop_in("mine", body)).startswith(message)


def test_an_observer_that_fails_is_logged_and_the_others_are_called(drop_in, caplog):
    drop_in("bad", "@hookimpl(tryfirst=True)\ndef switchyard_run_started(kind, name): raise SystemExit('no')\n")
    project = drop_in("good", "seen = []\n@hookimpl\ndef switchyard_run_started(name): seen.append(name)\n")
    found = registry(project)
    watched = []
    found.watchers.append(lambda hook, arguments: watched.append((hook, arguments["name"])))
    found.observe("switchyard_run_started", kind="sync", name="till")
    assert watched == [("switchyard_run_started", "till")]
    assert caplog.messages == ["switchyard_run_started of plugin plugins/bad.py failed: SystemExit"]
    (good,) = [
        call for call in found.plugins.calls("switchyard_run_started", kind="", name="") if "good" in call.owner.plugin
    ]
    assert good.implementation.plugin.seen == ["till"]


def test_an_interrupt_passes_through_an_observer(drop_in):
    project = drop_in("stop", "@hookimpl\ndef switchyard_run_started(): raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        registry(project).observe("switchyard_run_started", kind="sync", name="till")


def test_the_first_plugin_that_knows_a_secret_decides(drop_in):
    drop_in("a", "@hookimpl\ndef switchyard_resolve_secret(scheme, reference): return 'from a'\n")
    drop_in("b", "@hookimpl\ndef switchyard_resolve_secret(scheme): return {'vault': 'from b'}.get(scheme)\n")
    project = drop_in("c", "@hookimpl(tryfirst=True)\ndef switchyard_resolve_secret(scheme): return None\n")
    found = registry(project)
    assert found.resolve_secret("vault", "x") == "from b"
    assert found.resolve_secret("other", "x") == "from a"


def test_a_secret_that_nobody_knows_is_none():
    assert Registry(Plugins()).resolve_secret("vault", "x") is None


def test_a_secret_is_text(drop_in):
    project = drop_in("a", "@hookimpl\ndef switchyard_resolve_secret(scheme): return 7\n")
    with pytest.raises(ConfigError, match=r"plugin 'plugins/a\.py': switchyard_resolve_secret must return text"):
        registry(project).resolve_secret("vault", "x")
