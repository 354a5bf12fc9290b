import re
import sys

import pytest

from switchyard.api import ConfigError
from switchyard.plugins import Owner, load_plugins

CONNECTOR = """
@hookimpl
def switchyard_connectors():
    return (SourceSpec(name="{name}", config=Config, build=build, streams=()),)
"""
SOURCE = CONNECTOR.format(name="acme")


def owners(project=None, environ=()):
    return load_plugins(project, dict(environ)).owners


def test_what_comes_with_the_hub_comes_through_the_same_door():
    own = {name for name, owner in owners().items() if owner.distribution == "switchyard-hub"}
    broken = {each.owner.plugin for each in load_plugins(environ={}).broken}
    assert own | broken >= {"pos_csv", "hubspot", "segmentation", "quality"}


def test_a_distribution_is_found_with_its_version(distribution):
    distribution("acme-plugin", "acme_plugin", SOURCE, version="2.5", entry="acme")
    assert owners()["acme"] == Owner("acme", "acme-plugin", "2.5")


def test_a_file_of_the_project_is_a_plugin(drop_in):
    project = drop_in("mine", SOURCE)
    drop_in("_helper", "raise AssertionError('not a plugin')")
    assert owners(project)["plugins/mine.py"] == Owner("plugins/mine.py")
    assert "plugins/_helper.py" not in owners(project)


def test_a_file_may_define_dataclasses_with_late_annotations(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "late.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass, KW_ONLY\n"
        "@dataclass\nclass A:\n    x: int\n    _: KW_ONLY\n    y: int = 0\nA(1, y=2)\n"
    )
    assert load_plugins(tmp_path, {}).broken == []


def test_off_leaves_only_what_comes_with_the_hub(distribution, drop_in):
    distribution("acme-plugin", "acme_off", SOURCE)
    project = drop_in("mine", SOURCE)
    found = owners(project, {"SWITCHYARD_PLUGINS": "off"})
    assert {owner.distribution for owner in found.values()} == {"switchyard-hub"}
    assert {"acme_off", "plugins/mine.py"} <= set(owners(project, {"SWITCHYARD_PLUGINS": "on"}))


def test_a_switch_is_on_or_off():
    with pytest.raises(ConfigError, match="SWITCHYARD_PLUGINS: write on or off"):
        load_plugins(environ={"SWITCHYARD_PLUGINS": "of"})


def test_trace_names_plugins_and_hooks_and_never_what_passes_through(drop_in, capsys):
    project = drop_in("vault", "@hookimpl\ndef switchyard_resolve_secret(scheme, reference): return 's3cret'\n")
    plugins = load_plugins(project, {"SWITCHYARD_TRACE_PLUGINS": "1"})
    assert [call() for call in plugins.calls("switchyard_resolve_secret", scheme="v", reference="path")] == ["s3cret"]
    lines = capsys.readouterr().err.splitlines()
    assert "plugin 'plugins/vault.py' loaded" in lines
    assert lines[-1] == "hook switchyard_resolve_secret: plugin 'plugins/vault.py'"
    assert not any("s3cret" in line or "path" in line for line in lines)


def test_without_trace_nothing_is_written(drop_in, capsys):
    load_plugins(drop_in("mine", SOURCE), {})
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('first\\nsecond')", "ValueError: first second"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def f(:", "SyntaxError: "),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_remembered(drop_in, body, error):
    project = drop_in("sick", body)
    drop_in("well", SOURCE)
    plugins = load_plugins(project, {})
    (broken,) = [each for each in plugins.broken if each.owner == Owner("plugins/sick.py")]
    assert broken.error.startswith(error)
    assert "plugins/well.py" in plugins.owners
    assert not any(name.startswith("switchyard_plugins_sick") for name in sys.modules)


def test_a_broken_distribution_keeps_its_name_and_version(distribution):
    distribution("sick-plugin", "sick_plugin", "import no_such_module", version="0.3")
    (broken,) = [each for each in load_plugins(environ={}).broken if each.owner.plugin == "sick_plugin"]
    assert str(broken.owner) == "'sick_plugin' (sick-plugin 0.3)"


def refused(project):
    with pytest.raises(ConfigError) as caught:
        load_plugins(project, {})
    return str(caught.value)


def test_a_misspelt_hook_is_an_error_that_names_plugin_and_hook(drop_in):
    assert refused(drop_in("mine", SOURCE.replace("connectors():", "conectors():"))) == (
        "plugin 'plugins/mine.py': there is no hook 'switchyard_conectors'; did you mean 'switchyard_connectors'?"
    )


def test_a_hook_like_no_other_is_told_which_there_are(drop_in):
    message = refused(drop_in("mine", "@hookimpl\ndef zzz(): pass\n"))
    assert message.startswith("plugin 'plugins/mine.py': there is no hook 'zzz'; known: switchyard_connectors, ")


def test_an_optional_hook_may_be_unknown(drop_in):
    project = drop_in("mine", "@hookimpl(optionalhook=True)\ndef switchyard_of_the_future(): pass\n")
    assert "plugins/mine.py" in owners(project)


def test_a_hook_without_its_mark_is_an_error(drop_in):
    assert refused(drop_in("mine", SOURCE.replace("@hookimpl", ""))) == (
        "plugin 'plugins/mine.py': the hook switchyard_connectors is not marked; put @hookimpl above it"
    )


def test_an_argument_that_no_hook_gives_is_an_error(drop_in):
    message = refused(drop_in("mine", "@hookimpl\ndef switchyard_resolve_secret(scheme, referense): pass\n"))
    assert re.match(r"plugin 'plugins/mine\.py' does not fit a hook: .*referense", message)


@pytest.mark.parametrize("how", ["wrapper=True", "hookwrapper=True"])
def test_a_wrapper_is_refused(drop_in, how):
    message = refused(drop_in("mine", f"@hookimpl({how})\ndef switchyard_connectors():\n    yield\n"))
    assert message == "plugin 'plugins/mine.py': the hook switchyard_connectors must not be a wrapper"


def test_two_distributions_with_one_plugin_name_are_an_error_naming_both(distribution):
    distribution("first-plugin", "first_module", SOURCE, entry="acme")
    distribution("second-plugin", "second_module", SOURCE, entry="acme")
    with pytest.raises(ConfigError) as caught:
        load_plugins(environ={})
    assert "first-plugin 1.0" in str(caught.value)
    assert "second-plugin 1.0" in str(caught.value)


def test_every_call_makes_its_own_plugins(drop_in):
    project = drop_in("mine", SOURCE)
    assert "plugins/mine.py" in owners(project)
    assert "plugins/mine.py" not in owners(None)
    assert load_plugins(project, {}).owners == load_plugins(project, {}).owners
