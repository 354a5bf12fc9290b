"""Profiles are the components of subjects over shared values: against a model that forgets nothing and hurries never.

Real pages are mapped and committed, so what is compared is what the store holds.
"""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from tests.projects import Spine, joined

from switchyard.api import Stream
from switchyard.config.models import Identity
from switchyard.evaluation.working import WorkingDatabase
from switchyard.store import names
from switchyard.store.tables import Identifier, IdentifierKind, Merge, SharedValue, Subject
from switchyard.store.tables import Page as CommittedPage

KINDS = ("card", "cookie")
LIMIT = 3
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Every example is a store: shrinking one takes minutes. What fails is small as it is."""
STREAM = Stream(name="people", key=("key",))
MAPPING = {"subject": "key", "identifiers": {kind: kind for kind in KINDS}}
IDENTITY = Identity.model_validate({"kinds": {kind: {"limit": LIMIT} for kind in KINDS}})


class Model:
    """Evidence is kept for ever; a value on more subjects than the limit is parked for ever; the rest is union-find."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.evidence: dict[tuple[str, str], set[int]] = defaultdict(set)

    def page(self, records, taken) -> None:
        for key in sorted({record["key"] for record in records} - self.ids.keys()):
            self.ids[key] = taken[key]
        for record in records:
            for kind in KINDS:
                if record[kind]:
                    self.evidence[kind, record[kind]].add(self.ids[record["key"]])

    @property
    def parked(self):
        return {value for value, subjects in self.evidence.items() if len(subjects) > LIMIT}

    def profiles(self):
        live = [sorted(subjects) for value, subjects in self.evidence.items() if value not in self.parked]
        return joined(list(self.ids.values()), live)


