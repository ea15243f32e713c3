"""The matching and the curves of eyas against pycocotools, bit for bit, and under weights against copied images."""

import io
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tests.metrics import scenes
from tests.metrics.scenes import Found, dataset, found, jittered, sample

from eyas.data import load_dataset
from eyas.data.sample import ClassMap, Dataset, Sample
from eyas.metrics.coco import coco_results, coco_truth, mean_known, run_coco, to_coco_results
from eyas.metrics.ledger import Curves, keep_ledger, pool
from eyas.metrics.matching import choose, match
from eyas.metrics.overlaps import find_overlaps

SPANS = {"all": (0.0, 1e10), "small": (0.0, 1024.0), "middle": (144.0, 2000.0), "none": (1e9, 1e10)}


def reference(data: Dataset, detections: dict[int, Found], span: Any, most: int) -> Any:
    """pycocotools' precision [T, R, K], the classes in the order of `data`."""
    truth = coco_truth(data)
    with redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(to_coco_results(data, detections)), "bbox")
        evaluation.params.maxDets, evaluation.params.areaRng = [most], [list(span)]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    places = np.argsort(np.argsort(data.classes.source_ids))
    return evaluation.eval["precision"][:, :, places, 0, 0]


def precision(data: Dataset, detections: dict[int, Found], span: Any, most: int) -> Any:
    ledger = keep_ledger(find_overlaps(data, detections), span, most)
    return Curves(ledger).precision(ledger.everything_once)[0]


def as_dataset(rows: list[Any]) -> Dataset:
    """Drawn annotations as a dataset, in the order of `scenes.coco_file`."""
    samples = []
    for image in range(scenes.IMAGES):
        mine = [row for row in rows if row[0] == image]
        boxes = np.array([[x, y, x + w, y + h] for _, _, (x, y, w, h), _, _ in mine], np.float32).reshape(-1, 4)
        areas = np.array([w * h * fill for _, _, (_, _, w, h), _, fill in mine])
        ignore = np.array([crowd for *_, crowd, _ in mine], np.bool_)
        classes = np.array([category for _, category, *_ in mine], np.int64)
        samples.append(Sample(40 - image, Path(f"{image}.png"), 200, 200, boxes, classes, ignore, areas))
    return Dataset(tuple(samples), ClassMap(("9", "2", "5"), (9, 2, 5)), Path("drawn.json"))


@settings(max_examples=50, deadline=None)
@given(scenes.annotations, scenes.detections, scenes.copies)
def test_equals_pycocotools_bit_for_bit(rows: Any, drawn: Any, near: Any) -> None:
    data, detections = as_dataset(rows), scenes.drawn_detections(rows, drawn, near)
    for span in SPANS.values():
        for most in (1, 100):
            ours = precision(data, detections, span, most)
            assert np.array_equal(ours, reference(data, detections, span, most))


@pytest.mark.parametrize("seed", range(4))
def test_equals_pycocotools_on_crowded_scenes(seed: int) -> None:
    data, detections = scenes.random_scene(seed, crowds=True, ties=seed % 2 == 1)
    for span in SPANS.values():
        assert np.array_equal(precision(data, detections, span, 100), reference(data, detections, span, 100))


def test_equals_hotcoco_and_pycocotools_on_real_annotations(shared_data: Path) -> None:
    data = load_dataset(shared_data / "hit_uav", "val")
    detections = jittered(data, seed=5)
    figures = run_coco(coco_truth(data), coco_results(data, detections), SPANS, (100, 500))
    for place, (name, span) in enumerate(SPANS.items()):
        for most in (100, 500):
            ours = precision(data, detections, span, most)
            assert np.array_equal(ours, figures.precision[..., place, (100, 500).index(most)])
            assert mean_known(ours) == figures.ap(name, most=most)
    expected = reference(data, detections, SPANS["all"], 100)
    np.testing.assert_allclose(precision(data, detections, SPANS["all"], 100), expected, atol=1e-12)


