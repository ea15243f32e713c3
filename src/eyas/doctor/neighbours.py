"""Every picture of a gallery with its nearest other ones, found in batches by the gallery's own search."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eyas.index.gallery import Gallery
from eyas.index.leave_one_out import pairwise_nearness, photo_numbers
from eyas.index.records import Floats, Matches, Metric, State, nearness

Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]
Bools = NDArray[np.bool_]
Progress = Callable[[int, int], None]

_BATCH = 1024
_SPARE = 5  # asked for beyond k: the picture itself, and others cut from its photo


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """N pictures and up to k neighbours of each, nearest first; the picture itself and its photo's others left out.

    places: [N, k] rows of the neighbours, -1 where there are fewer. distances: float64 [N, k] between points on the
    unit sphere (0 the same, √2 unrelated, see `distance`), inf at -1. of: [N] places in the state's labels. photos:
    [N] equal for pictures from one file. scores: float32 [N, k] in the metric's unit.
    """

    state: State
    places: Ints
    distances: Numbers
    scores: Floats
    photos: Ints

    @cached_property
    def of(self) -> Ints:
        """The label of each picture, [N]."""
        return self.state.label_ids.astype(np.int64)

    @cached_property
    def neighbour_labels(self) -> Ints:
        """The label of each neighbour, [N, k]; -1 where there is none."""
        return np.where(self.places >= 0, self.of[self.places], -1)

    def without(self, ignored: Bools) -> "Neighbourhood":
        """The same without the neighbours that are `ignored` [N, k]; the others keep their columns."""
        places, distances = np.where(ignored, -1, self.places), np.where(ignored, np.inf, self.distances)
        return replace(self, places=places, distances=distances)

    def nearest(self, wanted: Bools) -> tuple[Ints, Numbers]:
        """(row of the nearest neighbour among `wanted` [N, k], -1 for none; its distance, inf for none), each [N]."""
        distances = np.where(wanted, self.distances, np.inf)
        best = distances.argmin(axis=1)
        rows = np.arange(len(best))
        distance: Numbers = distances[rows, best]
        return np.where(np.isfinite(distance), self.places[rows, best], -1), distance

    @cached_property
    def is_own(self) -> Bools:
        """Which neighbours have the label of the picture, [N, k]."""
        return np.asarray((self.neighbour_labels == self.of[:, None]) & (self.places >= 0))

    @cached_property
    def is_other(self) -> Bools:
        """Which neighbours have another label, [N, k]."""
        return np.asarray((self.neighbour_labels != self.of[:, None]) & (self.places >= 0))


def neighbourhood(gallery: Gallery, k: int, progress: Progress | None = None) -> Neighbourhood:
    """The `k` nearest of every picture as the gallery is now: N searches, O(N k) numbers kept."""
    state = gallery.state()
    photos, count = photo_numbers(gallery, state.ids), len(state.ids)
    places = np.full((count, k), -1, np.int64)
    scores = np.full((count, k), np.nan, np.float32)
    for start in range(0, count, _BATCH):
        block = np.arange(start, min(count, start + _BATCH))
        found = gallery.search(gallery.vectors(state.ids[block]), k + _SPARE)
        places[block], scores[block] = _without_own(state, photos, block, found, k)
        if progress is not None:
            progress(int(block[-1]) + 1, count)
    distances = np.where(places >= 0, distance(scores, gallery.metric, gallery.width), np.inf)
    return Neighbourhood(state, places, distances, scores, photos)


def _without_own(state: State, photos: Ints, block: Ints, found: Matches, k: int) -> tuple[Ints, Floats]:
    """The first k hits that are in `state` and neither the picture itself nor of its photo."""
    rows = np.minimum(np.searchsorted(state.ids, found.ids), len(state.ids) - 1)
    valid = (state.ids[rows] == found.ids) & (photos[rows] != photos[block, None])
    order = np.argsort(~valid, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(valid, order, axis=1)
    places = np.full((len(block), k), -1, np.int64)
    scores = np.full((len(block), k), np.nan, np.float32)
    width = order.shape[1]
    places[:, :width] = np.where(kept, np.take_along_axis(rows, order, axis=1), -1)
    scores[:, :width] = np.where(kept, np.take_along_axis(found.scores, order, axis=1), np.nan)
    return places, scores


def own_distances(gallery: Gallery, near: Neighbourhood, rows: Ints, trusted: Bools) -> Numbers:
    """The distance of each of `rows` to the nearest `trusted` [N] picture of its label, from another photo; inf: none.

    It is found exactly, also where it is not among the k nearest.
    """
    found = np.full(len(rows), np.inf)
    by_label = np.argsort(near.of, kind="stable")
    ends = np.searchsorted(near.of[by_label], np.arange(len(near.state.labels) + 1))
    for label in np.unique(near.of[rows]).tolist():
        asked = np.flatnonzero(near.of[rows] == label)
        held = by_label[ends[label] : ends[label + 1]]
        held = held[trusted[held]]
        for start in range(0, len(held), _BATCH):
            part = held[start : start + _BATCH]
            queries, others = (gallery.vectors(near.state.ids[places]) for places in (rows[asked], part))
            scores = nearness(pairwise_nearness(queries, others, gallery.metric), gallery.metric)
            apart = distance(scores, gallery.metric, gallery.width)
            apart[near.photos[rows[asked], None] == near.photos[part]] = np.inf
            found[asked] = np.minimum(found[asked], apart.min(axis=1))
    return found


def distance(scores: Floats, metric: Metric, width: int) -> Numbers:
    """`scores` in the metric's unit as distances between points on the unit sphere.

    IP: √(2 - 2 s). L2: the root of the squared distance. hamming: the share of signs that differ is the share of the
    half circle between the two (Charikar, STOC 2002), whose chord is 2 sin(π share / 2).
    """
    values = scores.astype(np.float64)
    if metric == "IP":
        return np.sqrt(np.maximum(2 - 2 * values, 0))
    if metric == "L2":
        return np.sqrt(np.maximum(values, 0))
    chord: Numbers = 2 * np.sin(math.pi / 2 * values / width)
    return chord
