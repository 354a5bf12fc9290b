from __future__ import annotations

import threading

import pytest

from switchyard.api import AuthError
from switchyard.testing.builders import SimpleContext
from switchyard_connectors.hubspot import simulator_auth
from switchyard_connectors.hubspot.simulator import Account
from switchyard_connectors.hubspot.simulator_auth import OAuthApp

APP = OAuthApp()
SIGN_IN = {"client_id": APP.client_id, "client_secret": APP.client_secret, "refresh_token": APP.refresh_token}


def test_one_token_serves_many_calls(open_desk):
    desk = open_desk(oauth=SIGN_IN)
    for _ in range(3):
        desk.sink.check()
    assert [call.status for call in desk.simulator.calls("POST", "/oauth/")] == [200]
    assert desk.simulator.count() == 4


def test_syncs_and_deliveries_share_a_token(open_library):
    """Webhooks may cause a sync every second, and a connector lives for one."""
    library = open_library(oauth=SIGN_IN)
    for _ in range(3):
        library.sync()
    assert library.simulator.count("POST", "/oauth/") == 1
    library.simulator.auth.expire()
    library.sync()
    assert library.simulator.count("POST", "/oauth/") == 2


def test_a_token_that_nears_its_end_is_not_handed_on(open_library, monkeypatch):
    monkeypatch.setattr(simulator_auth, "LIFETIME", 90)
    library = open_library(oauth=SIGN_IN)
    for _ in range(2):
        library.sync()
    assert [call.status for call in library.simulator.calls("POST", "/oauth/")] == [200, 200]


def test_a_token_that_ends_between_two_calls_is_renewed_and_the_call_repeated(open_desk, people):
    desk = open_desk(oauth=SIGN_IN)
    ref = desk.ensure()
    desk.clock.advance(1_801)
    done = desk.deliver(ref, upsert=people(2), add=people(2))
    assert done.added == {"p0", "p1"}
    assert [call.status for call in desk.simulator.calls("POST", "upsert")] == [401, 200]
    assert desk.simulator.count("POST", "/oauth/") == 2


def test_ten_threads_refused_at_once_renew_once(open_desk):
    desk = open_desk(Account(tier=None, app=OAuthApp(rotates=True)), oauth=SIGN_IN)
    desk.sink.check()
    desk.simulator.auth.expire()
    threads = [threading.Thread(target=desk.sink.check) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.simulator.count("POST", "/oauth/") == 2
    assert desk.simulator.count("GET", "/properties/contacts/email") - 1 <= 20


def test_a_newer_refresh_token_is_kept_for_the_next_process(open_desk, tmp_path):
    desk = open_desk(Account(tier=None, app=OAuthApp(rotates=True)), oauth=SIGN_IN)
    desk.sink.check()
    (kept,) = SimpleContext(tmp_path).workspace.joinpath("oauth").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text() == f"{APP.refresh_token}-1"
    assert APP.refresh_token not in kept.name


def test_credentials_in_the_body_only(open_desk):
    desk = open_desk(oauth=SIGN_IN)
    desk.sink.check()
    (call,) = desk.simulator.calls("POST", "/oauth/")
    assert call.query == ""
    assert APP.refresh_token.encode() in call.body


def test_a_refused_refresh_token_asks_for_sign_in_once_and_without_a_storm(open_desk):
    desk = open_desk(oauth={**SIGN_IN, "refresh_token": "revoked"})
    for _ in range(3):
        with pytest.raises(AuthError, match="sign in again"):
            desk.sink.check()
    assert desk.simulator.count() == 1


def test_a_kept_token_that_is_refused_gives_way_to_the_configured_one(open_desk, tmp_path):
    first = open_desk(Account(tier=None, app=OAuthApp(rotates=True)), oauth=SIGN_IN)
    first.sink.check()
    second = open_desk(oauth=SIGN_IN)
    second.sink.check()
    assert [call.status for call in second.simulator.calls("POST", "/oauth/")] == [400, 200]
    assert not list(SimpleContext(tmp_path).workspace.joinpath("oauth").iterdir())


def test_a_wrong_static_token_is_refused(open_desk):
    desk = open_desk(token="pat-wrong")
    with pytest.raises(AuthError) as refusal:
        desk.sink.check()
    assert "pat-wrong" not in str(refusal.value)
