"""Precision against recall, class by class, and the score threshold that is best for use."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eyas.metrics.coco import IOU_50, IOU_75, Floats
from eyas.metrics.ledger import RECALLS, Curves, Ledger, keep_ledger
from eyas.metrics.overlaps import Bools, Overlaps

CURVE_IOUS = {0.5: IOU_50, 0.75: IOU_75}


@dataclass(frozen=True)
class Threshold:
    """What is right when the detections with a score above `threshold` are used; F1 is the harmonic mean of the two."""

    threshold: float
    precision: float
    recall: float
    F1: float


@dataclass(frozen=True)
class PrecisionRecall:
    """Curves at one IoU, at 500 detections of a class in an image; matching and ignored regions are COCO's.

    `precision[name]` are 101 values at the recalls 0, 0.01 … 1, never lower than at a higher recall and 0 beyond the
    curve's end: the values whose mean is COCO's AP. Classes without objects are not in it. `mean` is over the classes.
    `best` holds the threshold with the highest F1 of each class that has objects; `best_overall` one for all classes,
    with their detections and objects counted together. Both are None where no detection is right.
    """

    iou: float
    recalls: tuple[float, ...]
    precision: Mapping[str, tuple[float, ...]]
    mean: tuple[float, ...]
    best: Mapping[str, Threshold | None]
    best_overall: Threshold | None

    def to_dict(self) -> dict[str, Any]:
        """In full precision, ready for JSON."""
        return asdict(self)


def precision_recall(overlaps: Overlaps, most: int = 500) -> tuple[PrecisionRecall, ...]:
    """The curves at IoU 0.5 and 0.75; the `most` best detections of a class in an image count."""
    ledger = keep_ledger(overlaps, most=most)
    precision = Curves(ledger).precision(ledger.everything_once)[0]
    return tuple(_curve(overlaps.names, ledger, precision[place], iou, place) for iou, place in CURVE_IOUS.items())


def _curve(names: tuple[str, ...], ledger: Ledger, precision: Floats, iou: float, place: int) -> PrecisionRecall:
    objects = ledger.objects.sum(axis=0)
    classes = {name: class_id for class_id, name in enumerate(names) if objects[class_id]}
    values = precision[:, list(classes.values())]
    right, wrong = ledger.right[place], ledger.wrong[place]

    def best(chosen: Bools, wanted: int) -> Threshold | None:
        return _best(ledger.score[chosen], right[chosen], wrong[chosen], wanted)

    return PrecisionRecall(
        iou=iou,
        recalls=tuple(RECALLS.tolist()),
        precision={name: tuple(precision[:, class_id].tolist()) for name, class_id in classes.items()},
        mean=tuple(values.mean(axis=1).tolist()) if classes else (),
        best={name: best(ledger.class_id == k, int(objects[k])) for name, k in classes.items()},
        best_overall=best(np.isin(ledger.class_id, list(classes.values())), int(objects.sum())),
    )


def _best(scores: Floats, right: Bools, wrong: Bools, wanted: int) -> Threshold | None:
    """The threshold with the highest F1, the highest of several: halfway between the scores on its two sides."""
    order = np.argsort(-scores, kind="stable")
    scores, rights, wrongs = scores[order], np.cumsum(right[order]), np.cumsum(wrong[order])
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, np.int64)
    if not len(last) or not rights[-1]:
        return None
    hits, used = rights[last], rights[last] + wrongs[last]
    f1 = 2 * hits / (used + wanted)
    top = int(np.argmax(f1))
    score = float(scores[last[top]])
    below = float(scores[last[top + 1]]) if top + 1 < len(last) else min(0.0, score - 1)
    # scores are float32, and of two neighbours the middle may be rounded to the upper one
    middle = min(np.float32((score + below) / 2), np.nextafter(np.float32(score), np.float32(-np.inf)))
    return Threshold(float(middle), float(hits[top] / used[top]), float(hits[top] / wanted), float(f1[top]))
