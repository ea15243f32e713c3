"""A copy of a gallery at one moment, and the search for damage in one."""

import secrets
import shutil
import sqlite3
from pathlib import Path
from zlib import crc32

from eyas.cache import sync_folder
from eyas.errors import GalleryError
from eyas.index.database import FILE, disk_errors, explained, make_folder, sync_file

_MOST_PROBLEMS = 100


def write_snapshot(db: sqlite3.Connection, target: Path) -> None:
    """Copy the gallery that `db` reads to the new folder `target`: it is there whole and on disk, or not at all.

    The files of search structures stay behind: they are made anew when the copy is used.
    Raises GalleryError: something is at `target`, the disk is full or fails.
    """
    with disk_errors(target):
        if target.exists():
            raise GalleryError(f"{target}: there is something already. Expected the name of a new folder.")
        draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        make_folder(draft)
        try:
            file = draft / FILE
            file.touch(mode=0o600, exist_ok=False)
            with explained(file):
                _copy(db, file)
            sync_file(file)
            sync_folder(draft)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        sync_folder(target.parent)


def _copy(db: sqlite3.Connection, file: Path) -> None:
    copy = sqlite3.connect(file, isolation_level=None)
    try:
        copy.execute("PRAGMA synchronous = OFF")  # the whole file is synced before it gets its name
        db.backup(copy)
        copy.execute("DELETE FROM segments")
    finally:
        copy.close()


def problems(db: sqlite3.Connection, width: int) -> list[str]:
    """What is wrong with the gallery that `db` reads, in words; [] where it is sound."""
    try:
        found = [f"SQLite: {row[0]}" for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        for table, number, other, _ in db.execute("PRAGMA foreign_key_check"):
            found.append(f"row {number} of {table} belongs to nothing in {other}")
        for text, query in _LOOKS:
            found += [text.format(*row) for row in db.execute(f"{query} LIMIT {_MOST_PROBLEMS}")]
        found += _damaged_vectors(db, width)
    except sqlite3.DatabaseError as error:
        return [f"SQLite: {error}"]
    return found[:_MOST_PROBLEMS]


_LOOKS = (
    ("item {0} has no vector", "SELECT id FROM items WHERE id NOT IN (SELECT id FROM vectors)"),
    ("label {0!r} has no items", "SELECT name FROM labels WHERE id NOT IN (SELECT label FROM items)"),
    (
        "item {0} has an id that is not given yet: the next is {1}",
        "SELECT id, (SELECT next_id FROM gallery) AS next FROM items WHERE id >= next OR id < 0",
    ),
    ("the metadata of item {0} are not JSON", "SELECT id FROM items WHERE NOT json_valid(metadata)"),
    (
        "change {0} is newer than the newest, {1}",
        "SELECT generation, (SELECT generation FROM gallery) AS newest FROM changes WHERE generation > newest",
    ),
)


def _damaged_vectors(db: sqlite3.Connection, width: int) -> list[str]:
    found = []
    for number, checksum, blob in db.execute("SELECT id, crc, data FROM vectors ORDER BY id"):
        if not isinstance(blob, bytes) or crc32(blob) != checksum:
            found.append(f"the vector of item {number} is damaged: another checksum than when it was stored")
        elif len(blob) != 4 * width:
            found.append(f"the vector of item {number} has {len(blob)} bytes instead of {4 * width}")
        if len(found) == _MOST_PROBLEMS:
            break
    return found
