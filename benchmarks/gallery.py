"""A gallery against bare Faiss: searching, opening, memory, appending; 512 numbers a picture, 20 pictures a thing.

Both search the same structure, which Faiss reads from the gallery's own file, query by query in turns.  Opening and
memory are those of a process of its own that opens the gallery and searches once; memory is what opening adds to the
process, against the bytes of the vectors and the structure.

    python benchmarks/gallery.py [--count 100000] [--kinds Flat HNSW32] [--json FILE]       (1000000: the long run)
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, options, report

from eyas.index import Gallery, Kind, NewItem

WIDTH, LATENT, THINGS_EACH = 512, 64, 20
K = 5
QUERIES = 320
APPENDED = 1000
Rows = np.ndarray[Any, np.dtype[np.float32]]


def features(count: int, seed: int) -> Rows:
    """Rows of length 1: things in 64 dimensions, 20 pictures around each, seen in 512 dimensions."""
    fixed, rng = np.random.default_rng(0), np.random.default_rng(seed)
    basis = fixed.standard_normal((LATENT, WIDTH), dtype=np.float32)
    things = fixed.standard_normal((max(1, count // THINGS_EACH), LATENT), dtype=np.float32)
    rows = np.empty((count, WIDTH), dtype=np.float32)
    for start in range(0, count, 50_000):
        which = np.arange(start, min(start + 50_000, count)) % len(things)
        latent = things[which] + 0.5 * rng.standard_normal((len(which), LATENT), dtype=np.float32)
        block = latent @ basis + 0.2 * rng.standard_normal((len(which), WIDTH), dtype=np.float32)
        rows[start : start + len(which)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return rows


def items(first: int, count: int) -> list[NewItem]:
    """Items with hashes of their own."""
    return [NewItem(f"thing {number % 5000}", f"{number:064x}") for number in range(first, first + count)]


def resident() -> int:
    """Resident memory of this process in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_once(folder: Path) -> None:
    """Open the gallery, search once, print what that took as JSON."""
    import faiss  # noqa: F401  Faiss and the rest of eyas are not what is measured

    before, start = resident(), time.perf_counter()
    gallery = Gallery.open(folder)
    gallery.search(features(1, 1), K)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "bytes": resident() - before}))
    gallery.close()


def blocks(queries: Rows, size: int) -> Iterator[Rows]:
    """The queries, `size` at a time."""
    return (queries[start : start + size] for start in range(0, len(queries), size))


def alternate(bare: Any, gallery: Gallery, block: Rows) -> tuple[float, float]:
    """Seconds of Faiss and of the gallery for the same queries, one right after the other: busy moments hit both."""
    start = time.perf_counter()
    bare.search(block, K)
    middle = time.perf_counter()
    gallery.search(block, K)
    return middle - start, time.perf_counter() - middle


def search_rows(gallery: Gallery, kind: Kind, queries: Rows, truth: Any, rounds: int) -> list[dict[str, object]]:
    """A row for each batch size."""
    import faiss

    (file,) = (gallery.path / "segments").glob("*.faiss")
    bare = faiss.read_index(str(file))
    if kind == "HNSW32":
        bare.hnsw.efSearch = 64
    found, rows = gallery.search(queries, K), []
    for size in (1, 64):
        times = np.array([alternate(bare, gallery, block) for _ in range(rounds) for block in blocks(queries, size)])
        theirs, own = np.median(times, axis=0) * 1000 / size
        rows.append({
            "kind": kind, "vectors": len(gallery), "batch": size, "Faiss ms/query": float(theirs),
            "Gallery ms/query": float(own), "ratio": float(own / theirs),
            "ratio of the best": float(times[:, 1].min() / times[:, 0].min()),
            "recall@1": float((found.ids[:, 0] == truth).mean()),
        })  # fmt: skip
    return rows


def measure(kind: Kind, vectors: Rows, rounds: int, asked: int) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Search rows and the other row of one kind."""
    queries, count = features(asked, 2), len(vectors)
    truth = np.concatenate([(block @ vectors.T).argmax(axis=1) for block in blocks(queries, 64)])
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "gallery"
        with Gallery.create(folder, width=WIDTH, kind=kind) as gallery:
            start = time.perf_counter()
            gallery.build(vectors, items(0, count))
            stored = time.perf_counter() - start
            gallery.optimise()
            built = time.perf_counter() - start - stored
            rows = search_rows(gallery, kind, queries, truth, rounds)
        command = [sys.executable, __file__, "--open", str(folder)]
        opened = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(3)]
        size = sum(file.stat().st_size for file in (folder / "segments").iterdir())
        with Gallery.open(folder) as gallery:
            start = time.perf_counter()
            gallery.append(features(APPENDED, 3), items(count, APPENDED))
            appended = time.perf_counter() - start
    other: dict[str, object] = {
        "kind": kind, "vectors": count, "storing s": stored, "structure s": built,
        "opening s": statistics.median(one["seconds"] for one in opened),
        "vectors + structure MB": size / 1e6, "memory MB": opened[-1]["bytes"] / 1e6,
        "ratio": opened[-1]["bytes"] / size, f"append of {APPENDED} s": appended,
    }  # fmt: skip
    return rows, other


def main() -> None:
    """Measure and print."""
    parser = options(__doc__ or "", rounds=3)
    parser.add_argument("--count", type=int, default=100_000, help="vectors in the gallery (100000)")
    parser.add_argument("--queries", type=int, default=QUERIES, help=f"queries in a round ({QUERIES})")
    parser.add_argument("--kinds", nargs="+", default=["Flat", "HNSW32"], choices=["Flat", "HNSW32", "IVF"])
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.open:
        open_once(asked.open)
        return
    vectors = features(asked.count, 1)
    search, other = [], []
    for kind in asked.kinds:
        rows, row = measure(kind, vectors, asked.rounds, asked.queries)
        search += rows
        other.append(row)
    line = machine("numpy", "faiss-cpu")
    report("Searching", search, line, asked.json)
    report("Storing, opening, memory, appending", other, line, asked.json and asked.json.with_suffix(".other.json"))


if __name__ == "__main__":
    main()
