"""Proof that an exported network predicts what the trained one does: the same pictures through both, compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyas.results import Detections


@dataclass(frozen=True)
class Difference:
    """Largest difference of any box side (pixels of the image) and any score, over `pairs` matched detections.

    `unmatched` detections, of either side, have no partner of their class that overlaps them; their highest score is
    `unmatched_score`. `raw_score` and `raw_box` (pixels of the network's input) are the largest differences of the raw
    outputs over all anchors: they say something also where nothing is detected.
    """

    box: float
    score: float
    pairs: int
    unmatched: int
    unmatched_score: float
    raw_score: float = 0.0
    raw_box: float = 0.0


def compare(expected: Sequence[Detections], got: Sequence[Detections]) -> Difference:
    """The difference of two runs over the same pictures, detections matched as sets: nearest box of the same class."""
    boxes, scores, pairs, alone = [0.0], [0.0], 0, [0.0]
    for one, other in zip(expected, got, strict=True):
        partner = _partners(one, other)
        matched = partner >= 0
        pairs += int(matched.sum())
        alone += [*one.scores[~matched].tolist(), *np.delete(other.scores, partner[matched]).tolist()]
        boxes += np.abs(one.boxes_xyxy[matched] - other.boxes_xyxy[partner[matched]]).max(1, initial=0).tolist()
        scores += np.abs(one.scores[matched] - other.scores[partner[matched]]).tolist()
    return Difference(max(boxes), max(scores), pairs, len(alone) - 1, max(alone))


def compare_raw(
    expected: Mapping[str, NDArray[np.float32]], got: Mapping[str, NDArray[np.float32]], strides: NDArray[np.float32]
) -> tuple[float, float]:
    """Largest difference of the scores, and of the distances in pixels; `strides` [L] of the anchors."""
    score = float(np.abs(expected["scores"] - got["scores"]).max())
    box = float((np.abs(expected["distances"] - got["distances"]).max(-1) * strides).max())
    return score, box


def _partners(one: Detections, other: Detections) -> NDArray[np.int64]:
    """For each detection of `one` the index of its partner in `other`, each used once; -1 where there is none."""
    partner = np.full(len(one.scores), -1, np.int64)
    if not len(other.scores):
        return partner
    far = np.abs(one.boxes_xyxy[:, None] - other.boxes_xyxy[None]).max(-1)
    far[one.class_ids[:, None] != other.class_ids[None]] = np.inf
    taken = np.zeros(len(other.scores), np.bool_)
    for index in range(len(one.scores)):
        distance = np.where(taken, np.inf, far[index])
        best = int(distance.argmin())
        if distance[best] < 1.0:
            partner[index], taken[best] = best, True
    return partner
