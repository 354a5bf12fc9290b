"""Bulk import: many leads in files of less than 10 MB, written and put on the list by one job each.

Marketo tells neither ids nor verdicts of rows that went well, so both are joined on the value by which it knows a
person: failures from a file of refused rows, ids by reading the leads.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from switchyard.api import ListReceipt, PermanentError, Rejection
from switchyard.api.records import JSON
from switchyard_connectors.marketo.client import BATCH, Marketo
from switchyard_connectors.marketo.config import IMPORTS
from switchyard_connectors.marketo.envelope import NO_SUCH
from switchyard_connectors.marketo.rows import Row

_FILE = 10_000_000 - 20_000
"""Bytes of the rows of one file: Marketo takes less than 10 MB (help/bulk-import)."""
_KEPT = 7 * 86_400
"""Seconds that Marketo knows a job."""
_NAMED = 20
"""Members that the log names."""
_BOUNDARY = "switchyard-rows"
_log = logging.getLogger(__name__)


class Imports:
    """The imports of one instance.

    Args:
        partition: where leads are created, None for wherever Marketo does so.
        folder: where it is kept which row stands for which member. The files hold personal values; they go with the
            next delivery to the list, which has all verdicts of the last, and when Marketo does not know the job.
    """

    def __init__(self, marketo: Marketo, partition: str | None, folder: Path) -> None:
        self._marketo = marketo
        self._partition = partition
        self._folder = folder

    def forget(self, list_id: str) -> None:
        """Every verdict of earlier deliveries to the list is in."""
        old = time.time() - _KEPT
        for file in self._folder.glob("*.json"):
            if file.name.startswith(f"{list_id}.") or file.stat().st_mtime < old:
                file.unlink(missing_ok=True)

    def send(self, list_id: str, key_field: str, rows: Sequence[Row], *, listed: bool) -> Iterator[ListReceipt]:
        """Hand the rows of a delivery to a list over; a receipt with a ticket after each file.

        Args:
            listed: whether the jobs put all of them on the list, or none.
        """
        names = list(dict.fromkeys([key_field, *(name for row in rows for name in row.fields)]))
        for part, content in _files(rows, names):
            kept = self._keep(list_id, key_field, part)
            query = {
                "format": "csv",
                "lookupField": key_field,
                "listId": list_id if listed else None,
                "partitionName": self._partition,
            }
            answer = self._marketo.call(
                "POST",
                "/bulk/v1/leads.json",
                params=query,
                content=_multipart(content),
                headers={"content-type": f"multipart/form-data; boundary={_BOUNDARY}"},
                bucket=IMPORTS,
                once=True,
            )
            batch = answer.result[0].get("batchId") if answer.result else None
            if batch is None:
                raise PermanentError("Marketo took an import and gave no id of it")
            yield ListReceipt(ticket=json.dumps({"batch": int(batch), "rows": kept, "listed": listed}))

    def poll(self, ticket: str) -> Iterator[ListReceipt]:
        """The verdicts of a job, 300 to a receipt; before it is over, the ticket.

        Raises:
            PermanentError: the job is not known any more, here or at Marketo.
        """
        known = json.loads(ticket)
        path = f"/bulk/v1/leads/batch/{known['batch']}"
        answer = self._marketo.get(f"{path}.json", bucket=IMPORTS, expected=(NO_SUCH,))
        job = answer.result[0] if answer.result else {}
        state = job.get("status")
        if state in ("Queued", "Importing"):
            yield ListReceipt(ticket=ticket)
            return
        key_field, keys = self._kept(known["rows"])
        if state == "Complete":
            refused = self._told(f"{path}/failures.json", key_field) if job.get("numOfRowsFailed") else {}
            warned = self._told(f"{path}/warnings.json", key_field) if job.get("numOfRowsWithWarning") else {}
            yield from self._verdicts(key_field, keys, refused, listed=known["listed"])
            if odd := sorted(keys[value] for value in warned if value in keys):
                # They are leads and on the list; the reasons may quote what was refused.
                _log.warning("Marketo imported members %s without some of their values", ", ".join(odd[:_NAMED]))
        elif state == "Failed":
            why = Rejection("import_failed", str(job.get("message") or "Marketo's import failed"), retryable=True)
            yield ListReceipt(rejected=dict.fromkeys(keys.values(), why))
        else:
            raise PermanentError("Marketo does not know an import any more; the list is read back")

    def _verdicts(
        self, key_field: str, keys: Mapping[str, str], refused: Mapping[str, str], *, listed: bool
    ) -> Iterator[ListReceipt]:
        if bad := {keys[value]: Rejection("import", why) for value, why in refused.items() if value in keys}:
            yield ListReceipt(rejected=bad)
        good = [value for value in keys if value not in refused]
        for start in range(0, len(good), BATCH):
            part = good[start : start + BATCH]
            found = self._ids(key_field, part)
            upserted = {keys[value]: found[value] for value in part if value in found}
            lost = Rejection("not_found", "Marketo imported the lead and does not find it", retryable=True)
            yield ListReceipt(
                upserted=upserted,
                added=frozenset(upserted) if listed else frozenset(),
                rejected={keys[value]: lost for value in part if value not in found},
            )

    def _ids(self, key_field: str, values: Sequence[str]) -> dict[str, str]:
        """Ids by value; of several leads with one value, the oldest, which an import takes."""
        found: dict[str, int] = {}
        for lead in self._marketo.leads(key_field, values, ("id", key_field)):
            value, number = str(lead.get(key_field) or "").lower(), int(lead["id"])
            found[value] = min(number, found.get(value, number))
        return {value: str(number) for value, number in found.items()}

    def _told(self, path: str, key_field: str) -> dict[str, str]:
        """The reasons that Marketo gives for rows, by value: its file has our columns, and one more."""
        file = self._folder / f"{uuid.uuid4().hex}.csv"
        try:
            self._marketo.download(path, file)
            text = file.read_bytes().replace(b"\0", b"").decode("utf-8", "replace")
        finally:
            file.unlink(missing_ok=True)
        rows = csv.DictReader(io.StringIO(text, newline=""))
        reason = (rows.fieldnames or [""])[-1]
        return {
            str(row.get(key_field) or "").strip().lower(): str(row.get(reason) or "Marketo refused it") for row in rows
        }

    def _keep(self, list_id: str, key_field: str, rows: Sequence[Row]) -> str:
        """Write down whose rows are in a file, before it is sent."""
        name = f"{list_id}.{uuid.uuid4().hex}"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept: JSON = {"field": key_field, "keys": {row.identity: row.key for row in rows}}
        with self._file(name).open("w") as file:
            self._file(name).chmod(0o600)
            json.dump(kept, file)
        return name

    def _kept(self, name: str) -> tuple[str, Mapping[str, str]]:
        try:
            kept = json.loads(self._file(name).read_text())
        except (OSError, ValueError):
            raise PermanentError("it is not known any more whose rows an import held; the list is read back") from None
        return str(kept["field"]), kept["keys"]

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _files(rows: Sequence[Row], names: Sequence[str]) -> Iterator[tuple[Sequence[Row], bytes]]:
    """The rows in CSV files, as few as their size allows."""
    header = _line(names)
    part: list[Row] = []
    lines: list[bytes] = []
    size = len(header)
    for row in rows:
        line = _line([_cell(row.fields[name]) if name in row.fields else "" for name in names])
        if part and size + len(line) > _FILE:
            yield part, header + b"".join(lines)
            part, lines, size = [], [], len(header)
        part.append(row)
        lines.append(line)
        size += len(line)
    if part:
        yield part, header + b"".join(lines)


def _line(values: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _cell(value: JSON) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _multipart(content: bytes) -> bytes:
    head = (
        f"--{_BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="rows.csv"\r\n'
        "Content-Type: text/csv\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
