"""Many clients at once: every history of calls is one that a gallery doing one thing at a time could have given."""

import multiprocessing
import os
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.linear import Call, Held, after, is_linearizable

from eyas.errors import GalleryError
from eyas.index import Gallery, NewItem
from eyas.index.live import Live
from eyas.index.records import Change
from eyas.index.selftest import WIDTH, vector_of

CLIENTS, CALLS, PICTURES = 8, 8, 3
LABELS = ("milk", "juice", "жук")
MEMORY = Path("/dev/shm")
"""What order calls have is no matter of the disk: where there is one in memory, the galleries lie there."""

Record = tuple[str, Call]
"""The content hash of a picture, and one call about it."""


@pytest.fixture
def folder() -> Iterator[Path]:
    place = Path(mkdtemp(prefix="eyas-concurrent-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    yield place
    rmtree(place)


class Client:
    """Calls a gallery about a few pictures and notes what it said.  `ids`: the last known id of each picture."""

    def __init__(self, gallery: Gallery, pictures: list[str], seed: str) -> None:
        self.gallery, self.pictures, self.rng = gallery, pictures, random.Random(seed)
        self.ids: dict[str, int] = {}
        self.records: list[Record] = []

    def run(self, calls: int = CALLS) -> None:
        for _ in range(calls):
            picture = self.rng.choice(self.pictures)
            do = self.rng.choice((self.append, self.append, self.remove, self.update, self.look, self.search))
            if do in (self.remove, self.update) and picture not in self.ids:
                do = self.look
            begin = time.monotonic()
            about = do(picture)
            self.records.append((picture, Call(begin=begin, end=time.monotonic(), **about)))
            if about.get("id") is not None:
                self.ids[picture] = about["id"]

    def append(self, picture: str) -> dict[str, Any]:
        label = self.rng.choice(LABELS)
        change = self.gallery.append(vector_of(picture)[None], [NewItem(label, picture)])
        (number,) = change.added + change.updated + change.unchanged
        return {"do": "append", "label": label, "id": number, "new": bool(change.added)}

    def remove(self, picture: str) -> dict[str, Any]:
        number = self.ids[picture]
        try:
            self.gallery.remove([number])
        except GalleryError:
            return {"do": "remove", "id": number, "refused": True}
        return {"do": "remove", "id": number}

    def update(self, picture: str) -> dict[str, Any]:
        number, label = self.ids[picture], self.rng.choice(LABELS)
        try:
            self.gallery.update([number], label=label)
        except GalleryError:
            return {"do": "update", "id": number, "refused": True}
        return {"do": "update", "id": number, "label": label}

    def look(self, picture: str) -> dict[str, Any]:
        """What the store says: its id, then the item of that id, which may be gone in between."""
        while True:
            ids = self.gallery.find(hashes=[picture])
            if not len(ids):
                return {"do": "read"}
            try:
                (item,) = self.gallery.get(ids)
                return {"do": "read", "id": item.id, "label": item.label}
            except GalleryError:
                continue

    def search(self, picture: str) -> dict[str, Any]:
        """What a search says after a refresh: the picture's own vector is found, or there is none."""
        self.gallery.refresh()
        found = self.gallery.search(vector_of(picture)[None], 1).named(0)
        if not found or found[0][2] < 0.999:
            return {"do": "read"}
        return {"do": "read", "id": found[0][0], "label": found[0][1]}


def pictures_of(history: int) -> list[str]:
    return [f"{history:08x}{picture:08x}" + "0" * 48 for picture in range(PICTURES)]


def by_threads(clients: list[Client]) -> list[Record]:
    """All clients at once, in threads that change places as often as can be."""
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [record for client in clients for record in client.records]


def violations(records: list[Record]) -> list[str]:
    """The pictures whose calls no order explains, and the ids that two pictures had."""
    calls: dict[str, list[Call]] = defaultdict(list)
    owner: dict[int, str] = {}
    wrong = []
    for picture, call in records:
        calls[picture].append(call)
        if call.do == "append" and call.id is not None and owner.setdefault(call.id, picture) != picture:
            wrong.append(f"id {call.id} is of two pictures")
    added = [call.id for _, call in records if call.new]
    if len(set(added)) != len(added):
        wrong.append("an id was given twice")
    return wrong + [f"{picture}: {own}" for picture, own in calls.items() if not is_linearizable(own)]


@pytest.fixture
def restless() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def check_histories(folder: Path, seconds: float, most: int) -> int:
    """Histories of threads until the time or the number is reached; half of the clients have a Gallery of their own."""
    end = time.monotonic() + seconds
    history = 0
    with Gallery.create(folder / "g", width=WIDTH) as one, Gallery.open(folder / "g") as two:
        while history < most and (time.monotonic() < end or history < 5):
            pictures = pictures_of(history)
            clients = [Client((one, two)[n % 2], pictures, f"{history} {n}") for n in range(CLIENTS)]
            records = by_threads(clients)
            assert len(records) == CLIENTS * CALLS
            assert violations(records) == []
            if len(left := one.find(hashes=pictures)):
                one.remove(left)
            history += 1
        assert one.verify() == []
    return history


@pytest.mark.usefixtures("restless")
def test_histories_of_threads_are_linearizable(folder: Path) -> None:
    assert check_histories(folder, 5, 60) >= 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("restless")
def test_thousands_of_histories(folder: Path) -> None:
    """As many as 15 minutes have room for, 5,000 at most: a busy machine with two cores checks three a second."""
    count = check_histories(folder, 900, 5000)
    sys.stderr.write(f"{count} histories\n")
    assert count > 500


def _client(path: str, history: int, number: int, begin: Any, pipe: Any) -> None:
    with Gallery.open(path) as gallery:
        for step in range(history):
            client = Client(gallery, pictures_of(step), f"process {step} {number}")
            begin.wait()
            client.run()
            pipe.send(client.records)
        pipe.close()


def _appender(path: str, number: int, begin: Any, pipe: Any) -> None:
    with Gallery.open(path) as gallery:
        begin.wait()
        added = []
        for step in range(10):
            name = f"{number:08x}{step:08x}" + "0" * 48
            added += gallery.append(vector_of(name)[None], [NewItem(f"label {number}", name)]).added
        pipe.send((added, len(gallery)))
        pipe.close()


def in_processes(count: int, work: Callable[..., None], *arguments: Any) -> list[list[Any]]:
    """What `count` processes send; the end of `arguments` that each gets: its number, a barrier and a pipe."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    processes = [
        context.Process(target=work, args=(*arguments, number, barrier, there), daemon=True)
        for number, (_, there) in enumerate(pipes)
    ]
    for process, (_, there) in zip(processes, pipes, strict=True):
        process.start()
        there.close()
    sent: list[list[Any]] = [[] for _ in pipes]
    for place, (here, _) in enumerate(pipes):
        try:
            while True:
                sent[place].append(here.recv())
        except EOFError:
            here.close()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return sent


def test_histories_of_processes_are_linearizable(folder: Path) -> None:
    Gallery.create(folder / "g", width=WIDTH).close()
    sent = in_processes(4, _client, str(folder / "g"), 12)
    for step in range(12):
        records = [record for own in sent for record in own[step]]
        assert len(records) == 4 * CALLS
        assert violations(records) == []


def test_fifty_appends_of_five_processes_are_all_there(folder: Path) -> None:
    Gallery.create(folder / "g", width=WIDTH).close()
    sent = in_processes(5, _appender, str(folder / "g"))
    ids = sorted(number for ((added, _),) in sent for number in added)
    assert ids == list(range(50)) and max(seen for ((_, seen),) in sent) == 50
    with Gallery.open(folder / "g") as gallery:
        assert gallery.counts() == {f"label {number}": 10 for number in range(5)}
        assert gallery.search(gallery.vectors(), 1).ids[:, 0].tolist() == ids and gallery.verify() == []


def found_out(folder: Path, kind: Callable[[Gallery, list[str], str], Client], histories: int = 60) -> int:
    """After how many histories a wrong gallery is found out; 0: never."""
    with Gallery.create(folder / "g", width=WIDTH) as gallery:
        for history in range(histories):
            pictures = pictures_of(history)
            if violations(by_threads([kind(gallery, pictures, f"{history} {n}") for n in range(CLIENTS)])):
                return history + 1
            if len(left := gallery.find(hashes=pictures)):
                gallery.remove(left)
    return 0


class Rebuilding(Client):
    """A planted bug, the one of services that keep a gallery in files: read all, add one, write all."""

    def append(self, picture: str) -> dict[str, Any]:
        label = self.rng.choice(LABELS)
        held = {item.content_hash: item.label for item in self.gallery.list()} | {picture: label}
        vectors = np.stack([vector_of(name) for name in held])
        change = self.gallery.build(vectors, [NewItem(name, key) for key, name in held.items()])
        (number,) = self.gallery.find(hashes=[picture]).tolist() or [-1]
        return {"do": "append", "label": label, "id": number, "new": number in change.added}


@pytest.mark.usefixtures("restless")
def test_a_lost_update_is_found_out(folder: Path) -> None:
    assert found_out(folder, Rebuilding)


@pytest.mark.usefixtures("restless")
def test_a_stale_view_is_found_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: the view follows only every third change."""
    sound = Live.seen

    def seen(self: Live, change: Change) -> Change:
        return sound(self, change) if change.generation % 3 == 0 else change

    monkeypatch.setattr(Live, "seen", seen)
    monkeypatch.setattr(Live, "refresh", lambda self: None)
    assert found_out(folder, Client)


def call(do: str, begin: float, end: float, **about: Any) -> Call:
    return Call(do, begin, end, **about)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("calls", "sound"),
    [
        ([call("append", 0, 1, id=0, label="a", new=True), call("read", 2, 3, id=0, label="a")], True),
        ([call("append", 0, 1, id=0, label="a", new=True), call("read", 2, 3)], False),
        ([call("append", 0, 3, id=0, label="a", new=True), call("read", 1, 2)], True),
        ([call("append", 0, 9, id=0, label="a", new=True), call("read", 1, 2, id=0, label="a"), call("read", 3, 4)],
         False),  # seen, then not seen
        ([call("append", 0, 1, id=0, label="a", new=True), call("append", 2, 3, id=1, label="a", new=True)], False),
        ([call("append", 0, 1, id=0, label="a", new=True), call("update", 2, 3, id=0, label="b"),
          call("read", 4, 5, id=0, label="a")], False),
        ([call("append", 0, 1, id=0, label="a", new=True), call("remove", 2, 5, id=0),
          call("remove", 3, 6, id=0, refused=True)], True),
        ([call("append", 0, 1, id=0, label="a", new=True), call("remove", 2, 5, id=0), call("remove", 3, 6, id=0)],
         False),
    ],
)  # fmt: skip
def test_the_checker_knows_right_from_wrong(calls: list[Call], sound: bool) -> None:
    assert is_linearizable(calls) is sound


@given(st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_what_one_thing_at_a_time_gives_is_linearizable(rng: random.Random) -> None:
    """Calls that took effect in their order, each stretched around its moment."""
    held: Held = None
    calls, fresh = [], 0
    for moment in range(rng.randrange(12)):
        begin, end = moment - rng.random() * 3, moment + rng.random() * 3
        label, number = rng.choice("ab"), rng.randrange(3)
        match rng.choice(("append", "remove", "update", "read")):
            case "append":
                made = call("append", begin, end, label=label, id=held[0] if held else fresh, new=held is None)
                fresh += held is None
            case "read":
                made = call("read", begin, end, id=held[0] if held else None, label=held[1] if held else "")
            case do:
                refused = held is None or held[0] != number
                made = call(do, begin, end, id=number, label="" if refused else label, refused=refused)
        fits, held = after(made, held)
        assert fits
        calls.append(made)
    assert is_linearizable(calls)


def filled(folder: Path, count: int = 6) -> Gallery:
    gallery = Gallery.create(folder / "g", width=WIDTH)
    names = pictures_of(0)[:1] + [name for step in range(1, count) for name in pictures_of(step)[:1]]
    gallery.append(np.stack([vector_of(name) for name in names]), [NewItem("a", name) for name in names])
    return gallery


def test_an_append_counts_though_another_process_removed_it_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled(folder) as gallery, Gallery.open(folder / "g") as other:
        sound = gallery._store.append

        def removed_at_once(*arguments: Any, **named: Any) -> Change:
            change = sound(*arguments, **named)
            other.refresh()
            other.remove(change.added)
            return change

        monkeypatch.setattr(gallery._store, "append", removed_at_once)
        (name,) = pictures_of(7)[:1]
        assert gallery.append(vector_of(name)[None], [NewItem("a", name)]).added == (6,)
        assert gallery.state().ids.tolist() == list(range(6)) and gallery.generation == 3


def test_what_was_removed_and_taken_back_during_upkeep_is_there_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled(folder) as gallery:
        gallery.optimise()
        sound = Live._built

        def meanwhile(self: Live, *arguments: Any) -> Any:
            gallery.remove([2])
            gallery.undo()
            return sound(self, *arguments)

        monkeypatch.setattr(Live, "_built", meanwhile)
        gallery.optimise()
        assert sorted(gallery.search(gallery.vectors([2]), 9).ids[0].tolist()) == [-1, -1, -1, 0, 1, 2, 3, 4, 5]


def test_a_view_that_cannot_follow_fails_no_change(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(folder) as gallery:
        with monkeypatch.context() as patched:
            patched.setattr(gallery._store, "items", lambda ids: (_ for _ in ()).throw(GalleryError("no disk")))
            patched.setattr(gallery._store, "state", lambda: (_ for _ in ()).throw(GalleryError("no disk")))
            assert gallery.update([0], label="b").updated == (0,)
            assert "b" not in gallery.labels
        gallery.refresh()
        assert gallery.labels == ("a", "b")


def test_structures_that_cannot_be_used_on_a_disk_that_cannot_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with filled(folder) as gallery:
        gallery.optimise()
    (file,) = (folder / "g" / "segments").iterdir()
    file.write_bytes(b"damaged")
    monkeypatch.setattr("eyas.index.live.SEAL_AT", 3)

    def refuse(*_: object) -> None:
        raise GalleryError("the disk may only be read")

    monkeypatch.setattr("eyas.index.store.Store.replace_segments", refuse)
    with Gallery.open(folder / "g") as gallery:
        assert gallery.search(gallery.vectors(), 1).ids[:, 0].tolist() == list(range(6))
        assert gallery._live._thread is not None
        gallery._live._thread.join()
    assert "stays as it is: the disk may only be read" in caplog.text


@pytest.mark.parametrize("what", ["list", "remove"])
def test_what_is_removed_between_two_looks_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    with filled(folder) as gallery, Gallery.open(folder / "g") as other:
        sound, looks = gallery._store.find, []

        def then_removed(**named: Any) -> Any:
            found = sound(**named)
            looks.append(len(found))
            if len(looks) == 1:
                other.remove([4])
            return found

        monkeypatch.setattr(gallery._store, "find", then_removed)
        if what == "list":
            assert [item.id for item in gallery.list(label="a", limit=5)] == [0, 1, 2, 3, 5]
        else:
            assert gallery.remove(labels=["a"]).removed == (0, 1, 2, 3, 5)
            assert len(gallery) == 0
        assert looks[0] == 6 and looks[-1] == 5
