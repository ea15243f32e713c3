"""Detection figures against pycocotools, and those that it does not have."""

import builtins
import io
import json
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from eyas.data.coco import load_dataset, read_coco
from eyas.data.sample import ClassMap, Dataset, Sample
from eyas.errors import BackendError, DatasetError
from eyas.metrics.coco import to_coco_results
from eyas.metrics.detection import SIZE_BINS, DetectionMetrics, evaluate_detections

TWELVE = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
TWELVE += ["AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"]


@dataclass(frozen=True)
class Found:
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]


def found(boxes: Any, scores: Any, class_ids: Any) -> Found:
    order = np.argsort(-np.asarray(scores, np.float32), kind="stable")
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Found(array[order], np.asarray(scores, np.float32)[order], np.asarray(class_ids, np.int64)[order])


def reference(
    truth: dict[str, Any], results: list[dict[str, Any]], most: tuple[int, ...] = (1, 10, 100), span: Any = None
) -> tuple[NDArray[np.float64], list[str]]:
    """pycocotools' twelve figures and lines; with a `span` of areas, AP and AP50 in it instead."""
    with redirect_stdout(io.StringIO()) as printed:
        known = COCO()
        known.dataset = truth
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(results), "bbox")
        evaluation.params.maxDets = list(most)
        if span is not None:
            evaluation.params.areaRng, evaluation.params.areaRngLbl = [list(span)], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
        if span is None:
            printed.truncate(0)
            printed.seek(0)
            evaluation.summarize()
    if span is None:
        return evaluation.stats, printed.getvalue().splitlines()
    precision = evaluation.eval["precision"][..., 0, -1]
    return np.array([part[part > -1].mean() if (part > -1).any() else -1 for part in (precision, precision[0])]), []


def of_ground_truth(dataset: Dataset) -> dict[int, Found]:
    kept = {sample.image_id: (sample, ~sample.ignore) for sample in dataset.samples}
    return {key: found(s.boxes_xyxy[k], np.ones(k.sum()), s.class_ids[k]) for key, (s, k) in kept.items()}


def jittered(dataset: Dataset, seed: int) -> dict[int, Found]:
    """Moved, missed and invented boxes, some with the wrong class, with coarse scores so that many tie."""
    rng = np.random.default_rng(seed)
    detections = {}
    for sample in dataset.samples:
        boxes = sample.boxes_xyxy[rng.random(len(sample.boxes_xyxy)) < 0.85]
        classes = sample.class_ids[: len(boxes)].copy()
        boxes = boxes + rng.normal(0, 2, boxes.shape)
        corner = rng.uniform(0, 400, (8, 2))
        boxes = np.concatenate([boxes, np.concatenate([corner, corner + rng.uniform(4, 80, (8, 2))], axis=1)])
        classes = np.concatenate([classes, rng.integers(0, len(dataset.classes), 8)])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        detections[sample.image_id] = found(boxes, rng.random(len(boxes)).round(1), classes)
    return detections


def assert_equals_pycocotools(truth: dict[str, Any], dataset: Dataset, detections: Mapping[int, Found]) -> None:
    metrics = evaluate_detections(dataset, detections)
    results = to_coco_results(dataset, detections)
    stats, lines = reference(truth, results)
    np.testing.assert_allclose([metrics.to_dict()[key] for key in TWELVE], stats, atol=1e-9, rtol=0)
    assert metrics.coco_lines() == lines
    wide, _ = reference(truth, results, (1, 10, 500), (0, 1e10))
    np.testing.assert_allclose([metrics.AP_500, metrics.AP50_500], wide, atol=1e-9, rtol=0)
    for name, span in SIZE_BINS.items():
        expected, _ = reference(truth, results, (1, 10, 500), span)
        got = metrics.by_size[name]
        np.testing.assert_allclose([got.AP, got.AP50], expected, atol=1e-9, rtol=0)


