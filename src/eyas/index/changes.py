"""The changes of a gallery: append, remove, update and undo, each inside a transaction that the caller holds."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from zlib import crc32

import numpy as np

from eyas.errors import GalleryError
from eyas.index.arrivals import NO_METADATA, Arrival
from eyas.index.history import generation, keep, now, record
from eyas.index.records import Change, Floats

_NAMED = 5  # ids named in an error


def append(db: sqlite3.Connection, vectors: Floats, arrivals: Sequence[Arrival], *, replace: bool) -> Change:
    """Store `arrivals` with their rows of `vectors`; with `replace` everything else goes out. See `Store.append`."""
    known = _known(db, arrivals)
    new = [arrival for arrival in arrivals if arrival.row not in known]
    differing, unchanged = [], []
    for arrival in arrivals:
        if arrival.row in known:
            number, label, metadata = known[arrival.row]
            same = label == arrival.label and arrival.metadata in (NO_METADATA, metadata)
            if same:
                unchanged.append(number)
            else:
                differing.append((number, arrival))
    going = _others(db, (row[0] for row in known.values())) if replace else []
    change_number, first_id = _next(db)
    change = Change(
        change_number,
        "build" if replace else "append",
        added=tuple(range(first_id, first_id + len(new))),
        updated=tuple(number for number, _ in differing),
        removed=tuple(going),
        unchanged=tuple(unchanged),
    )
    if not (new or differing or going):
        return Change(generation(db), change.kind, unchanged=change.unchanged)
    kept_going = _take_out(db, change_number, going)
    kept_changed = _write_over(db, change_number, differing)
    _insert(db, vectors, new, first_id)
    _sweep_labels(db)
    kept = None if kept_going is None else kept_going + kept_changed
    record(db, change, first_id, first_id + len(new), kept)
    return change


def remove(db: sqlite3.Connection, ids: Sequence[int]) -> Change:
    """Take out the items `ids`. Raises GalleryError where one is not there."""
    if not ids:
        return Change(generation(db), "remove")
    _choose(db, ids)
    _check_chosen(db)
    number, next_id = _next(db)
    change = Change(number, "remove", removed=tuple(ids))
    kept = _take_out(db, number, ids)
    _sweep_labels(db)
    record(db, change, next_id, next_id, kept)
    return change


def update(db: sqlite3.Connection, ids: Sequence[int], label: str | None, metadata: str | None) -> Change:
    """Give the items `ids` another label, other metadata or both. Raises GalleryError where an item is not there."""
    _choose(db, ids)
    _check_chosen(db)
    rows = db.execute(
        "SELECT i.id FROM chosen AS c CROSS JOIN items AS i ON i.id = c.id JOIN labels AS l ON l.id = i.label "
        "WHERE l.name <> coalesce(?, l.name) OR i.metadata <> coalesce(?, i.metadata) ORDER BY i.id",
        (label, metadata),
    )
    changing = [row[0] for row in rows]
    unchanged = tuple(sorted(set(ids).difference(changing)))
    if not changing:
        return Change(generation(db), "update", unchanged=unchanged)
    number, next_id = _next(db)
    _choose(db, changing)
    kept = keep(db, number, removed=False)
    _loosen(db)
    label_id = None if label is None else _label_ids(db, [label])[label]
    db.execute(
        "UPDATE items SET label = coalesce(?, label), metadata = coalesce(?, metadata) "
        "WHERE id IN (SELECT id FROM chosen)",
        (label_id, metadata),
    )
    _sweep_labels(db)
    change = Change(number, "update", updated=tuple(changing), unchanged=unchanged)
    record(db, change, next_id, next_id, kept)
    return change


def undo(db: sqlite3.Connection) -> Change:
    """Take back the newest change that is neither undone nor an undo. See `Store.undo`."""
    row = db.execute(
        "SELECT generation, kind, time, first_id, next_id, kept_bytes FROM changes "
        "WHERE kind <> 'undo' AND undone = 0 ORDER BY generation DESC LIMIT 1"
    ).fetchone()
    if row is None:
        raise GalleryError("nothing to undo: every change of the gallery is undone, or there was none.")
    target, kind, time, first_id, end_id, kept = row
    if kept is None:
        raise GalleryError(
            f"change {target} ({kind}, {time}) cannot be undone: it is too old, or took out too much to be kept. "
            "Use a snapshot."
        )
    number, next_id = _next(db)
    rows = db.execute("SELECT id FROM items WHERE id >= ? AND id < ? ORDER BY id", (first_id, end_id))
    going = [row[0] for row in rows]
    _choose(db, going)
    _delete_chosen(db)
    updated, added = (_put_back(db, target, removed) for removed in (False, True))
    _sweep_labels(db)
    db.execute("UPDATE changes SET undone = 1 WHERE generation = ?", (target,))
    db.execute("DELETE FROM kept WHERE generation = ?", (target,))
    change = Change(number, "undo", added=added, updated=updated, removed=tuple(going))
    record(db, change, next_id, next_id, None)
    return change


def _put_back(db: sqlite3.Connection, target: int, removed: bool) -> tuple[int, ...]:
    """The items that change `target` removed, or wrote over, as they were before it."""
    which = "FROM kept WHERE generation = ? AND removed = ?"
    asked = (target, int(removed))
    rows = db.execute(f"SELECT id {which} ORDER BY id", asked)
    ids = tuple(row[0] for row in rows)
    if not ids:
        return ids
    _choose(db, ids)
    _loosen(db)
    db.execute(f"INSERT INTO labels (name) SELECT DISTINCT label {which} ON CONFLICT DO NOTHING", asked)
    label_id = "(SELECT id FROM labels WHERE name = kept.label)"
    if removed:
        db.execute(f"INSERT INTO items SELECT id, {label_id}, hash, source, metadata, added {which}", asked)
        db.execute(f"INSERT INTO vectors (id, crc, data) SELECT id, crc, vector {which}", asked)
    else:
        db.execute(
            f"UPDATE items SET label = {label_id}, source = kept.source, metadata = kept.metadata FROM kept "
            "WHERE kept.generation = ? AND kept.removed = 0 AND kept.id = items.id",
            (target,),
        )
        db.execute("DELETE FROM thumbnails WHERE id IN (SELECT id FROM chosen)")
    db.execute(f"INSERT INTO thumbnails (id, data) SELECT id, thumbnail {which} AND thumbnail IS NOT NULL", asked)
    return ids


def _next(db: sqlite3.Connection) -> tuple[int, int]:
    """The number of the change to come, and the id of the next new item."""
    number, next_id = db.execute("SELECT generation + 1, next_id FROM gallery").fetchone()
    return int(number), int(next_id)


def _known(db: sqlite3.Connection, arrivals: Sequence[Arrival]) -> dict[int, tuple[int, str, str]]:
    """Row -> (id, label, metadata) of the arrivals whose picture is there already."""
    if db.execute("SELECT 1 FROM items LIMIT 1").fetchone() is None:
        return {}
    db.execute("DELETE FROM arriving")
    db.executemany("INSERT INTO arriving VALUES (?, ?)", ((arrival.row, arrival.hash) for arrival in arrivals))
    rows = db.execute(
        "SELECT a.place, i.id, l.name, i.metadata FROM arriving AS a CROSS JOIN items AS i ON i.hash = a.hash "
        "JOIN labels AS l ON l.id = i.label"
    )
    found = {row[0]: (row[1], row[2], row[3]) for row in rows}
    db.execute("DELETE FROM arriving")
    return found


def _others(db: sqlite3.Connection, staying: Iterable[int]) -> list[int]:
    _choose(db, staying)
    rows = db.execute("SELECT id FROM items WHERE id NOT IN (SELECT id FROM chosen) ORDER BY id")
    return [row[0] for row in rows]


def _choose(db: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Make `ids` the list that the statements after it speak of."""
    db.execute("DELETE FROM chosen")
    db.executemany("INSERT OR IGNORE INTO chosen VALUES (?)", ((number,) for number in ids))


