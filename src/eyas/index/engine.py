"""A segment: an immutable search structure over some vectors of a gallery; and results of several put together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.errors import GalleryError
from eyas.index.kinds import structure_for
from eyas.index.records import Floats, Ids, Kind, Metric, nearness
from eyas.index.structures import Progress, Selection, Structure, packed

FEW, FEW_EACH = 2000, 20
"""Up to so many vectors, and for each one that is wanted, comparing all is about as quick as any structure."""
Found = tuple[Floats, Ids]
"""Scores [Q, k] and ids [Q, k], best first; NaN and -1 where there were fewer."""


class Segment:
    """The vectors of `ids`, ready to be searched.  Immutable; any number of threads may search it at the same time.

    Scores are the product (IP), the squared distance (L2), or the number of signs that differ (hamming: a sign is 1 for
    a number above 0). Flat is exact; HNSW32 and IVF find nearly always the best one. Equal scores come in rising order
    of their ids. Which of several equal ones at the end of the k are left out is the structure's choice, the same
    each time; L2 and hamming in Flat keep those that were added first.
    """

    def __init__(self, structure: Structure, ids: Ids, kind: Kind, metric: Metric) -> None:
        self.ids = np.array(ids, dtype=np.int64)
        self.ids.flags.writeable = False
        self.kind = kind
        self.metric = metric
        self._structure = structure

    @staticmethod
    def build(vectors: Floats, ids: Ids, kind: Kind, metric: Metric, progress: Progress | None = None) -> "Segment":
        """A segment over checked `vectors` [N, D], of which row n has the id `ids[n]`.

        `progress(done, total)` is called now and then; what it raises ends the work. Raises GalleryError where the
        numbers of rows and ids differ.
        """
        if len(vectors) != len(ids):
            raise GalleryError(f"a segment needs one id for each vector. Got {len(vectors)} vectors, {len(ids)} ids.")
        structure = structure_for(kind, len(ids)).build(vectors, metric, progress)
        return Segment(structure, ids, kind, metric)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def index(self) -> Any:
        """The Faiss index; never to be changed."""
        return self._structure.index

    @property
    def nbytes(self) -> int:
        """Memory of the structure and the ids in bytes."""
        return self._structure.nbytes + self.ids.nbytes

    def vectors(self) -> Floats | None:
        """The vectors [N, D] in the order of `ids`, read-only, not copied: good for as long as the segment lives.

        None where the structure does not hold them in one piece: IVF with its lists, and hamming.
        """
        return self._structure.floats()

    def selection(self, alive: NDArray[np.bool_]) -> Selection:
        """The positions where `alive` [N] is true, prepared for any number of searches of this segment.

        Raises GalleryError for another length.
        """
        if alive.shape != self.ids.shape:
            raise GalleryError(f"`alive`: expected {len(self)} booleans, one for each vector, got {list(alive.shape)}.")
        return Selection.of(alive)

    def search(self, queries: Floats, k: int, alive: NDArray[np.bool_] | Selection | None = None) -> Found:
        """The `k` nearest of each of the queries [Q, D], which the caller has checked; k is 1 or more.

        `alive`: only the vectors where it is true, or that were selected. Where there are few, every one of them is
        compared, so that no filter costs accuracy; so it is where the structure finds fewer than there are.
        """
        chosen = self.selection(alive) if isinstance(alive, np.ndarray) else alive
        wanted = min(k, len(self.ids) if chosen is None else chosen.count)
        if not wanted or not len(queries):
            return nothing(len(queries), k)
        rows = packed(queries) if self.metric == "hamming" else queries
        few = len(self.ids) <= max(FEW, FEW_EACH * k) if chosen is None else chosen.few
        find = self._structure.exact if few else self._structure.search
        scores, positions = find(rows, wanted, chosen)
        scores = scores.astype(np.float32, copy=False)
        ids = self.ids[positions]
        if positions[:, -1].min() < 0:
            self._complete(rows, scores, ids, positions, chosen)
        if (scores[:, 1:] == scores[:, :-1]).any():
            scores, ids = _ordered(scores, ids, wanted, self.metric)
        return (scores, ids) if wanted == k else _padded(scores, ids, k)

    def _complete(self, rows: NDArray[Any], scores: Floats, ids: Ids, positions: Ids, chosen: Selection | None) -> None:
        """Compare every vector for the queries that found too few, in place.

        A graph of equal vectors has islands, and a filter may leave nothing near a query.
        """
        short = positions[:, -1] < 0
        exact_scores, exact = self._structure.exact(rows[short], ids.shape[1], chosen)
        none = exact < 0  # only for a query that is no number
        scores[short] = np.where(none, np.float32(np.nan), exact_scores)
        ids[short] = np.where(none, -1, self.ids[exact])


def nothing(queries: int, k: int) -> Found:
    """The result of `queries` queries in a gallery without vectors."""
    return np.full((queries, k), np.nan, dtype=np.float32), np.full((queries, k), -1, dtype=np.int64)


def merge(found: Sequence[Found], k: int, metric: Metric) -> Found:
    """The `k` best of the results of several segments for the same queries, one or more; equal scores by rising id."""
    if len(found) == 1 and found[0][0].shape[1] == k:
        return found[0]
    scores = np.concatenate([scores for scores, _ in found], axis=1)
    ids = np.concatenate([ids for _, ids in found], axis=1)
    scores, ids = _ordered(scores, ids, k, metric)
    return (scores, ids) if scores.shape[1] == k else _padded(scores, ids, k)


def _ordered(scores: Floats, ids: Ids, k: int, metric: Metric) -> Found:
    """The first `k` columns, best first, equal ones by rising id; NaN last."""
    order = np.lexsort((ids, -nearness(scores, metric)), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)


def _padded(scores: Floats, ids: Ids, k: int) -> Found:
    all_scores, all_ids = nothing(len(scores), k)
    all_scores[:, : scores.shape[1]], all_ids[:, : ids.shape[1]] = scores, ids
    return all_scores, all_ids
