"""The bridge to COCO's matching: a dataset and its detections as hotcoco wants them, and its raw arrays back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eyas.data.sample import Dataset
from eyas.errors import DatasetError, missing_extra

Floats = NDArray[np.float64]
Range = tuple[float, float]
EVERYTHING: Range = (0.0, 1e10)  # areas in square pixels
IOU_50, IOU_75 = 0, 5  # places in COCO's ten thresholds 0.50, 0.55 … 0.95


@dataclass(frozen=True)
class GroupFigures:
    """Of a class or size: AP over IoU 0.50:0.95, AP at IoU 0.50, the recall that is reached, the number of objects."""

    AP: float
    AP50: float
    AR: float
    objects: int


class Boxes(Protocol):
    """What is needed of the detections of one image (`eyas.results.Detections` has it)."""

    @property
    def boxes_xyxy(self) -> NDArray[np.float32]: ...
    @property
    def scores(self) -> NDArray[np.float32]: ...
    @property
    def class_ids(self) -> NDArray[np.int64]: ...


def to_coco_results(dataset: Dataset, detections: Mapping[int, Boxes]) -> list[dict[str, Any]]:
    """The detections as COCO results: image_id, category_id (of the source), bbox x, y, width, height, and score."""
    check_known(dataset, detections)
    return [
        {"image_id": int(row[0]), "category_id": int(row[6]), "bbox": row[1:5], "score": row[5]}
        for row in coco_results(dataset, detections).tolist()
    ]


@dataclass(frozen=True, eq=False)
class CocoArrays:
    """COCO's arrays precision [T, R, K, A, M] and recall [T, K, A, M], -1 where there is no object.

    T: ten IoU thresholds 0.50 to 0.95; R: 101 recalls; K: the classes of the dataset, in its order; A: `ranges` of
    area; M: `most`, the numbers of detections that count of a class in an image.
    """

    precision: Floats
    recall: Floats
    ranges: tuple[str, ...]
    most: tuple[int, ...]

    def ap(self, area: str = "all", *, most: int = 100, iou: int | None = None, of: int | None = None) -> float:
        """AP over all thresholds, or at that with the place `iou`; of the class `of`, or the mean of all."""
        part = self.precision[..., self.ranges.index(area), self.most.index(most)]
        part = part if iou is None else part[[iou]]
        return mean_known(part if of is None else part[..., of])

    def ar(self, area: str = "all", *, most: int = 100, of: int | None = None) -> float:
        """The recall that the detections reach, over all thresholds; of the class `of`, or the mean of all."""
        part = self.recall[..., self.ranges.index(area), self.most.index(most)]
        return mean_known(part if of is None else part[..., of])

    def group(self, objects: int, area: str = "all", *, most: int = 100, of: int | None = None) -> GroupFigures:
        """The figures of one range of area, or one class."""
        ap, ap50 = self.ap(area, most=most, of=of), self.ap(area, most=most, iou=IOU_50, of=of)
        return GroupFigures(ap, ap50, self.ar(area, most=most, of=of), objects)


def mean_known(values: Floats) -> float:
    """The mean of what could be measured, -1 where nothing could."""
    known = values[values > -1]
    return float(np.mean(known)) if known.size else -1.0


def run_coco(truth: dict[str, Any], results: Floats, ranges: Mapping[str, Range], most: Sequence[int]) -> CocoArrays:
    """COCO's arrays for `ranges` of area in square pixels, both ends included.

    hotcoco gives the numbers of pycocotools, about 60 times as fast. Raises BackendError where it is not installed.
    """
    try:
        from hotcoco import COCO, COCOeval
    except ImportError as error:
        raise missing_extra("hotcoco", "train") from error
    known = COCO(truth)
    evaluation = COCOeval(known, known.loadRes(results), "bbox")
    evaluation.params.areaRng = [list(span) for span in ranges.values()]
    evaluation.params.areaRngLbl = list(ranges)
    evaluation.params.maxDets = list(most)
    evaluation.evaluate()
    evaluation.accumulate()
    arrays: Any = evaluation.eval
    # COCO sorts its class axis by source id
    places = np.argsort(np.argsort([category["id"] for category in truth["categories"]]))
    precision, recall = np.asarray(arrays["precision"])[:, :, places], np.asarray(arrays["recall"])[:, places]
    return CocoArrays(precision, recall, tuple(ranges), tuple(most))


def check_known(dataset: Dataset, detections: Mapping[int, Boxes]) -> None:
    """Raise DatasetError for an image or class id that `dataset` does not have."""
    strange = set(detections) - {sample.image_id for sample in dataset.samples}
    if strange:
        raise DatasetError(f"{dataset.source} has no image with the id {min(strange)}, but detections came for it")
    for image_id, found in detections.items():
        outside = (found.class_ids < 0) | (found.class_ids >= len(dataset.classes))
        if outside.any():
            raise DatasetError(
                f"image id {image_id} of {dataset.source}: a detection has class id {found.class_ids[outside][0]}, "
                f"the dataset's classes are 0 to {len(dataset.classes) - 1}"
            )


def coco_truth(dataset: Dataset) -> dict[str, Any]:
    """The dataset as a COCO object; annotation ids count from 1, because COCO's matching reads id 0 as "no match"."""
    annotations: list[dict[str, Any]] = []
    for sample in dataset.samples:
        rows = xywh(sample.boxes_xyxy).tolist()
        columns = (rows, sample.class_ids.tolist(), sample.ignore.tolist(), sample.box_areas.tolist())
        for bbox, class_id, ignore, area in zip(*columns, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": sample.image_id,
                    "category_id": dataset.classes.source_ids[class_id],
                    "bbox": bbox,
                    "area": area,
                    "iscrowd": int(ignore),
                }
            )
    images = [
        {"id": s.image_id, "file_name": s.path.name, "width": s.width, "height": s.height} for s in dataset.samples
    ]
    pairs = zip(dataset.classes.source_ids, dataset.classes.names, strict=True)
    return {"images": images, "annotations": annotations, "categories": [{"id": i, "name": name} for i, name in pairs]}


def coco_results(dataset: Dataset, detections: Mapping[int, Boxes]) -> Floats:
    """float64 [N, 7]: image id, x, y, width, height, score, source id."""
    source_ids = np.array(dataset.classes.source_ids, dtype=np.float64)
    parts = [np.zeros((0, 7))]
    for image_id, found in detections.items():
        part = np.empty((len(found.scores), 7))
        part[:, 0] = image_id
        part[:, 1:5] = xywh(found.boxes_xyxy)
        part[:, 5] = found.scores
        part[:, 6] = source_ids[found.class_ids]
        parts.append(part)
    return np.concatenate(parts)


def xywh(boxes_xyxy: NDArray[np.float32]) -> Floats:
    """Boxes x1, y1, x2, y2 as COCO writes them: x, y, width, height, float64 [N, 4]."""
    boxes = boxes_xyxy.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes
