"""The store as a file: made, opened, refused, shared by threads and processes, killed, full, damaged."""

import os
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyas.errors import ConfigError, GalleryError
from eyas.index.records import GalleryInfo, ModelIdentity, NewItem, SegmentRecord
from eyas.index.store import Store

WIDTH = 8
INFO = GalleryInfo("a-uuid", "HNSW32", "L2", WIDTH, ModelIdentity("PP-ShiTuV2_rec", "ab" * 32, WIDTH))


def rows(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).standard_normal((count, WIDTH), dtype=np.float32)


def pictures(count: int, start: int = 0) -> list[NewItem]:
    return [NewItem(f"label {place % 3}", f"hash {place}") for place in range(start, start + count)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "gallery", INFO) as made:
        yield made


def python(code: str, *arguments: object) -> list[str]:
    """The lines that another process prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()


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


def run_all(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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


def test_changes_of_another_process_are_seen(store: Store) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from eyas.index.store import Store; from eyas.index.records import NewItem\n"
        "with Store.open(Path(sys.argv[1])) as s:\n"
        "    print(s.generation()); s.append(np.ones((1, 8), np.float32), [NewItem('other', 'other')])\n"
    )
    store.append(rows(2), pictures(2))
    assert python(code, store.folder) == ["1"]
    assert store.generation() == 2 and "other" in store.state().labels
    assert store.append(rows(1), pictures(1, 9)).added == (3,)


def test_concurrent_writers_lose_nothing(store: Store) -> None:
    def write(writer: int) -> Callable[[], None]:
        def work() -> None:
            with Store.open(store.folder) as own:
                for step in range(5):
                    target = own if step % 2 else store
                    target.append(rows(1), [NewItem(f"w{writer}", f"{writer} {step}")])

        return work

    run_all([write(writer) for writer in range(6)])
    assert store.counts() == {f"w{writer}": 5 for writer in range(6)}
    assert store.state().ids.tolist() == list(range(30)) and store.generation() == 30
    assert store.verify() == []


def test_readers_see_whole_changes_while_one_writes(store: Store) -> None:
    stop, torn_reads = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            state = store.state()
            if len(state.ids) % 50 or len(store.vectors(state.ids[:1])) > 1:
                torn_reads.append(state)

    def write() -> None:
        for step in range(10):
            store.append(rows(50), pictures(50, 50 * step))
        stop.set()

    run_all([read, read, write])
    assert not torn_reads and len(store.state().ids) == 500


def test_a_reader_waits_for_no_writer(store: Store) -> None:
    store.append(rows(3), pictures(3))
    with store._database.writing() as db:
        db.execute("DELETE FROM vectors")
        assert len(store.vectors([0, 1, 2])) == 3
        assert store.generation() == 1


def test_a_busy_gallery_is_reported(store: Store) -> None:
    store._database._writer.execute("PRAGMA busy_timeout = 20")
    busy = pytest.raises(GalleryError, match="another process has been writing")
    with Store.open(store.folder) as other, other._database.writing(), busy:
        store.append(rows(1), pictures(1))
    assert store.append(rows(1), pictures(1)).added == (0,)


def test_an_error_within_a_change_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append(rows(3), pictures(3))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("eyas.index.changes.record", stop)
        with pytest.raises(KeyboardInterrupt):
            store.append(rows(2), pictures(2, 5), replace=True)
    assert store.generation() == 1 and store.state().ids.tolist() == [0, 1, 2] and store.verify() == []
    assert store.append(rows(1), pictures(1, 9)).added == (3,)


def test_a_full_disk_changes_nothing(store: Store) -> None:
    store.append(rows(3), pictures(3))
    (pages,) = store._database._writer.execute("PRAGMA page_count").fetchone()
    store._database._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(GalleryError, match="disk is full. Nothing was changed"):
        store.append(rows(5000), pictures(5000, 10))
    assert store.state().ids.tolist() == [0, 1, 2] and store.verify() == []
    store._database._writer.execute("PRAGMA max_page_count = 100000")
    assert store.append(rows(1), pictures(1, 10)).added == (3,)


def test_too_little_room_is_said_before(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(GalleryError, match="too full"):
        store.append(rows(1), pictures(1))


FAILING_DISK = """
import resource, sys, numpy as np
from pathlib import Path
from eyas.errors import GalleryError
from eyas.index.records import NewItem
from eyas.index.store import Store
count = int(sys.argv[3])
with Store.open(Path(sys.argv[1])) as s:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), unlimited[1]))  # writes fail from there on
    for attempt in range(2):
        try:
            s.append(np.ones((count, 8), np.float32), [NewItem("n", f"n{i}") for i in range(count)])
            print("stored")
        except GalleryError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    print(len(s.state().ids), s.verify())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of a process are Linux's here")
