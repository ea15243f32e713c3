"""How changes are undone, and random changes beside a model of them."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.index.lettered import INFO, WIDTH, pictures, rows

from eyas.errors import GalleryError
from eyas.index import history
from eyas.index.records import NewItem
from eyas.index.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "gallery", INFO) as made:
        yield made


def everything(store: Store) -> dict[int, tuple[Any, ...]]:
    ids = store.state().ids
    found = zip(store.items(ids), store.vectors(ids).tolist(), strict=True)
    return {item.id: (*item.to_dict().values(), store.thumbnail(item.id), tuple(row)) for item, row in found}


def test_undo_takes_back_one_change_after_the_other(store: Store) -> None:
    states = [everything(store)]
    store.append(rows(4), [NewItem("a", "h0", "s", {"k": 1}, b"t"), *pictures("bcd", 1)])
    states.append(everything(store))
    store.append(rows(2), [NewItem("z", "h0", "new", {"k": 2}, b"new"), NewItem("n", "hn")])
    states.append(everything(store))
    store.update([1, 2], label="u", metadata={"u": True})
    states.append(everything(store))
    store.remove([0, 2])
    states.append(everything(store))
    store.append(rows(1), pictures("q", 1), replace=True)
    for state in reversed(states):
        change = store.undo()
        assert change.kind == "undo" and everything(store) == state
        assert store.verify() == []
    with pytest.raises(GalleryError, match="nothing to undo"):
        store.undo()
    entries = store.history()
    assert [entry.kind for entry in entries] == ["undo"] * 5 + ["build", "remove", "update", "append", "append"]
    assert [entry.undone for entry in entries] == [False] * 5 + [True] * 5
    assert [entry.generation for entry in store.history(limit=3)] == [10, 9, 8]


def test_undo_goes_on_after_new_changes(store: Store) -> None:
    store.append(rows(1), pictures("a"))
    store.append(rows(1), pictures("b", 1))
    store.undo()
    store.append(rows(1), pictures("c", 2))
    assert store.undo().removed == (2,)
    assert store.undo().removed == (0,)


def test_old_changes_cannot_be_undone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "UNDO_CHANGES", 3)
    for place in range(5):
        store.append(rows(1), pictures("a", place))
    for _ in range(3):
        store.undo()
    with pytest.raises(GalleryError, match=r"change 2 \(append, .*too old"):
        store.undo()


def test_what_is_kept_for_undo_has_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "UNDO_BYTES", 3 * 4 * WIDTH)
    store.append(rows(9), pictures("abcdefghi"))
    store.remove([0, 1])
    store.remove([2])
    store.remove([3])  # now four vectors: the oldest removal goes
    assert store.undo().added == (3,)
    assert store.undo().added == (2,)
    with pytest.raises(GalleryError, match="too old, or took out too much"):
        store.undo()
    store.remove([4, 5, 6, 7])
    with pytest.raises(GalleryError, match="took out too much"):
        store.undo()
    assert store.verify() == []


def test_touched_since(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append(rows(3), pictures("abc"))
    store.update([1], label="z")
    store.remove([0])

    def touched(generation: int) -> list[int] | None:
        found = store.touched_since(generation)
        return None if found is None else found.tolist()

    assert [touched(generation) for generation in (0, 1, 2, 3, 4)] == [[0, 1, 2], [0, 1], [0], [], None]
    monkeypatch.setattr(history, "TOUCHED_CHANGES", 2)
    store.undo()
    assert (touched(1), touched(2)) == (None, [0])
    monkeypatch.setattr(history, "TOUCHED_IDS", 1)
    store.append(rows(2), pictures("de", 8))
    assert touched(4) is None


class Model(RuleBasedStateMachine):
    """Random changes beside a plain dict that does the same."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(mkdtemp(dir=ROOT[0])) / "gallery"
        self.store = Store.create(self.folder, INFO)
        self.items: dict[int, tuple[str, str]] = {}  # id -> hash, label
        self.past: list[dict[int, tuple[str, str]]] = []
        self.next_id = 0

    def done(self, before: dict[int, tuple[str, str]], generation: int) -> None:
        if self.store.generation() != generation:
            self.past.append(before)

    @rule(given=st.dictionaries(st.integers(0, 12), st.sampled_from("abc"), max_size=5), replace=st.booleans())
    def append(self, given: dict[int, str], replace: bool) -> None:
        before, generation = dict(self.items), self.store.generation()
        new = [NewItem(label, str(number)) for number, label in given.items()]
        vectors = np.array([[number] * WIDTH for number in given], np.float32).reshape(-1, WIDTH)
        self.store.append(vectors, new, replace=replace)
        by_hash = {item[0]: number for number, item in self.items.items()}
        if replace:
            self.items = {n: item for n, item in self.items.items() if int(item[0]) in given}
        for number, label in given.items():
            if str(number) not in by_hash:
                by_hash[str(number)] = self.next_id
                self.next_id += 1
            self.items[by_hash[str(number)]] = (str(number), label)
        self.done(before, generation)

    @precondition(lambda self: self.items)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        ids = data.draw(st.sets(st.sampled_from(sorted(self.items)), min_size=1))
        before, generation = dict(self.items), self.store.generation()
        self.store.remove(sorted(ids))
        self.items = {number: item for number, item in self.items.items() if number not in ids}
        self.done(before, generation)

    @precondition(lambda self: self.items)
    @rule(data=st.data(), label=st.sampled_from("abcd"))
    def update(self, data: st.DataObject, label: str) -> None:
        ids = data.draw(st.sets(st.sampled_from(sorted(self.items)), min_size=1))
        before, generation = dict(self.items), self.store.generation()
        self.store.update(sorted(ids), label=label)
        self.items |= {number: (self.items[number][0], label) for number in ids}
        self.done(before, generation)

    @precondition(lambda self: self.past)
    @rule()
    def undo(self) -> None:
        self.store.undo()
        self.items = self.past.pop()

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = Store.open(self.folder)

    @invariant()
    def same(self) -> None:
        state = self.store.state()
        assert state.ids.tolist() == sorted(self.items)
        assert [state.labels[place] for place in state.label_ids] == [self.items[n][1] for n in sorted(self.items)]
        assert set(state.labels) == {label for _, label in self.items.values()}
        expected = [[float(self.items[number][0])] * WIDTH for number in state.ids.tolist()]
        assert self.store.vectors(state.ids).tolist() == expected

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.store.verify() == []
        self.store.close()


ROOT: list[Path] = []


def test_random_changes_do_what_a_dict_would(tmp_path: Path) -> None:
    ROOT[:] = [tmp_path]
    case = Model.TestCase
    case.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
    case("runTest").debug()
