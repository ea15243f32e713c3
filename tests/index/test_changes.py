"""What a change of a gallery does, and what it refuses."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.index.lettered import INFO, pictures, rows

from eyas.errors import ConfigError, GalleryError
from eyas.index.records import NewItem
from eyas.index.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "gallery", INFO) as made:
        yield made


def test_append_gives_rising_ids_and_keeps_every_value(store: Store) -> None:
    items = [NewItem("milk", "h0", "a.jpg", {"b": [1, {"c": None}], "a": "é"}, b"jpeg"), NewItem("juice", "h1")]
    change = store.append(rows(2), items)
    assert (change.generation, change.kind, change.added) == (1, "append", (0, 1))
    first, second = store.items([0, 1])
    assert (first.label, first.source, first.content_hash) == ("milk", "a.jpg", "h0")
    assert first.metadata == {"b": [1, {"c": None}], "a": "é"}
    assert (second.source, second.metadata) == (None, {})
    assert (store.thumbnail(0), store.thumbnail(1)) == (b"jpeg", None)
    np.testing.assert_array_equal(store.vectors([1, 0]), rows(2)[::-1])
    assert store.append(rows(1), pictures("x", 5)).added == (2,)
    assert store.verify() == []


def test_appending_what_is_there(store: Store) -> None:
    store.append(rows(3), [NewItem("a", "h0", "0", {"k": 1}, b"0"), *pictures("bc", 1)])
    again = store.append(rows(1), [NewItem("a", "h0", "other", thumbnail=b"other")])
    assert (again.generation, again.unchanged, again.added, again.updated) == (1, (0,), (), ())
    assert store.append(rows(1), [NewItem("a", "h0", metadata={"k": 1})]).unchanged == (0,)
    assert store.items([0])[0].source == "0" and store.thumbnail(0) == b"0"

    relabelled = store.append(rows(2, 9), [NewItem("z", "h0", "new", thumbnail=b"new"), NewItem("d", "h9")])
    assert (relabelled.generation, relabelled.updated, relabelled.added) == (2, (0,), (3,))
    (item,) = store.items([0])
    assert (item.label, item.source, item.metadata) == ("z", "new", {"k": 1})
    assert store.thumbnail(0) == b"new"
    np.testing.assert_array_equal(store.vectors([0])[0], rows(3)[0])  # the vector of an id never changes

    assert store.append(rows(1), [NewItem("z", "h0", metadata={"k": 2})]).updated == (0,)
    (item,) = store.items([0])
    assert (item.source, item.metadata) == ("new", {"k": 2})


def test_one_picture_twice_in_a_call(store: Store) -> None:
    assert store.append(rows(3), [NewItem("a", "h"), NewItem("b", "i"), NewItem("a", "h")]).added == (0, 1)
    np.testing.assert_array_equal(store.vectors([0, 1]), rows(3)[:2])
    clash = [NewItem("a", "x", "one.jpg"), NewItem("b", "y"), NewItem("c", "x", "two.jpg")]
    with pytest.raises(GalleryError, match=r"'a' at item 0 \(one.jpg\) and 'c' at item 2 \(two.jpg\)"):
        store.append(rows(3), clash)
    assert len(store.state().ids) == 2


def test_build_replaces_the_rest_in_one_change(store: Store) -> None:
    store.append(rows(4), pictures("aabb"))
    change = store.append(rows(3, 1), [*pictures("c", 2), NewItem("a", "hash 0"), NewItem("n", "new")], replace=True)
    assert (change.kind, change.generation) == ("build", 2)
    assert (change.added, change.updated, change.removed, change.unchanged) == ((4,), (2,), (1, 3), (0,))
    assert store.counts() == {"a": 1, "c": 1, "n": 1}
    np.testing.assert_array_equal(store.vectors([4]), rows(3, 1)[2:])
    nothing = store.append(rows(0), [], replace=True)
    assert nothing.removed == (0, 2, 4) and len(store.state().ids) == 0 and store.state().labels == ()
    assert store.append(rows(0), [], replace=True).generation == 3  # nothing to do: no change


@pytest.mark.parametrize(
    "label", ["😀👩‍👩‍👧", "שלום", "é", "e\u0301", "\u202eabc", " a ", "日本語" * 85, "a'; DROP TABLE items"]
)
def test_labels_are_kept_as_given(store: Store, label: str) -> None:
    store.append(rows(1), [NewItem(label, "h")])
    assert store.items([0])[0].label == label
    assert store.state().labels == (label,) and store.counts() == {label: 1}
    assert store.find(labels=[label]).tolist() == [0]


def test_two_spellings_of_one_letter_are_two_labels(store: Store) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Käse") for form in ("NFC", "NFD"))
    store.append(rows(2), [NewItem(composed, "h"), NewItem(decomposed, "i")])
    assert store.counts() == {composed: 1, decomposed: 1} and composed != decomposed


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (NewItem("", "h", "s.jpg"), r"item 1 \(s.jpg\): label ''"),
        (NewItem(None, "h"), "item 1: label None"),  # type: ignore[arg-type]
        (NewItem("a" * 257, "h"), "257 characters"),
        (NewItem("😀" * 256 + "", "h"), None),
        (NewItem("a\nb", "h"), r"U\+000A"),
        (NewItem("a\x85", "h"), r"U\+0085"),
        (NewItem("a\ud83d", "h"), "surrogate"),
        (NewItem("a", ""), "content hash ''"),
        (NewItem("a", "h", metadata={"k": float("nan")}), "metadata.k is nan"),
        (NewItem("a", "h", metadata={"k": [1, float("inf")]}), r"metadata.k\[1\] is inf"),
        (NewItem("a", "h", metadata={"k": np.int64(1)}), "metadata.k is a int64"),
        (NewItem("a", "h", metadata={1: 1}), "the key 1"),  # type: ignore[dict-item]
        (NewItem("a", "h", metadata={"k": "\udc00"}), "surrogate"),
        (NewItem("a", "h", metadata=[1]), "Expected a dict"),  # type: ignore[arg-type]
        (NewItem("a", "h", thumbnail="x"), "Expected bytes"),  # type: ignore[arg-type]
        (NewItem("a", "h", source=Path("x")), "Expected a text"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_place(store: Store, bad: NewItem, words: str | None) -> None:
    if words is None:  # 256 characters of four bytes: just allowed
        assert store.append(rows(1), [bad]).added == (0,)
        return
    with pytest.raises(GalleryError, match=words):
        store.append(rows(2), [NewItem("fine", "fine"), bad])
    assert store.generation() == 0 and len(store.state().ids) == 0


def test_deep_metadata_are_refused(store: Store) -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"k": deep}
    with pytest.raises(GalleryError, match="too deep"):
        store.append(rows(1), [NewItem("a", "h", metadata=deep)])


def test_vectors_must_fit(store: Store) -> None:
    with pytest.raises(GalleryError, match=r"expected \[N, 4\]"):
        store.append(np.zeros((1, 5), np.float32), pictures("a"))
    with pytest.raises(GalleryError, match="row 1 holds NaN"):
        store.append(np.array([[0] * 4, [0, 0, np.nan, 0]], np.float32), pictures("ab"))
    with pytest.raises(GalleryError, match="2 vectors for 1 items"):
        store.append(rows(2), pictures("a"))
    store.append(rows(6)[::2], pictures("abc"))  # rows that do not lie side by side
    np.testing.assert_array_equal(store.vectors([0, 1, 2]), rows(6)[::2])


def test_remove(store: Store) -> None:
    store.append(rows(4), pictures("abca"))
    with pytest.raises(GalleryError, match=r"no item has the id 4, 7 \(2 unknown\)"):
        store.remove([0, 7, 4])
    assert store.generation() == 1
    assert store.remove([]).generation == 1
    change = store.remove(np.array([2, 0, 2]))
    assert (change.generation, change.removed) == (2, (0, 2))
    assert store.state().labels == ("a", "b")  # nobody has c any more
    assert store.append(rows(1), pictures("d", 9)).added == (4,)
    for wrong in ([1.5], [[1]], ["1"], [True]):
        with pytest.raises(ConfigError, match="list of integers"):
            store.remove(wrong)
    assert store.verify() == []


def test_remove_many(store: Store) -> None:
    count = 10_000
    store.append(rows(count), [NewItem("ab"[place % 2], str(place)) for place in range(count)])
    change = store.remove(np.arange(0, count, 2))
    assert len(change.removed) == count // 2
    assert store.counts() == {"b": count // 2}
    assert len(store.undo().added) == count // 2
    np.testing.assert_array_equal(store.vectors(np.arange(count)), rows(count))


def test_update(store: Store) -> None:
    store.append(rows(3), pictures("aab"))
    change = store.update([0, 1, 2], label="b")
    assert (change.updated, change.unchanged) == ((0, 1), (2,))
    assert store.state().labels == ("b",)
    assert store.update([0], label="b").generation == 2
    assert store.update([0, 1], metadata={"k": 1}).updated == (0, 1)
    assert store.update([0], metadata={}).updated == (0,)
    assert [item.metadata for item in store.items([0, 1])] == [{}, {"k": 1}]
    with pytest.raises(GalleryError, match="no item has the id 9"):
        store.update([0, 9], label="x")
    with pytest.raises(GalleryError, match="update: label ''"):
        store.update([0], label="")
    with pytest.raises(ConfigError, match="neither a label nor metadata"):
        store.update([0])
    assert store.counts() == {"b": 3}


def test_ids_are_never_used_again(store: Store) -> None:
    assert store.append(rows(2), pictures("ab")).added == (0, 1)
    store.remove([1])
    store.undo()
    store.undo()
    assert len(store.state().ids) == 0
    store.close()
    with Store.open(store.folder) as again:
        assert again.append(rows(2), pictures("ab")).added == (2, 3)