@pytest.mark.parametrize("count", [1, 20_000])
def test_after_an_io_error_nothing_is_written(store: Store, count: int) -> None:
    store.append(rows(3), pictures(3))
    store.close()
    first, second, state = python(FAILING_DISK, store.folder, 20_000, count)
    assert "the disk failed to read or write. What was acknowledged before stays" in first
    assert "not written any more since an error" in second
    assert state == "3 []"
    with Store.open(store.folder) as again:
        assert again.verify() == [] and again.append(rows(1), pictures(1, 9)).added == (3,)


KILLED = """
import sys, numpy as np
from pathlib import Path
from eyas.index.records import NewItem
from eyas.index.store import Store
s, start = Store.open(Path(sys.argv[1])), int(sys.argv[2])
for step in range(start, start + 100_000):
    new = s.append(np.full((40, 8), step, np.float32), [NewItem(f"l{step % 7}", f"{step} {i}") for i in range(40)])
    if step % 3 == 0:
        s.remove(new.added[:20])
    if step % 9 == 0:
        s.undo()
    print(s.generation(), new.added[-1], flush=True)
"""


def test_a_killed_process_loses_nothing_acknowledged(store: Store) -> None:
    store.close()
    rng = np.random.default_rng(5)
    newest, last_id = 0, -1
    for attempt in range(10):
        command = [sys.executable, "-c", KILLED, str(store.folder), str(attempt * 100_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            said = [child.stdout.readline() for _ in range(int(rng.integers(1, 8)))]
            threading.Event().wait(float(rng.uniform(0, 0.02)))  # somewhere within the work
            child.send_signal(signal.SIGKILL)
            said += child.stdout.read().splitlines()
        acknowledged = [tuple(map(int, line.split())) for line in said if len(line.split()) == 2]
        newest, last_id = max([(newest, last_id), *acknowledged])
        with Store.open(store.folder) as again:
            assert again.generation() >= newest and again.verify() == []
            state = again.state()
            assert len(state.ids) % 20 == 0  # no part of a change
            steps = again.vectors(state.ids)[:, 0]
            names = [item.content_hash.split()[0] for item in again.items(state.ids)]
            assert names == [str(int(step)) for step in steps]
            new = again.append(rows(1), [NewItem("x", f"x{attempt}")])
            assert new.added[0] > last_id
            newest, last_id = again.remove(new.added).generation, new.added[0]


def test_a_copy_of_the_process_is_refused(store: Store) -> None:
    code = (
        "import os, sys; from pathlib import Path; from eyas.index.store import Store\n"
        "s = Store.open(Path(sys.argv[1])); child = os.fork()\n"
        "if not child:\n"
        "    try: s.state()\n"
        "    except Exception as error: print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0); print(len(s.state().ids))\n"
    )
    message, count = python(code, store.folder)
    assert "opened in another process" in message and count == "0"


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


def test_verify_finds_damage(store: Store) -> None:
    store.append(rows(6), pictures(6))
    with store._database.writing() as db:
        db.execute("PRAGMA defer_foreign_keys = ON")
        db.execute("UPDATE vectors SET data = zeroblob(32) WHERE id = 1")
        db.execute("UPDATE vectors SET data = x'00', crc = 3523407757 WHERE id = 2")
        db.execute("DELETE FROM vectors WHERE id = 3")
        db.execute("INSERT INTO labels (name) VALUES ('unused')")
        db.execute("UPDATE gallery SET next_id = 5")
        db.execute("UPDATE items SET metadata = '{' WHERE id = 4")
    problems = store.verify()
    assert problems == [
        "item 3 has no vector",
        "label 'unused' has no items",
        "item 5 has an id that is not given yet: the next is 5",
        "the metadata of item 4 are not JSON",
        "the vector of item 1 is damaged: another checksum than when it was stored",
        "the vector of item 2 has 1 bytes instead of 32",
    ]
    for ids in ([1], [2], [0, 1]):
        with pytest.raises(GalleryError, match="is damaged"):
            store.vectors(ids)
    with pytest.raises(GalleryError, match="is damaged"):
        store.vectors([3, 4])


def test_a_damaged_page_is_found(store: Store) -> None:
    store.append(rows(3000), pictures(3000))
    store.close()
    file = store.folder / "gallery.sqlite"
    data = bytearray(file.read_bytes())
    for page in range(1, len(data) // 16384, 5):
        data[page * 16384 + 4000 : page * 16384 + 4100] = b"\xa5" * 100
    file.write_bytes(data)
    with Store.open(store.folder) as again:
        assert again.verify() != []
