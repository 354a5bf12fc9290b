import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.eventlog import seen
from switchyard.eventlog.seen import SeenIndex, heads


@pytest.fixture
def small(monkeypatch):
    """Runs of four ids and more are files."""
    monkeypatch.setattr(seen, "IN_MEMORY", 4)


def values(numbers):
    return np.array(numbers, np.uint64)


def known(index, numbers):
    return index.find(values(numbers))[0].tolist()


def test_heads_are_the_first_eight_bytes_big_endian(ids, event_id):
    array = pa.array([event_id(0), event_id(1), event_id(2)], pa.binary(16))
    wanted = [int.from_bytes(event_id(number)[:8], "big") for number in range(3)]
    assert heads(array).tolist() == wanted
    assert heads(array.slice(1)).tolist() == wanted[1:]
    assert heads(pa.chunked_array([array.slice(2), array.slice(0, 1)])).tolist() == [wanted[2], wanted[0]]
    assert heads(ids([])).tolist() == []


def test_find_says_of_which_pages_a_hit_can_be(tmp_path):
    index = SeenIndex(tmp_path)
    index.add(values(range(100, 200)), 3)
    index.add(values([7]), 4)
    assert index.find(values([7, 8]))[1] == (4, 4)
    assert index.find(values([7, 150]))[1] == (3, 4)


@pytest.mark.usefixtures("small")
def test_every_run_is_at_least_twice_as_large_as_the_next(tmp_path):
    index, random = SeenIndex(tmp_path), np.random.default_rng(1)
    for page in range(200):
        index.add(random.integers(0, 2**64, int(random.integers(1, 9)), np.uint64), page)
        sizes = [len(run.heads) for run in index._runs]
        assert all(old >= 2 * young for old, young in pairwise(sizes))
    assert len(list(tmp_path.glob("*.run"))) <= len(sizes)


PAGES = st.lists(st.lists(st.integers(0, 60), max_size=12), max_size=30)


@settings(max_examples=60, deadline=None)
@given(pages=PAGES)
def test_the_index_is_a_set(tmp_path_factory, pages):
    index, model = SeenIndex(tmp_path_factory.mktemp("seen")), set()
    for page, numbers in enumerate(pages):
        index.add(values(numbers), page)
        model.update(numbers)
    assert known(index, range(62)) == [number in model for number in range(62)]


@pytest.mark.usefixtures("small")
def test_what_is_covered_is_found_after_a_restart(tmp_path):
    index = SeenIndex(tmp_path)
    for page in range(10):
        index.add(values(range(page * 5, page * 5 + 5)), page)
    again = SeenIndex(tmp_path)
    covers = again.open()
    assert 0 <= covers < 9
    assert all(known(again, range((covers + 1) * 5)))


@pytest.mark.usefixtures("small")
def test_a_page_in_several_calls_is_covered_only_when_the_next_one_comes(tmp_path):
    index = SeenIndex(tmp_path)
    index.add(values(range(8)), 3)
    assert SeenIndex(tmp_path).open() < 3
    index.add(values(range(100, 108)), 3)
    assert SeenIndex(tmp_path).open() < 3
    index.add(values(range(200, 300)), 4)
    assert SeenIndex(tmp_path).open() == 3


def truncate(folder):
    next(folder.glob("*.run")).write_bytes(b"12345678")


def flip(folder):
    path = next(folder.glob("*.run"))
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(data)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip,
        lambda folder: next(folder.glob("*.run")).unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text(json.dumps({"runs": [{"name": "x"}], "covers": 4})),
        lambda folder: (folder / "manifest.json").unlink(),
    ],
    ids=["truncated", "flipped bit", "missing run", "half a manifest", "another manifest", "no manifest"],
)
def test_a_damaged_index_starts_anew(tmp_path, damage):
    SeenIndex(tmp_path).add(values(range(50)), 1)
    damage(tmp_path)
    index = SeenIndex(tmp_path)
    assert index.open() == -1
    assert len(index) == 0
    assert not list(tmp_path.glob("*.run"))


def test_an_index_that_is_interrupted_while_it_completes_does_not_claim_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(seen, "IN_MEMORY", 4)

    def missing():
        yield values(range(10)), 1, 9
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SeenIndex(tmp_path).complete(missing(), 9)
    assert SeenIndex(tmp_path).open() < 1
