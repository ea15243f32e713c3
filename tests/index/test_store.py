"""The store as a file: made, opened, refused, read, copied."""

import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.index.small_galleries import INFO, pictures, rows, run_all

from eyas.errors import ConfigError, GalleryError
from eyas.index.records import GalleryInfo, ModelIdentity, NewItem, SegmentRecord
from eyas.index.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "gallery", INFO) as made:
        yield made


def test_create_and_open(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "gallery # 1%41?é"
    with Store.create(folder, INFO) as store:
        assert (store.info, store.folder, store.generation()) == (INFO, folder, 0)
        store.append(rows(2), pictures(2))
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == ["gallery.sqlite"]
    with Store.open(folder) as store:
        assert store.info == INFO and len(store.state().ids) == 2
    without_model = GalleryInfo("b", "IVF", "hamming", 3)
    with Store.create(tmp_path / "other", without_model) as store:
        assert store.info == without_model
        state = store.state()
        assert (state.ids.dtype, state.ids.shape) == (np.int64, (0,))
        assert (state.label_ids.dtype, state.labels) == (np.int32, ())
        assert store.vectors([]).shape == (0, 3) and store.items([]) == [] and store.find().shape == (0,)


def test_create_refuses(tmp_path: Path, store: Store) -> None:
    with pytest.raises(GalleryError, match="there is a gallery already"):
        Store.create(store.folder, INFO)
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "gallery"):
        with pytest.raises(GalleryError, match="cannot use .*file"):
            Store.create(place, INFO)
    for info, words in (
        (GalleryInfo("u", "flat", "IP", 3), "kind 'flat'"),  # type: ignore[arg-type]
        (GalleryInfo("u", "Flat", "cosine", 3), "metric 'cosine'"),  # type: ignore[arg-type]
        (GalleryInfo("u", "Flat", "IP", 0), "vectors of 0 numbers"),
        (GalleryInfo("u", "Flat", "IP", 3, ModelIdentity("m", "f", 4)), "the model m makes 4 numbers"),
    ):
        with pytest.raises(ConfigError, match=words):
            Store.create(tmp_path / "none", info)
    assert not (tmp_path / "none").exists()


def test_one_of_many_creates_wins(tmp_path: Path) -> None:
    outcomes: list[object] = []

    def create() -> None:
        try:
            Store.create(tmp_path / "gallery", INFO).close()
            outcomes.append("made")
        except GalleryError as error:
            outcomes.append(error)

    run_all([create] * 6)
    assert outcomes.count("made") == 1 and len(outcomes) == 6
    assert [path.name for path in (tmp_path / "gallery").iterdir()] == ["gallery.sqlite"]