# eighths of a pixel: exact in float32 and, as x + width, exact again when the width is taken back
side = st.integers(1, 800).map(lambda value: value / 8)
box = st.tuples(st.integers(0, 800).map(lambda value: value / 8), st.integers(0, 800).map(lambda v: v / 8), side, side)
annotation = st.tuples(st.integers(0, 3), st.integers(0, 2), box, st.booleans(), st.sampled_from([1.0, 0.5]))
detection = st.tuples(st.integers(0, 3), st.integers(0, 2), box, st.integers(1, 10))
copied = st.tuples(st.integers(0, 30), st.integers(-8, 8), st.integers(1, 10))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(annotation, min_size=1, max_size=30),
    st.lists(detection, min_size=1, max_size=30),
    st.lists(copied, max_size=30),
)
def test_equals_pycocotools_on_random_data(
    tmp_path_factory: Any, annotations: list[Any], detections: list[Any], copies: list[Any]
) -> None:
    truth = {
        "images": [{"id": 40 - i, "file_name": f"{i}.png", "width": 200, "height": 200} for i in range(4)],
        "annotations": [
            {
                "id": number,
                "image_id": 40 - image,
                "category_id": (9, 2, 5)[category],
                "bbox": list(xywh),
                "iscrowd": int(crowd),
                "area": xywh[2] * xywh[3] * fill,
            }
            for number, (image, category, xywh, crowd, fill) in enumerate(annotations, start=1)
        ],
        "categories": [{"id": i, "name": str(i)} for i in (9, 2, 5)],
    }
    file = tmp_path_factory.mktemp("coco") / "file.json"
    file.write_text(json.dumps(truth))
    dataset = read_coco(file, "images")
    for place, shift, score in copies:  # near an object, so that matches happen
        image, category, (x, y, w, h), *_ = annotations[place % len(annotations)]
        detections = [*detections, (image, category, (x + shift / 8, y, w, h), score)]
    by_image = {}
    for image in range(4):
        mine = [row for row in detections if row[0] == image]
        boxes = [[x, y, x + w, y + h] for _, _, (x, y, w, h), _ in mine]
        by_image[40 - image] = found(boxes, [row[3] / 10 for row in mine], [row[1] for row in mine])
    assert_equals_pycocotools(truth, dataset, by_image)


def test_equals_pycocotools_on_real_annotations(shared_data: Path) -> None:
    dataset = load_dataset(shared_data / "hit_uav", "val")
    truth = json.loads(dataset.source.read_text())
    assert_equals_pycocotools(truth, dataset, jittered(dataset, seed=1))


def test_ground_truth_as_detections_scores_one(shared_data: Path) -> None:
    dataset = load_dataset(shared_data / "hit_uav", "val")
    metrics = evaluate_detections(dataset, of_ground_truth(dataset))
    assert (metrics.AP, metrics.AP_500, metrics.AR100, metrics.AP_under16, metrics.AP_large) == (1, 1, 1, 1, 1)
    assert {name: (group.AP, group.objects) for name, group in metrics.per_class.items()} == {
        "Person": (1, 1052), "Car": (1, 311), "Bicycle": (1, 1271), "OtherVehicle": (1, 18),
    }  # fmt: skip
    assert (metrics.images, metrics.objects, metrics.detections, metrics.ignored_regions) == (218, 2652, 2652, 12)
    assert sum(item.objects for item in metrics.recall_by_size) == 2652
    assert all(item.found == item.objects for item in metrics.recall_by_size)


def tiny_dataset(boxes: Any, class_ids: Any, source_ids: tuple[int, ...] = (9, 2)) -> Dataset:
    array = np.asarray(boxes, np.float32)
    sample = Sample(4, Path("a.png"), 640, 512, array, np.asarray(class_ids), np.zeros(len(array), np.bool_))
    return Dataset((sample,), ClassMap(tuple("abcdef"[: len(source_ids)]), source_ids), Path("tiny.json"))


