"""Figures by the rules of VisDrone's own toolkit (github.com/VisDrone/VisDrone2018-DET-toolkit), which are not COCO's.

What differs, as read from its MATLAB files:

* Ignored regions (category 0). A detection goes, and so does an object, when half of its area or more lies in the
  union of the image's regions; this happens first. In COCO a region (iscrowd) speaks for one class, each region is
  looked at alone, the part inside it must reach the IoU threshold (0.50 to 0.95), objects stay, and a detection that
  has found an object is right even in a region.
* The best 1, 10, 100 or 500 detections of an image count, of all classes together. In COCO: of each class.
* AP is the whole area under the precision-recall curve. In COCO: the mean of 101 points of it.

The rule by which the detections that are left choose objects is COCO's, also for boxes that are ignored in one class
only (score 0). A box that is ignored in every class is taken for a region; this includes VisDrone's objects of other
kinds (category 11), of which the toolkit knows nothing. It counts whole pixels; here areas are exact.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.data.sample import Dataset, Sample
from eyas.metrics.coco import IOU_50, IOU_75, Boxes, Floats, check_known, mean_known
from eyas.metrics.matching import match
from eyas.metrics.overlaps import Bools, Ints, Overlaps, find_overlaps

MAX_DETS = (1, 10, 100, 500)
COVERED = 0.5


@dataclass(frozen=True)
class VisDroneFigures:
    """Figures between 0 and 1, -1 where there is no object; AP at 500 detections an image.

    `per_class` is the AP of each class. `dropped_detections` and `dropped_objects` lay in ignored regions;
    `images_over_500` have more detections than count.
    """

    AP: float
    AP50: float
    AP75: float
    AR1: float
    AR10: float
    AR100: float
    AR500: float
    per_class: Mapping[str, float]
    dropped_detections: int
    dropped_objects: int
    images_over_500: int

    def to_dict(self) -> dict[str, Any]:
        """All figures in full precision, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some detections of an image."""

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]


def evaluate_visdrone(dataset: Dataset, detections: Mapping[int, Boxes]) -> VisDroneFigures:
    """The figures of `detections`, by image id, against `dataset`; a box ignored in every class is a region.

    Raises DatasetError for an image or class id that the dataset does not have.
    """
    check_known(dataset, detections)
    left, left_detections = drop_ignored(dataset, detections)
    overlaps = find_overlaps(left, left_detections)
    image = overlaps.found.image
    place = np.arange(len(image)) - np.searchsorted(image, image)  # among all detections of the image
    matching = match(overlaps)
    objects = np.bincount(overlaps.wanted.class_id[matching.counted], minlength=len(overlaps.names))
    counts = ~matching.ignored & (place < MAX_DETS[-1])
    ap = _areas_under(overlaps, matching.right & counts, counts, objects)
    recall = [mean_known(_recalls(overlaps, matching.right & (place < most), objects)) for most in MAX_DETS]
    wanted = sum(int((~sample.ignore).sum()) for sample in dataset.samples)
    return VisDroneFigures(
        AP=mean_known(ap),
        AP50=mean_known(ap[IOU_50]),
        AP75=mean_known(ap[IOU_75]),
        AR1=recall[0],
        AR10=recall[1],
        AR100=recall[2],
        AR500=recall[3],
        per_class={name: mean_known(ap[:, class_id]) for class_id, name in enumerate(overlaps.names)},
        dropped_detections=sum(len(boxes.scores) for boxes in detections.values()) - len(image),
        dropped_objects=wanted - int(objects.sum()),
        images_over_500=int((np.bincount(image, minlength=1) > MAX_DETS[-1]).sum()),
    )


def drop_ignored(dataset: Dataset, detections: Mapping[int, Boxes]) -> tuple[Dataset, dict[int, Boxes]]:
    """Dataset and detections without the boxes ignored in every class, and without what lies half or more in them."""
    samples, left = [], dict(detections)
    for sample in dataset.samples:
        is_region = _regions(sample, len(dataset.classes))
        regions = sample.boxes_xyxy[is_region]
        samples.append(_chosen(sample, ~is_region & (covered_share(sample.boxes_xyxy, regions) < COVERED)))
        boxes = detections.get(sample.image_id)
        if boxes is not None and len(regions):
            rows = covered_share(boxes.boxes_xyxy, regions) < COVERED
            left[sample.image_id] = _Rows(boxes.boxes_xyxy[rows], boxes.scores[rows], boxes.class_ids[rows])
    return replace(dataset, samples=tuple(samples)), left


def _regions(sample: Sample, classes: int) -> Bools:
    """Which boxes of an image are ignored, and stand there for each of the `classes`: bool [N]."""
    rows = np.flatnonzero(sample.ignore)
    _, which = np.unique(sample.boxes_xyxy[rows], axis=0, return_inverse=True)
    pairs = np.unique(np.stack([which.ravel(), sample.class_ids[rows]], axis=1), axis=0)
    in_every_class = np.bincount(pairs[:, 0]) == classes
    is_region = np.zeros_like(sample.ignore)
    is_region[rows] = in_every_class[which.ravel()]
    return is_region


def _chosen(sample: Sample, rows: Bools) -> Sample:
    return replace(
        sample,
        boxes_xyxy=sample.boxes_xyxy[rows],
        class_ids=sample.class_ids[rows],
        ignore=sample.ignore[rows],
        areas=None if sample.areas is None else sample.areas[rows],
    )


def covered_share(boxes: NDArray[np.float32], regions: NDArray[np.float32]) -> Floats:
    """Which part of the area of each of `boxes` [N, 4] lies in the union of `regions` [M, 4]: float64 [N] in 0…1.

    The edges of the regions cut the picture into a grid of cells, each of which is wholly inside the union or outside.
    """
    found, ignored = boxes.astype(np.float64), regions.astype(np.float64)
    in_x, width = _cells(found[:, 0::2], ignored[:, 0::2])
    in_y, height = _cells(found[:, 1::2], ignored[:, 1::2])
    union = (in_y[:, :, None] & in_x[:, None, :]).any(axis=0)
    covered = ((height @ union.astype(np.float64)) * width).sum(axis=1)
    area = np.maximum(found[:, 2] - found[:, 0], 0) * np.maximum(found[:, 3] - found[:, 1], 0)
    share: Floats = np.divide(covered, area, out=np.zeros_like(area), where=area > 0)
    return share


def _cells(found: Floats, ignored: Floats) -> tuple[Bools, Floats]:
    """Along one axis, spans [N, 2] and [M, 2]: (is each region over each of E cells, bool [M, E]; how much of the cell
    each detection covers, float64 [N, E])."""
    edges = np.unique(ignored)
    low, high = edges[:-1], edges[1:]
    over = (ignored[:, :1] <= low) & (high <= ignored[:, 1:])
    length = np.maximum(np.minimum(found[:, 1:], high) - np.maximum(found[:, :1], low), 0)
    return over, length


def _areas_under(overlaps: Overlaps, right: Bools, counts: Bools, objects: Ints) -> Floats:
    """The area under the curve of each threshold and class, float64 [T, C]; -1 for a class without objects."""
    areas = np.full((len(right), len(objects)), -1.0)
    for class_id in np.flatnonzero(objects):
        rows = np.flatnonzero(overlaps.found.class_id == class_id)
        rows = rows[np.argsort(-overlaps.found.score[rows], kind="stable")]
        for place, hits in enumerate(right[:, rows]):
            used = np.cumsum(counts[place, rows])[hits]
            precision = np.arange(1, len(used) + 1) / used
            areas[place, class_id] = np.maximum.accumulate(precision[::-1]).sum() / objects[class_id]
    return areas


def _recalls(overlaps: Overlaps, right: Bools, objects: Ints) -> Floats:
    """The share of objects found at each threshold, float64 [T, C]; -1 for a class without objects."""
    found = np.array([np.bincount(overlaps.found.class_id[row], minlength=len(objects)) for row in right])
    return np.where(objects > 0, found / np.maximum(objects, 1), -1.0)
