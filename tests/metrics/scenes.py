"""Datasets and detections for the tests of metrics: hand-made ones, random ones, and shaken annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyas.data.sample import ClassMap, Dataset, Sample


@dataclass(frozen=True)
class Found:
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]


def found(boxes: Any, scores: Any, class_ids: Any) -> Found:
    order = np.argsort(-np.asarray(scores, np.float32), kind="stable")
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Found(array[order], np.asarray(scores, np.float32)[order], np.asarray(class_ids, np.int64)[order])


def sample(image_id: int, boxes: Any, class_ids: Any, ignore: Sequence[int] = ()) -> Sample:
    """An image of 640 x 512; `ignore` are the places of the boxes that are ignored."""
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    ignored = np.zeros(len(array), np.bool_)
    ignored[list(ignore)] = True
    return Sample(image_id, Path(f"{image_id}.png"), 640, 512, array, np.asarray(class_ids, np.int64), ignored)


def dataset(*samples: Sample, source_ids: tuple[int, ...] = (9, 2)) -> Dataset:
    """Classes a, b, … with these ids in their source."""
    return Dataset(tuple(samples), ClassMap(tuple("abcdef"[: len(source_ids)]), source_ids), Path("tiny.json"))


def of_ground_truth(data: Dataset) -> dict[int, Found]:
    kept = {one.image_id: (one, ~one.ignore) for one in data.samples}
    return {key: found(s.boxes_xyxy[k], np.ones(k.sum()), s.class_ids[k]) for key, (s, k) in kept.items()}


def jittered(data: Dataset, seed: int, decimals: int = 1) -> dict[int, Found]:
    """Moved, missed and invented boxes, some with the wrong class, with coarse scores so that many tie."""
    rng = np.random.default_rng(seed)
    detections = {}
    for one in data.samples:
        boxes = one.boxes_xyxy[rng.random(len(one.boxes_xyxy)) < 0.85]
        classes = one.class_ids[: len(boxes)].copy()
        boxes = boxes + rng.normal(0, 2, boxes.shape)
        corner = rng.uniform(0, 400, (8, 2))
        boxes = np.concatenate([boxes, np.concatenate([corner, corner + rng.uniform(4, 80, (8, 2))], axis=1)])
        classes = np.concatenate([classes, rng.integers(0, len(data.classes), 8)])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        detections[one.image_id] = found(boxes, rng.random(len(boxes)).round(decimals), classes)
    return detections


def random_scene(
    seed: int, images: int = 12, objects: int = 9, invented: int = 6, *, crowds: bool = False, ties: bool = False
) -> tuple[Dataset, dict[int, Found]]:
    """Three classes; every object is found about twice, a little off, sometimes as another class."""
    rng = np.random.default_rng(seed)
    samples, detections = [], {}
    for number in range(images):
        corner, size = rng.uniform(0, 300, (objects, 2)), rng.uniform(6, 60, (objects, 2))
        boxes, classes = np.concatenate([corner, corner + size], axis=1), rng.integers(0, 3, objects)
        ignore = np.flatnonzero(rng.random(objects) < 0.15) if crowds else ()
        samples.append(sample(number + 1, boxes, classes, ignore))
        near = rng.integers(0, objects, 2 * objects)
        shaken = boxes[near] + rng.normal(0, 0.12, (len(near), 4)) * np.tile(size[near], 2)
        corner = rng.uniform(0, 300, (invented, 2))
        away = np.concatenate([corner, corner + rng.uniform(6, 60, (invented, 2))], axis=1)
        other = rng.random(len(near)) < 0.2
        labels = np.where(other, rng.integers(0, 3, len(near)), classes[near])
        total = len(near) + invented
        scores = rng.permutation(total) + 1 + total * rng.permutation(images)[number]
        scores = scores / (total * images + 1)
        labels = np.append(labels, rng.integers(0, 3, invented))
        detections[number + 1] = found(np.concatenate([shaken, away]), scores.round(1) if ties else scores, labels)
    return dataset(*samples, source_ids=(1, 2, 3)), detections


# eighths of a pixel: exact in float32 and, as x + width, exact again when the width is taken back
side = st.integers(1, 800).map(lambda value: value / 8)
corner = st.integers(0, 800).map(lambda value: value / 8)
box = st.tuples(corner, corner, side, side)
annotations = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), box, st.booleans(), st.sampled_from([1.0, 0.5])),
    min_size=1, max_size=30,
)  # fmt: skip
detections = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), box, st.integers(1, 10)), min_size=1, max_size=30)
copies = st.lists(st.tuples(st.integers(0, 30), st.integers(-8, 8), st.integers(1, 10)), max_size=30)
IMAGES = 5  # the last one is always empty


def coco_file(rows: list[Any]) -> dict[str, Any]:
    """What a COCO file says of drawn `annotations`; image ids fall, category ids are in no order."""
    return {
        "images": [{"id": 40 - i, "file_name": f"{i}.png", "width": 200, "height": 200} for i in range(IMAGES)],
        "annotations": [
            {
                "id": number,
                "image_id": 40 - image,
                "category_id": (9, 2, 5)[category],
                "bbox": list(xywh),
                "iscrowd": int(crowd),
                "area": xywh[2] * xywh[3] * fill,
            }
            for number, (image, category, xywh, crowd, fill) in enumerate(rows, start=1)
        ],
        "categories": [{"id": i, "name": str(i)} for i in (9, 2, 5)],
    }


def drawn_detections(rows: list[Any], drawn: list[Any], near: list[Any]) -> dict[int, Found]:
    """Drawn `detections`, and `copies` of annotations beside them, so that matches happen; scores tie often."""
    for place, shift, score in near:
        image, category, (x, y, w, h), *_ = rows[place % len(rows)]
        drawn = [*drawn, (image, category, (x + shift / 8, y, w, h), score)]
    by_image = {}
    for image in range(IMAGES):
        mine = [row for row in drawn if row[0] == image]
        boxes = [[x, y, x + w, y + h] for _, _, (x, y, w, h), _ in mine]
        by_image[40 - image] = found(boxes, [row[3] / 10 for row in mine], [row[1] for row in mine])
    return by_image
