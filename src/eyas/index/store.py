"""The store of a gallery: one SQLite file that holds everything, changed in transactions that outlast a power cut."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from eyas.errors import ConfigError, GalleryError
from eyas.index import changes, history, reads, snapshots
from eyas.index.arrivals import check_label, checked_arrivals, checked_ids, metadata_text
from eyas.index.database import FILE, Database, create_database, disk_errors
from eyas.index.history import HistoryEntry
from eyas.index.records import (
    KINDS,
    METRICS,
    Change,
    Floats,
    GalleryInfo,
    Ids,
    Item,
    ModelIdentity,
    NewItem,
    SegmentRecord,
    State,
    checked_vectors,
)


class Store:
    """Items, labels, metadata, vectors and history of one gallery, in `folder`/gallery.sqlite.

    A change is one transaction: when its call returns, it is on disk, whole; when the call raises, or the process
    dies, nothing of it is there. Safe from several threads and processes: one writes at a time (the others wait for
    30 s at most), readers wait for nobody and see committed states alone.
    Every method raises GalleryError where the disk is full or fails, or the file is damaged.
    """

    def __init__(self, folder: Path, info: GalleryInfo, database: Database) -> None:
        self.folder = folder
        self.info = info
        self._database = database

    @staticmethod
    def create(folder: Path, info: GalleryInfo) -> "Store":
        """A store without items in `folder`, which is made where it is missing.

        Raises ConfigError for an unknown kind or metric or a width that does not fit, GalleryError where a gallery is
        there already or the folder cannot be written.
        """
        model = info.model
        if info.kind not in KINDS or info.metric not in METRICS:
            raise ConfigError(
                f"a gallery of kind {info.kind!r}, metric {info.metric!r}. Expected one of {', '.join(KINDS)} and one "
                f"of {', '.join(METRICS)}."
            )
        if info.width < 1 or (model is not None and model.width != info.width):
            whose = "" if model is None else f"; the model {model.name} makes {model.width} numbers"
            raise ConfigError(f"a gallery of vectors of {info.width} numbers{whose}. Expected the model's, at least 1.")
        named = (None, None) if model is None else (model.name, model.fingerprint)
        create_database(folder, (info.uuid, info.kind, info.metric, info.width, *named))
        return Store.open(folder)

    @staticmethod
    def open(folder: Path) -> "Store":
        """The store in `folder`. On a read-only disk it can be read, and must not be changed from elsewhere meanwhile.

        Raises GalleryError: no gallery there (what is there instead), another application's database, another format
        version, a damaged file, no rights.
        """
        with disk_errors(folder):
            _check_place(folder)
        database = Database(folder)
        try:
            with database.reading() as db:
                row = db.execute(
                    "SELECT uuid, kind, metric, width, model_name, model_fingerprint FROM gallery"
                ).fetchone()
            if row is None or row[1] not in KINDS or row[2] not in METRICS or row[3] < 1:
                raise GalleryError(f"{folder / FILE}: damaged: it does not say what it holds ({row}). Use a snapshot.")
        except BaseException:
            database.close()
            raise
        model = None if row[4] is None else ModelIdentity(row[4], row[5], row[3])
        return Store(folder, GalleryInfo(row[0], row[1], row[2], row[3], model), database)

    def close(self) -> None:
        """Close the file. Safe to call twice; every other call raises GalleryError afterwards."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def generation(self) -> int:
        """The number of the newest committed change, also one of another process."""
        with self._database.reading() as db:
            return history.generation(db)

    def append(self, vectors: Floats, items: Sequence[NewItem], *, replace: bool = False) -> Change:
        """Store `items`, each with its row of `vectors`; with `replace` everything else goes out, in the same change.

        A picture that is there already (same content hash) keeps its id and its vector. With the same label and the
        same or no metadata it is `unchanged`; else it is `updated`: label, and the metadata, source and thumbnail that
        are given. The same picture twice in `items` is stored once.
        Raises GalleryError, and nothing is stored: vectors of another shape, a label or metadata that cannot be stored,
        or one picture with two labels (with their places in `items`).
        """
        rows = checked_vectors(vectors, self.info.width)
        if len(rows) != len(items):
            raise GalleryError(f"{len(rows)} vectors for {len(items)} items. Expected one for each.")
        arrivals = checked_arrivals(items)
        self._need_room(rows.nbytes)
        with self._database.writing() as db:
            return changes.append(db, rows, arrivals, replace=replace)

    def remove(self, ids: ArrayLike) -> Change:
        """Take out items. Raises GalleryError, and nothing is removed, where an id is unknown."""
        chosen = np.unique(checked_ids(ids)).tolist()
        with self._database.writing() as db:
            return changes.remove(db, chosen)

    def update(self, ids: ArrayLike, *, label: str | None = None, metadata: Mapping[str, Any] | None = None) -> Change:
        """Give items another label, other metadata (all of it anew), or both.

        Raises GalleryError, and nothing is changed: an unknown id, or a label or metadata that cannot be stored.
        """
        if label is None and metadata is None:
            raise ConfigError("update: neither a label nor metadata. Expected at least one of them.")
        chosen = np.unique(checked_ids(ids)).tolist()
        if label is not None:
            check_label(label, "update")
        text = None if metadata is None else metadata_text(metadata, "update")
        with self._database.writing() as db:
            return changes.update(db, chosen, label, text)

    def undo(self) -> Change:
        """Take back the newest change that is not undone yet and is no undo itself; removed items keep their ids.

        Raises GalleryError where there is none, or it is older than the last 20, or took out more than 1 GB.
        """
        with self._database.writing() as db:
            return changes.undo(db)

    def history(self, limit: int = 20) -> list[HistoryEntry]:
        """The newest changes, newest first."""
        with self._database.reading() as db:
            return history.entries(db, limit)

    def state(self) -> State:
        """Which items there are, in one consistent read.

        `labels` are those in use, in the order in which they first came; a label that nobody has any more is gone from
        it, so places in `labels` hold for this state alone.
        """
        with self._database.reading() as db:
            return reads.state(db)

    def touched_since(self, generation: int) -> Ids | None:
        """The ids, rising, that changes after `generation` touched; None: too many or too long ago, read the state."""
        with self._database.reading() as db:
            return history.touched_since(db, generation)

    def vectors(self, ids: ArrayLike) -> Floats:
        """The vectors of `ids`, float32 [N, width], in that order.

        Raises GalleryError for an unknown id, and for a vector whose checksum is not that of the stored one.
        """
        with self._database.reading() as db:
            return reads.vectors(db, checked_ids(ids), self.info.width)

    def items(self, ids: ArrayLike) -> list[Item]:
        """The items of `ids`, in that order. Raises GalleryError for an unknown id."""
        with self._database.reading() as db:
            return reads.items(db, checked_ids(ids))

    def thumbnail(self, id: int) -> bytes | None:
        """The bytes of an item's small JPEG, None where it has none. Raises GalleryError for an unknown id."""
        with self._database.reading() as db:
            return reads.thumbnail(db, int(id))

    def find(
        self,
        *,
        labels: Iterable[str] | None = None,
        sources: Iterable[str] | None = None,
        hashes: Iterable[str] | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> Ids:
        """Rising ids of the items whose label, source and hash are among those given and whose metadata fit `where`.

        What is None does not matter. `where`: see `eyas.index.filters`. Raises ConfigError where it makes no sense.
        """
        with self._database.reading() as db:
            return reads.find(db, labels, sources, hashes, where)

    def counts(self) -> dict[str, int]:
        """How many items each label has, by label."""
        with self._database.reading() as db:
            return reads.counts(db)

    def setting(self, key: str) -> Any | None:
        """The value kept under `key`, None where there is none."""
        with self._database.reading() as db:
            row = db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])["value"]

    def set_setting(self, key: str, value: Any) -> None:
        """Keep a small value that JSON can hold under `key`. It is no change of the gallery: no generation, no undo."""
        text = metadata_text({"value": value}, f"setting {key!r}")
        with self._database.writing() as db:
            db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, text))

    def segments(self) -> list[SegmentRecord]:
        """The files that hold search structures, in the order in which they were added.

        A note that is damaged comes with the ids that can still be read of it: too few for its file.
        """
        query = "SELECT CAST(name AS BLOB), CAST(sha256 AS BLOB), CAST(ids AS BLOB) FROM segments ORDER BY rowid"
        with self._database.reading() as db:
            rows = db.execute(query).fetchall()
        return [
            SegmentRecord(
                (name or b"").decode(errors="replace"),
                (sha256 or b"").decode(errors="replace"),
                np.frombuffer((ids or b"")[: len(ids or b"") // 8 * 8], "<i8").astype(np.int64),
            )
            for name, sha256, ids in rows
        ]

    def replace_segments(self, add: Sequence[SegmentRecord], drop: Sequence[str]) -> None:
        """Note that files were made and others are not used any more, at once. A name that is there is replaced."""
        rows = [(record.name, record.sha256, np.asarray(record.ids, "<i8").tobytes()) for record in add]
        with self._database.writing() as db:
            db.executemany("DELETE FROM segments WHERE name = ?", ((name,) for name in drop))
            db.executemany("INSERT OR REPLACE INTO segments VALUES (?, ?, ?)", rows)

    def snapshot(self, target: Path) -> None:
        """Copy the gallery as it is now to the new folder `target`, which is there whole and on disk, or not at all.

        Raises GalleryError where something is there.
        """
        with self._database.reading() as db:
            snapshots.write_snapshot(db, target)

    def verify(self) -> list[str]:
        """What is wrong, in words; [] where everything is sound. Reads the whole file."""
        with self._database.reading() as db:
            return snapshots.problems(db, self.info.width)

    def _need_room(self, size: int) -> None:
        """Raise GalleryError where the disk has no room for `size` bytes twice: in the journal, then in the file."""
        with disk_errors(self.folder):
            free = shutil.disk_usage(self.folder).free
        if free < 2 * size:
            raise GalleryError(
                f"{self.folder}: the disk is too full: expected {2 * size / 1e6:,.0f} MB free, there are "
                f"{free / 1e6:,.0f}. Nothing was changed. Free space, then try again."
            )


def _check_place(folder: Path) -> None:
    file = folder / FILE
    if file.is_file() and not file.is_symlink():
        if file.stat().st_size == 0:
            raise GalleryError(f"{file}: an empty file. Expected a gallery; restore it from a snapshot, or delete it.")
        return
    if not folder.exists():
        there = "there is no such folder"
    elif not folder.is_dir():
        there = "a file, not a folder"
    elif file.is_symlink() or file.exists():
        there = f"its {FILE} is no ordinary file"
    elif (folder / "vector.index").exists():
        there = "an index of PaddleX; import it into a gallery"
    else:
        names = sorted(entry.name for entry in folder.iterdir())
        there = f"it holds {', '.join(names[:5])}{', …' if len(names) > 5 else ''}" if names else "it is empty"
    raise GalleryError(
        f"{folder}: no gallery: {there}. Expected a folder with {FILE}: make one with `eyas gallery build`, "
        "or in Python with `Gallery.create`."
    )