def test_per_class_and_recall_by_size_count_the_right_objects() -> None:
    """Class a (source id 9, sorted last by COCO) is found, class b is not."""
    dataset = tiny_dataset([[0, 0, 10, 10], [50, 50, 60, 60], [100, 100, 140, 140], [200, 0, 216, 16]], [0, 1, 1, 0])
    detections = {4: found([[0, 0, 10, 10], [200, 0, 216, 16]], [0.9, 0.8], [0, 0])}
    metrics = evaluate_detections(dataset, detections)
    assert {name: (group.AP, group.objects) for name, group in metrics.per_class.items()} == {"a": (1, 2), "b": (0, 2)}
    assert metrics.AP == 0.5
    curve = {item.low_px: (item.objects, item.found) for item in metrics.recall_by_size if item.objects}
    assert curve == {10: (2, 1), 16: (1, 1), 32: (1, 0)}
    assert metrics.by_size["tiny"].objects == 3 and metrics.by_size["medium"].AP == 0


def test_more_than_a_hundred_detections_count_only_in_the_wide_figures() -> None:
    corners = np.array([(x * 12, y * 12) for y in range(13) for x in range(10)], np.float32)
    boxes = np.concatenate([corners, corners + 10], axis=1)
    dataset = tiny_dataset(boxes, np.zeros(130, np.int64))
    metrics = evaluate_detections(dataset, {4: found(boxes, np.linspace(1, 0.5, 130), np.zeros(130))})
    assert metrics.AP_500 == 1 and metrics.AR_500 == 1
    assert pytest.approx(100 / 130) == metrics.AR100
    assert metrics.images_over_100 == 1


def test_without_objects_or_detections() -> None:
    empty = tiny_dataset(np.zeros((0, 4)), np.zeros(0, np.int64))
    assert evaluate_detections(empty, {}).AP == -1
    some = tiny_dataset([[0, 0, 10, 10]], [0])
    metrics = evaluate_detections(some, {})
    assert (metrics.AP, metrics.AP_large, metrics.per_class["b"].AP, metrics.detections) == (0, -1, -1, 0)


def test_unknown_images_and_classes_are_refused() -> None:
    dataset = tiny_dataset([[0, 0, 10, 10]], [0])
    with pytest.raises(DatasetError, match="no image with the id 5"):
        evaluate_detections(dataset, {5: found([], [], [])})
    with pytest.raises(DatasetError, match="image id 4 .* class id 2, the dataset's classes are 0 to 1"):
        to_coco_results(dataset, {4: found([[0, 0, 1, 1]], [1], [2])})


def test_coco_results_name_source_ids() -> None:
    dataset = tiny_dataset([[0, 0, 10, 10]], [0])
    assert to_coco_results(dataset, {4: found([[1, 2, 4, 6.5]], [0.5], [1])}) == [
        {"image_id": 4, "category_id": 2, "bbox": [1.0, 2.0, 3.0, 4.5], "score": 0.5}
    ]


def test_to_dict_is_json_in_full_precision() -> None:
    dataset = tiny_dataset([[0, 0, 10, 10], [50, 50, 60, 60], [90, 90, 99, 99]], [0, 0, 0])
    metrics = evaluate_detections(dataset, {4: found([[0, 0, 10, 10]], [0.9], [0])})
    assert isinstance(metrics, DetectionMetrics)
    again = json.loads(json.dumps(metrics.to_dict()))
    assert set(TWELVE) <= set(again)
    assert again["AP"] == metrics.AP == pytest.approx(34 / 101, abs=1e-12)
    assert again["AP_under16"] == again["by_size"]["under16"]["AP"]


def test_says_how_to_install_hotcoco(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_hotcoco(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "hotcoco":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_hotcoco)
    with pytest.raises(BackendError, match=r"pip install 'eyas\[train\]'"):
        evaluate_detections(tiny_dataset([[0, 0, 10, 10]], [0]), {})
