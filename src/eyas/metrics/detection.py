"""COCO figures of a set of detections, and those that small objects need besides: more boxes an image, finer sizes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.data.sample import Dataset
from eyas.metrics.coco import (
    IOU_50,
    IOU_75,
    Boxes,
    CocoArrays,
    Floats,
    GroupFigures,
    check_known,
    coco_results,
    coco_truth,
    run_coco,
)
from eyas.metrics.sizes import COCO_RANGES, CURVE_EDGES, SIZE_BINS

# COCO counts the best 100 boxes of a class in an image; VisDrone's number is 500.
MAX_DETS = (1, 10, 100, 500)


@dataclass(frozen=True)
class SizeRecall:
    """Of `objects` whose size (square root of the area) is in [low_px, high_px), `found` were, at IoU 0.5."""

    low_px: float
    high_px: float
    objects: int
    found: int


@dataclass(frozen=True)
class DetectionMetrics:
    """Figures between 0 and 1; -1 where there is no object to measure them on, as in pycocotools.

    The first twelve are COCO's, at 100 detections of a class in an image; so is `per_class`, whose mean is AP.
    `AP_500`, `AP50_500`, `AP75_500`, `AR_500`, `by_size` and `recall_by_size` allow 500. The sizes of `by_size` are the
    square root of the area in pixels: very_tiny 2-8, tiny 8-16, small 16-32, medium 32-64 and under16 0-16.
    """

    AP: float
    AP50: float
    AP75: float
    AP_small: float
    AP_medium: float
    AP_large: float
    AR1: float
    AR10: float
    AR100: float
    AR_small: float
    AR_medium: float
    AR_large: float
    AP_500: float
    AP50_500: float
    AP75_500: float
    AR_500: float
    by_size: Mapping[str, GroupFigures]
    per_class: Mapping[str, GroupFigures]
    recall_by_size: tuple[SizeRecall, ...]
    images: int
    objects: int
    ignored_regions: int
    detections: int
    images_over_100: int
    """Images with more than 100 detections of one class: there the first twelve figures leave some out."""
    images_over_500: int
    object_images_over_100: int
    """Images with more than 100 objects of one class: there the first twelve figures cannot be 1."""
    object_images_over_500: int

    @property
    def AP_under16(self) -> float:
        """AP of objects of at most 16 x 16 pixels of area, at 500 detections."""
        return self.by_size["under16"].AP

    def to_dict(self) -> dict[str, Any]:
        """All figures in full precision, ready for JSON; `AP_under16` also at the top; `warnings` in words."""
        return {**asdict(self), "AP_under16": self.AP_under16, "warnings": self.warnings()}

    def warnings(self) -> list[str]:
        """A sentence for each limit on the number of detections that leaves some of them, or some objects, out."""
        told = []
        limits = (
            (100, "COCO's figures", self.images_over_100, self.object_images_over_100),
            (500, "the figures at 500", self.images_over_500, self.object_images_over_500),
        )
        for most, which, found, wanted in limits:
            if found:
                told.append(f"{found} of {self.images} images have more than {most} detections of one class; {which} "
                            f"count the best {most} of them")  # fmt: skip
            if wanted:
                told.append(f"{wanted} of {self.images} images have more than {most} objects of one class; {which} "
                            f"stay below 1 there even if all are found")  # fmt: skip
        return told

    def coco_lines(self) -> list[str]:
        """The twelve lines that pycocotools' `summarize` prints."""
        rows: list[tuple[float, str, str, int]] = [
            (self.AP, "0.50:0.95", "all", 100),
            (self.AP50, "0.50", "all", 100),
            (self.AP75, "0.75", "all", 100),
            (self.AP_small, "0.50:0.95", "small", 100),
            (self.AP_medium, "0.50:0.95", "medium", 100),
            (self.AP_large, "0.50:0.95", "large", 100),
            (self.AR1, "0.50:0.95", "all", 1),
            (self.AR10, "0.50:0.95", "all", 10),
            (self.AR100, "0.50:0.95", "all", 100),
            (self.AR_small, "0.50:0.95", "small", 100),
            (self.AR_medium, "0.50:0.95", "medium", 100),
            (self.AR_large, "0.50:0.95", "large", 100),
        ]
        titles = ["Average Precision  (AP)"] * 6 + ["Average Recall     (AR)"] * 6
        return [
            f" {title} @[ IoU={iou:<9} | area={area:>6} | maxDets={most:>3} ] = {value:0.3f}"
            for title, (value, iou, area, most) in zip(titles, rows, strict=True)
        ]


