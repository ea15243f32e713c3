"""Faiss files of unknown origin, read in a process of its own, and files that PaddleX can read."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eyas.errors import GalleryError
from eyas.index.records import KINDS, METRICS, Floats, Ids, Kind, Metric
from eyas.index.structures import load_faiss

_MOST_IVF = 65536  # lists


@dataclass(frozen=True, eq=False)
class FaissFile:
    """What a Faiss file holds: vectors float32 [N, D], their ids int64 [N]."""

    vectors: Floats
    ids: Ids
    metric: Metric
    kind: Kind


def read_faiss(file: Path) -> FaissFile:
    """The vectors of a Faiss file of any origin; of binary ones, 1 and -1 for each bit.

    Raises GalleryError where it holds none, is of another kind than PaddleX writes, or ends the process that reads it.
    """
    load_faiss()  # a missing package is said here, not by the other process
    with tempfile.TemporaryDirectory(prefix="eyas-unpack-") as folder:
        try:
            place = Path(folder)
            _run(file, place)
            found = json.loads((place / "found.json").read_text())
            if "problem" in found:
                raise GalleryError(f"{file}: {found['problem']}. Expected an index that PaddleX or Faiss wrote.")
            vectors = np.load(place / "vectors.npy", allow_pickle=False)
            ids = np.load(place / "ids.npy", allow_pickle=False)
            metric, kind = METRICS[METRICS.index(found["metric"])], KINDS[KINDS.index(found["kind"])]
        except (OSError, ValueError, KeyError) as error:
            raise GalleryError(f"{file} cannot be unpacked: {error}. Expected a sound Faiss file.") from error
    return FaissFile(vectors, ids.astype(np.int64), metric, kind)


def _run(file: Path, folder: Path) -> None:
    size = file.stat().st_size
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    # -P: no module is taken from the current folder, which may be as foreign as the file.
    command = [sys.executable, "-P", "-m", "eyas.index.unpack", str(file.absolute()), str(folder)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=300 + size / 10e6, check=False)
    except subprocess.TimeoutExpired as error:
        raise GalleryError(f"{file} takes too long to read ({error.timeout:.0f} s). Expected a sound file.") from error
    if done.returncode or not (folder / "found.json").is_file():
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [""])[-1][:200]
        how = f"by signal {-done.returncode}" if done.returncode < 0 else f"with code {done.returncode}: {last}"
        raise GalleryError(
            f"{file}: the process that read it ended {how}. "
            "Expected a sound Faiss file; this one is damaged or hostile."
        )


def paddlex_index(vectors: Floats, ids: Ids, kind: Kind, metric: Metric) -> Any:
    """The vectors as a Faiss index like PaddleX 3.7.2 builds it.

    Raises GalleryError for the metric "hamming", which PaddleX cannot search.
    """
    if metric == "hamming":
        raise GalleryError(
            "PaddleX cannot search galleries with the metric hamming. Expected IP or L2; export it as npy or parquet."
        )
    faiss = load_faiss()
    # PaddleX makes no list at all of fewer than 8 vectors, and then cannot search.
    lists = min(max(len(vectors) // 8, 1), _MOST_IVF)
    number = faiss.METRIC_INNER_PRODUCT if metric == "IP" else faiss.METRIC_L2
    inner = faiss.index_factory(vectors.shape[1], f"IVF{lists},Flat" if kind == "IVF" else kind, number)
    if kind == "IVF":
        inner.cp.min_points_per_centroid = 1  # as PaddleX divides them, each list has 8; Faiss would warn
    index = faiss.IndexIDMap2(inner)
    index.train(vectors)
    index.add_with_ids(vectors, ids)
    return index


def write_faiss(index: Any, file: Path) -> None:
    """Write an index.  Raises GalleryError where the disk does not take it."""
    try:
        load_faiss().write_index(index, str(file))
    except RuntimeError as error:
        raise GalleryError(f"{file} cannot be written: {error}. Is the disk full?") from error
