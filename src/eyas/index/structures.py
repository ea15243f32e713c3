"""Faiss' search structures: all that differs between the kinds and between numbers and bits stands here.

A structure knows its vectors by position, 0 to N-1; `engine.Segment` turns positions into ids.
"""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eyas.errors import missing_extra
from eyas.index.records import Floats, Ids, Kind, Metric

Progress = Callable[[int, int], None]

NEIGHBOURS = 32
"""Links of a node in HNSW32's graph, as in PaddleX."""
EF_CONSTRUCTION = 40
EF_SEARCH = 64
"""Nodes that a search of the graph keeps; recall@1 on clustered features is 0.999 with 100,000 of them."""
LIST_POINTS = 39
"""Vectors that k-means needs for each list of IVF, says Faiss."""
LEAST_LISTS = 8
"""IVF with fewer lists than this has no point: all vectors are compared."""
TRAINING_POINTS = 64
"""Vectors for each list that k-means looks at; more make it slower and the lists no better."""


def load_faiss() -> Any:
    """The module faiss.  Raises BackendError where it is not installed."""
    try:
        return importlib.import_module("faiss")
    except ModuleNotFoundError as error:
        if error.name != "faiss":
            raise
        raise missing_extra("faiss", "recognition") from error


def code_width(width: int) -> int:
    """The bits of a packed row of `width` signs: whole bytes; those left over are 0 in every row."""
    return -(-width // 8) * 8


def packed(vectors: Floats) -> NDArray[np.uint8]:
    """The signs of the numbers as bits, 1 where a number is above 0: uint8 [N, ceil(D / 8)]."""
    return np.packbits(vectors > 0, axis=1)


@dataclass(frozen=True)
class Selection:
    """The positions of a structure that may be found, in Faiss' form; made once, good for any number of searches.

    `count` of them, the share `share` of all. `few`: so few that comparing each is quicker than going past the others.
    """

    count: int
    share: float
    few: bool
    bitmap: Any
    positions: Any

    @staticmethod
    def of(alive: NDArray[np.bool_]) -> "Selection":
        """The positions where `alive` is true."""
        faiss = load_faiss()
        count, total = int(np.count_nonzero(alive)), len(alive)
        few = count < max(2000, total / 50, 50 * math.sqrt(total))
        # Faiss' Python keeps a reference to the arrays that these selectors point into.
        positions = faiss.IDSelectorArray(np.flatnonzero(alive)) if few else None
        bitmap = faiss.IDSelectorBitmap(np.packbits(alive, bitorder="little"))
        return Selection(count, count / max(total, 1), few, bitmap, positions)


class Structure:
    """A filled Faiss index; the classes below say how one kind is made and searched.

    Searching is safe from any number of threads, and the index is never added to after `build`.
    """

    float_type: ClassVar[str]
    binary_type: ClassVar[str]
    slice: ClassVar[int] = 8192
    """Vectors that are added between two calls of `progress`."""

    def __init__(self, index: Any, binary: bool, memory: object = None) -> None:
        """`memory`: what `index` points into, where it does not own its numbers."""
        self.index = index
        self.binary = binary
        self.faiss = load_faiss()
        self._memory = memory

    @classmethod
    def build(cls, vectors: Floats, metric: Metric, progress: Progress | None) -> "Structure":
        """The structure over `vectors`."""
        binary = metric == "hamming"
        index = cls.empty(packed(vectors) if binary else vectors, vectors.shape[1], metric)
        total = len(vectors)
        for start in range(0, total, cls.slice):
            rows = vectors[start : start + cls.slice]
            index.add(packed(rows) if binary else rows)
            if progress is not None:
                progress(min(start + cls.slice, total), total)
        return cls(index, binary)

    @classmethod
    def empty(cls, rows: NDArray[Any], width: int, metric: Metric) -> Any:
        """An index without vectors, ready for `rows`: numbers, or packed bits for hamming."""
        raise NotImplementedError

    def search(self, rows: NDArray[Any], k: int, chosen: Selection | None) -> tuple[NDArray[Any], Ids]:
        """(scores, positions) [Q, k], best first, position -1 where there are no more; k is at most N."""
        raise NotImplementedError

    def exact(self, rows: NDArray[Any], k: int, chosen: Selection | None) -> tuple[NDArray[Any], Ids]:
        """As `search`, every vector compared."""
        return self._scan(self.flat(), rows, k, chosen)

    def flat(self) -> Any:
        """The Faiss index that compares every vector."""
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        flat = self.flat()
        return int(flat.ntotal * flat.code_size)

    def floats(self) -> Floats | None:
        """The vectors [N, D] as they lie in the structure, where they lie in order."""
        if self.binary:
            return None
        view: Floats = np.asarray(_Rows(self, self.flat()))
        return view

    def _scan(self, flat: Any, rows: NDArray[Any], k: int, chosen: Selection | None) -> tuple[NDArray[Any], Ids]:
        if chosen is None:
            return flat.search(rows, k)  # type: ignore[no-any-return]
        # Only the flat index of numbers goes through a list of positions without testing each position of all.
        listed = chosen.positions is not None and not self.binary
        selector = chosen.positions if listed else chosen.bitmap
        return flat.search(rows, k, params=self.faiss.SearchParameters(sel=selector))  # type: ignore[no-any-return]


class _Rows:
    """Lets numpy look at the rows of a flat index, and keeps them alive for as long as an array does."""

    def __init__(self, owner: Structure, flat: Any) -> None:
        self.owner = owner
        shape = (flat.ntotal, flat.d)
        first = owner.faiss.rev_swig_ptr(flat.get_xb(), 1).ctypes.data if flat.ntotal else 0
        self.__array_interface__ = {"data": (first, True), "shape": shape, "typestr": "<f4", "version": 3}


class Flat(Structure):
    """Compares every vector: exact."""

    float_type, binary_type = "IndexFlat", "IndexBinaryFlat"
    slice = 2**62  # in one go: Faiss would double its memory again and again

    @classmethod
    def empty(cls, rows: NDArray[Any], width: int, metric: Metric) -> Any:
        faiss = load_faiss()
        return faiss.IndexBinaryFlat(code_width(width)) if metric == "hamming" else faiss.IndexFlat(width, of(metric))

    def search(self, rows: NDArray[Any], k: int, chosen: Selection | None) -> tuple[NDArray[Any], Ids]:
        return self._scan(self.index, rows, k, chosen)

    def flat(self) -> Any:
        return self.index


class Graph(Structure):
    """HNSW: walks a graph of near neighbours from node to nearer node (Malkov and Yashunin, arXiv 1603.09320)."""

    float_type, binary_type = "IndexHNSWFlat", "IndexBinaryHNSW"

    def __init__(self, index: Any, binary: bool, memory: object = None) -> None:
        super().__init__(index, binary, memory)
        index.hnsw.efSearch = EF_SEARCH
        downcast = self.faiss.downcast_IndexBinary if binary else self.faiss.downcast_index
        self._storage = downcast(index.storage)

    @classmethod
    def empty(cls, rows: NDArray[Any], width: int, metric: Metric) -> Any:
        faiss = load_faiss()
        if metric == "hamming":
            index = faiss.IndexBinaryHNSW(code_width(width), NEIGHBOURS)
        else:
            index = faiss.IndexHNSWFlat(width, NEIGHBOURS, of(metric))
        index.hnsw.efConstruction = EF_CONSTRUCTION
        return index

    def search(self, rows: NDArray[Any], k: int, chosen: Selection | None) -> tuple[NDArray[Any], Ids]:
        width = max(EF_SEARCH, 2 * k)
        if chosen is None:
            if width == EF_SEARCH:
                return self.index.search(rows, k)  # type: ignore[no-any-return]
            parameters = self.faiss.SearchParametersHNSW(efSearch=width)
        else:
            # The walk keeps the nearest nodes whether they may be found or not: of `width` only a share may.
            parameters = self.faiss.SearchParametersHNSW(efSearch=int(width / chosen.share), sel=chosen.bitmap)
        return self.index.search(rows, k, params=parameters)  # type: ignore[no-any-return]

    def flat(self) -> Any:
        return self._storage

    @property
    def nbytes(self) -> int:
        graph = self.index.hnsw
        links = 4 * graph.neighbors.size() + 8 * graph.offsets.size() + 4 * graph.levels.size()
        return super().nbytes + int(links)


class Lists(Structure):
    """IVF: lists of near vectors around centres that k-means finds; a search looks into the lists nearest to it."""

    float_type, binary_type = "IndexIVFFlat", "IndexBinaryIVF"
    slice = 32768

    def __init__(self, index: Any, binary: bool, memory: object = None) -> None:
        super().__init__(index, binary, memory)
        self._probes = index.nprobe = probes(index.nlist)
        self._codes = self._in_order() if binary else None

    @staticmethod
    def count(vectors: int) -> int:
        """How many lists; 0: too few vectors for lists."""
        lists = min(int(4 * math.sqrt(vectors)), vectors // LIST_POINTS)
        return lists if lists >= LEAST_LISTS else 0

    @classmethod
    def empty(cls, rows: NDArray[Any], width: int, metric: Metric) -> Any:
        faiss = load_faiss()
        lists, binary = cls.count(len(rows)), metric == "hamming"
        if binary:
            index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(code_width(width)), code_width(width), lists)
        else:
            index = faiss.IndexIVFFlat(faiss.IndexFlat(width, of(metric)), width, lists, of(metric))
            index.cp.spherical = metric == "IP"
        sample = len(rows) if len(rows) <= TRAINING_POINTS * lists else TRAINING_POINTS * lists
        chosen = np.random.default_rng(0).choice(len(rows), sample, replace=False)
        index.train(np.ascontiguousarray(rows[np.sort(chosen)]))
        return index

    def search(self, rows: NDArray[Any], k: int, chosen: Selection | None) -> tuple[NDArray[Any], Ids]:
        if chosen is None:
            return self.index.search(rows, k)  # type: ignore[no-any-return]
        # Twice: what is left may lie in other lists than the query's neighbours that are not wanted.
        return self._probe(rows, k, chosen, math.ceil(2 * self._probes / chosen.share))

    def exact(self, rows: NDArray[Any], k: int, chosen: Selection | None) -> tuple[NDArray[Any], Ids]:
        return self._probe(rows, k, chosen, self.index.nlist)

    def floats(self) -> Floats | None:
        return None  # they lie list by list

    @property
    def nbytes(self) -> int:
        index = self.index
        in_order = 0 if self._codes is None else self._codes.ntotal
        return int((index.ntotal + index.nlist + in_order) * index.code_size + 8 * index.ntotal)

    def _probe(self, rows: NDArray[Any], k: int, chosen: Selection | None, lists: int) -> tuple[NDArray[Any], Ids]:
        if self._codes is not None:  # Faiss takes no parameters for lists of bits, and comparing all bits is quick
            return self._scan(self._codes, rows, k, chosen)
        lists = min(lists, self.index.nlist)
        parameters = self.faiss.SearchParametersIVF(nprobe=lists, sel=chosen.bitmap if chosen else None)
        return self.index.search(rows, k, params=parameters)  # type: ignore[no-any-return]

    def _in_order(self) -> Any:
        """The codes of all lists in the order of their positions, as a flat index."""
        lists, size = self.index.invlists, self.index.code_size
        codes = np.empty((self.index.ntotal, size), dtype=np.uint8)
        for number in range(lists.nlist):
            length = lists.list_size(number)
            if length:
                rows = self.faiss.rev_swig_ptr(lists.get_codes(number), length * size)
                codes[self.faiss.rev_swig_ptr(lists.get_ids(number), length)] = rows.reshape(length, size)
        flat = self.faiss.IndexBinaryFlat(self.index.d)
        flat.add(codes)
        return flat


KINDS: dict[Kind, type[Structure]] = {"HNSW32": Graph, "IVF": Lists, "Flat": Flat}


def structure_for(kind: Kind, count: int) -> type[Structure]:
    """The structure of a segment of `count` vectors: its kind's, or the exact one where they are too few for lists."""
    return Flat if kind == "IVF" and not Lists.count(count) else KINDS[kind]


def probes(lists: int) -> int:
    """How many of `lists` lists a search looks into."""
    return min(lists, max(16, lists // 32))


def of(metric: Metric) -> int:
    """Faiss' number of a metric of vectors of numbers."""
    faiss = load_faiss()
    return int(faiss.METRIC_INNER_PRODUCT if metric == "IP" else faiss.METRIC_L2)