def other_application(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE gallery (x)")
    db.close()


def marked(place: int, value: int) -> Callable[[Path], None]:
    """A gallery whose file says something else in its header."""

    def make(file: Path) -> None:
        Store.create(file.parent, INFO).close()
        data = bytearray(file.read_bytes())
        struct.pack_into(">I", data, place, value)
        file.write_bytes(data)

    return make


def torn(file: Path) -> None:
    Store.create(file.parent, INFO).close()
    data = file.read_bytes()
    file.write_bytes(data[:16384] + b"\xff" * (len(data) - 16384))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda file: file.parent.rmdir(), "no such folder"),
        (lambda file: (file.parent.rmdir(), file.parent.write_text("x")), "a file, not a folder"),
        (lambda file: None, "it is empty"),
        (lambda file: (file.parent / "photo.jpg").write_text("x"), "it holds photo.jpg"),
        (lambda file: (file.parent / "vector.index").write_text("x"), "an index of PaddleX"),
        (lambda file: file.write_bytes(b""), "an empty file"),
        (lambda file: file.write_text("Dear diary, " * 500), "it is not a gallery"),
        (lambda file: file.mkdir(), "no ordinary file"),
        (lambda file: os.mkfifo(file), "no ordinary file"),
        (lambda file: file.symlink_to("/dev/zero"), "no ordinary file"),
        (other_application, "another application"),
        (marked(68, 0x12345678), r"another application \(id 0x12345678\)"),
        (marked(60, 2), "format version 2; a newer eyas made it"),
        (marked(60, 0), "format version 0. This eyas reads version 1"),
        (torn, "damaged"),
    ],
)
def test_open_says_what_is_there_instead(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    folder = tmp_path / "gallery"
    folder.mkdir()
    make(folder / "gallery.sqlite")
    with pytest.raises(GalleryError, match=words) as caught:
        Store.open(folder)
    assert str(folder) in str(caught.value)


def test_a_read_only_disk_can_be_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append(rows(3), pictures(3))
    store.close()
    monkeypatch.setattr("eyas.index.database._is_sealed", lambda _: True)
    with Store.open(store.folder) as sealed:
        np.testing.assert_array_equal(sealed.vectors([0, 1, 2]), rows(3))
        assert sealed.find(labels=["label 0"]).tolist() == [0] and sealed.verify() == []
        assert [path.name for path in store.folder.iterdir()] == ["gallery.sqlite"]
        for change in (lambda: sealed.remove([0]), lambda: sealed.set_setting("a", 1), sealed.undo):
            with pytest.raises(GalleryError, match="may be read but not written"):
                change()


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(GalleryError, match="was closed"):
        store.state()
    with pytest.raises(GalleryError, match="was closed"):
        store.append(rows(1), pictures(1))


def test_reads_by_place_and_question(store: Store) -> None:
    items = [
        NewItem("a", "h0", "x/1.jpg", {"year": 2020}),
        NewItem("b", "h1", "x/2.jpg", {"year": 2021}),
        NewItem("a", "h2", "bytes\udcff.jpg", {"year": 2022}),  # a file name that is not valid Unicode
    ]
    store.append(rows(3), items)
    assert [item.source for item in store.items([2, 0])] == ["bytes\udcff.jpg", "x/1.jpg"]
    assert store.find().tolist() == [0, 1, 2]
    assert store.find(labels=["a"]).tolist() == [0, 2]
    assert store.find(sources=["bytes\udcff.jpg", "x/2.jpg"]).tolist() == [1, 2]
    assert store.find(hashes=["h1", "nothing", "\ud800"]).tolist() == [1]
    assert store.find(labels=["a", "b"], where={"year": {">": 2020}}, hashes=["h0", "h1"]).tolist() == [1]
    assert store.find(labels=[]).tolist() == []
    assert store.find(labels=["b"]).tolist() == [1]  # nothing stays of the lists of earlier calls
    state = store.state()
    assert [state.labels[place] for place in state.label_ids] == ["a", "b", "a"]
    for call in (store.items, store.vectors, store.thumbnail):
        with pytest.raises(GalleryError, match="no item has the id 7"):
            call([0, 7] if call != store.thumbnail else 7)  # type: ignore[arg-type, operator]


def test_vectors_in_any_order(store: Store) -> None:
    expected = rows(1000)
    store.append(expected, pictures(1000))
    store.remove(np.arange(100, 200))
    ids = store.state().ids
    np.testing.assert_array_equal(store.vectors(ids), expected[ids])
    shuffled = np.random.default_rng(0).permutation(ids)
    np.testing.assert_array_equal(store.vectors(shuffled), expected[shuffled])
    few_and_twice = [999, 0, 500, 0]
    np.testing.assert_array_equal(store.vectors(few_and_twice), expected[few_and_twice])
    np.testing.assert_array_equal(store.vectors([5, 5]), expected[[5, 5]])
    with pytest.raises(GalleryError, match="no item has the id 100, 101, 102, 103, 104, …"):
        store.vectors(np.arange(1000))


def test_settings_and_segments(store: Store) -> None:
    store.append(rows(1), pictures(1))
    assert store.setting("calibration") is None
    store.set_setting("calibration", {"é": [1, 2.5, None]})
    store.set_setting("none", None)
    assert store.setting("calibration") == {"é": [1, 2.5, None]} and store.setting("none") is None
    with pytest.raises(GalleryError, match="nan"):
        store.set_setting("bad", float("nan"))
    one, two = SegmentRecord("1.faiss", "ab", np.arange(5)), SegmentRecord("2.faiss", "cd", np.array([2**40]))
    store.replace_segments([one, two], [])
    store.replace_segments([SegmentRecord("3.faiss", "ef", np.arange(0))], ["1.faiss", "unknown"])
    assert [(r.name, r.sha256, r.ids.tolist()) for r in store.segments()] == [
        ("2.faiss", "cd", [2**40]),
        ("3.faiss", "ef", []),
    ]
    assert store.generation() == 1


def test_snapshot(store: Store, tmp_path: Path) -> None:
    store.append(rows(5), pictures(5))
    store.replace_segments([SegmentRecord("1.faiss", "ab", np.arange(5))], [])
    target = tmp_path / "deep" / "snapshot"
    store.snapshot(target)
    store.remove([0])
    assert [path.name for path in target.iterdir()] == ["gallery.sqlite"]
    assert (target.stat().st_mode & 0o777, (target / "gallery.sqlite").stat().st_mode & 0o777) == (0o700, 0o600)
    with Store.open(target) as copy:
        assert copy.info == INFO and copy.generation() == 1 and copy.segments() == []
        np.testing.assert_array_equal(copy.vectors(range(5)), rows(5))
        assert copy.verify() == [] and copy.undo().removed == (0, 1, 2, 3, 4)
    with pytest.raises(GalleryError, match="there is something already"):
        store.snapshot(target)
    assert sorted(path.name for path in target.parent.iterdir()) == ["snapshot"]


def test_a_snapshot_that_fails_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("eyas.index.snapshots.sync_file", fail)
    with pytest.raises(GalleryError, match="No space left"):
        store.snapshot(tmp_path / "deep" / "snapshot")
    assert list((tmp_path / "deep").iterdir()) == []
