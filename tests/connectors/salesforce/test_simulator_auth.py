from __future__ import annotations

import base64
from collections.abc import Iterator

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.connectors.salesforce.simulator_client import Client, code, signed_in

from switchyard_connectors.salesforce.simulator import Account
from switchyard_connectors.salesforce.simulator_auth import App
from switchyard_connectors.salesforce.simulator_routes import TOKEN

BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
APP = {"client_id": "simulator-app", "client_secret": "simulator-app-password"}


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def public(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.fixture
def client(public: str) -> Iterator[Client]:
    with signed_in(Account(app=App(public_key=public, rotates=True))) as client:
        yield client


def assertion(key: rsa.RSAPrivateKey, client: Client, **claims: object) -> str:
    usual = {
        "iss": "simulator-app",
        "sub": "hub@example.com",
        "aud": "https://login.salesforce.com",
        "exp": int(client.clock()) + 180,
    }
    return jwt.encode({**usual, **claims}, key, algorithm="RS256")


def test_client_credentials_are_taken_from_the_form_and_from_the_header(client):
    by_form = client.token(grant_type="client_credentials", **APP)
    basic = base64.b64encode(b"simulator-app:simulator-app-password").decode()
    by_header = client.http.post(
        TOKEN, data={"grant_type": "client_credentials"}, headers={"authorization": f"Basic {basic}"}
    )
    for answer in (by_form, by_header):
        body = answer.json()
        assert body["instance_url"] == client.simulator.url
        assert body["token_type"] == "Bearer"
        # Salesforce never says how long a session lasts.
        assert "expires_in" not in body
        assert "refresh_token" not in body


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "client_credentials", **APP, "client_id": "x"}, "invalid_client_id"),
        ({"grant_type": "client_credentials", **APP, "client_secret": "x"}, "invalid_client"),
        ({"grant_type": "refresh_token", **APP, "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": "password", **APP}, "unsupported_grant_type"),
        ({"grant_type": BEARER, "assertion": "junk"}, "invalid_grant"),
    ],
)
def test_errors_of_the_token_endpoint_are_objects(client, form, error):
    answer = client.token(**form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_an_assertion_signs_in(client, key):
    answer = client.token(grant_type=BEARER, assertion=assertion(key, client))
    assert answer.json()["access_token"]


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"aud": "https://example.com"}, "audience is invalid"),
        ({"exp": 1}, "expired assertion"),
        ({"exp": 1_790_000_180_000}, "invalid assertion: exp is too far away"),
        ({"sub": "eve@example.com"}, "user hasn't approved this consumer"),
        ({"iss": "another"}, "client identifier invalid"),
    ],
)
def test_an_assertion_is_refused_for_its_claims(client, key, claims, error):
    answer = client.token(grant_type=BEARER, assertion=assertion(key, client, **claims))
    assert answer.json()["error_description"] == error


def test_an_assertion_signed_by_another_key_is_refused(client):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    answer = client.token(grant_type=BEARER, assertion=assertion(other, client))
    assert answer.json()["error"] == "invalid_grant"


def test_a_refresh_token_that_rotates_works_once(client):
    first = client.token(grant_type="refresh_token", refresh_token="5Aep-simulator-refresh", **APP).json()
    again = client.token(grant_type="refresh_token", refresh_token="5Aep-simulator-refresh", **APP)
    assert again.json()["error"] == "invalid_grant"
    second = client.token(grant_type="refresh_token", refresh_token=first["refresh_token"], **APP).json()
    assert second["refresh_token"] != first["refresh_token"]


def test_a_session_ends_after_its_time_and_when_it_is_revoked(client):
    assert client.get("/limits").status_code == 200
    client.clock.advance(7_200)
    assert code(client.get("/limits")) == (401, "INVALID_SESSION_ID")
    client.sign_in()
    token = client.http.headers["authorization"].removeprefix("Bearer ")
    assert client.http.post("/services/oauth2/revoke", data={"token": token}).status_code == 200
    assert code(client.get("/limits")) == (401, "INVALID_SESSION_ID")


def test_versions_are_listed_without_a_session(client):
    del client.http.headers["authorization"]
    versions = client.http.get("/services/data/").json()
    assert versions[-1]["version"] == "68.0"
    assert client.http.get(f"{versions[-1]['url']}/limits").status_code == 401
