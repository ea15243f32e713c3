"""Proof on the user's own disk: a process that changes a gallery is killed again and again, and nothing may be lost.

A child process appends, relabels, removes, takes back and rebuilds; it says before each change what it is about to do,
and after it that the gallery has acknowledged it. The parent kills it (SIGKILL) at a random moment, opens the gallery
and compares: it must hold what was acknowledged, with or without the one change that was under way, and nothing else.
"""

import json
import multiprocessing
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from eyas.errors import EyasError, GalleryError
from eyas.index.gallery import Gallery
from eyas.index.records import Floats, Kind, NewItem

WIDTH = 32
LONGEST = 0.3
"""Seconds from the child's first change to its death, at most."""
LABELS = ("milk", "juice 1 l", "жук", "🦅")

Content = dict[str, str]
"""What a gallery holds: content hash -> label."""


@dataclass
class Outcome:
    """What a self-test saw. `lost`: acknowledged and gone; `phantoms`: there, and never asked for.

    `in_flight`: how many of the kills fell into an append, a removal, …; `kept`: how many of these changes were on disk
    already.
    """

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    phantoms: int = 0
    reused_ids: int = 0
    wrong_answers: int = 0
    corrupt: list[str] = field(default_factory=list)
    in_flight: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    slowest_open: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing at all went wrong."""
        return not (self.lost or self.phantoms or self.reused_ids or self.wrong_answers or self.corrupt)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "sound": self.sound}

    def lines(self) -> list[str]:
        """The outcome as sentences."""
        fell = ", ".join(f"{do} {count}" for do, count in sorted(self.in_flight.items()))
        return [
            f"{self.kills} kills, {self.acknowledged} changes acknowledged: {self.lost} lost, "
            f"{self.phantoms} phantoms, {self.reused_ids} ids used twice, {self.wrong_answers} wrong answers, "
            f"{len(self.corrupt)} corrupt galleries",
            f"{sum(self.in_flight.values())} kills fell into a change ({fell or 'none'}), {self.kept} of which were on "
            "disk already",
            f"slowest opening after a kill: {self.slowest_open:.2f} s",
            *self.corrupt[:10],
        ]


def selftest(
    folder: Path | None = None,
    kills: int = 200,
    seed: int = 0,
    kind: Kind = "HNSW32",
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Kill a process that writes to a gallery in `folder` (None: a temporary one) `kills` times, and count the damage.

    The gallery is deleted afterwards. Raises GalleryError where `folder` holds something.
    """
    place = Path(tempfile.mkdtemp(prefix="eyas-selftest-")) if folder is None else folder
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise GalleryError(f"{folder} is not empty. Expected a new folder: the self-test deletes it in the end.")
    outcome, book = Outcome(), Book()
    rng = random.Random(seed)
    try:
        Gallery.create(place / "gallery", width=WIDTH, kind=kind).close()
        for number in range(kills):
            _one_kill(place / "gallery", rng, outcome, book)
            outcome.kills += 1
            if progress is not None:
                progress(number + 1, kills)
            if outcome.corrupt:
                break
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return outcome


@dataclass
class Book:
    """What the parent knows: the acknowledged content, each earlier one (for undo), and every id ever seen."""

    content: Content = field(default_factory=dict)
    earlier: list[Content] = field(default_factory=list)
    seen: dict[int, str] = field(default_factory=dict)

    def after(self, order: dict[str, Any]) -> Content:
        """What the gallery holds when `order` is carried out."""
        match order["do"]:
            case "append" | "update":
                return {**self.content, **order["items"]}
            case "remove":
                return {key: label for key, label in self.content.items() if key not in order["items"]}
            case "undo" if self.earlier:
                return self.earlier[-1]
        return self.content

    def acknowledge(self, order: dict[str, Any]) -> None:
        """Follow a change that is on disk."""
        new = self.after(order)
        if order["do"] == "undo":
            del self.earlier[-1:]
        elif order["do"] != "optimise":
            self.earlier.append(self.content)
        self.content = new

    def used_twice(self, ids: dict[str, int]) -> int:
        """Note the ids of content hashes; how many of them belonged to another one before."""
        return sum(self.seen.setdefault(number, key) != key for key, number in ids.items())


def vector_of(key: str) -> Floats:
    """The vector that belongs to a content hash: any one, but always the same."""
    rng = np.random.default_rng(int(key[:16], 16))
    vector = rng.standard_normal(WIDTH).astype(np.float32)
    unit: Floats = vector / np.linalg.norm(vector)
    return unit


def _one_kill(path: Path, rng: random.Random, outcome: Outcome, book: Book) -> None:
    context = multiprocessing.get_context("spawn")
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")  # type: ignore[assignment]
        multiprocessing.set_forkserver_preload(["__main__", "eyas.index.selftest", "faiss"])  # once, for all children
    here, there = context.Pipe()
    # The child knows how far back it may undo: changes before its start are the parent's to remember.
    child = context.Process(target=_work, args=(str(path), rng.getrandbits(32), there), daemon=True)
    child.start()
    there.close()
    pending = _follow(here, child, time.monotonic, rng.random() * LONGEST, outcome, book)
    child.join()
    _compare(path, pending, outcome, book)


