"""The demo's project folder: the example configuration, generated tickets, and a stand-in for HubSpot."""

import base64
import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from switchyard.demo.retailer import Retailer
from switchyard.demo.truth import Truth

CONFIGURATION = Path(__file__).parents[3] / "config" / "retailer"
PORT = 8765
"""The port in the example configuration."""
TRUTH = "truth.json"
TOKEN = "pat-na1-simulator"  # noqa: S105  # the simulator's only good token, no secret
WEBSHOP, WEBSITE = "webshop", "website"
"""The connections that the demo adds: what is pushed to the hub while it serves."""

_PUSHED = f"""
  # What a web shop posts to /hooks/{WEBSHOP}, signed, and a website's tracking calls to /v1.
  {WEBSHOP}:
    connector: webhook
    config:
      scheme: standard_webhooks
      secrets: ${{file:secrets/{WEBSHOP}}}
    streams:
      deliveries:
        mapping:
          subject: email
          observed_at: CAST(ordered_at AS TIMESTAMPTZ)
          identifiers: {{email: email}}
          events:
            order_completed:
              id: order_id
              properties:
                order_id: order_id
                total: CAST(total AS DECIMAL(18, 4))
  {WEBSITE}:
    connector: tracking
    config:
      write_keys: ${{file:secrets/{WEBSITE}}}
"""
_STARTS_WITHIN = 30.0
_ENDS_WITHIN = 10.0


class DemoError(Exception):
    """The demo cannot go on; `code` is the exit code to end with."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Project:
    """A demo folder; `port` is where its HubSpot is."""

    folder: Path
    port: int

    def call(self, *arguments: str) -> dict[str, Any]:
        """Run a `switchyard` command on the folder and give what it answers as JSON.

        Raises:
            DemoError: the command failed; with what it said, and its exit code.
        """
        done = subprocess.run(  # noqa: S603
            [*command(self.folder), *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise DemoError(f"`{self.spelled(*arguments)}` failed", done.returncode)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def spelled(self, *arguments: str) -> str:
        """The command as a user types it."""
        return " ".join(["switchyard", "--project", str(self.folder), *arguments])

    def secret(self, connection: str) -> str:
        """The secret of a connection that is pushed to."""
        return (self.folder / "secrets" / connection).read_text(encoding="utf-8").strip()

    @property
    def simulate(self) -> tuple[str, ...]:
        """The command that starts the folder's HubSpot."""
        return ("simulate", "hubspot", "--port", str(self.port), "--state", str(self.folder / "hubspot.json"))

    @contextmanager
    def hubspot(self) -> Iterator[httpx.Client]:
        """Run HubSpot's stand-in as a process of its own; gives a client of its control API."""
        # Interactive Ctrl-C reaches the whole group: the stand-in must outlive the command that still talks to it.
        process = subprocess.Popen(  # noqa: S603
            [*command(self.folder), *self.simulate], stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{self.port}/_simulator") as client:
                _await(client, process)
                yield client
        finally:
            process.terminate()
            try:
                process.wait(_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def lay_out(folder: Path) -> Project:
    """Make the folder anew from the example configuration.

    Raises:
        DemoError: the folder holds something that is not an earlier demo, or there is no example configuration.
    """
    if not CONFIGURATION.is_dir():
        raise DemoError("the demo runs from a checkout of the repository; there is no config/retailer here", 2)
    if folder.exists():
        if any(folder.iterdir()) and not (folder / TRUTH).is_file():
            raise DemoError(f"{folder} is no earlier demo; name another folder, or remove it", 2)
        shutil.rmtree(folder)
    shutil.copytree(CONFIGURATION, folder)
    # Without it an interrupted demo would not know its own folder again.
    (folder / TRUTH).touch()
    port = _free_port()
    settings = folder / "switchyard.yaml"
    text = settings.read_text(encoding="utf-8").replace(f":{PORT}", f":{port}")
    settings.write_text(text.replace("\nconnections:\n", f"\nconnections:{_PUSHED}\n", 1), encoding="utf-8")
    (folder / "secrets").mkdir(mode=0o700)
    signing = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    for name, value in {"hubspot_token": TOKEN, WEBSHOP: signing, WEBSITE: secrets.token_urlsafe(24)}.items():
        secret = folder / "secrets" / name
        secret.touch(mode=0o600)
        secret.write_text(value + "\n", encoding="utf-8")
    return Project(folder, port)


def fill(project: Project, retailer: Retailer, progress: Callable[[int], None]) -> Truth:
    """Generate the tickets into the drop folder, and what they come to beside it."""
    truth = retailer.write_days(project.folder / "drop", progress)
    truth.save(project.folder / TRUTH)
    return truth


def command(folder: Path) -> list[str]:
    """How `switchyard` is started on a folder."""
    return [str(Path(sys.executable).with_name("switchyard")), "--project", str(folder)]


def _free_port() -> int:
    """The port of the example where it is free, any other where it is not."""
    for port in (PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("no free port on the loopback interface")


def _await(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"HubSpot's stand-in ended at once, with exit code {process.returncode}")
        try:
            client.get("/calls").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise DemoError(f"HubSpot's stand-in did not answer within {_STARTS_WITHIN:.0f} s")
