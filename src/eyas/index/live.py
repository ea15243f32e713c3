"""The present view of a store, and its upkeep: new vectors get a search structure, removed ones lose theirs.

Both run beside searches, which keep the view they began with.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from eyas.errors import GalleryError
from eyas.index.engine import Segment
from eyas.index.files import load_segment, save_segment
from eyas.index.records import Change, Floats, Ids, SegmentRecord, State
from eyas.index.store import Store
from eyas.index.view import Part, View, contains

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
SEAL_AT = 4096
"""So many new vectors are compared one by one (512 numbers each: 0.5 ms) before they get a structure of their own."""
MOST_SEGMENTS = 8
DEAD_SHARE = 0.25
PATCHED = 20_000
"""A change of more items than this is followed by a fresh look at the store; of fewer, by a change of the view.
So is one that comes after changes of other processes."""
ORPHAN_SECONDS = 3600


@dataclass(frozen=True, eq=False)
class Sealed:
    """A loaded search structure and the name of its file."""

    name: str
    segment: Segment


class Stopped(GalleryError):
    """Upkeep was told to stop: the gallery is being closed."""


class Live:
    """`view` is what can be searched now; `lock` is held while it, or the store, is changed."""

    def __init__(self, store: Store) -> None:
        self.lock = threading.RLock()
        self._store = store
        self._working = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sealed = self._loaded(())
        self.view = self._assembled()
        self.start_if_due()

    def seen(self, change: Change) -> Change:
        """`change`, after the view has followed it.  Called with `lock` held, by whoever made the change.

        The change is on disk, so a failure to read it back is no failure of the change: the next look tries again.
        """
        if change.generation != self.view.state.generation:
            try:
                self.view = self._followed(change)
            except GalleryError as error:
                log.warning("%s: searches do not see the last change yet: %s", self._store.folder, error)
        self.start_if_due()
        return change

    def refresh(self) -> None:
        """Follow what other processes have changed."""
        if self._store.generation() != self.view.state.generation:
            with self.lock:
                self._sealed = self._loaded(self._sealed)
                self.view = self._assembled()

    def settle(self, progress: Progress | None = None, everything: bool = False) -> None:
        """Do the upkeep that is due; with `everything`, put all vectors into one new structure."""
        with self._working:
            view = self.view
            chosen = view.sealed if everything else due(view)
            if chosen is None or not len(view.state.ids) or is_one(view):
                return
            replaced = [one for one in self._sealed if any(one.segment is part.segment for part in chosen)]
            fresh = self._built((*chosen, view.parts[-1]), progress)
            name = f"{uuid.uuid4().hex}-{self._fingerprint(fresh.ids)}.faiss"
            record = save_segment(fresh, self._store.folder / "segments", name)
            with self.lock:
                self._store.replace_segments([record], [one.name for one in replaced])
                kept = [one for one in self._sealed if one not in replaced]
                self._sealed = (*kept, Sealed(record.name, fresh))
                self.view = self._assembled()
            try:
                self._tidy([one.name for one in replaced])
            except OSError as error:  # what is left over costs room and nothing else
                log.warning("%s: files that are needed no more stay: %s", self._store.folder, error)

    def start_if_due(self) -> None:
        """Begin the upkeep in the background, where it is due and not under way."""
        busy = self._thread is not None and self._thread.is_alive()
        if not busy and not self._stopping.is_set() and due(self.view) is not None:
            self._thread = threading.Thread(target=self._background, name="eyas-gallery-upkeep", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the upkeep, wherever it is; nothing is lost by that."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def verify(self) -> list[str]:
        """What is wrong with the files of the search structures, in words."""
        problems = {}
        for record in self._store.segments():
            try:
                self._read(record)
            except GalleryError as error:
                problems[record.name] = (
                    f"{error} (a cache: the gallery works, and makes it anew when it is next opened)"
                )
        named = self._named() if problems else set()  # one that was replaced meanwhile is no problem
        return [problem for name, problem in problems.items() if name in named]

    def _background(self) -> None:
        try:
            self.settle()
        except Stopped:
            pass
        except (GalleryError, OSError) as error:
            log.warning("%s: the search structure stays as it is: %s", self._store.folder, error)

    def _followed(self, change: Change) -> View:
        """The view after `change`, patched where that is quick and every change before it was seen."""
        touched = len(change.added) + len(change.updated) + len(change.removed)
        if 0 < touched <= PATCHED and change.generation == self.view.state.generation + 1:
            added, removed = (np.sort(np.asarray(ids, np.int64)) for ids in (change.added, change.removed))
            with suppress(GalleryError):  # another process has removed some of it already
                state = self._patched(change, added, removed)
                return self.view.changed(state, added, self._store.vectors(added), removed)
        return self._assembled()

    def _assembled(self) -> View:
        """The view of what the store holds now; where another process removes items between two reads, once more."""
        while True:
            state = self._store.state()
            try:
                return View.assemble(
                    self._store.info, state, [one.segment for one in self._sealed], self._store.vectors
                )
            except GalleryError:
                if self._store.generation() == state.generation:
                    raise

    def _loaded(self, known: tuple[Sealed, ...]) -> tuple[Sealed, ...]:
        """The structures that the store names; those in `known` are not read again, broken ones are given up."""
        have = {one.name: one for one in known}
        loaded, broken = [], {}
        for record in self._store.segments():
            try:
                loaded.append(have.get(record.name) or self._read(record))
            except GalleryError as error:
                broken[record.name] = error
        if broken:
            if not self._named().issuperset(broken):  # another process has put others in their place
                return self._loaded(tuple(loaded))
            for why in broken.values():
                log.warning("%s It is made anew.", why)
            try:
                self._store.replace_segments((), list(broken))
            except GalleryError as error:  # a disk that may only be read, or is full: they are passed over again
                log.debug("%s: structures that cannot be used stay noted: %s", self._store.folder, error)
        return tuple(sorted(loaded, key=lambda one: -len(one.segment.ids)))

    def _named(self) -> set[str]:
        """The names of the files that the store speaks of now."""
        return {record.name for record in self._store.segments()}

    def _read(self, record: SegmentRecord) -> Sealed:
        folder = self._store.folder / "segments"
        if Path(record.name).stem[-32:] != self._fingerprint(record.ids):
            raise GalleryError(
                f"the search structure {folder / record.name} belongs to other items than the database says. It is "
                "made from the database: build it anew."
            )
        return Sealed(record.name, load_segment(folder, record, self._store.info))

    def _fingerprint(self, ids: Ids) -> str:
        """Part of the name of a file: the database has no checksum of the ids, and other ids are other answers."""
        return sha256(self._store.info.uuid.encode() + ids.astype("<i8").tobytes()).hexdigest()[:32]

    def _patched(self, change: Change, added: Ids, removed: Ids) -> State:
        """The view's state after a small change."""
        old, codes = self.view.state, {label: code for code, label in enumerate(self.view.state.labels)}
        touched = [*change.added, *change.updated]
        labels = {item.id: item.label for item in self._store.items(touched)}
        for label in labels.values():
            codes.setdefault(label, len(codes))
        kept = ~contains(removed, old.ids)
        ids = np.concatenate((old.ids[kept], added))
        label_ids = np.concatenate((old.label_ids[kept], np.zeros(len(added), np.int32)))
        if len(added) and len(ids) > len(added) and added[0] < ids[-len(added) - 1]:
            order = np.argsort(ids, kind="stable")
            ids, label_ids = ids[order], label_ids[order]
        if touched:
            label_ids[np.searchsorted(ids, touched)] = [codes[labels[item]] for item in touched]
        return State(change.generation, ids, label_ids, tuple(codes))

    def _built(self, chosen: tuple[Part, ...], progress: Progress | None) -> Segment:
        """One structure over the vectors of the parts `chosen`."""

        def told(done: int, total: int) -> None:
            if self._stopping.is_set():
                raise Stopped(f"{self._store.folder}: closed before its search structure was ready. Nothing is lost.")
            if progress is not None:
                progress(done, total)

        ids, vectors = self._vectors_of(chosen)
        info = self._store.info
        return Segment.build(vectors, ids, info.kind, info.metric, told)

    def _vectors_of(self, chosen: tuple[Part, ...]) -> tuple[Ids, Floats]:
        ids = np.sort(np.concatenate([part.alive_ids() for part in chosen]))
        while True:
            try:
                return ids, self._store.vectors(ids)
            except GalleryError:
                held = contains(self._store.state().ids, ids)
                if held.all():
                    raise  # damage, and no removal in the meantime
                ids = ids[held]

    def _tidy(self, replaced: Sequence[str]) -> None:
        """Delete the files of structures that were `replaced`, and old ones that the store does not name."""
        named = self._named()
        for file in (self._store.folder / "segments").iterdir():
            young = time.time() - file.stat().st_mtime < ORPHAN_SECONDS  # perhaps another process is writing it
            if file.name in replaced or not (file.name in named or young):
                file.unlink(missing_ok=True)


def is_one(view: View) -> bool:
    """Whether all vectors are in one structure that holds no others: nothing could be better."""
    return len(view.sealed) == 1 and not view.sealed[0].dead and not len(view.parts[-1].segment.ids)


def due(view: View) -> tuple[Part, ...] | None:
    """Which sealed parts should become one structure together with the tail; None: nothing is to be done."""
    fresh = len(view.parts[-1].segment.ids)
    worn = [part for part in view.sealed if part.dead > max(SEAL_AT, DEAD_SHARE * len(part.segment.ids))]
    if len(view.sealed) >= MOST_SEGMENTS:
        largest = max(view.sealed, key=lambda part: len(part.alive_ids()))
        whole = 2 * len(largest.alive_ids()) < len(view.state.ids) or largest in worn
        return view.sealed if whole else tuple(part for part in view.sealed if part is not largest)
    if worn:
        return tuple(worn)
    if fresh < SEAL_AT:
        return None
    return view.sealed if 2 * fresh >= len(view.state.ids) else ()
