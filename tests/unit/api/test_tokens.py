from __future__ import annotations

import itertools
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from switchyard.api import ConfigError
from switchyard.api.tokens import KeptSecret, SharedTokens, assertion

_PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> str:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def test_the_configured_secret_serves_until_a_newer_one_is_kept(tmp_path):
    secret = KeptSecret(tmp_path / "oauth", "first")
    assert secret.read() == "first"
    secret.keep("second")
    assert secret.read() == "second"
    assert KeptSecret(tmp_path / "oauth", "first").read() == "second"


def test_signing_in_anew_puts_the_kept_one_out_of_use(tmp_path):
    KeptSecret(tmp_path, "first").keep("rotated")
    assert KeptSecret(tmp_path, "signed in anew").read() == "signed in anew"


def test_a_kept_secret_that_is_refused_is_forgotten(tmp_path):
    secret = KeptSecret(tmp_path, "first")
    secret.keep("rotated")
    secret.forget()
    assert secret.read() == "first"
    secret.forget()


def test_nobody_else_can_read_it_and_no_name_tells_it(tmp_path):
    KeptSecret(tmp_path, "first-s3cret").keep("second-s3cret")
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "s3cret" not in file.name
    assert "s3cret" not in repr(KeptSecret(tmp_path, "first-s3cret"))


def test_it_is_on_disk_before_it_takes_the_old_ones_place(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), sync(descriptor))[1])
    monkeypatch.setattr(Path, "replace", lambda *names: (order.append("replace"), replace(*names))[1])
    KeptSecret(tmp_path, "first").keep("second")
    assert order == ["fsync", "replace", "fsync"]


def test_a_failed_write_leaves_the_old_one_and_no_litter(tmp_path, monkeypatch):
    secret = KeptSecret(tmp_path, "first")
    secret.keep("second")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        secret.keep("third")
    assert secret.read() == "second"
    assert len(list(tmp_path.iterdir())) == 1


def test_ten_writers_leave_one_whole_secret(tmp_path):
    values = {f"{number}" * 2_000 for number in range(10)}
    threads = [threading.Thread(target=KeptSecret(tmp_path, "first").keep, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert KeptSecret(tmp_path, "first").read() in values
    assert len(list(tmp_path.iterdir())) == 1


def test_an_assertion_is_signed_by_the_key_and_names_it(key):
    token = assertion({"iss": "app", "exp": 4_000_000_000}, _pem(key), "k1")
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": "k1", "typ": "JWT"}
    assert jwt.decode(token, key.public_key(), ["RS256"]) == {"iss": "app", "exp": 4_000_000_000}


def test_without_a_key_id_the_header_has_none(key):
    assert "kid" not in jwt.get_unverified_header(assertion({}, _pem(key)))


def test_a_bad_key_is_an_error_of_the_configuration_that_does_not_quote_it(key):
    cut = _pem(key)[:400]
    curve = _pem(ec.generate_private_key(ec.SECP256R1()))
    for bad in ("", "no key", cut, curve, _pem(key, b"passphrase")):
        with pytest.raises(ConfigError, match="RSA key in PEM") as raised:
            assertion({}, bad)
        assert not bad or bad not in str(raised.value)


@dataclass(frozen=True)
class Grant:
    token: str


def grants():
    numbers = itertools.count(1)
    return lambda: Grant(f"t{next(numbers)}")


def test_of_ten_threads_with_a_spent_token_one_signs_in():
    shared, sign_in = SharedTokens[Grant](), grants()
    assert shared.other_than(None, "org", sign_in) == Grant("t1")
    with ThreadPoolExecutor(10) as threads:
        given = set(threads.map(lambda _: shared.other_than("t1", "org", sign_in), range(10)))
    assert given == {Grant("t2")}


def test_keys_have_grants_of_their_own():
    shared, sign_in = SharedTokens[Grant](), grants()
    assert [shared.other_than(None, key, sign_in).token for key in ("a", "b", "a")] == ["t1", "t2", "t1"]


def test_a_grant_that_does_not_serve_any_more_is_replaced():
    shared, sign_in = SharedTokens[Grant](), grants()
    shared.other_than(None, "org", sign_in)
    assert shared.other_than(None, "org", sign_in, lambda known: known.token != "t1") == Grant("t2")


def test_what_is_forgotten_is_asked_for_anew():
    shared, sign_in = SharedTokens[Grant](), grants()
    shared.other_than(None, "org", sign_in)
    shared.forget()
    assert shared.other_than(None, "org", sign_in) == Grant("t2")
