"""Everything in one call: the parts agree with each other and with the functions they come from."""

import json
from pathlib import Path

import pytest
from tests.metrics import scenes
from tests.metrics.scenes import dataset, found, jittered, sample

from eyas.data import load_dataset
from eyas.errors import DatasetError
from eyas.metrics.confusion import confusion
from eyas.metrics.detection import evaluate_detections
from eyas.metrics.evaluation import evaluate_all
from eyas.metrics.overlaps import find_overlaps
from eyas.metrics.visdrone import evaluate_visdrone


def test_the_parts_are_those_of_their_functions() -> None:
    data, detections = scenes.random_scene(1, crowds=True)
    result = evaluate_all(data, detections, resamples=20)
    assert result.metrics == evaluate_detections(data, detections)
    assert result.visdrone == evaluate_visdrone(data, detections)
    assert set(result.protocols) == {"aitod", "soda"}
    assert result.intervals["AP"].value == result.metrics.AP
    assert pytest.approx(result.metrics.AP50_500, abs=1e-12) == result.errors.AP50
    best = result.curves[0].best_overall
    assert best is not None and result.confusion.threshold == best.threshold
    expected = confusion(find_overlaps(data, detections), 0.5).matrix.tolist()
    assert evaluate_all(data, detections, threshold=0.5, resamples=0).confusion.matrix.tolist() == expected


def test_to_dict_keeps_the_keys_of_the_metrics() -> None:
    data, detections = scenes.random_scene(1)
    result = evaluate_all(data, detections, resamples=5, seed=3)
    content = json.loads(json.dumps(result.to_dict()))
    metrics = json.loads(json.dumps(result.metrics.to_dict()))
    assert {key: content[key] for key in metrics} == metrics
    added = {"visdrone", "protocols", "intervals", "curves", "confusion", "errors"}
    assert set(content) == set(metrics) | added and not added & set(metrics)
    assert content == json.loads(json.dumps(evaluate_all(data, detections, resamples=5, seed=3).to_dict()))


def test_without_intervals_and_without_anything() -> None:
    data, detections = scenes.random_scene(1)
    assert evaluate_all(data, detections, resamples=0).intervals == {}
    nothing = evaluate_all(dataset(sample(1, [], [])), {}, resamples=5)
    assert (nothing.metrics.AP, nothing.visdrone.AP, nothing.errors.AP50) == (-1, -1, -1)
    assert nothing.confusion.matrix.sum() == 0
    with pytest.raises(DatasetError, match="no image with the id 99"):
        evaluate_all(data, {99: found([], [], [])})


def test_real_annotations(shared_data: Path) -> None:
    """Twelve ignored regions, in every class three: VisDrone's rule and COCO's are both at work."""
    data = load_dataset(shared_data / "hit_uav", "val")
    result = evaluate_all(data, jittered(data, seed=3), resamples=20)
    assert result.metrics.ignored_regions == 12
    assert pytest.approx(result.metrics.AP50_500, abs=0.02) == result.visdrone.AP50
    for name in ("AP", "AP50", "AP_small"):
        interval = result.intervals[name]
        assert interval.low < interval.value == getattr(result.metrics, name) < interval.high
    objects = result.confusion.matrix[:-1].sum()
    assert objects == result.metrics.objects == 2652
