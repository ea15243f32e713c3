"""Why AP is lost: the error types of TIDE (Bolya, Foley, Hays and Hoffman, ECCV 2020), and what mending each gains."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np

from eyas.metrics.coco import Floats, mean_known
from eyas.metrics.ledger import Curves, Ledger
from eyas.metrics.matching import match
from eyas.metrics.overlaps import Bools, Ints, Overlaps

FOREGROUND, BACKGROUND = 0.5, 0.1
"""TIDE's thresholds t_f, at which an object is found, and t_b, below which a detection shows background."""


class ErrorType(IntEnum):
    """What is wrong with a detection. One that fits several types has the first of them."""

    localization = 0
    """IoU of t_b to t_f with an object of its class."""
    classification = 1
    """IoU of t_f or more with an object of another class."""
    duplicate = 2
    """IoU of t_f or more with an object of its class, which a better score has found."""
    background = 3
    """IoU below t_b with every object."""
    both = 4
    """IoU of t_b to t_f with an object of another class: class and place are off."""


@dataclass(frozen=True, eq=False)
class ErrorLabels:
    """The judgement of each of D detections and G annotated boxes of `Overlaps`.

    kind: int64 [D], an `ErrorType`, -1 where the detection is right or does not count. target: int64 [D], the box that
    a wrong detection was judged by, or a right one has found, -1 where none. right: bool [D]. missed: bool [G], objects
    that are neither found nor the target of a localization or classification error. counted: bool [G], all objects.
    """

    kind: Ints
    target: Ints
    right: Bools
    missed: Bools
    counted: Bools


@dataclass(frozen=True)
class ErrorSplit:
    """How many errors of each type there are (`counts`), and the AP50 that mending all of one type would add (`dAP`).

    The types are those of `ErrorType`, and "missed". `dAP_false_positives` is the gain of having no wrong detection,
    `dAP_false_negatives` that of having no object but the found ones. Gains do not add up to 1 - AP50: each type is
    mended alone. One may be a hair below 0, because AP is read at 101 recalls.
    """

    AP50: float
    dAP: Mapping[str, float]
    counts: Mapping[str, int]
    dAP_false_positives: float
    dAP_false_negatives: float
    false_positives: int
    false_negatives: int
    max_dets: int

    def to_dict(self) -> dict[str, Any]:
        """In full precision, ready for JSON."""
        return asdict(self)


def label_errors(overlaps: Overlaps, most: int = 500) -> ErrorLabels:
    """The type of every error among the `most` best detections of a class in an image; see `ErrorType`.

    COCO's matching at IoU 0.5 says which are right; those in ignored regions, which it ignores, are no errors.
    """
    found, matching = overlaps.found, match(overlaps, ious=(FOREGROUND,))
    among = found.rank < most
    right = matching.right[0] & among
    wrong = among & ~matching.right[0] & ~matching.ignored[0]
    own, own_iou = _nearest(overlaps, matching.counted, same_class=True)
    other, other_iou = _nearest(overlaps, matching.counted, same_class=False)
    tests: dict[ErrorType, Bools] = {
        ErrorType.localization: (own_iou >= BACKGROUND) & (own_iou < FOREGROUND),
        ErrorType.classification: other_iou >= FOREGROUND,
        ErrorType.duplicate: own_iou >= FOREGROUND,
        ErrorType.background: np.maximum(own_iou, other_iou) < BACKGROUND,
    }
    kind = np.select(list(tests.values()), [int(name) for name in tests], int(ErrorType.both))
    by_other = np.isin(kind, (ErrorType.classification, ErrorType.both))
    target = np.where(kind == ErrorType.background, -1, np.where(by_other, other, own))
    target = np.where(wrong, target, np.where(right, matching.wanted_of[0], -1))
    kind = np.where(wrong, kind, -1)
    missed = matching.counted.copy()
    mendable = right | np.isin(kind, (ErrorType.localization, ErrorType.classification))
    missed[target[mendable]] = False
    return ErrorLabels(kind, target, right, missed, matching.counted)


def _nearest(overlaps: Overlaps, counted: Bools, same_class: bool) -> tuple[Ints, Floats]:
    """Of every detection the object with the highest IoU, among those of its class or of the others: (object, IoU) [D],
    -1 and 0 where none overlaps."""
    found, wanted, pairs = overlaps.found, overlaps.wanted, overlaps.pairs
    same = found.class_id[pairs.found] == wanted.class_id[pairs.wanted]
    chosen = np.flatnonzero((same == same_class) & counted[pairs.wanted])
    # the last write to a place stays, so the highest IoU comes last, of equal ones the first object
    chosen = chosen[np.lexsort((-pairs.wanted[chosen], pairs.iou[chosen]))]
    nearest, iou = np.full(len(found.score), -1, dtype=np.int64), np.zeros(len(found.score))
    nearest[pairs.found[chosen]] = pairs.wanted[chosen]
    iou[pairs.found[chosen]] = pairs.iou[chosen]
    return nearest, iou


