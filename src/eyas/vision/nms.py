"""Non-maximum suppression over classes, result for result that of Paddle's multiclass_nms3.

The rules, as measured on Paddle 3 (tests/reference/nms): in each class the scores above `score_threshold` are sorted
(stable, descending) and cut to `nms_top_k`; a box falls when its IoU with a kept box of its class is not `<=
iou_threshold`, so equality survives and the undefined IoU of two equal boxes without area does not; the best
`keep_top_k` of all classes remain.  An inverted box has area 0 and still takes part.

Paddle works class by class and then discards all but `keep_top_k`.  Here the candidates of all classes are walked in
one order (score, then class, then anchor, which is Paddle's order of ties), so the walk can stop at the last row that
is needed.  A candidate's fate depends only on better boxes of its own class, hence the result is the same.  A box that
is kept marks those it removes, and looks for them only among boxes with a similar left edge; so the time depends on
the number of boxes kept and hardly on the number of candidates.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyas.vision.boxes import Boxes, Floats

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Candidates of the walk that are looked up together; the removed ones are dropped at once.
PART = 512


@dataclass(frozen=True)
class NmsRule:
    """How to suppress; -1 for a count means all, `normalized=False` counts pixels inclusively (width = x2 - x1 + 1).

    `iou_threshold` lies above 0 and is at most 1.
    """

    score_threshold: float
    iou_threshold: float
    nms_top_k: int = -1
    keep_top_k: int = -1
    normalized: bool = True
    background_label: int = -1


def multiclass_nms(boxes: Boxes, scores: Floats, rule: NmsRule) -> tuple[Ints, Ints]:
    """Class ids and anchor indices (both int64 [K]) of the boxes that survive, by descending score.

    `boxes` float32 [L, 4] are shared by the classes, `scores` is float32 [C, L].  Equal scores are ordered by class,
    then by anchor.
    """
    ranked = _ranked_candidates(scores, rule)
    room = len(ranked) if rule.keep_top_k < 0 else min(rule.keep_top_k, len(ranked))
    width = max(scores.shape[1], 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # an undefined IoU is part of the rules
        kept = np.array(_walk(ranked, _Field(boxes, rule), scores.shape, room), dtype=np.int64)
    return kept // width, kept % width


def _walk(ranked: Ints, field: "_Field", shape: tuple[int, ...], room: int) -> list[int]:
    """The first `room` survivors of `ranked` (flat indices into scores of `shape` = (classes, anchors))."""
    removed = np.zeros(shape, dtype=np.bool_)
    rows = list(removed)
    kept: list[int] = []
    for start in range(0, len(ranked), PART):
        part = ranked[start : start + PART]
        labels, anchors = np.divmod(part, shape[1])
        places = field.place_of[anchors]
        free = np.flatnonzero(~removed[labels, places])
        for flat, label, place in zip(part[free].tolist(), labels[free].tolist(), places[free].tolist(), strict=True):
            if len(kept) == room:
                return kept
            if not rows[label][place]:
                kept.append(flat)
                field.mark_removed(place, rows[label])
    return kept


def _ranked_candidates(scores: Floats, rule: NmsRule) -> Ints:
    """Flat indices into `scores` [C, L] of all candidates, by descending score; ties by ascending index."""
    above = scores > np.float32(rule.score_threshold)
    if 0 <= rule.background_label < len(above):
        above[rule.background_label] = False
    flat = np.flatnonzero(above)
    order = flat[_descending(scores.reshape(-1)[flat])]
    if rule.nms_top_k >= 0:
        order = _best_of_each(order, above.sum(axis=1), rule.nms_top_k, scores.shape[1])
    return order


def _best_of_each(order: Ints, counts: Ints, most: int, width: int) -> Ints:
    """`order` without what comes after the first `most` candidates of a class; `counts` is how many each class has."""
    crowded = np.flatnonzero(counts > most)
    if len(crowded) == 0:
        return order
    labels, keep = order // width, np.ones(len(order), dtype=np.bool_)
    for label in crowded:
        keep[np.flatnonzero(labels == label)[most:]] = False
    return order[keep]


def _descending(values: Floats) -> Ints:
    """Stable descending order of `values`.

    The bits of a float, read as an integer, sort like the float itself (negative ones after a flip), so score and
    position fit in one int64 whose plain sort is stable and several times faster than a stable argsort.
    """
    bits = (values + np.float32(0)).view(np.int32)  # + 0 makes a negative zero equal to zero
    ordered = (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).astype(np.int64)
    keys = (-ordered << 32) | np.arange(len(values), dtype=np.int64)
    keys.sort()
    positions: Ints = keys & np.int64(0xFFFFFFFF)
    return positions


class _Field:
    """The boxes of an image, laid out so that the ones a box can remove lie in one slice.

    Two boxes with area and IoU > t share more than t of either width w (the shared height is at most either height).
    So the left edge of the other box lies between x1 - w (1 - t) / t and x1 + w (1 - t).  The boxes with area are
    sorted by left edge; the odd ones (no area, inverted, not finite), for which this does not hold, come after them.
    """

    def __init__(self, boxes: Boxes, rule: NmsRule) -> None:
        self._threshold = np.float32(rule.iou_threshold)
        self._extra = np.float32(0 if rule.normalized else 1)
        area = _paddle_area(boxes, self._extra)
        sound = (area > 0) & np.isfinite(area)
        layout = np.argsort(np.where(sound, boxes[:, 0], np.float32(np.inf)))
        self.place_of = np.empty(len(boxes), dtype=np.int64)
        self.place_of[layout] = np.arange(len(boxes))
        self._sound = int(np.count_nonzero(sound))
        self._corners = np.ascontiguousarray(boxes[layout].T)
        self._areas = area[layout]
        self._left_edges: list[float] = self._corners[0, : self._sound].tolist()
        # Bounds in float64; the slack is far above the rounding error of a float32 IoU and costs a few comparisons.
        left, right = self._corners[0::2, : self._sound].astype(np.float64)
        width = right - left + float(self._extra)
        share = 1 - rule.iou_threshold + 1e-3
        self._first: list[float] = (left - width * share / rule.iou_threshold).tolist()
        self._last: list[float] = (left + width * share).tolist()

    def mark_removed(self, place: int, removed: Flags) -> None:
        """Set `removed` (by place) for every box that the kept box at `place` removes."""
        if place < self._sound:
            start = bisect_left(self._left_edges, self._first[place])
            stop = bisect_right(self._left_edges, self._last[place])
            self._mark_slice(place, removed, start, stop)
            if self._sound < len(removed):
                self._mark_slice(place, removed, self._sound, len(removed))
        else:
            self._mark_slice(place, removed, 0, len(removed))

    def _mark_slice(self, place: int, removed: Flags, start: int, stop: int) -> None:
        """`mark_removed` for the places `start` to `stop`.

        Paddle calls two boxes apart (IoU 0) by comparing edges and otherwise does not clamp the shared width and
        height, which matters for inverted boxes; `not iou <= threshold` is its rule, and an undefined IoU removes.
        """
        low, high = self._corners[:2, start:stop], self._corners[2:, start:stop]
        own = self._corners[:, place : place + 1]
        touch = (low <= own[2:]) & (high >= own[:2])
        size = np.minimum(high, own[2:])
        size -= np.maximum(low, own[:2])
        if self._extra:
            size += self._extra
        shared = size[0] * size[1]
        shared /= self._areas[start:stop] + self._areas[place] - shared
        touch[0] &= touch[1]
        # Of two flags, `a > b` is `a and not b`.
        removed[start:stop] |= touch[0] > (shared <= self._threshold)


def _paddle_area(boxes: Boxes, extra: np.float32) -> Floats:
    x1, y1, x2, y2 = boxes.T
    inside = (x2 - x1 + extra) * (y2 - y1 + extra)
    return np.where((x2 < x1) | (y2 < y1), np.float32(0), inside)
