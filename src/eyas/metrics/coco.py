"""The bridge to COCO's matching: a dataset and its detections as hotcoco wants them, and its raw arrays back."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eyas.data.sample import Dataset
from eyas.errors import DatasetError, missing_extra

Floats = NDArray[np.float64]
Range = tuple[float, float]


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


def run_coco(
    truth: dict[str, Any], results: Floats, ranges: Sequence[Range], most: Sequence[int]
) -> tuple[Floats, Floats]:
    """COCO's arrays precision [T, R, K, A, M] and recall [T, K, A, M], -1 where there is no object.

    T: ten IoU thresholds 0.50 to 0.95; R: 101 recalls; K: the classes in the order of `truth`; A: `ranges` of area in
    square pixels, both ends included; M: `most`, the numbers of detections that count of a class in an image. hotcoco
    gives the numbers of pycocotools, about 60 times as fast. Raises BackendError where it is not installed.
    """
    try:
        from hotcoco import COCO, COCOeval
    except ImportError as error:
        raise missing_extra("hotcoco", "train") from error
    known = COCO(truth)
    evaluation = COCOeval(known, known.loadRes(results), "bbox")
    evaluation.params.areaRng = [list(span) for span in ranges]
    evaluation.params.areaRngLbl = [str(place) for place in range(len(ranges))]
    evaluation.params.maxDets = list(most)
    evaluation.evaluate()
    evaluation.accumulate()
    arrays: Any = evaluation.eval
    # COCO sorts its class axis by source id
    places = np.argsort(np.argsort([category["id"] for category in truth["categories"]]))
    return np.asarray(arrays["precision"])[:, :, places], np.asarray(arrays["recall"])[:, places]


def check_known(dataset: Dataset, detections: Mapping[int, Boxes]) -> None:
    """Raise DatasetError for an image or class id that `dataset` does not have."""
    strange = set(detections) - {sample.image_id for sample in dataset.samples}
    if strange:
        raise DatasetError(f"{dataset.source} has no image with the id {min(strange)}, but detections came for it")
    for image_id, found in detections.items():
        if len(found.class_ids) and int(found.class_ids.max()) >= len(dataset.classes):
            raise DatasetError(
                f"image id {image_id} of {dataset.source}: a detection has class id {found.class_ids.max()}, "
                f"the dataset's classes are 0 to {len(dataset.classes) - 1}"
            )


def coco_truth(dataset: Dataset) -> dict[str, Any]:
    """The dataset as a COCO object; annotation ids count from 1, because COCO's matching reads id 0 as "no match"."""
    annotations: list[dict[str, Any]] = []
    for sample in dataset.samples:
        xywh = _xywh(sample.boxes_xyxy).tolist()
        columns = (xywh, sample.class_ids.tolist(), sample.ignore.tolist(), sample.box_areas.tolist())
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
        part[:, 1:5] = _xywh(found.boxes_xyxy)
        part[:, 5] = found.scores
        part[:, 6] = source_ids[found.class_ids]
        parts.append(part)
    return np.concatenate(parts)


def _xywh(boxes_xyxy: NDArray[np.float32]) -> Floats:
    boxes = boxes_xyxy.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes
