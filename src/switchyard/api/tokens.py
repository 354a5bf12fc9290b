"""Tokens that expire: who keeps one, who renews it, and how often."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from switchyard.api.errors import AuthError, ConfigError


@runtime_checkable
class Refusable(Protocol):
    """A bearer that wants to hear of refusals. Told the refused token, so that of ten threads one renews it."""

    def refused(self, token: str) -> None:
        """The vendor answered 401 to this token. If it is still the current one, do not give it again."""


class CachedToken:
    """A bearer for `Context.http` that fetches a token once for all threads and keeps it until it nears its end.

    Credentials once refused are not tried again: every later call raises the same AuthError.

    Args:
        fetch: asks the vendor; gives the token and the seconds it is good for. Raises AuthError where the vendor
            refuses the credentials (OAuth: `invalid_grant`, `invalid_client`).
        margin: a token with less than this many seconds left is not given out.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        fetch: Callable[[], tuple[str, float]],
        *,
        margin: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._margin = margin
        self._clock = clock
        self._lock = threading.Lock()
        self._token: str | None = None
        self._until = 0.0
        self._refusal: AuthError | None = None

    def __call__(self) -> str:
        """The current token.

        Raises:
            AuthError: the credentials are refused.
        """
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._token is None or self._clock() >= self._until:
                try:
                    self._token, seconds = self._fetch()
                except AuthError as error:
                    self._refusal = error
                    raise
                # A vendor may hand out an old token with little time left; it is better than asking in a circle.
                self._until = self._clock() + max(seconds - self._margin, min(seconds, 1.0))
            return self._token

    def refused(self, token: str) -> None:
        """Forget the token, unless another thread has renewed it already."""
        with self._lock:
            if token == self._token:
                self._token = None


class HasToken(Protocol):
    """What a sign-in gave."""

    @property
    def token(self) -> str:
        """The access token."""


Grant = TypeVar("Grant", bound=HasToken)


class SharedTokens(Generic[Grant]):
    """What sign-ins gave to this process, in memory alone, for connectors that come and go.

    A connector lives as long as one sync of one stream, which pushes may cause every second; a token lasts much longer,
    and vendors refuse whoever signs in too often. Safe to use from many threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._known: dict[str, Grant] = {}

    def other_than(
        self,
        spent: str | None,
        key: str,
        sign_in: Callable[[], Grant],
        serves: Callable[[Grant], bool] = lambda _: True,
    ) -> Grant:
        """What is known under `key`; anew where its token is `spent`, or where it does not serve any more.

        One thread at a time signs in for a key: of two that exchange one refresh token at once, the slower would hold
        one that was replaced meanwhile.
        """
        with self._lock:
            lock = self._locks[key]
        with lock:
            known = self._known.get(key)
            if known is None or known.token == spent or not serves(known):
                known = self._known[key] = sign_in()
            return known

    def forget(self) -> None:
        """Know nothing, as a new process does."""
        with self._lock:
            self._known.clear()


class KeptSecret:
    """A secret that its vendor may replace while it is in use: a refresh token that comes back rotated.

    The newest stands in a file that its owner alone can read. The file is named by a hash of the configured secret, so
    that signing in anew puts what was kept out of use; where it is lost, the configured one serves.

    Args:
        folder: where the file lies; made when it is first needed.
        configured: the secret as it stands in the configuration.
    """

    def __init__(self, folder: Path, configured: str) -> None:
        self._configured = configured
        self._file = folder / f"kept-{hashlib.sha256(configured.encode()).hexdigest()[:16]}"

    def __repr__(self) -> str:
        return f"KeptSecret({str(self._file)!r})"

    def read(self) -> str:
        """The newest: the one kept last, else the configured one."""
        try:
            return self._file.read_text(encoding="utf-8") or self._configured
        except FileNotFoundError:
            return self._configured

    def keep(self, new: str) -> None:
        """Make a newer one durable. To be called before anything that came with it is used. Nothing to do for the same.

        Raises:
            OSError: it cannot be written; the one before is still kept.
        """
        if new == self.read():
            return
        folder = self._file.parent
        folder.mkdir(parents=True, exist_ok=True)
        # mkstemp gives mode 0600 and a name that no other process writes to.
        descriptor, name = tempfile.mkstemp(prefix=f"{self._file.name}.", dir=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(new)
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(self._file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(folder)

    def forget(self) -> None:
        """Go back to the configured one: the vendor refuses what was kept."""
        self._file.unlink(missing_ok=True)


def assertion(claims: Mapping[str, Any], private_key_pem: str, key_id: str | None = None) -> str:
    """The claims as a JWT signed with RS256, as OAuth's JWT bearer grant wants it.

    Args:
        claims: `exp` and `iat` are whole seconds since the epoch.
        private_key_pem: an RSA key in PEM (PKCS #8 or PKCS #1), without a passphrase.
        key_id: the header's `kid`.

    Raises:
        ConfigError: the key is none.
    """
    import jwt  # whoever needs no assertion does not wait for cryptography

    try:
        return jwt.encode(
            dict(claims), private_key_pem, algorithm="RS256", headers=None if key_id is None else {"kid": key_id}
        )
    except (jwt.InvalidKeyError, ValueError, TypeError):
        # What cryptography says may quote the key.
        raise ConfigError(
            "the private key cannot sign: give an RSA key in PEM without a passphrase, with its line ends"
        ) from None


def _sync_folder(folder: Path) -> None:
    """Make the new name in the folder outlive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
