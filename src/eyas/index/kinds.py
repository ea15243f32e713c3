"""The kinds of search structures: how each is made and searched.  A new kind is a class and a line in `KINDS`."""

import logging
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.index.records import Floats, Ids, Kind, Metric
from eyas.index.structures import Selection, Structure, code_width, load_faiss, of, packed

log = logging.getLogger(__name__)

NEIGHBOURS = 32
"""Links of a node in HNSW32's graph, as in PaddleX."""
EF_CONSTRUCTION = 40
EF_SEARCH = 64
"""Nodes that a search of the graph keeps; recall@1 on clustered features is 0.999 with 100,000 of them."""
SELF_TESTS, SELF_LOST, SELF_SLACK = 256, 0.02, 1e-4
"""Vectors that a new graph must find by themselves; the share that it may miss; how far from itself a find may be."""
LIST_POINTS = 39
"""Vectors that k-means needs for each list of IVF, says Faiss."""
LEAST_LISTS = 8
"""IVF with fewer lists than this has no point: all vectors are compared."""
TRAINING_POINTS = 64
"""Vectors for each list that k-means looks at; more make it slower and the lists no better."""


class Flat(Structure):
    """Compares every vector: exact."""

    float_type, binary_type = "IndexFlat", "IndexBinaryFlat"
    slice = 2**62  # in one go: Faiss would double its memory again and again

    @classmethod
    def empty(cls, vectors: Floats, metric: Metric) -> Any:
        faiss, width = load_faiss(), vectors.shape[1]
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
        self._sound = self._finds_itself()

    @classmethod
    def empty(cls, vectors: Floats, metric: Metric) -> Any:
        faiss, width = load_faiss(), vectors.shape[1]
        if metric == "hamming":
            index = faiss.IndexBinaryHNSW(code_width(width), NEIGHBOURS)
        else:
            index = faiss.IndexHNSWFlat(width, NEIGHBOURS, of(metric))
        index.hnsw.efConstruction = EF_CONSTRUCTION
        return index

    def _finds_itself(self) -> bool:
        """Whether the walk reaches nearly all vectors, asked of some of them.

        Hundreds of nearly equal vectors link to each other only, and no walk leads to such an island.
        """
        count = self._storage.ntotal
        if not count:
            return True
        places = np.linspace(0, count - 1, min(count, SELF_TESTS)).astype(np.int64)
        rows = np.stack([self._storage.reconstruct(int(place)) for place in places])
        best = self.index.search(rows, 1)[0][:, 0].astype(np.float64)
        own = 0 if self.binary else (rows.astype(np.float64) ** 2).sum(axis=1)
        product = not self.binary and self.index.metric_type == self.faiss.METRIC_INNER_PRODUCT
        lost = best < (1 - SELF_SLACK) * own if product else best > SELF_SLACK * own
        if lost.mean() <= SELF_LOST:
            return True
        log.warning(
            "the graph over %s vectors misses %.0f%% of them, for many are nearly equal; all are compared instead, "
            "which is slower. A gallery of kind IVF has no such trouble.",
            f"{count:,}",
            100 * lost.mean(),
        )
        return False

    def search(self, rows: NDArray[Any], k: int, chosen: Selection | None) -> tuple[NDArray[Any], Ids]:
        if not self._sound:
            return self.exact(rows, k, chosen)
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
    def empty(cls, vectors: Floats, metric: Metric) -> Any:
        faiss, width = load_faiss(), vectors.shape[1]
        lists, binary = cls.count(len(vectors)), metric == "hamming"
        if binary:
            index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(code_width(width)), code_width(width), lists)
        else:
            index = faiss.IndexIVFFlat(faiss.IndexFlat(width, of(metric)), width, lists, of(metric))
            index.cp.spherical = metric == "IP"
        sample = min(len(vectors), TRAINING_POINTS * lists)
        places = np.sort(np.random.default_rng(0).choice(len(vectors), sample, replace=False))
        index.train(packed(vectors[places]) if binary else vectors[places])
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
