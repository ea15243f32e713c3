"""COCO's matching: which detection has found which object, at every IoU threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyas.metrics.coco import EVERYTHING, Range
from eyas.metrics.overlaps import Bools, Ints, Overlaps

IOUS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""COCO's thresholds 0.50, 0.55 … 0.95."""


@dataclass(frozen=True, eq=False)
class Matching:
    """What became of D detections and G annotated boxes at T thresholds.

    wanted_of: int64 [T, D], the box that a detection was matched with, -1 where none. right: bool [T, D], that box
    counts. ignored: bool [T, D], the detection is neither right nor wrong. counted: bool [G], the boxes that are to be
    found: no ignored regions, area in the asked range.
    """

    wanted_of: Ints
    right: Bools
    ignored: Bools
    counted: Bools


def match(overlaps: Overlaps, span: Range = EVERYTHING, ious: Sequence[float] = IOUS) -> Matching:
    """COCO's matching at the thresholds `ious` (none below `LEAST_IOU`), for objects whose area is in `span`.

    In each image and class the detections choose one after the other, the best score first: the free object with the
    highest IoU (of equal ones the last) that reaches the threshold. Only where there is none, a box that does not count
    may be taken, which makes the detection ignored: an object whose area is outside `span`, once, or an ignored region
    (with the part of the detection inside it for IoU), any number of times. A detection that takes nothing is ignored
    where its own area is outside `span`.
    """
    found, wanted, pairs = overlaps.found, overlaps.wanted, overlaps.pairs
    counted = ~wanted.region & _within(wanted.area, span)
    same = np.flatnonzero(found.class_id[pairs.found] == wanted.class_id[pairs.wanted])
    order = np.lexsort(
        (-pairs.wanted[same], -pairs.iou[same], ~counted[pairs.wanted[same]], pairs.found[same])
    )  # a detection's choices stand together, the best one first
    chosen = same[order]
    wanted_of = np.full((len(ious), len(found.score)), -1, dtype=np.int64)
    for row, iou in zip(wanted_of, ious, strict=True):
        reach = chosen[pairs.iou[chosen] >= iou]
        choose(pairs.found[reach], pairs.wanted[reach], wanted.region, row)
    taken = wanted_of >= 0
    right = np.append(counted, False)[wanted_of]  # -1 picks the False
    return Matching(wanted_of, right, np.where(taken, ~right, ~_within(found.area, span)), counted)


def choose(found: Ints, wanted: Ints, endless: Bools, wanted_of: Ints) -> None:
    """Let detections choose boxes in turn, and write what each got into `wanted_of` [D].

    `found` and `wanted` are the wishes, columns [N]: the detections in the order of their turns, and for each its boxes
    with the best one first. A box is had once, `endless` [G] ones any number of times.

    In each round everyone looks at their best wish that is left; who is the first in line for it gets it. Nobody who
    comes earlier can take it any more, so this gives what taking turns one by one would give, in far fewer steps.
    """
    first_in_line = np.zeros(len(endless), np.int64)
    gone = np.zeros(len(endless), np.bool_)
    while len(found):
        best = np.append(True, found[1:] != found[:-1])
        first_in_line[wanted[::-1]] = found[::-1]  # of several writes to one place the last stays: the earliest turn
        final = best & ((first_in_line[wanted] == found) | endless[wanted])
        wanted_of[found[final]] = wanted[final]
        gone[wanted[final]] = True
        left = (wanted_of[found] < 0) & (~gone[wanted] | endless[wanted])
        found, wanted = found[left], wanted[left]


def _within(area: NDArray[np.float64], span: Range) -> Bools:
    inside: Bools = (area >= span[0]) & (area <= span[1])
    return inside
