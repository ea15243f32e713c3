"""The store shared by threads and processes, killed, on a full or failing disk, damaged."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.index.small_galleries import INFO, pictures, rows, run_all

from eyas.errors import GalleryError
from eyas.index.records import NewItem
from eyas.index.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "gallery", INFO) as made:
        yield made


def python(code: str, *arguments: object) -> list[str]:
    """The lines that another process prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()


def test_a_commit_waits_for_the_disk(store: Store) -> None:
    def setting(name: str) -> object:
        return store._database._writer.execute(f"PRAGMA {name}").fetchone()[0]

    assert (setting("journal_mode"), setting("synchronous")) == ("wal", 2)  # 2: every commit is synced
    assert (setting("foreign_keys"), setting("busy_timeout")) == (1, 30_000)


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
