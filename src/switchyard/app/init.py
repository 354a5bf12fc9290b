"""A new project: a few commented files to start from."""

from pathlib import Path
from typing import Any

from switchyard.api.errors import PermanentError

_SETTINGS = """\
# What Switchyard connects here. `switchyard check` says what it thinks of it, `switchyard schema` prints its schema.

hub:
  timezone: UTC # the days and dates of segments and reports: an IANA name such as Europe/Paris
  # default_region: FR # how phone numbers without a country code are read; without it they identify nobody

connections:
  # A source: receipts of the tills as CSV files, dropped into the folder `drop`.
  tills:
    connector: pos_csv
    config:
      folder: drop
      columns: # what is meant: the header it has in your files
        order_id: order_id
        line_id: line_id
        sold_at: sold_at
        quantity: quantity
        amount: amount
        email: email
      formats: "%Y-%m-%d %H:%M:%S" # dates are read as declared, never guessed

  # A sink: keeps lists of people. Try it first with `switchyard simulate hubspot --port 8765`.
  # crm:
  #   connector: hubspot
  #   config:
  #     base_url: http://127.0.0.1:8765 # without this line it is HubSpot itself
  #     token: ${file:secrets/hubspot_token} # the simulator takes pat-na1-simulator

# Who goes where: the list is read back and repaired until it holds exactly the segment.
# audiences:
#   example:
#     segment: example
#     connection: crm
#     list: Good customers
#     fields: {email: email, firstname: first_name}
"""
_SEGMENT = """\
# Who belongs to it is decided by `where`; people leave at the hour at which it becomes false.
segment: example
name: Good customers
where: sum(order_completed.total, last 365 days) > 500
"""
_IGNORED = (".switchyard/", "secrets/")
FILES = {
    "switchyard.yaml": _SETTINGS,
    "segments/example.yaml": _SEGMENT,
    ".gitignore": "".join(f"{name}\n" for name in _IGNORED),
}


def init(folder: Path) -> dict[str, Any]:
    """Write the files of a new project; those that are there stay as they are.

    Raises:
        PermanentError: the folder cannot be written.
    """
    created, kept = [], []
    try:
        for name, content in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(content)
            except FileExistsError:
                kept.append(name)
            else:
                created.append(name)
        ignored = (folder / ".gitignore").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise PermanentError(f"cannot write in {folder}: {error.strerror}") from error
    return {
        "folder": str(folder),
        "created": created,
        "kept": kept,
        "not_ignored": [name for name in _IGNORED if name not in ignored],
    }
