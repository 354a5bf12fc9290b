from pathlib import Path

import pyarrow as pa

from switchyard.eventlog.recent import Recent

KILOBYTE = pa.table({"total": pa.array(range(128), pa.int64())})


def test_columns_are_read_once():
    read, recent = [], Recent()

    def rows(name, columns):
        return recent.rows(Path(name), columns, lambda: read.append((name, *columns)) or KILOBYTE)

    assert rows("a", ["total"]) == rows("a", ["total"]) == KILOBYTE
    rows("a", ["total", "sku"])
    rows("b", ["total"])
    assert read == [("a", "total"), ("a", "total", "sku"), ("b", "total")]


def test_what_was_not_asked_for_the_longest_goes_first():
    read, recent = [], Recent(most=2 * KILOBYTE.nbytes)
    for name in "abacab":
        recent.rows(Path(name), ["total"], lambda name=name: read.append(name) or KILOBYTE)
    assert read == ["a", "b", "c", "b"]