def split_errors(overlaps: Overlaps, most: int = 500) -> ErrorSplit:
    """TIDE's split of the `most` best detections of a class in an image, mended as the paper says:

    * localization: the box is moved onto its object; classification: the class is changed to that of its object. Of the
      detections that then have found one object, only that with the best score stays.
    * duplicate, background, both: the detection is taken away.
    * missed: the object is taken out of the count.

    The authors' tool, tidecv, gives the same counts and gains but for the first point, where it gives less: there, a
    mended detection goes if its object was found already, or is the target of a better one of the other type.
    A class of which no object is left counts as AP 1, or 0 where something wrong is left of it; the paper does not say.
    """
    labels = label_errors(overlaps, most)
    ledger = _ledger(overlaps, labels)
    base = _ap50(ledger, ledger)
    wrong = labels.kind >= 0
    names = [*(kind.name for kind in ErrorType), "missed"]
    mended: dict[str, Callable[[], Ledger]] = {
        "localization": lambda: _move(ledger, overlaps, labels, ErrorType.localization),
        "classification": lambda: _move(ledger, overlaps, labels, ErrorType.classification),
        "missed": lambda: replace(ledger, objects=_objects(overlaps, labels.counted & ~labels.missed)),
    }
    gains = {}
    for name in names:
        better = mended[name]() if name in mended else _without(ledger, labels.kind == ErrorType[name])
        gains[name] = _ap50(better, ledger) - base
    counts = {kind.name: int((labels.kind == kind).sum()) for kind in ErrorType}
    is_found = np.zeros_like(labels.counted)
    is_found[labels.target[labels.right]] = True
    return ErrorSplit(
        AP50=base,
        dAP=gains,
        counts={**counts, "missed": int(labels.missed.sum())},
        dAP_false_positives=_ap50(_without(ledger, wrong), ledger) - base,
        dAP_false_negatives=_ap50(replace(ledger, objects=_objects(overlaps, is_found)), ledger) - base,
        false_positives=int(wrong.sum()),
        false_negatives=int((labels.counted & ~is_found).sum()),
        max_dets=most,
    )


def _ledger(overlaps: Overlaps, labels: ErrorLabels) -> Ledger:
    found, objects = overlaps.found, _objects(overlaps, labels.counted)
    return Ledger(found.image, found.class_id, found.score, labels.right[None], (labels.kind >= 0)[None], objects)


def _objects(overlaps: Overlaps, chosen: Bools) -> Ints:
    """How many of the `chosen` annotated boxes each image has of each class: int64 [I, C]."""
    counts = np.zeros((len(overlaps.image_ids), len(overlaps.names)), np.int64)
    np.add.at(counts, (overlaps.wanted.image[chosen], overlaps.wanted.class_id[chosen]), 1)
    return counts


def _without(ledger: Ledger, gone: Bools) -> Ledger:
    """The ledger with these detections taken away."""
    return replace(ledger, right=ledger.right & ~gone, wrong=ledger.wrong & ~gone)


def _move(ledger: Ledger, overlaps: Overlaps, labels: ErrorLabels, kind: ErrorType) -> Ledger:
    """The ledger with the errors of this `kind` made right, and of all that found one object only the best left."""
    mended = labels.kind == kind
    rows = np.flatnonzero(labels.right | mended)
    rows = rows[np.argsort(-ledger.score[rows], kind="stable")]
    _, firsts = np.unique(labels.target[rows], return_index=True)  # the first of each object, which has the best score
    right = np.zeros_like(mended)
    right[rows[firsts]] = True
    new_class = np.append(overlaps.wanted.class_id, 0)[labels.target]
    class_id = np.where(mended, new_class, ledger.class_id)
    return replace(ledger, class_id=class_id, right=right[None], wrong=ledger.wrong & ~mended)


def _ap50(ledger: Ledger, whole: Ledger) -> float:
    """AP at IoU 0.5, the mean over the classes that have objects in the `whole` ledger."""
    precision = Curves(ledger).precision(ledger.everything_once)[0, 0]
    asked, left = whole.objects.sum(axis=0) > 0, ledger.objects.sum(axis=0) > 0
    wrong = np.bincount(ledger.class_id[ledger.wrong[0]], minlength=len(left)) > 0
    precision[:, asked & ~left] = np.where(wrong[asked & ~left], 0.0, 1.0)
    return mean_known(precision)
