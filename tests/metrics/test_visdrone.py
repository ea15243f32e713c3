"""VisDrone's rules by hand, and against a plain loop over everything."""

import json
from typing import Any

import numpy as np
import pytest
from tests.metrics import scenes
from tests.metrics.scenes import Found, dataset, found, sample

from eyas.data.sample import Dataset
from eyas.errors import DatasetError
from eyas.metrics.coco import mean_known
from eyas.metrics.detection import evaluate_detections
from eyas.metrics.visdrone import covered_share, drop_ignored, evaluate_visdrone


def test_the_covered_share_is_that_of_the_union() -> None:
    regions = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [0, 20, 10, 30]], np.float32)
    boxes = [[0, 0, 15, 10], [10, 0, 20, 10], [0, 0, 10, 30], [2.5, 2.5, 7.5, 7.5], [50, 50, 60, 60], [5, 5, 5, 9]]
    boxes = np.array(boxes, np.float32)
    assert covered_share(boxes, regions).tolist() == [1, 0.5, pytest.approx(2 / 3), 1, 0, 0]
    assert covered_share(boxes, regions[:0]).tolist() == [0] * 6
    assert covered_share(boxes[:0], regions).shape == (0,)


def test_the_covered_share_of_pixels() -> None:
    """Whole-pixel boxes: painting a mask gives the same."""
    rng = np.random.default_rng(0)
    low = rng.integers(0, 40, (30, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 20, (30, 2))], axis=1)
    mask = np.zeros((64, 64), bool)
    for x1, y1, x2, y2 in boxes[:6]:
        mask[y1:y2, x1:x2] = True
    painted = [mask[y1:y2, x1:x2].mean() for x1, y1, x2, y2 in boxes]
    np.testing.assert_allclose(
        covered_share(boxes.astype(np.float32), boxes[:6].astype(np.float32)), painted, atol=1e-12
    )


def test_regions_take_objects_and_detections_of_any_class_with_them() -> None:
    """The region stands there for both classes. Half inside is enough; a right detection goes too."""
    region = [100, 0, 200, 100]
    objects = [[0, 0, 10, 10], [120, 20, 130, 30], [95, 50, 105, 60], region, region]
    data = dataset(sample(1, objects, [0, 0, 1, 0, 1], ignore=[3, 4]))
    rows = found([[0, 0, 10, 10], [120, 20, 130, 30], [94, 50, 104, 60], [150, 80, 160, 200]], [0.9, 0.8, 0.7, 0.6],
                 [0, 0, 1, 1])  # fmt: skip
    left, detections = drop_ignored(data, {1: rows})
    assert left.samples[0].boxes_xyxy.tolist() == [[0, 0, 10, 10]]
    assert detections[1].scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    figures = evaluate_visdrone(data, {1: rows})
    assert (figures.dropped_detections, figures.dropped_objects) == (1, 2)
    assert figures.per_class == {"a": 1, "b": -1}
    assert evaluate_detections(data, {1: rows}).per_class["b"].AP > 0  # COCO keeps the object and finds it


def test_boxes_ignored_in_one_class_are_matched_as_coco_does() -> None:
    data = dataset(sample(1, [[0, 0, 10, 10], [100, 0, 200, 100]], [0, 0], ignore=[1]))
    inside = [[110, 10, 120, 20], [130, 10, 140, 20], [0, 0, 10, 10]]
    of_class = evaluate_visdrone(data, {1: found(inside, [0.9, 0.8, 0.7], [0, 0, 0])})
    assert (of_class.AP, of_class.dropped_detections) == (1, 0)
    data = dataset(sample(1, [[0, 0, 10, 10], [100, 0, 200, 100]], [0, 1], ignore=[1]))
    of_another = evaluate_visdrone(data, {1: found(inside, [0.9, 0.8, 0.7], [0, 0, 0])})
    assert pytest.approx(1 / 3) == of_another.AP


