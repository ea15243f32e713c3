"""Galleries that were damaged in one place, each opened and asked; run as a process, so that a crash is only counted.

`main` prints a line for each mutant: `same` (the answers of the undamaged gallery), `refused` (a GalleryError),
`told` (verify names damage), `quiet` (other metadata, source or time of an item, and nobody said so), `wrong` (other
answers, and nobody said so), `other` (an exception of another class).
"""

import logging
import random
import shutil
import sqlite3
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.index.galleries_on_disk import answers_of

import eyas.index.files as files
from eyas.errors import GalleryError
from eyas.index import Gallery, engine, live
from eyas.index.files import load_segment
from eyas.index.records import Item, SegmentRecord

Mutation = Callable[[Path, random.Random], None]
OTHERS = "others"
"""Beside the gallery's folder: structures that are none of its own, or of its past."""


def some_file(gallery: Path, rng: random.Random) -> Path:
    return rng.choice(sorted((gallery / "segments").iterdir()))


def flip(path: Path, rng: random.Random, begin: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(begin, len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def flip_file(gallery: Path, rng: random.Random) -> None:
    flip(some_file(gallery, rng), rng)


def flip_head(gallery: Path, rng: random.Random) -> None:
    file = some_file(gallery, rng)
    data = bytearray(file.read_bytes())
    data[rng.randrange(100)] = rng.randrange(256)
    file.write_bytes(data)


def cut_file(gallery: Path, rng: random.Random) -> None:
    file = some_file(gallery, rng)
    file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])


def extend_file(gallery: Path, rng: random.Random) -> None:
    file = some_file(gallery, rng)
    file.write_bytes(file.read_bytes() + rng.randbytes(rng.randint(1, 200)))


def clear_block(gallery: Path, rng: random.Random) -> None:
    file = some_file(gallery, rng)
    data = bytearray(file.read_bytes())
    place = rng.randrange(len(data))
    data[place : place + 512] = bytes(len(data[place : place + 512]))
    file.write_bytes(data)


def swap_files(gallery: Path, rng: random.Random) -> None:
    one, two = rng.sample(sorted((gallery / "segments").iterdir()), 2)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def delete_file(gallery: Path, rng: random.Random) -> None:
    some_file(gallery, rng).unlink()


def delete_folder(gallery: Path, rng: random.Random) -> None:
    shutil.rmtree(gallery / "segments")


def folder_for_file(gallery: Path, rng: random.Random) -> None:
    file = some_file(gallery, rng)
    file.unlink()
    file.mkdir()


def link_for_file(gallery: Path, rng: random.Random) -> None:
    file = some_file(gallery, rng)
    file.rename(gallery / "elsewhere")
    file.symlink_to(gallery / "elsewhere")


def another_for_file(gallery: Path, rng: random.Random) -> None:
    other = rng.choice(sorted((gallery.parent / OTHERS).glob("*.faiss")))
    shutil.copyfile(other, some_file(gallery, rng))


def litter(gallery: Path, rng: random.Random) -> None:
    names = (
        "segments/x.faiss",
        "segments/.x.tmp",
        "gallery.sqlite-wal",
        "gallery.sqlite-shm",
        "gallery.sqlite-journal",
    )
    (gallery / rng.choice(names)).write_bytes(rng.randbytes(rng.choice((1, 100, 40_000))))


FILES: tuple[Mutation, ...] = (
    flip_file, flip_file, flip_head, cut_file, extend_file, clear_block, swap_files, delete_file, delete_folder,
    folder_for_file, link_for_file, another_for_file, another_for_file, litter,
)  # fmt: skip


def changed_rows(gallery: Path, change: Callable[[list[list[object]]], None]) -> None:
    """Let `change` alter the rows (name, sha256, ids) of the table of structures."""
    with sqlite3.connect(gallery / "gallery.sqlite") as db:
        rows = [list(row) for row in db.execute("SELECT name, sha256, ids FROM segments ORDER BY rowid")]
        change(rows)
        db.execute("DELETE FROM segments")
        db.executemany("INSERT INTO segments VALUES (?, ?, ?)", rows)
    db.close()


def flip_row(gallery: Path, rng: random.Random) -> None:
    def change(rows: list[list[object]]) -> None:
        row, column = rng.choice(rows), rng.choice((0, 1, 2, 2, 2))
        data = bytearray(row[column] if isinstance(row[column], bytes) else str(row[column]).encode())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(7)
        row[column] = bytes(data) if column == 2 else data.decode()

    changed_rows(gallery, change)


def swap_in_rows(gallery: Path, rng: random.Random) -> None:
    def change(rows: list[list[object]]) -> None:
        one, two = rng.sample(rows, 2)
        column = rng.randrange(3)
        one[column], two[column] = (two[column], one[column]) if column else ("x", "y")

    changed_rows(gallery, change)


