"""Saved segments come back the same; a file that was changed in any way is never searched."""

import os
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from eyas.errors import GalleryError
from eyas.index import engine, files
from eyas.index.engine import Segment
from eyas.index.files import checksum, load_segment, parse, save_segment
from eyas.index.records import KINDS, METRICS, Floats, GalleryInfo, Kind, Metric, SegmentRecord
from eyas.index.structures import load_faiss

ALL = list(product(KINDS, METRICS))
WIDTH = 12


@pytest.fixture(autouse=True)
def no_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The structures are searched, however few the vectors."""
    monkeypatch.setattr(engine, "FEW", 0)
    monkeypatch.setattr(engine, "FEW_EACH", 0)


def numbers(count: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def info(kind: Kind, metric: Metric, width: int = WIDTH) -> GalleryInfo:
    return GalleryInfo("a gallery", kind, metric, width)


def saved(folder: Path, kind: Kind, metric: Metric, count: int = 400) -> tuple[Segment, SegmentRecord]:
    segment = Segment.build(numbers(count), np.arange(count) * 2, kind, metric)
    return segment, save_segment(segment, folder, f"{kind}-{metric}-{count}.faiss")


@pytest.mark.parametrize(("kind", "metric"), ALL)
@pytest.mark.parametrize("count", [0, 1, 6, 400])
def test_round_trip(tmp_path: Path, kind: Kind, metric: Metric, count: int) -> None:
    segment, record = saved(tmp_path, kind, metric, count)
    loaded = load_segment(tmp_path, record, info(kind, metric))
    alive = np.arange(count) % 2 == 0
    for asked in (None, alive):
        for before, after in zip(
            segment.search(numbers(9, 1), 5, asked), loaded.search(numbers(9, 1), 5, asked), strict=True
        ):
            np.testing.assert_array_equal(before, after)
    assert (loaded.kind, loaded.metric, loaded.nbytes) == (kind, metric, segment.nbytes)
    np.testing.assert_array_equal(loaded.ids, segment.ids)
    held = loaded.vectors()
    assert (held is None) == (segment.vectors() is None)
    if held is not None:
        del loaded
        np.testing.assert_array_equal(held, numbers(count))
        assert held.flags.aligned and held.ctypes.data % 16 == 0 or not count
    assert [file.name for file in tmp_path.iterdir()] == [record.name]


def test_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK", 1000)
    monkeypatch.setattr(files, "BLOCK", 64)
    segment, record = saved(tmp_path, "HNSW32", "L2")
    loaded = load_segment(tmp_path, record, info("HNSW32", "L2"))
    np.testing.assert_array_equal(loaded.search(numbers(9, 1), 5)[1], segment.search(numbers(9, 1), 5)[1])
    path, seen = tmp_path / record.name, {record.sha256}
    places = range(0, path.stat().st_size, 9000)
    for place in places:
        flip(path, place)
        seen.add(checksum(path))
        flip(path, place)
    assert len(seen) == 1 + len(places) and checksum(path) == record.sha256


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_modes(tmp_path: Path) -> None:
    _, record = saved(tmp_path / "segments", "Flat", "IP")
    assert stat.S_IMODE((tmp_path / "segments").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "segments" / record.name).stat().st_mode) == 0o600


@pytest.mark.parametrize("step", ["fsync", "write"])
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The file that was there stays, and nothing else does."""
    segment, record = saved(tmp_path, "Flat", "IP")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(load_faiss(), "PyCallbackIOWriter", lambda write, size: full())
    with pytest.raises(GalleryError, match="No space left on device. Free space"):
        save_segment(segment, tmp_path, record.name)
    assert [file.name for file in tmp_path.iterdir()] == [record.name]
    load_segment(tmp_path, record, info("Flat", "IP"))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (info("HNSW32", "IP"), "holds a IndexFlatIP, expected IndexHNSWFlat"),
        (info("IVF", "IP"), "holds a IndexFlatIP, expected IndexIVFFlat"),
        (info("Flat", "L2"), "holds an index of another metric than L2"),
        (info("Flat", "IP", 13), "holds 400 vectors of 12 numbers, expected 400 of 13"),
        (info("Flat", "hamming"), "is not a file of Faiss"),
    ],
)
def test_something_else_than_the_record_says(tmp_path: Path, other: GalleryInfo, words: str) -> None:
    _, record = saved(tmp_path, "Flat", "IP")
    with pytest.raises(GalleryError, match=words):
        load_segment(tmp_path, record, other)


def test_another_count(tmp_path: Path) -> None:
    _, record = saved(tmp_path, "Flat", "IP")
    with pytest.raises(GalleryError, match="holds 400 vectors of 12 numbers, expected 399 of 12"):
        load_segment(tmp_path, replace(record, ids=record.ids[1:]), info("Flat", "IP"))