def test_the_best_of_an_image_count_over_all_classes() -> None:
    """600 detections of class b come before the only one of class a, of which COCO's figures know nothing."""
    data = dataset(sample(1, [[0, 0, 10, 10]], [0]))
    boxes = np.concatenate([np.tile([[300.0, 300, 310, 310]], (600, 1)), [[0, 0, 10, 10]]])
    rows = found(boxes, np.linspace(1, 0.1, 601), [1] * 600 + [0])
    figures = evaluate_visdrone(data, {1: rows})
    assert (figures.AP, figures.AR500, figures.images_over_500) == (0, 0, 1)
    assert pytest.approx(1) == evaluate_detections(data, {1: rows}).AP_500
    few = evaluate_visdrone(data, {1: found(boxes[-1:], [0.5], [0])})
    assert (few.AP, few.AR1, few.AR10, few.AR100, few.AR500) == (1, 1, 1, 1, 1)


def by_loops(data: Dataset, detections: dict[int, Found], most: int, iou: float) -> tuple[Any, Any]:
    """(AP, recall) of each class, one detection after the other, as the toolkit goes about it; no regions."""
    precision, recall = [], []
    for class_id in range(len(data.classes)):
        marks, total = [], 0
        for one in data.samples:
            wanted = [box for box, c in zip(one.boxes_xyxy.astype(float), one.class_ids, strict=True) if c == class_id]
            total += len(wanted)
            rows = detections[one.image_id]
            for row in range(min(most, len(rows.scores))):
                if rows.class_ids[row] != class_id:
                    continue
                shares = [overlap(rows.boxes_xyxy[row].astype(float), box) for box in wanted]
                best = int(np.argmax(shares)) if shares else -1
                hit = bool(shares) and shares[best] >= iou
                marks.append((-float(rows.scores[row]), hit))
                if hit:
                    wanted.pop(best)
        hits = np.array([hit for _, hit in sorted(marks, key=lambda mark: mark[0])], bool)
        rights = np.cumsum(hits)
        steps = [max(rights[place:] / np.arange(place + 1, len(hits) + 1)) for place in np.flatnonzero(hits)]
        precision.append(sum(steps) / total)
        recall.append(rights[-1] / total if len(hits) else 0.0)
    return precision, recall


def overlap(a: Any, b: Any) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(width * height / (sum(areas) - width * height))


@pytest.mark.parametrize("seed", range(3))
def test_equals_plain_loops(seed: int) -> None:
    data, detections = scenes.random_scene(seed)
    figures = evaluate_visdrone(data, detections)
    ap, ar = [], {most: [] for most in (1, 10, 100, 500)}
    for iou in np.linspace(0.5, 0.95, 10):
        ap.append(by_loops(data, detections, 500, iou)[0])
        for most, found_share in ar.items():
            found_share.append(by_loops(data, detections, most, iou)[1])
    assert pytest.approx(np.mean(ap), abs=1e-12) == figures.AP
    assert pytest.approx(np.mean(ap[0]), abs=1e-12) == figures.AP50
    assert pytest.approx(np.mean(ap[5]), abs=1e-12) == figures.AP75
    recalls = (figures.AR1, figures.AR10, figures.AR100, figures.AR500)
    assert recalls == pytest.approx([np.mean(ar[most]) for most in ar], abs=1e-12)
    assert mean_known(np.array(list(figures.per_class.values()))) == pytest.approx(figures.AP, abs=1e-12)


def test_errors_empty_data_and_json() -> None:
    data = dataset(sample(1, [[0, 0, 10, 10]], [0]))
    with pytest.raises(DatasetError, match="no image with the id 2"):
        evaluate_visdrone(data, {2: found([], [], [])})
    assert evaluate_visdrone(data, {}).AP == 0
    assert evaluate_visdrone(dataset(), {}).AP == -1
    assert json.loads(json.dumps(evaluate_visdrone(data, {}).to_dict()))["per_class"] == {"a": 0, "b": -1}
