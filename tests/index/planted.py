"""Wrong galleries for the self-test: each function is the work of a child process in which one thing is broken."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

import eyas.index.changes as changes
import eyas.index.selftest as selftest
from eyas.index import Gallery, NewItem
from eyas.index.database import Database
from eyas.index.records import Change, Floats

work = selftest._work


def acknowledges_before_commit(path: str, seed: int, pipe: Connection) -> None:
    """Five changes are committed at once, and each is acknowledged before."""
    done = [0]

    @contextmanager
    def writing(self: Database) -> Iterator[Any]:
        if not self._writer.in_transaction:
            self._writer.execute("BEGIN IMMEDIATE")
        yield self._writer
        done[0] += 1
        if done[0] % 5 == 0:
            self._writer.execute("COMMIT")

    @contextmanager
    def reading(self: Database) -> Iterator[Any]:
        yield self._writer

    Database.writing, Database.reading = writing, reading  # type: ignore[method-assign]
    work(path, seed, pipe)


def loses_a_row_when_opened(path: str, seed: int, pipe: Connection) -> None:
    """Whoever opens the gallery drops an item, without a trace."""
    with Gallery.open(path) as gallery, gallery._store._database.writing() as db:
        db.execute("DELETE FROM vectors WHERE id IN (SELECT max(id) FROM items)")
        db.execute("DELETE FROM items WHERE id IN (SELECT max(id) FROM items)")
        db.execute("DELETE FROM labels WHERE id NOT IN (SELECT label FROM items)")
    work(path, seed, pipe)


def uses_ids_again(path: str, seed: int, pipe: Connection) -> None:
    """The next id is the one after the largest that is there."""
    order = selftest._order

    def next_id(db: Any) -> tuple[int, int]:
        query = "SELECT generation + 1, (SELECT coalesce(max(id) + 1, 0) FROM items) FROM gallery"
        number, largest = db.execute(query).fetchone()
        return number, largest

    def append_and_undo(gallery: Gallery, rng: random.Random, undoable: int) -> dict[str, Any]:
        wanted = "undo" if undoable else "append"
        while (found := order(gallery, rng, undoable))["do"] != wanted:
            pass
        return found

    changes._next, selftest._order = next_id, append_and_undo
    work(path, seed, pipe)


def stores_other_vectors(path: str, seed: int, pipe: Connection) -> None:
    """Each vector is stored with its numbers in another order, and with the checksum of that."""
    blobs = changes._blobs
    changes._blobs = lambda vectors, rows: blobs(np.roll(vectors, 1, axis=1), rows)
    work(path, seed, pipe)


def damages_vectors(path: str, seed: int, pipe: Connection) -> None:
    """The checksum is that of the vector, and the bytes are not."""
    checksum = changes.crc32
    changes.crc32 = lambda blob: checksum(blob) ^ 1  # type: ignore[attr-defined]
    work(path, seed, pipe)


def stores_halves(path: str, seed: int, pipe: Connection) -> None:
    """An append is two changes, with a moment between them."""
    append: Callable[..., Change] = Gallery.append

    def by_halves(self: Gallery, vectors: Floats, items: list[NewItem]) -> Change:
        half = len(items) // 2
        first = append(self, vectors[:half], items[:half])
        time.sleep(0.1)
        second = append(self, vectors[half:], items[half:])
        return Change(second.generation, "append", first.added + second.added)

    Gallery.append = by_halves  # type: ignore[method-assign, assignment]
    work(path, seed, pipe)


def fails(path: str, seed: int, pipe: Connection) -> None:
    """Every change but an append raises an exception."""

    def broken(*_: object) -> None:
        raise ArithmeticError("broken")

    Gallery.remove = Gallery.update = Gallery.undo = Gallery.optimise = broken  # type: ignore[method-assign, assignment]
    work(path, seed, pipe)
