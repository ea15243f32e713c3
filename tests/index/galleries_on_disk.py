"""A gallery with several structures, removed items and a tail, and the structures of others beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile

import numpy as np

from eyas.index import Gallery, NewItem, engine, live
from eyas.index.records import Floats, Kind, Metric

WIDTH, COUNT = 12, 260


def vectors_of(count: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


QUERIES = vectors_of(25, 99)


@contextmanager
def small_structures() -> Iterator[None]:
    """Structures are made of few vectors, and searched instead of passed over."""
    before = live.SEAL_AT, engine.FEW, engine.FEW_EACH
    live.SEAL_AT, engine.FEW, engine.FEW_EACH = 40, 0, 0
    try:
        yield
    finally:
        live.SEAL_AT, engine.FEW, engine.FEW_EACH = before


def items_of(first: int, end: int) -> list[NewItem]:
    return [NewItem(f"label {n % 7}", f"hash {n}", f"{n}.png", {"n": n}) for n in range(first, end)]


def make_gallery(path: Path, others: Path, kind: Kind = "HNSW32", metric: Metric = "IP", seed: int = 0) -> None:
    """COUNT items come, 30 go: three structures, each with some that are gone, and a tail of 20.

    A structure of its past, that was replaced since, is kept in `others`. Afterwards nothing is due.
    """
    vectors = vectors_of(COUNT, seed)
    with small_structures(), Gallery.create(path, width=WIDTH, kind=kind, metric=metric) as gallery:
        for first, end in ((0, 60), (60, 120), (120, 180), (180, 240)):
            gallery.append(vectors[first:end], items_of(first, end))
            gallery.settle()
            if end == 60:
                keep_structures(path, others)
        assert len(gallery._store.segments()) == 3
        gallery.remove(range(0, 240, 8))
        gallery.append(vectors[240:], items_of(240, COUNT))


def keep_structures(path: Path, others: Path) -> None:
    """Copy the structures of a gallery to `others`, with what its database notes of each."""
    others.mkdir(exist_ok=True)
    with Gallery.open(path) as gallery:
        for record in gallery._store.segments():
            name = others / record.name
            copyfile(path / "segments" / record.name, name)
            name.with_suffix(".ids").write_bytes(record.ids.astype("<i8").tobytes())
            name.with_suffix(".sha256").write_text(record.sha256)


def answers_of(gallery: Gallery) -> list[object]:
    """What a gallery says to the queries and of its items: ids, labels, rounded scores."""
    found = gallery.search(QUERIES, 5)
    named = [[(number, label) for number, label, _ in found.named(row)] for row in range(len(QUERIES))]
    items = [(item.id, item.label, item.content_hash) for item in gallery.list()]
    return [*named, np.round(found.scores, 3).tolist(), items, sorted(gallery.counts().items())]


def true_answers(gallery: Gallery) -> list[list[int]]:
    """The ids of the five nearest of each query, every vector compared."""
    ids, vectors = gallery.state().ids, gallery.vectors()
    near = {
        "IP": lambda: QUERIES @ vectors.T,
        "L2": lambda: -np.square(QUERIES[:, None] - vectors[None]).sum(2),
    }[gallery.metric]()
    return [ids[row].tolist() for row in np.argsort(-near, axis=1)[:, :5]]
