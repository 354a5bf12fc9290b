"""The demo's live part: a hub that serves, a web shop and a website that push to it, and how soon a list has it."""

import base64
import hashlib
import hmac
import json
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from switchyard.demo.project import WEBSHOP, WEBSITE, DemoError, Project, command

SEGMENT, LIST = "vip", "VIP customers"
TOTAL = "2500.00"
"""What is spent at once: more than a VIP spends in a year."""
_WITHIN = 30.0

Row = Mapping[str, Any]


@contextmanager
def serving(project: Project) -> Iterator[str]:
    """Run `switchyard serve` on the folder; gives its address.

    Raises:
        DemoError: it did not start, or did not end as it should.
    """
    with (project.folder / "serve.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603
            [*command(project.folder), "serve", "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            said = json.loads((process.stdout and process.stdout.readline()) or "{}")
            if "url" not in said:
                raise DemoError(f"`{project.spelled('serve')}` did not start; see {log.name}")
            yield said["url"]
            process.send_signal(signal.SIGTERM)
            if process.wait(_WITHIN):
                raise DemoError(f"`{project.spelled('serve')}` ended with {process.returncode}; see {log.name}")
        finally:
            process.kill()
            process.communicate()


def guests(project: Project, count: int) -> list[str]:
    """E-mail addresses of so many people who are not yet on the list."""
    known = {each.get("email") for each in _members(project, SEGMENT, 100_000)}
    new = [each["email"] for each in _members(project, "new_customers", 1_000) if each.get("email")]
    return [email for email in new if email not in known][:count]


def pushed(project: Project, url: str, control: httpx.Client, people: Sequence[str]) -> Iterator[Row]:
    """Have each of these people spend much at once: by turns in the web shop, which posts a webhook, and on the
    website, which knows who they are only after they have bought. Gives for each what was sent, what it was answered,
    and how long after the answer HubSpot's list had one more.

    Raises:
        DemoError: something was not accepted, or the list did not change in time.
    """
    with httpx.Client(base_url=url, timeout=_WITHIN) as client:
        for number, email in enumerate(people, 1):
            before, size = time.monotonic(), _size(control)
            if number % 2:
                sent = "signed webhook"
                answer = _order(project, client, number, email)
            else:
                sent = "tracking calls"
                answer = _visit(project, client, number, email)
            if answer.is_error:
                raise DemoError(f"{sent} was answered with {answer.status_code}")
            accepted = time.monotonic()
            while _size(control) == size:
                if time.monotonic() > accepted + _WITHIN:
                    raise DemoError(f"the list '{LIST}' did not change within {_WITHIN:.0f} s")
                time.sleep(0.01)
            yield {
                "sent": sent,
                "who": email,
                "answer": answer.status_code,
                "kept after": f"{(accepted - before) * 1e3:.0f} ms",
                "on the list after": f"{time.monotonic() - accepted:.2f} s",
            }


def proven(project: Project) -> Row:
    """The list, read back and compared with the segment by the hub that serves."""
    (answer,) = project.call("audiences", "verify", SEGMENT)["audiences"]
    row: Row = answer
    return row


def forged(url: str) -> int:
    """The answer to an order that nobody signed."""
    body = _body(0, "mallory@mail.example")
    return httpx.post(f"{url}/hooks/{WEBSHOP}", content=body, headers=_JSON).status_code


_JSON = {"content-type": "application/json"}


def _order(project: Project, client: httpx.Client, number: int, email: str) -> httpx.Response:
    """Post an order as senders do who follow Standard Webhooks."""
    body, name, second = _body(number, email), f"msg_{secrets.token_hex(8)}", str(int(time.time()))
    key = base64.b64decode(project.secret(WEBSHOP).removeprefix("whsec_"))
    digest = hmac.new(key, f"{name}.{second}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    headers = {"webhook-id": name, "webhook-timestamp": second, "webhook-signature": signature}
    return client.post(f"/hooks/{WEBSHOP}", content=body, headers=headers | _JSON)


def _body(number: int, email: str) -> bytes:
    order = {"order_id": f"WEB-{number}", "email": email, "total": TOTAL, "ordered_at": datetime.now(UTC).isoformat()}
    return json.dumps(order).encode()


def _visit(project: Project, client: httpx.Client, number: int, email: str) -> httpx.Response:
    """Call as Segment's libraries do."""
    visitor = {"anonymousId": f"visitor-{number}"}
    order = {"order_id": f"APP-{number}", "total": TOTAL}
    events = [
        visitor | {"type": "page", "name": "Checkout"},
        visitor | {"type": "track", "event": "Order Completed", "properties": order},
        visitor | {"type": "identify", "userId": f"user-{number}", "traits": {"email": email}},
    ]
    return client.post("/v1/batch", json={"batch": events}, auth=(project.secret(WEBSITE), ""))


def _members(project: Project, segment: str, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.call("segments", "members", segment, "--limit", str(limit))["profiles"]
    return found


def _size(control: httpx.Client) -> int:
    lists = control.get("/state").json()["lists"]
    return sum(each["size"] for each in lists if each["name"] == LIST and not each["deleted"])
