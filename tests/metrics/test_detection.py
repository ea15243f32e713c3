"""Detection figures against pycocotools, and those that it does not have."""

import builtins
import io
import json
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tests.metrics import scenes
from tests.metrics.scenes import Found, found, jittered, of_ground_truth

from eyas.data import load_dataset
from eyas.data.coco import read_coco
from eyas.data.sample import Dataset
from eyas.errors import BackendError, DatasetError
from eyas.metrics.coco import coco_truth, to_coco_results
from eyas.metrics.detection import DetectionMetrics, evaluate_detections
from eyas.metrics.protocols import PROTOCOLS, SizeProtocol, evaluate_protocol
from eyas.metrics.sizes import SIZE_BINS, SODA_SMALL, size_bins

TWELVE = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
TWELVE += ["AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"]


def reference(
    truth: dict[str, Any], results: list[dict[str, Any]], most: tuple[int, ...] = (1, 10, 100), span: Any = None
) -> tuple[NDArray[np.float64], list[str]]:
    """pycocotools' twelve figures and lines; with a `span` of areas, AP, AP50 and AR in it instead."""
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
    precision, recall = evaluation.eval["precision"][..., 0, -1], evaluation.eval["recall"][..., 0, -1]
    parts = (precision, precision[0], recall)
    return np.array([part[part > -1].mean() if (part > -1).any() else -1 for part in parts]), []


def assert_equals_pycocotools(truth: dict[str, Any], dataset: Dataset, detections: Mapping[int, Found]) -> None:
    metrics = evaluate_detections(dataset, detections)
    results = to_coco_results(dataset, detections)
    stats, lines = reference(truth, results)
    np.testing.assert_allclose([metrics.to_dict()[key] for key in TWELVE], stats, atol=1e-9, rtol=0)
    assert metrics.coco_lines() == lines
    wide, _ = reference(truth, results, (1, 10, 500), (0, 1e10))
    np.testing.assert_allclose([metrics.AP_500, metrics.AP50_500, metrics.AR_500], wide, atol=1e-9, rtol=0)
    for name, span in SIZE_BINS.items():
        expected, _ = reference(truth, results, (1, 10, 500), span)
        got = metrics.by_size[name]
        np.testing.assert_allclose([got.AP, got.AP50, got.AR], expected, atol=1e-9, rtol=0)


@settings(max_examples=60, deadline=None)
@given(scenes.annotations, scenes.detections, scenes.copies)
def test_equals_pycocotools_on_random_data(tmp_path_factory: Any, rows: Any, drawn: Any, near: Any) -> None:
    truth = scenes.coco_file(rows)
    file = tmp_path_factory.mktemp("coco") / "file.json"
    file.write_text(json.dumps(truth))
    assert_equals_pycocotools(truth, read_coco(file, "images"), scenes.drawn_detections(rows, drawn, near))


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


def tiny_dataset(boxes: Any, class_ids: Any) -> Dataset:
    return scenes.dataset(scenes.sample(4, boxes, class_ids))


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
    with pytest.raises(DatasetError, match="class id -1"):
        evaluate_detections(dataset, {4: found([[0, 0, 1, 1]], [1], [-1])})


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


def test_per_class_figures_have_the_mean_of_the_whole() -> None:
    data, detections = scenes.random_scene(3, crowds=True, ties=True)
    metrics = evaluate_detections(data, detections)
    for figure in ("AP", "AP50"):
        of_classes = [getattr(group, figure) for group in metrics.per_class.values()]
        assert np.mean(of_classes) == pytest.approx(getattr(metrics, figure), abs=1e-12)
    assert np.mean([group.AR for group in metrics.per_class.values()]) == pytest.approx(metrics.AR100, abs=1e-12)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_equal_pycocotools_with_their_bins(name: str) -> None:
    data, detections = scenes.random_scene(4, crowds=True, ties=True)
    truth, results, protocol = coco_truth(data), to_coco_results(data, detections), PROTOCOLS[name]
    figures = evaluate_protocol(data, detections, protocol)
    expected, _ = reference(truth, results, (1, protocol.most), protocol.overall)
    np.testing.assert_allclose([figures.AP, figures.AP50, figures.AR], expected, atol=1e-9, rtol=0)
    assert set(figures.by_size) == set(protocol.bins)
    for bin_name, group in figures.by_size.items():
        expected, _ = reference(truth, results, (1, protocol.most), protocol.bins[bin_name])
        np.testing.assert_allclose([group.AP, group.AP50, group.AR], expected, atol=1e-9, rtol=0)
    assert json.loads(json.dumps(figures.to_dict()))["by_size"]


def test_protocols_count_objects_of_their_sizes() -> None:
    """Areas of 100, 144, 400, 1024, 1600 and 4096: SODA's bins share their edges, as COCO's do; AI-TOD's are open."""
    sides = np.array([10, 12, 20, 32, 40, 64])
    boxes = np.stack([np.arange(6) * 80, np.zeros(6), np.arange(6) * 80 + sides, sides], axis=1)
    data = scenes.dataset(scenes.sample(1, boxes, [0] * 6))
    soda, aitod = (evaluate_protocol(data, of_ground_truth(data), PROTOCOLS[name]) for name in ("soda", "aitod"))
    assert [group.objects for group in soda.by_size.values()] == [2, 2, 2, 2]
    assert [group.objects for group in aitod.by_size.values()] == [0, 2, 2, 3]
    assert (soda.max_dets, aitod.max_dets, soda.AP, aitod.AP) == (20000, 1500, 1, 1)
    assert PROTOCOLS["soda"].overall == SODA_SMALL == (0, 1024)


def test_any_list_of_bins() -> None:
    assert size_bins((0, 8, 16.5)) == {"0-8": (0, 64), "8-16.5": (64, 272.25)}
    data = scenes.dataset(scenes.sample(1, [[0, 0, 6, 6], [50, 50, 60, 60]], [0, 0]))
    figures = evaluate_protocol(data, {1: found([[0, 0, 6, 6]], [0.9], [0])}, SizeProtocol(size_bins((0, 8, 16))))
    assert {name: (round(group.AP, 12), group.objects) for name, group in figures.by_size.items()} == {
        "0-8": (1, 1), "8-16": (0, 1),
    }  # fmt: skip
    for wrong in ((8,), (8, 8), (8, 4), (-1, 4)):
        with pytest.raises(ValueError, match="two or more rising numbers"):
            size_bins(wrong)


def test_limits_that_leave_something_out_are_told_in_words() -> None:
    corners = np.array([(x * 12, y * 12) for y in range(41) for x in range(50)], np.float32)[:501]
    boxes = np.concatenate([corners, corners + 10], axis=1)
    data = scenes.dataset(scenes.sample(1, boxes[:150], [0] * 150), scenes.sample(2, [], []))
    metrics = evaluate_detections(data, {1: found(boxes, np.linspace(1, 0.5, 501), [0] * 501)})
    counts = (metrics.images_over_100, metrics.images_over_500)
    assert (*counts, metrics.object_images_over_100, metrics.object_images_over_500) == (1, 1, 1, 0)
    assert metrics.warnings() == metrics.to_dict()["warnings"]
    assert metrics.warnings()[0] == (
        "1 of 2 images have more than 100 detections of one class; COCO's figures count the best 100 of them"
    )
    assert len(metrics.warnings()) == 3
    assert "1 of 2 images have more than 100 objects of one class" in metrics.warnings()[1]
