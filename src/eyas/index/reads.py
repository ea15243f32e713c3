"""What is read of a gallery: its state, vectors, items, and which items a question is true of."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from zlib import crc32

import numpy as np

from eyas.errors import GalleryError
from eyas.index.arrivals import is_text, source_text, stored_source
from eyas.index.filters import compile_where
from eyas.index.records import Floats, Ids, Item, State

_CHUNK = 128  # rows of a few KiB: they stay in the processor's cache between SQLite and the array
_SCAN_SHARE = 3
"""Vectors are read in one pass over the table where at least one row of so many is asked for."""


def state(db: sqlite3.Connection) -> State:
    """Which items there are. See `Store.state`. Raises GalleryError where the tables do not fit each other."""
    try:
        return _state(db)
    except (TypeError, ValueError, IndexError) as error:
        raise GalleryError(
            f"the gallery is damaged: its items and labels do not fit each other ({error}). Use a snapshot, or build "
            "it anew."
        ) from error


def _state(db: sqlite3.Connection) -> State:
    (generation,) = db.execute("SELECT generation FROM gallery").fetchone()
    # Two texts with a million numbers are made and parsed several times faster than a million rows.
    ids, keys = (
        np.fromstring(text, np.int64, sep=",") if text else np.zeros(0, np.int64)
        for text in db.execute(
            "SELECT group_concat(id), group_concat(label) FROM items INDEXED BY items_by_label"
        ).fetchone()
    )
    order = np.argsort(ids)
    rows = db.execute("SELECT id, name FROM labels ORDER BY id").fetchall()
    known = np.array([row[0] for row in rows], np.int64)
    label_ids = np.searchsorted(known, keys[order]).astype(np.int32)
    if len(ids) != len(keys) or not np.array_equal(known[label_ids], keys[order]):
        raise ValueError("an item has no label")
    return State(int(generation), ids[order], label_ids, tuple(row[1] for row in rows))


def vectors(db: sqlite3.Connection, ids: Ids, width: int) -> Floats:
    """The vectors of `ids`, float32 [N, width], in that order. Raises GalleryError: unknown id, damaged vector."""
    found = np.empty((len(ids), width), np.float32)
    if not len(ids):
        return found
    order = np.argsort(ids, kind="stable")
    rising = ids[order]
    span = int(rising[-1]) - int(rising[0]) + 1
    if span > _SCAN_SHARE * len(ids) or (np.diff(rising) == 0).any():
        _look_up(db, ids, found)
        return found
    filled = 0
    in_order = bool((order == np.arange(len(order))).all())
    for numbers, rows in _scan(db, int(rising[0]), int(rising[-1]), width):
        places = np.searchsorted(rising, numbers)
        asked = rising[places] == numbers
        if in_order and asked.all():
            found[filled : filled + len(rows)] = rows
        else:
            found[order[places[asked]]] = rows[asked]
        filled += int(asked.sum())
    if filled != len(ids):
        _check_known(db, ids)
    return found


def _scan(db: sqlite3.Connection, first: int, last: int, width: int) -> Iterator[tuple[Ids, Floats]]:
    """Ids and vectors of a range of ids, in chunks, rising."""
    cursor = db.execute("SELECT id, crc, data FROM vectors WHERE id >= ? AND id <= ? ORDER BY id", (first, last))
    while rows := cursor.fetchmany(_CHUNK):
        numbers, checksums, blobs = zip(*rows, strict=True)
        for number, checksum, blob in rows:
            if not isinstance(blob, bytes) or crc32(blob) != checksum:
                raise damaged(number)
        joined = b"".join(blobs)
        if len(joined) != 4 * width * len(blobs):
            raise damaged(next(n for n, _, blob in rows if len(blob) != 4 * width))
        yield np.array(numbers, np.int64), np.frombuffer(joined, "<f4").reshape(len(blobs), width)


def _look_up(db: sqlite3.Connection, ids: Ids, found: Floats) -> None:
    for place, number in enumerate(ids.tolist()):
        row = db.execute("SELECT crc, data FROM vectors WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise _unknown([number])
        if not isinstance(row[1], bytes) or crc32(row[1]) != row[0] or len(row[1]) != found.itemsize * found.shape[1]:
            raise damaged(number)
        found[place] = np.frombuffer(row[1], "<f4")


def damaged(number: int) -> GalleryError:
    """The error for a vector that is not what was stored."""
    return GalleryError(
        f"the vector of item {number} is damaged: its checksum is not the one noted when it was stored. Remove the "
        "item and add its picture again, or use a snapshot."
    )


def _check_known(db: sqlite3.Connection, ids: Ids) -> None:
    known = "SELECT 1 FROM items WHERE id = ?"
    missing = [number for number in ids.tolist() if db.execute(known, (number,)).fetchone() is None]
    raise _unknown(missing) if missing else damaged(int(ids[0]))


def _unknown(ids: list[int]) -> GalleryError:
    named = ", ".join(map(str, ids[:5])) + (", …" if len(ids) > 5 else "")
    return GalleryError(f"no item has the id {named}. Expected ids of the gallery; those may have been removed.")


def items(db: sqlite3.Connection, ids: Ids) -> list[Item]:
    """The items of `ids`, in that order. Raises GalleryError where one is not there."""
    query = (
        "SELECT i.id, l.name, i.source, i.hash, i.metadata, i.added FROM items AS i JOIN labels AS l ON l.id = i.label "
        "WHERE i.id = ?"
    )
    found = []
    for number in ids.tolist():
        row = db.execute(query, (number,)).fetchone()
        if row is None:
            raise _unknown([number])
        try:
            found.append(Item(row[0], row[1], source_text(row[2]), row[3], json.loads(row[4]), row[5]))
        except ValueError as error:
            raise GalleryError(
                f"the metadata or source of item {number} are damaged: {error}. Remove the item and add its picture "
                "again, or use a snapshot."
            ) from error
    return found


def thumbnail(db: sqlite3.Connection, number: int) -> bytes | None:
    """The small JPEG of an item; None where it has none. Raises GalleryError where the item is not there."""
    row = db.execute("SELECT data FROM thumbnails WHERE id = ?", (number,)).fetchone()
    if row is None:
        items(db, np.array([number], np.int64))
        return None
    return bytes(row[0])


def counts(db: sqlite3.Connection) -> dict[str, int]:
    """How many items each label has, by label."""
    return dict(
        db.execute("SELECT name, (SELECT count(*) FROM items WHERE label = labels.id) FROM labels ORDER BY name")
    )


def find(
    db: sqlite3.Connection,
    labels: Iterable[str] | None,
    sources: Iterable[str] | None,
    hashes: Iterable[str] | None,
    where: Mapping[str, Any] | None,
) -> Ids:
    """Rising ids of the items for which everything given holds. See `Store.find`."""
    condition, parameters = compile_where(where or {})
    stored_sources = None if sources is None else [stored_source(str(source), "sources") for source in sources]
    for values, column in (
        (_texts(labels), "items.label IN (SELECT id FROM labels WHERE name IN ({}))"),
        (stored_sources, "items.source IN ({})"),
        (_texts(hashes), "items.hash IN ({})"),
    ):
        if values is not None:
            listed = column.format("SELECT value FROM wanted WHERE list = ?")
            db.executemany("INSERT OR IGNORE INTO wanted VALUES (?, ?)", ((column, value) for value in values))
            condition, parameters = f"{listed} AND {condition}", [column, *parameters]
    rows = db.execute(f"SELECT id FROM items WHERE {condition} ORDER BY id", parameters)
    return np.fromiter((row[0] for row in rows), np.int64)


def _texts(values: Iterable[str] | None) -> list[str] | None:
    return None if values is None else [value for value in values if is_text(value)]  # others are never stored