def other_ids(gallery: Path, rng: random.Random) -> None:
    def change(rows: list[list[object]]) -> None:
        row = rng.choice(rows)
        ids = np.frombuffer(bytes(row[2]), "<i8").copy()  # type: ignore[call-overload]
        match rng.randrange(6):
            case 0:
                rng.shuffle(ids)
            case 1:
                ids += rng.choice((-1, 1, 2**40))
            case 2:
                ids = ids[: rng.randrange(len(ids))]
            case 3:
                ids[rng.randrange(len(ids))] = rng.choice((-1, 0, 10**12, int(ids[0])))
            case 4:
                ids = np.concatenate((ids, ids[:1]))
            case _:
                row[2] = bytes(row[2])[: -rng.randint(1, 7)]  # type: ignore[call-overload]
                return
        row[2] = ids.astype("<i8").tobytes()

    changed_rows(gallery, change)


def odd_row(gallery: Path, rng: random.Random) -> None:
    def change(rows: list[list[object]]) -> None:
        row = rng.choice(rows)
        match rng.randrange(6):
            case 0:
                rows.remove(row)
            case 1:
                row[0] = rng.choice(("../gallery.sqlite", "/etc/passwd", "", "..", "a\0b", "x" * 300, b"\xff\xfe"))
            case 2:
                row[1] = rng.choice(("", "0" * 64, 5, b"\xff"))
            case 3:
                row[2] = rng.choice((b"", 7, "text", 0.5))
            case 4:
                rows.append([f"again-{row[0]}", row[1], row[2]])
            case _:
                rows.append(["none.faiss", row[1], row[2]])

    changed_rows(gallery, change)


def foreign_row(gallery: Path, rng: random.Random) -> None:
    """A whole file with its row: of another gallery, or of the past of this one (which is still true)."""
    noted = sorted((gallery.parent / OTHERS).glob("*.ids"))
    chosen = rng.choice(noted)
    shutil.copyfile(chosen.with_suffix(".faiss"), gallery / "segments" / f"{chosen.stem}.faiss")
    row: list[object] = [f"{chosen.stem}.faiss", chosen.with_suffix(".sha256").read_text(), chosen.read_bytes()]
    changed_rows(gallery, lambda rows: rows.insert(0, row))


ROWS: tuple[Mutation, ...] = (flip_row, flip_row, swap_in_rows, other_ids, other_ids, odd_row, foreign_row)


def damage_database(gallery: Path, rng: random.Random) -> None:
    """One bit, some bytes, or a stretch of the file turned into something else."""
    file = gallery / "gallery.sqlite"
    data = bytearray(file.read_bytes())
    place = rng.choice(np.flatnonzero(np.frombuffer(data, np.uint8)).tolist())  # much of it is empty
    match rng.randrange(4):
        case 0 | 1:
            data[place] ^= 1 << rng.randrange(8)
        case 2:
            data[place : place + 4] = rng.randbytes(4)
        case _:
            data[place : place + 64] = rng.randbytes(len(data[place : place + 64]))
    file.write_bytes(data)


WHAT: dict[str, tuple[Mutation, ...]] = {"files": FILES, "rows": ROWS, "database": (damage_database,)}


def outcome(gallery: Path) -> str:
    """Open the mutant and ask it."""
    try:
        with Gallery.open(gallery) as opened:
            told = bool(opened.verify())
            same = answers_of(opened) == answers
            opened.settle()
            same = same and answers_of(opened) == answers
            if told or not same:
                return "told" if told else "wrong"
            return "same" if opened.list() == items else "quiet"
    except GalleryError:
        return "refused"
    except Exception:
        traceback.print_exc()
        return "other"


def without_file_checks() -> None:
    """A planted bug: whatever the file's checksum is, it is taken for the one that was noted."""

    class Any(str):
        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = str.__hash__

    sound = files._read
    files._read = lambda path, size, data: Any(sound(path, size, data))


def without_row_checks() -> None:
    """A planted bug: the ids of a structure are taken as the row says."""

    def read(self: live.Live, record: SegmentRecord) -> live.Sealed:
        return live.Sealed(record.name, load_segment(self._store.folder / "segments", record, self._store.info))

    live.Live._read = read  # type: ignore[method-assign]


answers: list[object] = []
items: list[Item] = []


def main() -> None:
    """Arguments: the folder with the gallery, what to damage, the first number and the one after the last, a bug."""
    folder, what, first, end, bug = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    logging.disable()
    engine.FEW = engine.FEW_EACH = 0
    live.SEAL_AT = 40
    {"none": lambda: None, "file": without_file_checks, "row": without_row_checks}[bug]()
    with Gallery.open(folder / "gallery") as sound:
        answers.extend(answers_of(sound))
        items.extend(sound.list())
    mutations = WHAT[what]
    for number in range(first, end):
        rng, mutant = random.Random(f"{what} {number}"), folder / f"mutant-{number}"
        shutil.copytree(folder / "gallery", mutant)
        mutation = mutations[number % len(mutations)]
        mutation(mutant, rng)
        sys.stdout.write(f"{outcome(mutant)} {number} {mutation.__name__}\n")
        sys.stdout.flush()
        shutil.rmtree(mutant, ignore_errors=True)


if __name__ == "__main__":
    main()
