from urllib.parse import quote

import pytest

from switchyard.api import ConfigError, PermanentError
from switchyard.config.secrets import Secrets


@pytest.fixture
def secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", 'p@ss "word"')
    (tmp_path / "key.pem").write_text("line one\nline two\n")
    return Secrets(tmp_path)


def test_references_are_replaced_inside_a_text(secrets):
    assert secrets.reveal("a ${env:TOKEN} b ${file:key.pem}") == 'a p@ss "word" b line one\nline two'


def test_an_absolute_path_is_not_relative_to_the_project(tmp_path):
    (tmp_path / "key").write_text("secret")
    assert Secrets(tmp_path / "project").reveal(f"${{file:{tmp_path / 'key'}}}") == "secret"


def test_two_dollars_stand_for_one(secrets):
    assert secrets.reveal("$${env:TOKEN} $5 {x}") == "${env:TOKEN} $5 {x}"


def test_what_a_secret_holds_is_not_resolved_again(secrets, monkeypatch):
    monkeypatch.setenv("TOKEN", "${env:HOME}")
    assert secrets.reveal("${env:TOKEN}") == "${env:HOME}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${TOKEN}", "a secret reference is written"),
        ("${ENV:TOKEN}", "a secret reference is written"),
        ("${env:TOKEN", "a secret reference is written"),
        ("${env:GONE}", "the environment variable GONE is not set or empty"),
        ("${file:gone}", "the secret file gone cannot be read: No such file or directory"),
        ("${file:.}", r"the secret file \. cannot be read: Is a directory"),
        ("${fiel:x}", "no plugin resolves 'fiel' secrets; did you mean 'file'"),
        ("${vault:x}", "no plugin resolves 'vault' secrets; known: env, file"),
    ],
)
def test_a_reference_that_leads_nowhere_is_an_error(secrets, text, message):
    with pytest.raises(ConfigError, match=f"^{message.replace('$', '[$]')}"):
        secrets.reveal(text)


@pytest.mark.parametrize(
    ("raw", "message"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"\xff", "is not UTF-8"), (b"x" * 65_537, "larger than")],
)
def test_a_file_that_holds_no_secret_is_an_error(tmp_path, raw, message):
    (tmp_path / "key").write_bytes(raw)
    with pytest.raises(ConfigError, match=message):
        Secrets(tmp_path).reveal("${file:key}")


def test_a_plugin_is_asked_for_other_schemes_only(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setenv("TOKEN", "from-env")
    secrets = Secrets(tmp_path, lambda scheme, reference: asked.append((scheme, reference)) or "answer")
    assert secrets.reveal("${env:TOKEN} ${vault:a/b#c}") == "from-env answer"
    assert asked == [("vault", "a/b#c")]


def test_what_a_plugin_raises_is_shown_only_where_it_is_ours(tmp_path):
    def ours(scheme, reference):
        raise PermanentError("the vault is sealed")

    def strange(scheme, reference):
        raise RuntimeError("hunter2 is wrong")

    with pytest.raises(ConfigError, match="cannot be resolved: the vault is sealed"):
        Secrets(tmp_path, ours).reveal("${vault:x}")
    with pytest.raises(ConfigError, match=r"cannot be resolved: RuntimeError$"):
        Secrets(tmp_path, strange).reveal("${vault:x}")


def test_values_are_hidden_as_they_are_and_as_urls_and_json_spell_them(secrets):
    secrets.reveal("${env:TOKEN}")
    said = f'p@ss "word" | {quote(chr(112) + "@ss " + chr(34) + "word" + chr(34), safe="")} | "p@ss \\"word\\""'
    assert secrets.redact(said) == '*** | *** | "***"'


def test_the_longer_of_two_values_is_hidden_whole(tmp_path):
    secrets = Secrets(tmp_path)
    secrets.remember("abcd")
    secrets.remember("abcdefgh")
    assert secrets.redact("abcdefgh abcd") == "*** ***"


def test_values_too_short_to_tell_apart_are_left(tmp_path):
    secrets = Secrets(tmp_path)
    secrets.remember("on")
    assert secrets.redact("once on") == "once on"


def test_no_value_in_the_representation(secrets):
    secrets.reveal("${env:TOKEN}")
    assert "word" not in repr(secrets)
