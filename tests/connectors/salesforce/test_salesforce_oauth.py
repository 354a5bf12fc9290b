from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from switchyard.api import AuthError, ConfigError, PermanentError, TransientError
from switchyard.testing.simulator import Answer, Fault
from switchyard_connectors.salesforce.simulator import Account
from switchyard_connectors.salesforce.simulator_auth import App
from switchyard_connectors.salesforce.source import Salesforce

from .conftest import APP, SIGN_IN, add_contacts

TOKEN = "/services/oauth2/token"
REFRESH = {
    "refresh": {"client_id": APP.client_id, "client_secret": APP.client_secret, "refresh_token": APP.refresh_token}
}


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    """A private key and its public one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def test_client_credentials_sign_in_once_for_many_calls(desk):
    desk.source.check()
    add_contacts(desk, 3)
    assert len(desk.ids()) == 3
    assert desk.simulator.count("POST", TOKEN) == 1


def test_an_assertion_signs_in(open_desk, clock, keys):
    private, public = keys
    clock.advance(time.time() - clock())
    jwt = {"client_id": APP.client_id, "username": APP.username, "private_key": private}
    desk = open_desk(Account(app=App(public_key=public)), jwt=jwt)
    desk.source.check()
    assert desk.simulator.count("POST", TOKEN) == 1


def test_an_assertion_ends_three_minutes_from_now(open_desk, clock, keys):
    """To an org whose clock is minutes behind it ends too late; told in milliseconds it would do so everywhere."""
    private, public = keys
    jwt = {"client_id": APP.client_id, "username": APP.username, "private_key": private}
    desk = open_desk(Account(app=App(public_key=public)), jwt=jwt)
    clock.advance(time.time() - clock() - 120)
    with pytest.raises(AuthError, match="invalid_grant"):
        desk.source.check()


def test_a_bad_private_key_is_an_error_of_the_configuration(open_desk):
    desk = open_desk(jwt={"client_id": "a", "username": "b", "private_key": "no key"})
    with pytest.raises(ConfigError, match=r"jwt\.private_key: .*RSA key in PEM"):
        desk.source.check()


def test_a_refresh_token_that_stays_is_not_kept(open_desk):
    desk = open_desk(**REFRESH)
    desk.source.check()
    assert not list(desk.folder.rglob("kept-*"))


def test_a_rotated_refresh_token_is_kept_before_it_is_used(open_desk):
    desk = open_desk(Account(app=App(rotates=True)), **REFRESH)
    seen: list[str] = []

    def kill() -> None:
        seen.extend(path.read_text() for path in Path(desk.folder).rglob("kept-*"))

    desk.simulator.at_call(2, kill)
    desk.source.check()
    assert seen == [desk.simulator.auth.refresh_token]
    desk.restart()
    desk.source.check()
    assert desk.simulator.count("POST", TOKEN) == 2


def test_signing_in_anew_replaces_a_kept_token_that_is_refused(open_desk):
    desk = open_desk(Account(app=App(rotates=True)), **REFRESH)
    desk.source.check()
    # A person signed in again with the same configuration, which makes the first token good once more.
    desk.simulator.auth.refresh_token = APP.refresh_token
    desk.restart()
    desk.source.check()


def test_connectors_of_one_process_share_a_session(desk):
    """Each sync of a stream builds a connector, and Salesforce refuses whoever signs in too often."""
    for _ in range(3):
        Salesforce(desk.config, desk.context()).check()
    assert desk.simulator.count("POST", TOKEN) == 1
    desk.simulator.auth.expire()
    for _ in range(3):
        Salesforce(desk.config, desk.context()).check()
    assert desk.simulator.count("POST", TOKEN) == 2


def test_other_credentials_are_another_session(open_desk, desk):
    desk.source.check()
    other = open_desk(client_credentials={"client_id": APP.client_id, "client_secret": "wrong"})
    with pytest.raises(AuthError):
        other.source.check()


def test_a_session_lasts_until_it_is_refused(desk, clock):
    """There is no `expires_in`."""
    desk.source.check()
    clock.advance(3_600)
    desk.source.check()
    assert desk.simulator.count("POST", TOKEN) == 1
    desk.simulator.auth.expire()
    desk.source.check()
    assert desk.simulator.count("POST", TOKEN) == 2


def test_ten_workers_renew_a_session_once(open_desk):
    desk = open_desk(Account(app=App(rotates=True)), concurrency=10, **REFRESH)
    desk.source.check()
    desk.simulator.auth.expire()
    errors: list[Exception] = []

    def work() -> None:
        try:
            desk.source.check()
        except Exception as error:  # shown below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert desk.simulator.count("POST", TOKEN) == 2


def test_a_session_that_ends_in_the_middle_of_paging_loses_nothing(desk):
    desk.simulator.queries.page = 10
    ids = add_contacts(desk, 25)
    pages = desk.pages()
    read = [next(pages).records["Id"].to_pylist()]
    desk.simulator.auth.expire()
    read += [page.records["Id"].to_pylist() for page in pages]
    assert sorted(each for page in read for each in page) == sorted(ids)


@pytest.mark.parametrize(
    "words", ["Connected app is not attached to Agent", "This session is not valid for use with the REST API"]
)
def test_a_session_that_no_sign_in_mends_is_not_renewed_for_ever(desk, words):
    desk.source.check()
    refused = Answer(401, [{"errorCode": "INVALID_SESSION_ID", "message": words}])
    desk.simulator.script("GET", "/query", [refused])
    with pytest.raises(PermanentError, match="look at the app"):
        desk.source.check()
    assert desk.simulator.count("POST", TOKEN) == 1


def test_a_fresh_session_that_is_refused_ends_the_run(desk):
    refused = Answer(401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}])
    desk.simulator.script("GET", "/query", [refused] * 5)
    with pytest.raises(AuthError):
        desk.source.check()
    assert desk.simulator.count("POST", TOKEN) == 2


def test_refused_credentials_are_tried_once(open_desk):
    desk = open_desk(client_credentials={"client_id": "nobody", "client_secret": "wrong"})
    for _ in range(3):
        with pytest.raises(AuthError, match="invalid_client_id"):
            desk.source.check()
    assert desk.simulator.count("POST", TOKEN) == 1


@pytest.mark.parametrize(
    "body",
    [{"error": "invalid_grant", "error_description": "x"}, [{"errorCode": "invalid_grant", "message": "x"}]],
    ids=["object", "array"],
)
def test_refusals_of_the_token_endpoint_come_in_two_shapes(desk, body):
    desk.simulator.script("POST", TOKEN, [Answer(400, body)])
    with pytest.raises(AuthError, match="invalid_grant"):
        desk.source.check()


def test_a_busy_token_endpoint_is_a_passing_fault(desk):
    desk.simulator.script("POST", TOKEN, [Answer(400, {"error": "unknown_error", "error_description": "retry"})])
    with pytest.raises(TransientError, match="unknown_error"):
        desk.source.check()
    desk.source.check()


@pytest.mark.parametrize(
    "instance",
    [
        "https://evil.example/.salesforce.com",
        "https://salesforce.com.evil.example",
        "https://evil-salesforce.com",
        "http://acme.my.salesforce.com",
        "https://acme.my.salesforce.com@evil.example",
        "https://acme.my.salesforce.com:8443",
    ],
)
def test_a_token_never_goes_to_an_instance_that_is_not_salesforces(desk, instance):
    body = {"access_token": "t0ken", "instance_url": instance, "token_type": "Bearer"}
    desk.simulator.script("POST", TOKEN, [Answer(200, body)])
    with pytest.raises(PermanentError, match="outside Salesforce's domains"):
        desk.source.check()
    assert desk.simulator.journal.total == 1


def test_secrets_are_sent_in_the_body_and_show_nowhere(open_desk):
    desk = open_desk(**SIGN_IN)
    desk.source.check()
    (call,) = desk.simulator.calls("POST", TOKEN)
    assert not call.query
    assert APP.client_secret in (call.body or b"").decode()
    assert APP.client_secret not in repr(desk.config)


def test_an_unanswered_sign_in_is_tried_again(desk):
    desk.simulator.script("POST", TOKEN, [Fault(drop="before")])
    desk.source.check()
    assert json.dumps(desk.simulator.state())
