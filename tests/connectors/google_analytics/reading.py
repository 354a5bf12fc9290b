"""Reads a stream to its end and says what that took; a process of its own, so that its memory is its own."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from switchyard.api import Limits
from switchyard.testing.builders import SimpleContext
from switchyard_connectors.google_analytics.config import GoogleAnalyticsConfig
from switchyard_connectors.google_analytics.source import GoogleAnalytics
from switchyard_connectors.google_analytics.streams import EVENT_STREAM, asked_for


def main(folder: Path, name: str) -> None:
    """Print rows, pages, seconds, and the memory in kilobytes: at most until the third page, and at most at all."""
    checked = GoogleAnalyticsConfig.model_validate_json((folder / "config.json").read_text())
    stream = next(each for each in (EVENT_STREAM, *asked_for(checked)) if each.name == name)
    context = SimpleContext(folder, limits=Limits())
    rows = pages = settled = 0
    begun = time.monotonic()
    for page in GoogleAnalytics(checked, context).read(stream, None):
        rows += len(page.records)
        pages += bool(len(page.records))
        settled = _memory() if pages <= 3 else settled
    seconds = time.monotonic() - begun
    context.close()
    print(json.dumps({"rows": rows, "pages": pages, "seconds": seconds, "settled": settled, "most": _memory()}))


def _memory() -> int:
    # Not what getrusage says: that is the parent's until the child is larger.
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
