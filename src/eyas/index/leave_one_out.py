"""Every picture of a gallery asked as if it were not in it: how near is its own label, how near the nearest other one.

The comparisons are exact. A search structure that misses neighbours would make strangers look farther than they are,
and among the k nearest of a label with many pictures there is none of another label. The cost is kept by asking for a
sample only: `PAIRS` comparisons at most, whatever the gallery's size, and never fewer than `LEAST_ASKED` pictures.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eyas.index.records import Floats, Ids, Metric, State

if TYPE_CHECKING:
    from eyas.index.gallery import Gallery

Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]

PAIRS = 400_000_000
LEAST_ASKED = 1000
_BLOCK = 2048  # pictures of the gallery compared in one go: with 4000 asked, 32 MB of scores


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What M pictures of a gallery find there without themselves.

    rows: [M] places in the state's ids. own, other: float64 [M], the nearness (larger is nearer, see
    `records.nearness`) of the nearest picture of the same label and of any other label; -inf where there is none.
    found: [M] places in the state's labels, that of `other`; -1 where there is none.
    """

    rows: Ints
    own: Numbers
    other: Numbers
    found: Ints


def leave_one_out(gallery: "Gallery", state: State, seed: int = 0, pairs: int = PAIRS) -> LeftOut:
    """Ask for the pictures of `state`, or for a sample of them in which every label has its turn.

    A picture is compared neither with itself nor with others cut from the same file: they share light and ground, and
    a new photo would not.
    """
    labels = state.label_ids.astype(np.int64)
    rows = balanced_sample(labels, max(LEAST_ASKED, pairs // max(1, len(labels))), seed)
    photos = photo_numbers(gallery, state.ids)
    asked = gallery.vectors(state.ids[rows])
    found = LeftOut(
        rows, np.full(len(rows), -np.inf), np.full(len(rows), -np.inf), np.full(len(rows), -1, dtype=np.int64)
    )
    for start in range(0, len(labels), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = pairwise_nearness(asked, gallery.vectors(state.ids[block]), gallery.metric)
        near[photos[rows, None] == photos[None, block]] = -np.inf
        same = labels[rows, None] == labels[None, block]
        np.maximum(found.own, np.where(same, near, -np.inf).max(axis=1), out=found.own)
        near[same] = -np.inf
        best = near.argmax(axis=1)
        score = near[np.arange(len(rows)), best]
        better = score > found.other
        found.other[better] = score[better]
        found.found[better] = labels[start + best[better]]
    return found


def balanced_sample(label_ids: Ints, most: int, seed: int) -> Ints:
    """Rising places of at most `most` items: one of each label, then a second of each, and so on; drawn by `seed`."""
    if len(label_ids) <= most:
        return np.arange(len(label_ids), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(label_ids))
    grouped = order[np.argsort(label_ids[order], kind="stable")]
    _, starts, sizes = np.unique(label_ids[grouped], return_index=True, return_counts=True)
    turn = np.empty(len(label_ids), np.int64)
    turn[grouped] = np.arange(len(label_ids)) - np.repeat(starts, sizes)
    drawn: Ints = np.sort(order[np.argsort(turn[order], kind="stable")[:most]])
    return drawn


def photo_numbers(gallery: "Gallery", ids: Ids) -> Ints:
    """A number for each item: equal where they come from the same file; an item without a source is a photo itself."""
    numbers: dict[str, int] = {}
    found = np.empty(len(ids), np.int64)
    for start in range(0, len(ids), _BLOCK):
        for place, item in enumerate(gallery.get(ids[start : start + _BLOCK]), start=start):
            found[place] = numbers.setdefault(item.source or f"\0{item.content_hash}", len(numbers))
    return found


def pairwise_nearness(queries: Floats, vectors: Floats, metric: Metric) -> Floats:
    """How near each of `queries` [Q, D] is to each of `vectors` [N, D]: float32 [Q, N], larger is nearer.

    IP: the product. L2: minus the squared distance. hamming: minus the number of signs that differ.
    """
    if metric == "hamming":
        product = _signs(queries) @ _signs(vectors).T
        return np.asarray((product - np.float32(queries.shape[1])) / 2, np.float32)
    product = queries @ vectors.T
    if metric == "IP":
        return np.asarray(product, np.float32)
    lengths = (queries**2).sum(axis=1)[:, None] + (vectors**2).sum(axis=1)
    return np.asarray(np.minimum(2 * product - lengths, 0), np.float32)


def _signs(vectors: Floats) -> Floats:
    return np.where(vectors > 0, np.float32(1), np.float32(-1))