def test_no_file_of_ours(tmp_path: Path) -> None:
    _, record = saved(tmp_path, "Flat", "IP")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(2**40)
    names = {"missing": "cannot be read", "folder": "no plain file", "huge": "bytes are more than its vectors can need"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link").symlink_to(tmp_path / record.name)
        names |= {"pipe": "no plain file", "link": "no plain file"}
    for name, words in names.items():
        with pytest.raises(GalleryError, match=words):
            load_segment(tmp_path, replace(record, name=name), info("Flat", "IP"))
    with pytest.raises(GalleryError, match="plain name of a file"):
        load_segment(tmp_path / "folder", replace(record, name=f"../{record.name}"), info("Flat", "IP"))


def flip(path: Path, place: int, bit: int = 3) -> None:
    with path.open("r+b") as stream:
        stream.seek(place)
        value = stream.read(1)[0]
        stream.seek(place)
        stream.write(bytes([value ^ 1 << bit]))


def mutants(whole: bytes, others: list[bytes], count: int) -> Iterator[bytes]:
    """`count` changed copies of a file: bits turned, cut off, made longer, blocks cleared or moved, another's bytes."""
    rng = np.random.default_rng(len(whole))
    for number in range(count):
        data, place = bytearray(whole), int(rng.integers(len(whole)))
        if number % 3 == 1:  # the numbers at the beginning say how large things are
            place = int(rng.integers(min(len(whole), 120)))
        match number % 6:
            case 0 | 1 | 4:
                data[place] ^= 1 << int(rng.integers(8))
            case 2:
                del data[place:]
            case 3:
                data += bytes(rng.integers(0, 256, 1 + number, dtype=np.uint8))
            case _:
                data[place : place + 32] = others[number % len(others)][place : place + 32]
        if bytes(data) != whole:
            yield bytes(data)
    yield from others


@pytest.mark.parametrize(("kind", "metric"), ALL)
def test_changed_files_are_found_out(tmp_path: Path, kind: Kind, metric: Metric) -> None:
    _, record = saved(tmp_path, kind, metric)
    path = tmp_path / record.name
    others = [
        (tmp_path / saved(tmp_path, *which, 400 + number)[1].name).read_bytes() for number, which in enumerate(ALL, 1)
    ]
    changed = list(mutants(path.read_bytes(), others, 40))
    assert len(changed) > 40
    for data in changed:
        path.write_bytes(data)
        with pytest.raises(GalleryError, match="was changed since it was written|can need"):
            load_segment(tmp_path, record, info(kind, metric))


def test_limits_hold_while_a_file_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    faiss = load_faiss()
    before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
    _, record = saved(tmp_path, "IVF", "IP")
    read, seen = faiss.read_index, []

    def watched(reader: object) -> object:
        seen.append((faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()))
        return read(reader)

    monkeypatch.setattr(faiss, "read_index", watched)
    load_segment(tmp_path, record, info("IVF", "IP"))
    size = (tmp_path / record.name).stat().st_size
    assert seen == [(size, size)]
    with pytest.raises(GalleryError, match="is not a file of Faiss"):
        parse(tmp_path, np.zeros(0, np.uint8), binary=False)
    assert (faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()) == before


UNCHECKED = """
import sys
from pathlib import Path
import numpy as np
from eyas.errors import GalleryError
from eyas.index import engine, files
from eyas.index.records import GalleryInfo, SegmentRecord

folder, kind, metric, first = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
engine.FEW = engine.FEW_EACH = 0
sound = files._read
files._read = lambda path, size, data: sound(path, size, data) and "unchecked"
queries = np.load(folder / "queries.npy")
wanted = np.load(folder / "wanted.npy")
for number, path in enumerate(sorted(folder.glob("*.mutant"))[first:], first):
    try:
        record = SegmentRecord(path.name, "unchecked", np.arange(400) * 2)
        found = files.load_segment(folder, record, GalleryInfo("", kind, metric, 12)).search(queries, 5)[1]
        print("same" if (found == wanted).all() else "wrong", flush=True)
    except GalleryError:
        print("found out", flush=True)
    except Exception as error:
        print("other", flush=True)
"""


@pytest.mark.parametrize(("kind", "metric"), [("Flat", "IP"), ("HNSW32", "L2"), ("IVF", "IP")])
def test_without_the_checksum_it_would_go_wrong(tmp_path: Path, kind: Kind, metric: Metric) -> None:
    """The same changes, past the checksum, in a process of their own: answers do go wrong, and processes may die.

    So the test above can fail. What Faiss notices by itself is turned into a GalleryError.
    """
    segment, record = saved(tmp_path, kind, metric)
    whole = (tmp_path / record.name).read_bytes()
    other_vectors = whole[:-4800] + whole[-4800:][::-1]
    for number, data in enumerate(mutants(whole, [whole[::-1], other_vectors], 60)):
        (tmp_path / f"{number:03d}.mutant").write_bytes(data)
    np.save(tmp_path / "queries.npy", numbers(30, 1))
    np.save(tmp_path / "wanted.npy", segment.search(numbers(30, 1), 5)[1])
    total, outcomes = len(list(tmp_path.glob("*.mutant"))), Counter[str]()
    while outcomes.total() < total:
        command = [sys.executable, "-c", UNCHECKED, str(tmp_path), kind, metric, str(outcomes.total())]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        outcomes.update(line for line in done.stdout.splitlines() if line in ("same", "wrong", "found out", "other"))
        if done.returncode:
            outcomes["dead"] += 1
    assert outcomes["wrong"] > 0 and outcomes["found out"] > 10, outcomes
    assert outcomes["dead"] <= 3, outcomes
