"""A process of its own that takes the vectors out of a Faiss file: `python -m eyas.index.unpack FILE FOLDER`.

Faiss trusts its files: a damaged or hostile one can crash the process that reads it, or make it take all memory. This
one has limits and nothing to lose. It writes `vectors.npy`, `ids.npy` and `found.json` into FOLDER; what it cannot use
it says in `found.json`.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.index.structures import load_faiss

_LOOPS = 10_000_000
_SPARE = 4 << 30  # bytes of address space beside what the file needs: libraries and their threads
Found = tuple[NDArray[Any], NDArray[np.int64]]


class Unfit(Exception):
    """The file holds no usable vectors; the text says why."""


def limit(size: int) -> None:
    """Bound memory and time of this process, for a file of `size` bytes."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_SPARE + 5 * size, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CPU, (300 + size // 10_000_000, resource.RLIM_INFINITY))


def unpack(file: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, str]]:
    """(vectors float32 [N, D], their ids int64 [N], {"metric", "kind"}) of a Faiss file.  Raises Unfit."""
    faiss = load_faiss()
    faiss.set_deserialization_vector_byte_limit(2 * file.stat().st_size + 65536)
    faiss.set_deserialization_loop_limit(_LOOPS)
    with file.open("rb") as stream:
        binary = stream.read(2) == b"IB"
    try:
        whole = (faiss.read_index_binary if binary else faiss.read_index)(str(file))
    except (RuntimeError, MemoryError) as error:
        raise Unfit(f"Faiss cannot read it: {str(error).splitlines()[0][-300:]}") from error
    # `whole` owns what `index` looks at, and must outlive it.
    index = (faiss.downcast_IndexBinary if binary else faiss.downcast_index)(whole)
    if binary:
        rows, ids, kind = _bits(faiss, index)
        signs = np.unpackbits(rows, axis=1)[:, : index.d].astype(np.float32)
        return signs * 2 - 1, ids, {"metric": "hamming", "kind": kind}
    metric = {faiss.METRIC_INNER_PRODUCT: "IP", faiss.METRIC_L2: "L2"}.get(index.metric_type)
    if metric is None:
        raise Unfit(f"its metric has the number {index.metric_type}; expected inner product or L2")
    vectors, ids, kind = _floats(faiss, index)
    return vectors, ids, {"metric": metric, "kind": kind}


def _floats(faiss: Any, index: Any) -> tuple[NDArray[np.float32], NDArray[np.int64], str]:
    if type(index) in (faiss.IndexIDMap, faiss.IndexIDMap2):
        vectors, inner, kind = _floats(faiss, faiss.downcast_index(index.index))
        return *_renumbered(faiss.vector_to_array(index.id_map), vectors, inner), kind
    if type(index) is faiss.IndexIVFFlat:
        codes, ids = _listed(faiss, index, 4 * index.d)
        return codes.view(np.float32), ids, "IVF"
    kind, flat = "Flat", index
    if type(index) is faiss.IndexHNSWFlat:
        kind, flat = "HNSW32", faiss.downcast_index(index.storage)
    if not isinstance(flat, faiss.IndexFlat):
        raise Unfit(f"it is a {type(index).__name__}; expected Flat, HNSW32 or IVF with whole vectors")
    codes = _rows(faiss.vector_to_array(flat.codes), index.ntotal, 4 * index.d)
    return codes.view(np.float32), np.arange(len(codes)), kind


def _bits(faiss: Any, index: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    if type(index) in (faiss.IndexBinaryIDMap, faiss.IndexBinaryIDMap2):
        codes, inner, kind = _bits(faiss, faiss.downcast_IndexBinary(index.index))
        return *_renumbered(faiss.vector_to_array(index.id_map), codes, inner), kind
    if type(index) is faiss.IndexBinaryIVF:
        return *_listed(faiss, index, index.d // 8), "IVF"
    kind, flat = "Flat", index
    if type(index) is faiss.IndexBinaryHNSW:
        kind, flat = "HNSW32", faiss.downcast_IndexBinary(index.storage)
    if type(flat) is not faiss.IndexBinaryFlat:
        raise Unfit(f"it is a {type(index).__name__}; expected Flat, HNSW32 or IVF with whole vectors")
    codes = _rows(faiss.vector_to_array(flat.xb), index.ntotal, index.d // 8)
    return codes, np.arange(len(codes)), kind


def _rows(codes: NDArray[np.uint8], count: int, width: int) -> NDArray[np.uint8]:
    if width < 1 or codes.size != count * width:
        raise Unfit(f"it says that it holds {count} vectors of {width} bytes, and has {codes.size} bytes of them")
    return codes.reshape(count, width)


def _listed(faiss: Any, index: Any, width: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The codes of an inverted file and their ids, by list."""
    lists = faiss.downcast_InvertedLists(index.invlists)
    sizes = [lists.list_size(number) for number in range(index.nlist)]
    if lists.code_size != width or sum(sizes) != index.ntotal:
        raise Unfit(f"its lists hold {sum(sizes)} vectors of {lists.code_size} bytes, not {index.ntotal} of {width}")
    codes, ids = np.empty((sum(sizes), width), np.uint8), np.empty(sum(sizes), np.int64)
    start = 0
    for number, size in enumerate(sizes):
        if size:
            place = slice(start, start := start + size)
            codes[place] = faiss.rev_swig_ptr(lists.get_codes(number), size * width).reshape(size, width)
            ids[place] = faiss.rev_swig_ptr(lists.get_ids(number), size)
    return codes, ids


def _renumbered(outer: NDArray[np.int64], rows: NDArray[Any], inner: NDArray[np.int64]) -> Found:
    """`rows` in the order of their inner numbers, which the outer ids follow.

    After a removal the inner numbers of IVF have gaps, and its next ones may be used twice: then nobody can tell which
    vector has which id.
    """
    if len(outer) != len(rows):
        raise Unfit(f"it holds {len(rows)} vectors and {len(outer)} ids")
    if np.array_equal(inner, np.arange(len(inner))):
        return rows, outer
    order = np.argsort(inner)
    if (np.diff(inner[order]) <= 0).any():
        raise Unfit("vectors were removed from it and others added, and two have one number since: build it anew")
    return rows[order], outer


def main(file: Path, folder: Path) -> None:
    """Write what `file` holds, or why it cannot be used, into `folder`."""
    limit(file.stat().st_size)
    try:
        vectors, ids, found = unpack(file)
        np.save(folder / "vectors.npy", vectors)
        np.save(folder / "ids.npy", ids)
    except Unfit as problem:
        found = {"problem": str(problem)}
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
