"""Which class is taken for which, at the threshold of use."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.metrics.matching import choose
from eyas.metrics.overlaps import LEAST_IOU, Overlaps


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts int64 [C + 1, C + 1]: `matrix[t, p]` objects of class `t` were taken for class `p`.

    The last column are objects that were not found, the last row detections of what is no object ("background").
    `ignored` detections lie in an ignored region and stand nowhere in the matrix.
    """

    matrix: NDArray[np.int64]
    names: tuple[str, ...]
    threshold: float
    iou: float
    ignored: int

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON; `labels` are those of rows and columns."""
        return {
            "labels": [*self.names, "background"],
            "matrix": self.matrix.tolist(),
            "threshold": self.threshold,
            "iou": self.iou,
            "ignored": self.ignored,
        }


def confusion(overlaps: Overlaps, threshold: float, iou: float = 0.5) -> Confusion:
    """The confusion matrix of the detections with a score above `threshold`.

    In each image the detections choose one after the other, the best score first and whatever their class: the free
    object with the highest IoU, of `iou` at least; of equal ones that of the own class, then the first. An object is
    taken once. A detection that gets none, and has `iou` or more of its area in an ignored region of its class, is
    ignored. Raises ValueError for an `iou` that is too low to have been looked at, or above 1.
    """
    if not LEAST_IOU <= iou <= 1:
        raise ValueError(f"iou must lie in {LEAST_IOU}…1, got {iou}")
    found, wanted, pairs = overlaps.found, overlaps.wanted, overlaps.pairs
    used = found.score > np.float32(threshold)  # scores are float32: 0.2 is not above 0.2
    close = np.flatnonzero(used[pairs.found] & (pairs.iou >= iou))
    other_class = found.class_id[pairs.found[close]] != wanted.class_id[pairs.wanted[close]]
    region = wanted.region[pairs.wanted[close]]
    wishes = close[np.lexsort((pairs.wanted[close], other_class, -pairs.iou[close], pairs.found[close]))]
    wishes = wishes[~wanted.region[pairs.wanted[wishes]]]
    wanted_of = np.full(len(found.score), -1, dtype=np.int64)
    choose(pairs.found[wishes], pairs.wanted[wishes], np.zeros_like(wanted.region), wanted_of)

    in_region = np.zeros_like(used)
    in_region[pairs.found[close[region & ~other_class]]] = True
    hit, background = np.flatnonzero(wanted_of >= 0), len(overlaps.names)
    wrong = used & (wanted_of < 0) & ~in_region
    missed = ~wanted.region
    missed[wanted_of[hit]] = False
    nothing = (np.full(int(missed.sum()), background), np.full(int(wrong.sum()), background))
    truth = np.concatenate([wanted.class_id[wanted_of[hit]], wanted.class_id[missed], nothing[1]])
    taken_for = np.concatenate([found.class_id[hit], nothing[0], found.class_id[wrong]])
    matrix = np.zeros((background + 1, background + 1), dtype=np.int64)
    np.add.at(matrix, (truth, taken_for), 1)
    ignored = int((used & (wanted_of < 0) & in_region).sum())
    return Confusion(matrix, overlaps.names, threshold, iou, ignored)