def _follow(
    pipe: Connection, child: Any, clock: Callable[[], float], life: float, outcome: Outcome, book: Book
) -> dict[str, Any] | None:
    """Listen until the child is dead; the change that it began and did not finish, if any."""
    pending: dict[str, Any] | None = None
    end: float | None = None
    killed = False
    while True:
        try:
            if not killed and end is not None and not pipe.poll(max(0.0, end - clock())):
                child.kill()
                killed = True
            message = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return pending
        if end is None:
            end = clock() + life
        if "error" in message:
            outcome.corrupt.append(message["error"])
        elif message.get("done"):
            assert pending is not None
            book.acknowledge(pending)
            outcome.reused_ids += book.used_twice(message["ids"])
            outcome.acknowledged += 1
            pending = None
        else:
            pending = message
        if not killed and clock() >= end:
            child.kill()
            killed = True


def _compare(path: Path, pending: dict[str, Any] | None, outcome: Outcome, book: Book) -> None:
    """Open the gallery and hold it against the book, which then follows what is really there."""
    if pending is not None:
        outcome.in_flight[pending["do"]] = outcome.in_flight.get(pending["do"], 0) + 1
    began = time.perf_counter()
    try:
        with Gallery.open(path) as gallery:
            outcome.slowest_open = max(outcome.slowest_open, time.perf_counter() - began)
            problems = gallery.verify()
            items = gallery.list()
            content = {item.content_hash: item.label for item in items}
            if pending is not None and content == book.after(pending) and content != book.content:
                book.acknowledge(pending)
                outcome.kept += 1
            outcome.lost += sum(book.content[key] != content.get(key) for key in book.content)
            outcome.phantoms += sum(key not in book.content for key in content)
            outcome.reused_ids += book.used_twice({one.content_hash: one.id for one in items})
            outcome.wrong_answers += _wrong_answers(gallery, [(one.id, one.content_hash) for one in items])
            outcome.corrupt.extend(problems)
            book.content = content  # each fault is counted once
    except EyasError as error:
        outcome.corrupt.append(f"cannot be opened: {error}")


def _wrong_answers(gallery: Gallery, items: list[tuple[int, str]]) -> int:
    """How many of up to 50 items are not the nearest to their own vector."""
    chosen = items[:: max(1, len(items) // 50)]
    if not chosen:
        return 0
    found = gallery.search(np.stack([vector_of(key) for _, key in chosen]), 1)
    return int(np.count_nonzero(found.ids[:, 0] != [number for number, _ in chosen]))


def _work(path: str, seed: int, pipe: Connection) -> None:
    """The child: random changes until it is killed."""
    rng = random.Random(seed)
    try:
        with Gallery.open(path) as gallery:
            undoable = 0
            while True:
                order = _order(gallery, rng, undoable)
                pipe.send_bytes(json.dumps(order).encode())
                ids = _carry_out(gallery, order)
                pipe.send_bytes(json.dumps({"done": True, "ids": ids}).encode())
                undoable += {"undo": -1, "optimise": 0}.get(order["do"], 1)
    except Exception as error:  # whatever it is, the parent has to know
        pipe.send_bytes(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())


def _order(gallery: Gallery, rng: random.Random, undoable: int) -> dict[str, Any]:
    """The next change, as content: what it does and to which content hashes."""
    held = gallery.list(limit=50, offset=rng.randrange(max(1, len(gallery))))
    kinds = ["append"] * 5 + ["optimise"] + (["undo"] * 2 if undoable > 0 else [])
    kinds += ["remove"] * (2 if len(gallery) < 2000 else 9) + ["update"] * 2 if held else []
    do = rng.choice(kinds)
    chosen = rng.sample(held, min(len(held), rng.randint(1, 20)))
    new = [sha256(str(rng.getrandbits(64)).encode()).hexdigest() for _ in range(rng.randint(1, 60))]
    items: Any = {
        "append": {key: rng.choice(LABELS) for key in new},
        "update": {one.content_hash: f"{one.label}?" for one in chosen[:1]},
        "remove": [one.content_hash for one in chosen],
    }.get(do)
    return {"do": do, "items": items}


def _carry_out(gallery: Gallery, order: dict[str, Any]) -> dict[str, int]:
    """Do what `order` says; the ids of the content hashes that are new by it."""
    items = order["items"]
    match order["do"]:
        case "append":
            vectors = np.stack([vector_of(key) for key in items])
            change = gallery.append(vectors, [NewItem(label, key) for key, label in items.items()])
            return dict(zip(items, change.added, strict=True))
        case "update":
            for key, label in items.items():
                gallery.update(gallery.find(hashes=[key]), label=label)
        case "remove":
            gallery.remove(gallery.find(hashes=items))
        case "undo":
            gallery.undo()
        case "optimise":
            gallery.optimise()
    return {}
