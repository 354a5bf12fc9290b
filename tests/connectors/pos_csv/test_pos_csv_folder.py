"""The drop folder: what is complete, what is seen, what is read once, what may be unpacked."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from switchyard.api import ConfigError, PermanentError, TransientError
from switchyard_connectors.pos_csv import LINES, switchyard_connectors

CONTENT = "order_id,sold_at,sku,quantity,price\n1,2024-05-06,a,1,1\n"

SPEC = switchyard_connectors()[0]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(order: int) -> str:
    return CONTENT.replace("\n1,", f"\n{order},")


def origins(pages):
    return [page.origin for page in pages]


def test_files_come_in_natural_order(shop):
    for number in (10, 9, 1):
        shop.drop(f"day-{number}.csv", content(number))
    assert origins(shop.sync()) == ["day-1.csv", "day-9.csv", "day-10.csv"]


def test_files_come_by_age_where_asked(shop):
    shop.drop("a.csv", content(1), seconds_old=60)
    shop.drop("b.csv", content(2), seconds_old=600)
    assert origins(shop.sync(order="mtime")) == ["b.csv", "a.csv"]


def test_known_content_is_skipped_under_any_name(shop):
    shop.drop("a.csv", CONTENT)
    shop.drop("b.csv", CONTENT)
    assert origins(shop.sync()) == ["a.csv"]
    shop.drop("c.csv", CONTENT)
    assert shop.sync() == []


def test_new_content_under_a_known_name_is_read(shop):
    shop.drop("a.csv", CONTENT)
    first = shop.sync()
    shop.drop("a.csv", CONTENT + "2,2024-05-06,a,1,1\n")
    second = shop.rows_of(shop.sync())
    assert second[0]["line_id"] == shop.rows_of(first)[0]["line_id"]
    assert len(second) == 2


def test_what_is_known_survives_the_loss_of_the_workspace(shop):
    shop.drop("a.csv", CONTENT)
    shop.sync()
    (shop.context.workspace / "known.json").write_text("[broken")
    assert shop.sync() == []


def test_a_growing_file_is_left_alone(shop):
    path = shop.drop("a.csv", CONTENT, seconds_old=0)
    written = threading.Event()

    def producer() -> None:
        while not written.wait(0.02):
            with path.open("a") as file:
                file.write("2,2024-05-06,a,1,1\n")

    thread = threading.Thread(target=producer)
    thread.start()
    try:
        assert shop.sync(stable_seconds=0.3) == []
    finally:
        written.set()
        thread.join()
    assert origins(shop.sync(stable_seconds=0.1)) == ["a.csv"]


def test_a_fresh_file_that_does_not_grow_is_read_in_the_same_run(shop):
    shop.drop("a.csv", CONTENT, seconds_old=0)
    assert origins(shop.sync()) == ["a.csv"]


def test_a_file_replaced_while_it_is_read_changes_nothing(shop):
    path = shop.drop("a.csv", CONTENT + "2,2024-05-06,a,1,1\n")
    pages = shop.source(page_rows=1, order_window=1).read(LINES, None)
    first = next(pages)
    path.write_text("something else")
    assert [row["order_id"] for row in shop.rows_of([first, *pages])] == ["1", "2"]


def test_a_file_of_no_bytes_is_left_alone(shop):
    shop.drop("a.csv", "")
    assert shop.sync() == []


def test_with_markers_only_marked_files_are_read(shop):
    for name in ("a.csv", "b.csv", "c.csv"):
        shop.drop(name, content(ord(name[0])).rstrip("\n"))
    shop.drop("a.csv.done", "")
    shop.drop("b.ok", "")
    assert origins(shop.sync(ready="marker")) == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    "name", [".a.csv", "a.csv.tmp", "a.csv.part", "a.csv.FILEPART", "a.csv.inprogress", "a.csv.done", "notes.txt"]
)
def test_what_is_no_finished_file_is_not_seen(shop, name):
    shop.drop(name, CONTENT)
    assert shop.sync(ready="rename") == []


def test_links_and_special_files_are_not_seen(shop, tmp_path):
    (tmp_path / "outside.csv").write_text(CONTENT)
    (shop.folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    (shop.folder / "folder.csv").mkdir()
    os.mkfifo(shop.folder / "pipe.csv")
    assert shop.sync() == []


def test_a_file_that_becomes_a_link_is_not_followed_and_holds_up_no_other(shop, tmp_path):
    (tmp_path / "outside.csv").write_text(CONTENT)
    shop.drop("a.csv", content(1))
    path = shop.drop("b.csv", content(2))
    shop.drop("c.csv", content(3))
    pages = shop.source().read(LINES, None)
    assert next(pages).origin == "a.csv"
    path.unlink()
    path.symlink_to(tmp_path / "outside.csv")
    assert next(pages).origin == "c.csv"
    with pytest.raises(PermanentError, match=r"may not read b\.csv"):
        next(pages)


def test_a_file_that_becomes_a_pipe_is_passed_over(shop):
    shop.drop("a.csv", content(1))
    path = shop.drop("b.csv", content(2))
    pages = shop.source().read(LINES, None)
    assert next(pages).origin == "a.csv"
    path.unlink()
    os.mkfifo(path)
    assert list(pages) == []


def test_a_missing_folder(shop):
    with pytest.raises(ConfigError, match="create it"):
        shop.source(folder="elsewhere").check()
    with pytest.raises(TransientError):
        shop.sync(folder="elsewhere")
    shop.source().check()


def test_committed_files_are_moved_and_no_others(shop):
    shop.drop("a.csv", CONTENT)
    shop.drop("b.csv", content(2) + 'open,"\n')
    shop.drop("a.csv.done", "")
    shop.drop("b.csv.done", "")
    config = {"processed": "move", "ready": "marker"}
    pages = list(shop.source(**config).read(LINES, None))
    assert len(pages) == 2
    list(shop.source(**config).read(LINES, None))
    assert (shop.folder / "a.csv").exists(), "nothing was committed"
    for page in pages:
        shop.context.commit("lines", page)
    assert shop.sync(**config) == []
    assert names_in(shop.folder) == ["b.csv", "b.csv.done", "processed"]
    assert names_in(shop.folder / "processed") == ["a.csv", "a.csv.done"]


def test_a_second_file_of_the_same_name_is_moved_beside_the_first(shop):
    for text in (content(1), content(2)):
        shop.drop("a.csv", text)
        shop.sync(processed="move")
        shop.sync(processed="move")
    texts = {(shop.folder / "processed" / name).read_text() for name in names_in(shop.folder / "processed")}
    assert texts == {content(1), content(2)}


def zipped(*members: tuple[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return target.getvalue()


def test_compressed_files_are_read_by_their_content(shop):
    shop.drop("a.csv.gz", gzip.compress(content(1).encode(), mtime=0))
    shop.drop("b.zip", zipped(("../../etc/passwd", content(2).encode())))
    shop.drop("c.csv", gzip.compress(content(3).encode("utf-16"), mtime=0))
    assert [(page.origin, page.records["order_id"].to_pylist()) for page in shop.sync()] == [
        ("a.csv.gz", ["1"]),
        ("b.zip", ["2"]),
        ("c.csv", ["3"]),
    ]


BOMB = b"0" * 50_000_000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(BOMB, mtime=0), "larger than 1000000 bytes (max_bytes)"),
        (zipped(("a.csv", BOMB)), "larger than 1000000 bytes (max_bytes)"),
        (b"0" * 1_000_001, "larger than 1000000 bytes (max_bytes)"),
        (gzip.compress(gzip.compress(CONTENT.encode(), mtime=0), mtime=0), "another compressed file"),
        (zipped(("a.csv", CONTENT.encode()), ("b.csv", b"x")), "holds 2 files"),
        (zipped(*((f"{number:0200}", b"") for number in range(1000))), "many files"),
        (gzip.compress(CONTENT.encode(), mtime=0)[:-9], "damaged"),
        (zipped(("a.csv", CONTENT.encode()))[:-30], "no directory"),
    ],
)
def test_an_archive_that_is_not_one_file_within_the_cap_is_refused(shop, data, words):
    assert words in shop.refusal(data, max_bytes=1_000_000)[0]
    assert shop.sync(max_bytes=1_000_000) == []


def test_listing_the_connectors_loads_nothing_heavy():
    code = (
        "import sys, switchyard_connectors.pos_csv as p; p.switchyard_connectors();"
        "print({'pyarrow', 'duckdb', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_configuration_is_a_schema_for_editors():
    assert SPEC.config.model_json_schema()["properties"]["columns"]["type"] == "object"


def test_nothing_is_left_in_the_workspace_but_what_is_known(shop):
    shop.drop("a.csv.gz", gzip.compress(CONTENT.encode("utf-16"), mtime=0))
    shop.sync()
    assert names_in(shop.context.workspace) == ["known.json"]
