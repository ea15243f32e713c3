"""The list of a gallery's changes, and what is kept of each so that it can be undone."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from eyas.index.records import Change, ChangeKind, Ids

UNDO_CHANGES = 20
"""How many of the newest changes can be undone."""
UNDO_BYTES = 1_000_000_000
"""How many bytes of removed vectors are kept for that."""
TOUCHED_CHANGES = 100
"""For how many of the newest changes it is known which ids they touched."""
TOUCHED_IDS = 100_000
"""A change that touched more ids counts as one that touched all."""


@dataclass(frozen=True)
class HistoryEntry:
    """One change in the history of a gallery: how many items it added, updated and removed. `time`: ISO, in UTC.

    `undone`: a later change took it back.
    """

    generation: int
    kind: ChangeKind
    time: str
    added: int
    updated: int
    removed: int
    undone: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dict(vars(self))


def now() -> str:
    """The time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def generation(db: sqlite3.Connection) -> int:
    """The number of the newest change; 0 before the first."""
    return int(db.execute("SELECT generation FROM gallery").fetchone()[0])


def keep(db: sqlite3.Connection, number: int, *, removed: bool) -> int | None:
    """Keep the items of the list `chosen` as they are now, for an undo of change `number`.

    Returns the bytes of vectors kept; None, and nothing is kept, where those alone are more than UNDO_BYTES.
    """
    if not removed:
        db.execute(f"{_KEEP} NULL, NULL {_KEPT_FROM}", (number, 0))
        return 0
    count, width = db.execute("SELECT (SELECT count(*) FROM chosen), width FROM gallery").fetchone()
    size = int(4 * count * width)
    if size > UNDO_BYTES:
        return None
    db.execute(f"{_KEEP} v.crc, v.data {_KEPT_FROM} JOIN vectors AS v ON v.id = c.id", (number, 1))
    return size


_KEEP = "INSERT INTO kept SELECT ?, i.id, ?, l.name, i.hash, i.source, i.metadata, i.added, t.data,"
_KEPT_FROM = (
    "FROM chosen AS c CROSS JOIN items AS i ON i.id = c.id JOIN labels AS l ON l.id = i.label "
    "LEFT JOIN thumbnails AS t ON t.id = c.id"
)


def record(db: sqlite3.Connection, change: Change, first_id: int, next_id: int, kept_bytes: int | None) -> None:
    """Note `change`, which gave its new items the ids from `first_id` to before `next_id`, as the newest.

    `kept_bytes`: bytes of vectors kept for its undo, None where it cannot be undone.
    """
    ids = [*change.added, *change.updated, *change.removed]
    touched = None if len(ids) > TOUCHED_IDS else np.array(ids, "<i8").tobytes()
    row = (change.generation, change.kind, now(), len(change.added), len(change.updated), len(change.removed))
    db.execute(
        "INSERT INTO changes (generation, kind, time, added, updated, removed, first_id, next_id, kept_bytes, touched) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, first_id, next_id, kept_bytes, touched),
    )
    db.execute("UPDATE gallery SET generation = ?, next_id = ?", (change.generation, next_id))
    _prune(db, change.generation)


def _prune(db: sqlite3.Connection, newest: int) -> None:
    rows = db.execute(
        "SELECT generation, kept_bytes FROM changes WHERE kind <> 'undo' AND undone = 0 "
        "ORDER BY generation DESC LIMIT ?",
        (UNDO_CHANGES + 1,),
    ).fetchall()
    total = 0
    for place, (number, size) in enumerate(rows):
        total += size or 0
        # Changes are undone newest first, so what lies behind one that cannot be undone is of no use.
        if size is None or total > UNDO_BYTES or place == UNDO_CHANGES:
            db.execute("DELETE FROM kept WHERE generation <= ?", (number,))
            db.execute("UPDATE changes SET kept_bytes = NULL WHERE generation <= ?", (number,))
            break
    db.execute("UPDATE changes SET touched = NULL WHERE generation = ?", (newest - TOUCHED_CHANGES,))


def entries(db: sqlite3.Connection, limit: int) -> list[HistoryEntry]:
    """The newest `limit` changes, newest first."""
    rows = db.execute(
        "SELECT generation, kind, time, added, updated, removed, undone FROM changes ORDER BY generation DESC LIMIT ?",
        (limit,),
    )
    return [
        HistoryEntry(number, kind, time, added, updated, removed, bool(undone))
        for number, kind, time, added, updated, removed, undone in rows
    ]


def touched_since(db: sqlite3.Connection, number: int) -> Ids | None:
    """The ids, rising, that changes after `number` touched; None where that is not known any more, or too many."""
    newest = generation(db)
    if not 0 <= newest - number <= TOUCHED_CHANGES:
        return None
    blobs = [row[0] for row in db.execute("SELECT touched FROM changes WHERE generation > ?", (number,))]
    if None in blobs or sum(map(len, blobs)) > 8 * TOUCHED_IDS:
        return None
    return np.unique(np.frombuffer(b"".join(blobs), "<i8").astype(np.int64))