@pytest.mark.parametrize("span", [SPANS["all"], SPANS["middle"]])
def test_weights_count_images_as_often_as_copies_of_them_would(span: Any) -> None:
    data, detections = scenes.random_scene(7, crowds=True)
    curves = Curves(keep_ledger(find_overlaps(data, detections), span, 100))
    weights = np.random.default_rng(0).integers(0, 4, (20, len(data))).astype(np.int32)
    got = curves.precision(weights)
    for row, values in zip(weights, got, strict=True):
        drawn = [number for number, times in enumerate(row) for _ in range(times)]
        samples = tuple(replace(data.samples[number], image_id=place) for place, number in enumerate(drawn, start=1))
        copied = {place: detections[data.samples[number].image_id] for place, number in enumerate(drawn, start=1)}
        assert np.array_equal(values, reference(replace(data, samples=samples), copied, span, 100))


def test_a_pool_weighs_both_runs() -> None:
    data, first = scenes.random_scene(8)
    second = {
        key: replace(one, scores=one.scores + np.float32(0.001)) for key, one in scenes.random_scene(9)[1].items()
    }
    one, other = (keep_ledger(find_overlaps(data, run)) for run in (first, second))
    both, coins = pool(one, other), np.random.default_rng(0).integers(0, 2, len(data)).astype(np.int32)
    mixed = {s.image_id: (first if coin else second)[s.image_id] for s, coin in zip(data.samples, coins, strict=True)}
    got = Curves(both).precision(np.concatenate([coins, 1 - coins])[None])[0]
    assert np.array_equal(got, reference(data, mixed, SPANS["all"], 100))


def test_best_wish_first_in_turn() -> None:
    """0 takes the box 1 that 1 wants most; 1 then takes 0; 2 finds both gone; box 2 is endless."""
    wanted_of = np.full(5, -1)
    found_rows, wanted_rows = np.array([0, 1, 1, 2, 2, 3, 4]), np.array([1, 1, 0, 0, 1, 2, 2])
    choose(found_rows, wanted_rows, np.array([False, False, True]), wanted_of)
    assert wanted_of.tolist() == [1, 0, -1, 2, 2]


def test_found_boxes_know_where_they_came_from() -> None:
    data = dataset(sample(7, [[0, 0, 10, 10]], [0]), sample(3, [[0, 0, 20, 20], [5, 5, 9, 9]], [1, 0], ignore=[1]))
    rows = Found(
        np.array([[0, 0, 9, 9], [0, 0, 20, 20], [0, 0, 19, 20]], np.float32),
        np.array([0.2, 0.9, 0.4], np.float32),
        np.array([1, 1, 0]),
    )
    overlaps = find_overlaps(data, {3: rows, 7: found([[0, 0, 10, 5]], [0.5], [0])})
    assert overlaps.image_ids == (3, 7) and overlaps.names == ("a", "b")
    assert overlaps.found.image.tolist() == [0, 0, 0, 1]
    assert overlaps.found.place.tolist() == [1, 2, 0, 0]
    assert overlaps.found.rank.tolist() == [0, 0, 1, 0]
    assert overlaps.wanted.region.tolist() == [False, True, False]
    pairs = dict(zip(zip(overlaps.pairs.found.tolist(), overlaps.pairs.wanted.tolist(), strict=True),
                     overlaps.pairs.iou.tolist(), strict=True))  # fmt: skip
    assert pairs[0, 0] == 1 and pairs[1, 0] == 0.95 and pairs[3, 2] == 0.5
    assert pairs[2, 1] == 16 / 81  # the part of the detection inside the ignored region
    assert match(overlaps).wanted_of[0].tolist() == [0, -1, -1, 2]


def test_without_images_boxes_or_detections() -> None:
    empty = dataset()
    assert mean_known(precision(empty, {}, SPANS["all"], 100)) == -1
    data = dataset(sample(1, [], []))
    assert mean_known(precision(data, {1: found([[0, 0, 5, 5]], [0.5], [0])}, SPANS["all"], 100)) == -1
    data = dataset(sample(1, [[0, 0, 5, 5]], [1]))
    assert mean_known(precision(data, {}, SPANS["all"], 100)) == 0


def test_large_images_are_looked_at_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    data, detections = scenes.random_scene(1, crowds=True)
    whole = find_overlaps(data, detections)
    monkeypatch.setattr("eyas.metrics.overlaps._CELLS", 20)
    parts = find_overlaps(data, detections)
    assert np.array_equal(whole.pairs.found, parts.pairs.found) and np.array_equal(whole.pairs.iou, parts.pairs.iou)
    assert np.array_equal(whole.pairs.wanted, parts.pairs.wanted)
