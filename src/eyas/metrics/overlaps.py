"""Which detection lies on which object: the pairs that overlap, found once and used by every measure of this folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eyas.data.sample import Dataset, Sample
from eyas.metrics.coco import Boxes, Floats, check_known, xywh

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEAST_IOU = 0.1
"""Pairs that overlap by less are not kept: no measure asks for them."""
_CELLS = 1 << 20  # pairs looked at in one go, which bounds the memory


@dataclass(frozen=True, eq=False)
class Found:
    """All detections, D of them, image after image and the best score first; columns [D].

    `image` counts from 0; `rank` is the place among the detections of the same image and class; `place` is the row in
    the arrays that the image's detections came in; `area` is width * height in square pixels.
    """

    image: Ints
    class_id: Ints
    score: Floats
    area: Floats
    rank: Ints
    place: Ints


@dataclass(frozen=True, eq=False)
class Wanted:
    """All annotated boxes, G of them, image after image as the dataset has them; columns [G].

    `region` marks those that are ignored (COCO: iscrowd); `place` is the row in the sample's arrays.
    """

    image: Ints
    class_id: Ints
    area: Floats
    region: Bools
    place: Ints


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of a detection and an annotated box of the same image, of any classes; columns [P], `found` rising.

    `iou` is intersection over union; where the box is an ignored region, the part of the detection inside it.
    """

    found: Ints
    wanted: Ints
    iou: Floats


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Detections, annotated boxes and the pairs of them that overlap by `LEAST_IOU` or more.

    Images are numbered in the order of their ids: image `i` has the id `image_ids[i]`. COCO joins the detections of all
    images in that order, which decides between equal scores.
    """

    names: tuple[str, ...]
    image_ids: tuple[int, ...]
    found: Found
    wanted: Wanted
    pairs: Pairs


def find_overlaps(dataset: Dataset, detections: Mapping[int, Boxes]) -> Overlaps:
    """The overlaps of `detections`, by image id, with the boxes of `dataset`.

    Class ids are those of `dataset.classes`; an image without an entry is one where nothing was found. IoUs are those
    of COCO's tools to the last bit. Raises DatasetError for an image or class id that the dataset does not have.
    """
    check_known(dataset, detections)
    samples = sorted(dataset.samples, key=lambda sample: sample.image_id)
    nothing, nowhere = np.zeros(0, np.int64), np.zeros(0)
    found = [Found(nothing, nothing, nowhere, nowhere, nothing, nothing)]
    wanted = [Wanted(nothing, nothing, nowhere, nothing > 0, nothing)]
    pairs = [Pairs(nothing, nothing, nowhere)]
    found_before = wanted_before = 0
    for number, sample in enumerate(samples):
        count = len(sample.class_ids)
        image = np.full(count, number)
        wanted.append(Wanted(image, sample.class_ids, sample.box_areas, sample.ignore, np.arange(count)))
        boxes = detections.get(sample.image_id)
        if boxes is not None:
            rows, place = _ordered(boxes)
            found.append(_found(number, boxes, rows, place))
            for pair in _image_pairs(rows, sample):
                pairs.append(Pairs(pair.found + found_before, pair.wanted + wanted_before, pair.iou))
            found_before += len(rows)
        wanted_before += count
    ids = tuple(sample.image_id for sample in samples)
    return Overlaps(dataset.classes.names, ids, _joined(Found, found), _joined(Wanted, wanted), _joined(Pairs, pairs))


Table = TypeVar("Table", Found, Wanted, Pairs)


def _joined(kind: type[Table], parts: Sequence[Table]) -> Table:
    """One table of the rows of several."""
    return kind(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(kind)))


def _found(number: int, boxes: Boxes, rows: Floats, place: Ints) -> Found:
    """The detections of the image with that number, from their `rows` in order and where those stood in `boxes`."""
    class_ids = np.asarray(boxes.class_ids, np.int64)[place]
    scores = boxes.scores[place].astype(np.float64)
    return Found(np.full(len(rows), number), class_ids, scores, rows[:, 2] * rows[:, 3], _ranks(class_ids), place)


def _ordered(boxes: Boxes) -> tuple[Floats, Ints]:
    """(x, y, width, height float64 [N, 4], their rows in `boxes`), the best score first, equal scores as they came."""
    place = np.argsort(-boxes.scores, kind="stable")
    return xywh(boxes.boxes_xyxy[place]), place


def _ranks(class_ids: Ints) -> Ints:
    """For each element how many of the same value stand before it."""
    order = np.argsort(class_ids, kind="stable")
    ordered = class_ids[order]
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return ranks


def _image_pairs(rows: Floats, sample: Sample) -> Iterator[Pairs]:
    """The pairs of one image, in pieces, with row numbers of that image."""
    boxes = xywh(sample.boxes_xyxy)
    step = max(1, _CELLS // max(1, len(boxes)))
    for start in range(0, len(rows), step):
        iou = _iou(rows[start : start + step], boxes, sample.ignore)
        found, wanted = np.nonzero(iou >= LEAST_IOU)
        yield Pairs(found + start, wanted, iou[found, wanted])


def _iou(found: Floats, wanted: Floats, region: Bools) -> Floats:
    """IoU [N, M] of boxes x, y, width, height; the terms in the order of pycocotools, so that the bits are the same."""
    size = []
    for axis in (0, 1):
        ends = np.minimum((found[:, axis] + found[:, axis + 2])[:, None], wanted[:, axis] + wanted[:, axis + 2])
        size.append(np.maximum(ends - np.maximum(found[:, None, axis], wanted[:, axis]), 0))
    shared = size[0] * size[1]
    own = (found[:, 2] * found[:, 3])[:, None]
    union = np.where(region, own, own + wanted[:, 2] * wanted[:, 3] - shared)
    iou: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return iou
