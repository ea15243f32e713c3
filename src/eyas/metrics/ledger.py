"""Precision-recall curves under any weights of the images, from one matching: a bootstrap asks for a thousand."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyas.metrics.coco import EVERYTHING, Floats, Range
from eyas.metrics.matching import match
from eyas.metrics.overlaps import Bools, Ints, Overlaps

Counts = NDArray[np.int32]

RECALLS = np.linspace(0.0, 1.0, 101)
"""The recalls at which COCO reads the precision."""


@dataclass(frozen=True, eq=False)
class Ledger:
    """What each of I images adds to the curves of K classes at T thresholds.

    Columns [D] of detections: image, class_id, score. right, wrong: bool [T, D]; a detection that is neither does not
    count. objects: int64 [I, K], how many objects of each class are to be found in an image.
    """

    image: Ints
    class_id: Ints
    score: Floats
    right: Bools
    wrong: Bools
    objects: Ints

    @property
    def everything_once(self) -> Counts:
        """Weights [1, I] under which the curves are those of the dataset itself."""
        return np.ones((1, len(self.objects)), np.int32)


def keep_ledger(overlaps: Overlaps, span: Range = EVERYTHING, most: int = 100) -> Ledger:
    """The ledger of COCO's matching for areas in `span`; the `most` best detections of a class in an image count."""
    matching = match(overlaps, span)
    found, wanted = overlaps.found, overlaps.wanted
    among = found.rank < most
    right = matching.right & among
    objects = np.zeros((len(overlaps.image_ids), len(overlaps.names)), np.int64)
    np.add.at(objects, (wanted.image[matching.counted], wanted.class_id[matching.counted]), 1)
    wrong = ~matching.right & ~matching.ignored & among
    return Ledger(found.image, found.class_id, found.score, right, wrong, objects)


def pool(first: Ledger, second: Ledger) -> Ledger:
    """Both ledgers as one with 2 I images, those of `first` before those of `second`."""
    return Ledger(
        np.append(first.image, second.image + len(first.objects)),
        np.append(first.class_id, second.class_id),
        np.append(first.score, second.score),
        np.concatenate([first.right, second.right], axis=1),
        np.concatenate([first.wrong, second.wrong], axis=1),
        np.concatenate([first.objects, second.objects]),
    )


class Curves:
    """A ledger sorted for use: precision at 101 recalls for any weights of the images."""

    def __init__(self, ledger: Ledger) -> None:
        order = np.lexsort((-ledger.score, ledger.class_id))  # stable: equal scores stay in the order of the images
        ends = np.searchsorted(ledger.class_id[order], np.arange(ledger.objects.shape[1] + 1))
        self._classes = [
            _ClassCurve(ledger, order[start:stop], class_id)
            for class_id, (start, stop) in enumerate(zip(ends, ends[1:], strict=False))
        ]
        self._thresholds = len(ledger.right)
        self.width = max(int(np.diff(ends).max(initial=0)), self._thresholds * len(RECALLS) * len(self._classes) // 4)
        """About how many numbers one weighting asks for at a time, to choose how many to compute at once."""

    def precision(self, weights: Counts) -> Floats:
        """COCO's precision [B, T, 101, K] for B weightings [B, I] of the images; -1 for a class without an object.

        Weight 2 counts an image twice, 0 leaves it out. With all weights 1 it is COCO's array, bit for bit.
        """
        shape = (len(weights), self._thresholds, len(RECALLS), len(self._classes))
        precision = np.empty(shape)
        for class_id, curve in enumerate(self._classes):
            for place, values in enumerate(curve.precision(weights)):
                precision[:, place, :, class_id] = values
        return precision


class _ClassCurve:
    """The detections of one class, the best score first, split by what they can do to a curve.

    Precision is read at right detections alone, few among many, so the many that are wrong at every threshold ("plain")
    are only counted. "Events" are right or ignored at one threshold at least.
    """

    def __init__(self, ledger: Ledger, rows: Ints, class_id: int) -> None:
        right, wrong = ledger.right[:, rows], ledger.wrong[:, rows]
        counts = np.asarray((right | wrong).any(axis=0))
        right, wrong = right[:, counts], wrong[:, counts]
        self._image = ledger.image[rows[counts]]
        self._event = np.flatnonzero(~wrong.all(axis=0))
        self._right = [np.flatnonzero(row) for row in right[:, self._event]]
        self._ignored = [np.flatnonzero(row) for row in ~(right | wrong)[:, self._event]]
        self._objects = ledger.objects[:, class_id]

    def precision(self, weights: Counts) -> Iterator[Floats]:
        """[B, 101] for each threshold, of weights [B, I]."""
        total = weights @ self._objects
        needed = _needed(total)
        weight = np.take(weights, self._image, axis=1)
        seen = np.take(_sums(weight), self._event, axis=1)
        weight = np.take(weight, self._event, axis=1)
        for right, ignored in zip(self._right, self._ignored, strict=True):
            rights, counted = _sums(np.take(weight, right, axis=1)), np.take(seen, right, axis=1)
            if len(ignored):
                sums = np.pad(_sums(np.take(weight, ignored, axis=1)), ((0, 0), (1, 0)))
                counted -= np.take(sums, np.searchsorted(ignored, right), axis=1)
            values = _read(rights, counted, needed)
            values[total == 0] = -1
            yield values


def _sums(weight: Counts) -> Counts:
    """Running sums along the rows."""
    return np.cumsum(weight, axis=1, dtype=np.int32)


def _needed(total: Ints) -> Counts:
    """How many objects must be found, of `total` [B], to reach each recall: [B, 101]."""
    objects = np.maximum(total, 1)[:, None]
    needed = np.ceil(RECALLS * objects).astype(np.int32)
    # COCO compares found / objects with the recall, and a rounded quotient may say otherwise than the rounded product
    needed -= (needed > 0) & ((needed - 1) / objects >= RECALLS)
    needed += needed / objects < RECALLS
    return needed


def _read(rights: Counts, counted: Counts, needed: Counts) -> Floats:
    """Precision [B, 101] where the curve reaches the recalls, never lower than at a higher recall; 0 beyond its end.

    rights, counted: [B, H], how many are right, and how many are right or wrong, up to each right detection.
    """
    count, length = rights.shape
    if not length:
        return np.zeros(needed.shape)
    precision = np.zeros(count * length + 1)  # all rows in one, and an end
    np.divide(rights, counted + np.spacing(1), out=precision[:-1].reshape(rights.shape))
    # where each recall is reached, in one search: the sums of each row are lifted above those of the one before it
    lift = np.arange(count, dtype=rights.dtype)[:, None] * (max(rights[:, -1].max(), needed.max()) + 1)
    place = np.searchsorted((rights + lift).ravel(), (needed + lift).ravel())
    highest = np.maximum.reduceat(precision, place).reshape(needed.shape)  # between each recall and the next
    highest[needed > rights[:, -1:]] = 0
    best: Floats = np.maximum.accumulate(highest[:, ::-1], axis=1)[:, ::-1]
    return best