def _check_chosen(db: sqlite3.Connection) -> None:
    rows = db.execute("SELECT id FROM chosen WHERE id NOT IN (SELECT id FROM items) ORDER BY id").fetchall()
    if rows:
        named = ", ".join(str(row[0]) for row in rows[:_NAMED]) + (", …" if len(rows) > _NAMED else "")
        raise GalleryError(
            f"no item has the id {named} ({len(rows)} unknown). Expected ids of the gallery. Nothing was changed."
        )


def _take_out(db: sqlite3.Connection, number: int, ids: Sequence[int]) -> int | None:
    """Remove the items `ids`, and keep them for an undo of change `number`; the bytes kept, see `keep`."""
    if not ids:
        return 0
    _choose(db, ids)
    kept = keep(db, number, removed=True)
    _delete_chosen(db)
    return kept


def _delete_chosen(db: sqlite3.Connection) -> None:
    _loosen(db)
    for table in ("vectors", "thumbnails", "items"):
        db.execute(f"DELETE FROM {table} WHERE id IN (SELECT id FROM chosen)")


def _write_over(db: sqlite3.Connection, number: int, differing: Sequence[tuple[int, Arrival]]) -> int:
    """Give items that are there the values of their arrivals; what those do not say stays."""
    if not differing:
        return 0
    _choose(db, (item for item, _ in differing))
    keep(db, number, removed=False)
    _loosen(db)
    labels = _label_ids(db, [arrival.label for _, arrival in differing])
    db.executemany(
        "UPDATE items SET label = ?, source = coalesce(?, source), metadata = coalesce(?, metadata) WHERE id = ?",
        (
            (labels[new.label], new.source, None if new.metadata == NO_METADATA else new.metadata, item)
            for item, new in differing
        ),
    )
    thumbnails = ((item, new.thumbnail) for item, new in differing if new.thumbnail is not None)
    db.executemany("INSERT OR REPLACE INTO thumbnails VALUES (?, ?)", thumbnails)
    return 0


