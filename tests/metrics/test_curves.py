"""Precision-recall curves against COCO's arrays, thresholds against trying them all, the confusion matrix by hand."""

import json

import numpy as np
import pytest
from tests.metrics import scenes
from tests.metrics.scenes import dataset, found, sample

from eyas.metrics.coco import coco_results, coco_truth, run_coco
from eyas.metrics.confusion import confusion
from eyas.metrics.curves import precision_recall
from eyas.metrics.ledger import keep_ledger
from eyas.metrics.overlaps import find_overlaps


def test_curves_are_those_behind_ap() -> None:
    data, detections = scenes.random_scene(1, crowds=True, ties=True)
    arrays = run_coco(coco_truth(data), coco_results(data, detections), {"all": (0.0, 1e10)}, (500,))
    curves = precision_recall(find_overlaps(data, detections))
    assert [curve.iou for curve in curves] == [0.5, 0.75]
    for curve, place in zip(curves, (0, 5), strict=True):
        expected = arrays.precision[place, :, :, 0, 0]
        assert [list(values) for values in curve.precision.values()] == expected.T.tolist()
        assert np.mean(curve.mean) == pytest.approx(arrays.ap(most=500, iou=place), abs=1e-12)
    assert curves[0].recalls[57] == pytest.approx(0.57) and len(curves[0].recalls) == 101


@pytest.mark.parametrize("ties", [False, True])
def test_the_best_threshold_beats_all_others(ties: bool) -> None:
    """Every threshold is tried by throwing detections away and matching again."""
    data, detections = scenes.random_scene(2, crowds=True, ties=ties)
    curve = precision_recall(find_overlaps(data, detections))[0]
    tried = {}
    for threshold in [-1.0, *np.unique(np.concatenate([one.scores for one in detections.values()]))[:-1]]:
        used = {key: one.scores > threshold for key, one in detections.items()}
        left = {
            key: found(one.boxes_xyxy[used[key]], one.scores[used[key]], one.class_ids[used[key]])
            for key, one in detections.items()
        }
        ledger = keep_ledger(find_overlaps(data, left), most=500)
        counts = [np.bincount(ledger.class_id[rows[0]], minlength=3) for rows in (ledger.right, ledger.wrong)]
        tried[float(threshold)] = np.array([*counts, ledger.objects.sum(axis=0)])
    for best, classes in [(curve.best_overall, [0, 1, 2]), *zip(curve.best.values(), ([0], [1], [2]), strict=True)]:
        figures = {}
        for threshold, table in tried.items():
            right, wrong, objects = table[:, classes].sum(axis=1)
            figures[threshold] = (right / max(1, right + wrong), right / objects, 2 * right / (right + wrong + objects))
        assert best is not None
        got = figures[max(threshold for threshold in figures if threshold < best.threshold)]
        assert got == pytest.approx((best.precision, best.recall, best.F1))
        assert pytest.approx(max(f1 for *_, f1 in figures.values())) == best.F1


def test_thresholds_by_hand() -> None:
    """Scores 0.9 right, 0.6 wrong, 0.5 right, 0.3 wrong, of 2 objects: F1 is 0.67, 0.5, 0.8, 0.67."""
    data = dataset(sample(1, [[0, 0, 10, 10], [50, 0, 60, 10]], [0, 0]))
    boxes = [[0, 0, 10, 10], [200, 0, 210, 10], [50, 0, 60, 10], [300, 0, 310, 10]]
    curve = precision_recall(find_overlaps(data, {1: found(boxes, [0.875, 0.625, 0.5, 0.25], [0] * 4)}))[0]
    best = curve.best["a"]
    assert best == curve.best_overall and best is not None
    assert (best.threshold, best.precision, best.recall, best.F1) == (0.375, 2 / 3, 1, 0.8)
    assert set(curve.precision) == {"a"}  # there is no object of class b


def test_a_threshold_below_the_last_score_keeps_it() -> None:
    data = dataset(sample(1, [[0, 0, 10, 10]], [0]))
    best = precision_recall(find_overlaps(data, {1: found([[0, 0, 10, 10]], [0.5], [0])}))[0].best_overall
    assert best is not None and best.threshold < 0.5 and best.F1 == 1


def test_where_nothing_is_right_there_is_no_threshold() -> None:
    data = dataset(sample(1, [[0, 0, 10, 10]], [0]))
    for detections in ({}, {1: found([[100, 0, 110, 10]], [0.5], [0])}):
        curve = precision_recall(find_overlaps(data, detections))[0]
        assert curve.best == {"a": None} and curve.best_overall is None
    assert precision_recall(find_overlaps(dataset(), {}))[0].mean == ()
    assert json.loads(json.dumps(curve.to_dict()))["best"] == {"a": None}


def test_confusion_by_hand() -> None:
    """Objects a, a, b, b: found, found as b, missed, found twice; an invention, two boxes in a region, one too weak."""
    boxes = [[0, 0, 10, 10], [50, 0, 60, 10], [100, 0, 110, 10], [150, 0, 160, 10], [300, 300, 400, 400]]
    data = dataset(sample(1, boxes, [0, 0, 1, 1, 0], ignore=[4]))
    detections = found(
        [[0, 0, 10, 9], [50, 0, 60, 11], [150, 0, 160, 10], [150, 0, 160, 9], [200, 0, 210, 10], [310, 310, 320, 320],
         [310, 340, 320, 350], [100, 0, 110, 10]],
        [0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.45, 0.2],
        [0, 1, 1, 1, 0, 0, 1, 1],
    )  # fmt: skip
    result = confusion(find_overlaps(data, {1: detections}), 0.2)
    assert result.matrix.tolist() == [
        [1, 1, 0],  # a: one found, one taken for b
        [0, 1, 1],  # b: one found, one missed (0.2 is not above the threshold)
        [1, 2, 0],  # background: an invented a; b found twice, and a b in a region of class a
    ]
    assert result.ignored == 1
    content = json.loads(json.dumps(result.to_dict()))
    assert content["labels"] == ["a", "b", "background"] and content["matrix"] == result.matrix.tolist()
    assert confusion(find_overlaps(data, {1: detections}), 0.19).matrix.tolist()[1] == [0, 2, 0]


def test_the_best_score_chooses_first_and_the_own_class_decides_between_equals() -> None:
    twice = [[0, 0, 10, 10], [0, 0, 10, 10]]
    data = dataset(sample(1, twice, [0, 1]))
    own = confusion(find_overlaps(data, {1: found(twice, [0.9, 0.8], [1, 0])}), 0)
    assert own.matrix.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    data = dataset(sample(1, twice[:1], [0]))
    first = confusion(find_overlaps(data, {1: found(twice, [0.9, 0.8], [1, 0])}), 0)
    assert first.matrix.tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_confusion_counts_every_object_and_detection_once() -> None:
    data, detections = scenes.random_scene(3, crowds=True)
    result = confusion(find_overlaps(data, detections), 0.3, iou=0.6)
    objects = np.bincount(np.concatenate([s.class_ids[~s.ignore] for s in data.samples]), minlength=3)
    assert result.matrix[:3].sum(axis=1).tolist() == objects.tolist()
    used = sum(int((one.scores > 0.3).sum()) for one in detections.values())
    assert result.matrix[:, :3].sum() + result.ignored == used
    with pytest.raises(ValueError, match="iou must lie in"):
        confusion(find_overlaps(data, detections), 0.3, iou=0.05)