def evaluate_detections(dataset: Dataset, detections: Mapping[int, Boxes]) -> DetectionMetrics:
    """The figures of `detections`, by image id, against the boxes of `dataset`.

    Class ids are those of `dataset.classes`. An image without an entry counts as one where nothing was found. Ignored
    regions (iscrowd) neither add objects nor make a detection wrong. Raises DatasetError for an image or class id that
    the dataset does not have, and BackendError where hotcoco is not installed.
    """
    check_known(dataset, detections)
    truth, results = coco_truth(dataset), coco_results(dataset, detections)
    ranges = {**COCO_RANGES, **{_BIN + name: span for name, span in SIZE_BINS.items()}}
    figures = run_coco(truth, results, ranges, MAX_DETS)
    areas, classes = objects_of(dataset)
    found_counts = [_largest_class(found.class_ids) for found in detections.values()]
    object_counts = [_largest_class(sample.class_ids[~sample.ignore]) for sample in dataset.samples]
    return DetectionMetrics(
        AP=figures.ap(),
        AP50=figures.ap(iou=IOU_50),
        AP75=figures.ap(iou=IOU_75),
        AP_small=figures.ap("small"),
        AP_medium=figures.ap("medium"),
        AP_large=figures.ap("large"),
        AR1=figures.ar(most=1),
        AR10=figures.ar(most=10),
        AR100=figures.ar(most=100),
        AR_small=figures.ar("small"),
        AR_medium=figures.ar("medium"),
        AR_large=figures.ar("large"),
        AP_500=figures.ap(most=500),
        AP50_500=figures.ap(most=500, iou=IOU_50),
        AP75_500=figures.ap(most=500, iou=IOU_75),
        AR_500=figures.ar(most=500),
        by_size=_by_size(figures, areas),
        per_class={
            name: figures.group(int((classes == k).sum()), of=k) for k, name in enumerate(dataset.classes.names)
        },
        recall_by_size=_recall_by_size(truth, results, areas, classes),
        images=len(dataset),
        objects=len(classes),
        ignored_regions=sum(int(sample.ignore.sum()) for sample in dataset.samples),
        detections=len(results),
        images_over_100=sum(count > 100 for count in found_counts),
        images_over_500=sum(count > 500 for count in found_counts),
        object_images_over_100=sum(count > 100 for count in object_counts),
        object_images_over_500=sum(count > 500 for count in object_counts),
    )


_BIN = "bin "  # a size bin among COCO's ranges, which have a "small" and a "medium" too


def objects_of(dataset: Dataset) -> tuple[Floats, NDArray[np.int64]]:
    """(areas float64 [N], class ids int64 [N]) of everything that is to be found."""
    areas = [sample.box_areas[~sample.ignore] for sample in dataset.samples]
    classes = [sample.class_ids[~sample.ignore] for sample in dataset.samples]
    return np.concatenate([np.zeros(0), *areas]), np.concatenate([np.zeros(0, np.int64), *classes])


def _largest_class(class_ids: NDArray[np.int64]) -> int:
    """How often the most frequent value occurs."""
    return int(np.bincount(class_ids, minlength=1).max())


def _by_size(figures: CocoArrays, areas: Floats) -> dict[str, GroupFigures]:
    """The figures of each size bin, at 500 detections."""
    return {
        name: figures.group(int(((areas >= low) & (areas <= high)).sum()), _BIN + name, most=500)
        for name, (low, high) in SIZE_BINS.items()
    }


def _recall_by_size(
    truth: dict[str, Any], results: Floats, areas: Floats, classes: NDArray[np.int64]
) -> tuple[SizeRecall, ...]:
    """How many of the objects of each size were found."""
    # COCO ranges include both ends; a bin that ends just below its edge counts an object on the edge once
    spans = [(low**2, float(np.nextafter(high**2, 0))) for low, high in zip(CURVE_EDGES, CURVE_EDGES[1:], strict=False)]
    recall = run_coco(truth, results, {str(span): span for span in spans}, MAX_DETS[-1:]).recall
    curve = []
    for place, (low, high) in enumerate(spans):
        counts = np.bincount(classes[(areas >= low) & (areas <= high)], minlength=recall.shape[1])
        found = np.rint(np.maximum(recall[IOU_50, :, place, 0], 0) * counts)
        curve.append(SizeRecall(CURVE_EDGES[place], CURVE_EDGES[place + 1], int(counts.sum()), int(found.sum())))
    return tuple(curve)