keys = st.sampled_from("abcdefghij")
values = st.one_of(st.none(), st.sampled_from("123456"))
records = st.fixed_dictionaries({"key": keys, "card": values, "cookie": st.one_of(st.none(), st.sampled_from("789"))})
pages = st.lists(st.lists(records, min_size=1, max_size=6), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A folder with a store that has its tables."""
    folder = tmp_path_factory.mktemp("prepared")
    Spine(folder, STREAM, MAPPING, identity=IDENTITY).close()
    return folder


@pytest.fixture
def spine(prepared):
    """Opens new spines one after the other."""
    opened: list[tuple[Spine, str]] = []

    def close() -> None:
        while opened:
            one, folder = opened.pop()
            one.close()
            shutil.rmtree(folder)

    def new() -> Spine:
        close()
        folder = tempfile.mkdtemp()
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        opened.append((Spine(Path(folder), STREAM, MAPPING, identity=IDENTITY), folder))
        return opened[-1][0]

    yield new
    close()


def subjects(spine) -> dict[str, Subject]:
    return {row.key: row for row in spine.rows(Subject)}


def evidence(spine, table=Identifier) -> Iterator:
    kinds = {row.id: row.name for row in spine.rows(IdentifierKind)}
    return ((kinds[row.kind_id], row.value, row) for row in spine.rows(table))


def card(*cards: str) -> list[dict]:
    """One record per argument: "a1" says that a has the card 1."""
    return [{"key": text[0], "card": text[1:] or None, "cookie": None} for text in cards]


@settings(max_examples=30, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages)
# A profile loses a link, and in the same page its first subject gains one to an older profile.
@example([card("a1"), card("d2", "e2", "d3", "f2"), card("g2", "a3")])
# A profile is merged away through a subject that is not its first, on a page with others.
@example([card("a1"), card("e2", "g2", "f4"), card("f5", "g1")])
# The link that dissolves is the only one of its subjects.
@example([card("a1", "b1", "c1"), card("d1")])
def test_the_store_holds_what_the_model_holds(spine, committed):
    spine, model = spine(), Model()
    ever: set[int] = set()
    for page in committed:
        before = model.profiles()
        parked_before = model.parked
        shown = {value: set(holders) for value, holders in model.evidence.items()}
        merges_before = len(spine.rows(Merge))
        spine.feed(page)
        model.page(page, {row.key: row.id for row in spine.rows(Subject)})
        held = subjects(spine)
        after = model.profiles()
        assert {row.id: row.profile_id for row in held.values()} == after
        found = {(kind, value, row.subject_id) for kind, value, row in evidence(spine)}
        assert found == {(*value, each) for value, holders in model.evidence.items() for each in holders}
        assert {(kind, value) for kind, value, _ in evidence(spine, SharedValue)} == model.parked

        ever |= {profile for profile in after.values() if profile}
        for old in ever:
            assert after[old] is None or after[after[old]] == after[old]

        check_merges(spine, model, before, (shown, parked_before), merges_before)


def check_merges(spine, model, before, links, known):
    """Every profile merged away has one row, with a value that joins it to somebody who was not of it.

    One that loses a link is taken apart and put together anew; nothing is merged there.
    """
    after = model.profiles()
    shown, parked = links
    dissolved = {before[each] for value in model.parked - parked for each in shown.get(value, ())}
    gone = {old for old in before.values() if old and after[old] != old} - dissolved
    rows = sorted(spine.rows(Merge), key=lambda row: row.id)[known:]
    kinds = {row.id: row.name for row in spine.rows(IdentifierKind)}
    assert {row.merged_id for row in rows} == gone
    assert len(rows) == len(gone)
    for row in rows:
        assert row.profile_id == after[row.merged_id]
        holders = model.evidence[kinds[row.kind_id], row.value]
        mine = {subject for subject, profile in before.items() if profile == row.merged_id}
        assert holders & mine, "the reason is a value of the profile merged away"
        assert holders - mine, "and of somebody else"


@settings(max_examples=15, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages, st.randoms(use_true_random=False))
def test_neither_the_order_of_records_nor_the_cut_of_pages_matters(spine, committed, random):
    def outcome(cuts):
        one = spine()
        for page in cuts:
            one.feed(page)
        held = subjects(one)
        by_profile = defaultdict(set)
        for row in held.values():
            by_profile[row.profile_id].add(row.key)
        names_of = {row.id: row.key for row in held.values()}
        return (
            {frozenset(keys) for profile, keys in by_profile.items() if profile},
            by_profile[None],
            {(kind, value, names_of[row.subject_id]) for kind, value, row in evidence(one)},
            {(kind, value) for kind, value, _ in evidence(one, SharedValue)},
        )

    shuffled = [record for page in committed for record in page]
    random.shuffle(shuffled)
    size = random.randint(1, len(shuffled))
    cuts = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
    assert outcome(committed) == outcome(cuts)


@settings(max_examples=15, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages)
@example([card("a1"), card("d2", "e2", "d3", "f2"), card("g2", "a3")])
def test_profiles_brought_up_page_by_page_are_those_read_at_once(spine, committed):
    """The profiles that a page names as changed are all that a reader has to read again."""
    spine = spine()
    folder = Path(tempfile.mkdtemp())
    step = WorkingDatabase(folder / "step.duckdb", spine.database)
    for number, page in enumerate(committed):
        spine.feed(page)
        with spine.database.read() as session:
            attributes = names.attribute_types(session)
        step.refresh(attributes)
        whole = WorkingDatabase(folder / f"whole{number}.duckdb", spine.database)
        whole.refresh(attributes)
        for query in ("FROM profile ORDER BY profile_id", "FROM subject_profile ORDER BY subject_id"):
            assert step.connection.execute(query).fetchall() == whole.connection.execute(query).fetchall()
        whole.close()
    step.close()
    shutil.rmtree(folder)


def test_a_value_that_crosses_its_limit_dissolves_what_it_joined(spine):
    spine = spine()
    spine.feed(card("a1", "b1", "c1", "c2", "d2"))
    held = subjects(spine)
    assert {row.profile_id for row in held.values()} == {held["a"].id}
    spine.feed(card("e1"))
    held = subjects(spine)
    assert {key: row.profile_id for key, row in held.items()} == {
        "a": None, "b": None, "c": held["c"].id, "d": held["c"].id, "e": None,
    }  # fmt: skip
    assert [(kind, value) for kind, value, _ in evidence(spine, SharedValue)] == [("card", "1")]
    assert len([row for kind, value, row in evidence(spine) if value == "1"]) == 4, "the evidence stays"


def test_evidence_names_the_page_and_the_line_that_first_said_so(spine):
    import pyarrow as pa

    spine = spine()
    lines = pa.table(
        {"key": ["a", "a", "b"], "card": ["1", "1", "2"], "cookie": pa.nulls(3, pa.string()), "_line": [7, 8, 9]}
    )
    spine.feed(lines, origin="first.csv")
    spine.feed(lines, origin="second.csv")
    pages = {row.id: row.origin for row in spine.rows(CommittedPage)}
    found = {(value, pages[row.page_id], row.line) for _, value, row in evidence(spine)}
    assert found == {("1", "first.csv", 7), ("2", "first.csv", 9)}