def _insert(db: sqlite3.Connection, vectors: Floats, new: Sequence[Arrival], first_id: int) -> None:
    if not new:
        return
    labels, time = _label_ids(db, [arrival.label for arrival in new]), now()
    numbered = list(enumerate(new, first_id))
    db.executemany(
        "INSERT INTO items (id, label, hash, source, metadata, added) VALUES (?, ?, ?, ?, ?, ?)",
        ((item, labels[a.label], a.hash, a.source, a.metadata, time) for item, a in numbered),
    )
    rows = zip(range(first_id, first_id + len(new)), _blobs(vectors, [arrival.row for arrival in new]), strict=True)
    db.executemany(
        "INSERT INTO vectors (id, crc, data) VALUES (?, ?, ?)", ((item, crc32(blob), blob) for item, blob in rows)
    )
    thumbnails = ((item, arrival.thumbnail) for item, arrival in numbered if arrival.thumbnail is not None)
    db.executemany("INSERT INTO thumbnails VALUES (?, ?)", thumbnails)


def _blobs(vectors: Floats, rows: Iterable[int]) -> Iterator[memoryview]:
    """The bytes of each row, float32 little-endian, without a copy of them."""
    flat = np.ascontiguousarray(vectors, "<f4").data.cast("B")
    size = 4 * vectors.shape[1]
    return (flat[row * size : (row + 1) * size] for row in rows)


def _label_ids(db: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    distinct = dict.fromkeys(names)
    db.executemany("INSERT INTO labels (name) VALUES (?) ON CONFLICT DO NOTHING", ((name,) for name in distinct))
    query = "SELECT id FROM labels WHERE name = ?"
    return {name: db.execute(query, (name,)).fetchone()[0] for name in distinct}


def _loosen(db: sqlite3.Connection) -> None:
    """Note the labels of the chosen items: they may be without items soon."""
    db.execute("INSERT OR IGNORE INTO loose SELECT label FROM items WHERE id IN (SELECT id FROM chosen)")


def _sweep_labels(db: sqlite3.Connection) -> None:
    """Drop the noted labels that no item has any more."""
    db.execute(
        "DELETE FROM labels WHERE id IN (SELECT label FROM loose) "
        "AND NOT EXISTS (SELECT 1 FROM items WHERE items.label = labels.id)"
    )
    db.execute("DELETE FROM loose")
