"""TIDE's error split: each type alone with its exact gain, the rules between types, and hotcoco's counts."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hotcoco import COCO, COCOeval
from tests.metrics import scenes
from tests.metrics.scenes import Found, dataset, found, sample

from eyas.data.sample import Dataset
from eyas.metrics.coco import coco_results, coco_truth
from eyas.metrics.detection import evaluate_detections
from eyas.metrics.overlaps import find_overlaps
from eyas.metrics.tide import ErrorSplit, ErrorType, label_errors, split_errors

TYPES = [*(kind.name for kind in ErrorType), "missed"]
HALF = 51 / 101  # AP with the first of two objects found and the second never: 51 of 101 recalls are reached
FIRST, SECOND = [0, 0, 10, 10], [100, 0, 110, 10]
LOOSE = [100, 0, 110, 30]  # IoU 1/3 with SECOND
AWAY = [300, 300, 310, 310]


def split(objects: Any, classes: Any, boxes: Any, scores: Any, labels: Any, ignore: Any = ()) -> ErrorSplit:
    data = dataset(sample(1, objects, classes, ignore), source_ids=(1, 2, 3))
    return split_errors(find_overlaps(data, {1: found(boxes, scores, labels)}))


def assert_only(result: ErrorSplit, counts: Mapping[str, int], gains: Mapping[str, float]) -> None:
    assert result.counts == {name: counts.get(name, 0) for name in TYPES}
    for name in TYPES:
        assert result.dAP[name] == pytest.approx(gains.get(name, 0), abs=1e-12), name


def test_no_errors() -> None:
    result = split([FIRST, SECOND], [0, 0], [FIRST, SECOND], [0.9, 0.8], [0, 0])
    assert_only(result, {}, {})
    assert (result.AP50, result.false_positives, result.false_negatives) == (pytest.approx(1), 0, 0)
    assert (result.dAP_false_positives, result.dAP_false_negatives) == (0, 0)


def test_localization_alone() -> None:
    result = split([FIRST, SECOND], [0, 0], [FIRST, LOOSE], [0.9, 0.8], [0, 0])
    assert pytest.approx(HALF) == result.AP50
    assert_only(result, {"localization": 1}, {"localization": 1 - HALF})
    # without the wrong box nothing is gained: precision is read where the curve ends
    assert (result.dAP_false_positives, result.dAP_false_negatives) == (0, pytest.approx(1 - HALF))
    assert (result.false_positives, result.false_negatives) == (1, 1)


def test_classification_alone() -> None:
    """Two classes: a is found; the b was called a, with the lower score."""
    result = split([FIRST, SECOND], [0, 1], [FIRST, SECOND], [0.9, 0.8], [0, 0])
    assert pytest.approx(0.5) == result.AP50
    # b, of which no object is found, counts 1 when its object is taken away
    assert_only(result, {"classification": 1}, {"classification": 0.5})
    assert result.dAP_false_negatives == pytest.approx(0.5)


def test_both_alone() -> None:
    """A loose box of the wrong class stands before the right one: the precision 1/2 becomes 1."""
    result = split([FIRST, SECOND], [0, 0], [LOOSE, FIRST, SECOND], [0.9, 0.8, 0.7], [1, 0, 0])
    assert pytest.approx(1) == result.AP50  # there is no object of class b, so its detections cost nothing
    assert result.counts["both"] == 1
    result = split([FIRST, SECOND], [0, 1], [LOOSE, FIRST, SECOND], [0.9, 0.8, 0.7], [0, 0, 1])
    assert pytest.approx((0.5 + 1) / 2) == result.AP50
    assert_only(result, {"both": 1}, {"both": 0.25})
    assert result.dAP_false_positives == pytest.approx(0.25)


def test_duplicate_alone() -> None:
    """Right, again, right: precisions 1 and 2/3; without the duplicate 1 and 1."""
    result = split([FIRST, SECOND], [0, 0], [FIRST, FIRST, SECOND], [0.9, 0.8, 0.7], [0, 0, 0])
    assert pytest.approx(HALF + 50 / 101 * 2 / 3) == result.AP50
    assert_only(result, {"duplicate": 1}, {"duplicate": 50 / 101 / 3})


def test_background_alone() -> None:
    result = split([FIRST, SECOND], [0, 0], [FIRST, AWAY, SECOND], [0.9, 0.8, 0.7], [0, 0, 0])
    assert_only(result, {"background": 1}, {"background": 50 / 101 / 3})
    assert result.dAP_false_positives == pytest.approx(50 / 101 / 3)


def test_missed_alone() -> None:
    result = split([FIRST, SECOND], [0, 0], [FIRST], [0.9], [0])
    assert_only(result, {"missed": 1}, {"missed": 1 - HALF})
    assert result.dAP_false_negatives == pytest.approx(1 - HALF)


def test_all_missed() -> None:
    """Of a class with no object left, AP is 1 where nothing wrong is left of it, else 0."""
    assert_only(split([FIRST], [0], [], [], []), {"missed": 1}, {"missed": 1})
    assert_only(split([FIRST], [0], [AWAY], [0.9], [0]), {"missed": 1, "background": 1}, {})


def test_of_two_claims_on_an_object_the_better_score_stays() -> None:
    """A loose box before the tight one, then a missed object. The paper keeps the mended loose one: AP is as if it had
    found the object; a second loose box goes."""
    result = split([SECOND, FIRST], [0, 0], [LOOSE, SECOND, LOOSE], [0.9, 0.8, 0.7], [0, 0, 0])
    assert pytest.approx(HALF / 2) == result.AP50
    assert_only(result, {"localization": 2, "missed": 1}, {"localization": HALF / 2, "missed": 0.5 - HALF / 2})


def test_the_first_type_that_fits_is_taken() -> None:
    """A box may fit several: own class at 1/3 and other class at 1 is a localization error; used own and other class at
    1 is a classification error."""
    data = dataset(sample(1, [SECOND, LOOSE, FIRST, FIRST], [0, 1, 0, 1]))
    rows = found([LOOSE, FIRST, FIRST], [0.9, 0.8, 0.7], [0, 0, 0])
    labels = label_errors(find_overlaps(data, {1: rows}))
    assert labels.kind.tolist() == [ErrorType.localization, -1, ErrorType.classification]
    assert labels.target.tolist() == [0, 2, 3]
    assert labels.missed.tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("height", "kind"),
    [(20, None), (20.5, "localization"), (100, "localization"), (100.5, "background")],
)
def test_thresholds_belong_to_the_better_side(height: float, kind: str | None) -> None:
    """IoU 0.5 finds the object, IoU 0.1 is still a localization error."""
    data = dataset(sample(1, [FIRST], [0]))
    labels = label_errors(find_overlaps(data, {1: found([[0, 0, 10, height]], [0.5], [0])}))
    assert labels.kind[0] == (-1 if kind is None else ErrorType[kind])


def test_ignored_regions_make_no_errors() -> None:
    """The detection in the region is left out, and the region is no object that could be missed or hit."""
    region = [200, 200, 300, 300]
    result = split([FIRST, region], [0, 0], [[210, 210, 220, 220], FIRST, [190, 190, 310, 310]], [0.9, 0.8, 0.7],
                   [0, 0, 0], ignore=[1])  # fmt: skip
    assert pytest.approx(1) == result.AP50
    assert result.counts["background"] == 0 == result.counts["missed"]  # 0.69 of the last lies in the region
    other_class = split([FIRST, region], [0, 1], [[210, 210, 220, 220], FIRST], [0.9, 0.8], [0, 0], ignore=[1])
    assert other_class.counts["background"] == 1


def hotcoco_split(data: Dataset, detections: dict[int, Found]) -> dict[str, Any]:
    known = COCO(coco_truth(data))
    evaluation = COCOeval(known, known.loadRes(coco_results(data, detections)), "bbox")
    evaluation.params.maxDets = [1, 10, 500]
    evaluation.evaluate()
    split: dict[str, Any] = evaluation.tide_errors()
    return split


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_another_implementation(seed: int) -> None:
    """Counts, and the gains whose rule is the same; mended boxes that meet a found object are handled differently."""
    data, detections = scenes.random_scene(seed, images=20)
    result, other = split_errors(find_overlaps(data, detections)), hotcoco_split(data, detections)
    names = dict(zip(("Loc", "Cls", "Dupe", "Bkg", "Both", "Miss"), TYPES, strict=True))
    assert {names[short]: count for short, count in other["counts"].items()} == result.counts
    for short in ("Dupe", "Bkg", "Both", "Miss"):
        assert result.dAP[names[short]] == pytest.approx(other["delta_ap"][short], abs=1e-12)
    assert result.dAP_false_positives == pytest.approx(other["delta_ap"]["FP"], abs=1e-12)
    assert result.dAP_false_negatives == pytest.approx(other["delta_ap"]["FN"], abs=1e-12)
    for short in ("Loc", "Cls"):
        assert result.dAP[names[short]] >= other["delta_ap"][short] - 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_ap_and_totals_are_those_of_the_metrics(seed: int) -> None:
    data, detections = scenes.random_scene(seed, crowds=True, ties=True)
    result, metrics = split_errors(find_overlaps(data, detections)), evaluate_detections(data, detections)
    assert pytest.approx(metrics.AP50_500, abs=1e-12) == result.AP50
    assert result.false_positives == sum(count for name, count in result.counts.items() if name != "missed")
    found_objects = sum(item.found for item in metrics.recall_by_size)
    assert abs(metrics.objects - result.false_negatives - found_objects) <= 1  # the curve's bins match by themselves
    again = json.loads(json.dumps(result.to_dict()))
    assert set(again["dAP"]) == set(again["counts"]) == set(TYPES) and again["max_dets"] == 500


def test_only_the_best_detections_count() -> None:
    data = dataset(sample(1, [FIRST], [0]))
    boxes = [AWAY, FIRST, AWAY]
    overlaps = find_overlaps(data, {1: found(boxes, [0.9, 0.8, 0.7], [0, 0, 0])})
    assert split_errors(overlaps, most=1).counts == {**dict.fromkeys(TYPES, 0), "background": 1, "missed": 1}
    assert split_errors(overlaps, most=2).counts["missed"] == 0


def test_without_objects_or_detections() -> None:
    nothing = split([], [], [AWAY], [0.5], [0])
    assert (nothing.AP50, nothing.counts["background"], np.sum(list(nothing.dAP.values()))) == (-1, 1, 0)
    assert split_errors(find_overlaps(dataset(), {})).AP50 == -1
