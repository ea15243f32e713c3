"""What every search structure of Faiss can do, and which of its vectors may be found.

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
from eyas.index.records import Floats, Ids, Metric

Progress = Callable[[int, int], None]

PACKED_ROWS = 65536
"""Vectors that become bits at a time: the booleans between take eight times the room of the bits."""


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
    if len(vectors) <= PACKED_ROWS:
        return np.packbits(vectors > 0, axis=1)
    blocks = range(0, len(vectors), PACKED_ROWS)
    return np.concatenate([packed(vectors[start : start + PACKED_ROWS]) for start in blocks])


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
    """A filled Faiss index; the classes in `kinds` say how one kind is made and searched.

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
        index = cls.empty(vectors, metric)
        total = len(vectors)
        for start in range(0, total, cls.slice):
            rows = vectors[start : start + cls.slice]
            index.add(packed(rows) if binary else rows)
            if progress is not None:
                progress(min(start + cls.slice, total), total)
        return cls(index, binary)

    @classmethod
    def empty(cls, vectors: Floats, metric: Metric) -> Any:
        """An index without vectors, ready for `vectors` to be added."""
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


def of(metric: Metric) -> int:
    """Faiss' number of a metric of vectors of numbers."""
    faiss = load_faiss()
    return int(faiss.METRIC_INNER_PRODUCT if metric == "IP" else faiss.METRIC_L2)
