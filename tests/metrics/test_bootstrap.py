"""Intervals and comparisons: exact where they must be, sane where chance plays."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.metrics import scenes
from tests.metrics.scenes import dataset, found, of_ground_truth, sample

from eyas.errors import DatasetError
from eyas.metrics.bootstrap import FIGURES, HEADLINES, Figure, bootstrap, compare
from eyas.metrics.coco import coco_results, coco_truth, run_coco
from eyas.metrics.detection import evaluate_detections
from eyas.metrics.overlaps import Overlaps, find_overlaps


def overlaps_of(seed: int, **options: bool) -> Overlaps:
    return find_overlaps(*scenes.random_scene(seed, **options))


def worse(seed: int) -> tuple[Overlaps, Overlaps]:
    """A run, and the same run with the boxes of one class moved away."""
    data, detections = scenes.random_scene(seed, images=30)
    moved = {
        key: replace(one, boxes_xyxy=np.where(one.class_ids[:, None] == 1, one.boxes_xyxy + 500, one.boxes_xyxy))
        for key, one in detections.items()
    }
    return find_overlaps(data, detections), find_overlaps(data, moved)


@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_the_metrics_bit_for_bit(seed: int) -> None:
    data, detections = scenes.random_scene(seed, crowds=True, ties=True)
    intervals = bootstrap(find_overlaps(data, detections), resamples=2)
    metrics = evaluate_detections(data, detections)
    assert list(intervals) == list(FIGURES)
    for name in ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AP_under16"):
        assert intervals[name].value == getattr(metrics, name)
    bins = {"AP_2_8px": "very_tiny", "AP_8_16px": "tiny", "AP_16_32px": "small", "AP_32_64px": "medium"}
    for name, size in bins.items():
        assert intervals[name].value == metrics.by_size[size].AP


def test_an_interval_is_that_of_the_datasets_that_were_drawn() -> None:
    """The same draws, made by copying images and asking hotcoco."""
    data, detections = scenes.random_scene(5, crowds=True)
    interval = bootstrap(find_overlaps(data, detections), {"AP": Figure()}, resamples=40, seed=3)["AP"]
    count, values = len(data), []
    for times in np.random.default_rng(3).multinomial(count, np.full(count, 1 / count), size=40):
        drawn = [number for number, repeats in enumerate(times) for _ in range(repeats)]
        samples = tuple(replace(data.samples[number], image_id=place) for place, number in enumerate(drawn, start=1))
        copied = replace(data, samples=samples)
        results = {place: detections[data.samples[number].image_id] for place, number in enumerate(drawn, start=1)}
        arrays = run_coco(coco_truth(copied), coco_results(copied, results), {"all": (0.0, 1e10)}, (100,))
        values.append(arrays.ap())
    low, high = np.quantile(values, [0.025, 0.975])
    assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
    assert interval.resamples == 40


@pytest.mark.parametrize("seed", range(3))
def test_an_interval_holds_its_value_and_grows_narrow_with_more_images(seed: int) -> None:
    few, many = (
        bootstrap(find_overlaps(*scenes.random_scene(seed, images=images)), HEADLINES, resamples=200)
        for images in (8, 80)
    )
    for name in HEADLINES:
        assert few[name].low <= few[name].value <= few[name].high
        assert many[name].high - many[name].low < few[name].high - few[name].low


def test_images_that_are_all_alike_have_an_interval_of_no_width() -> None:
    one = sample(1, [[0, 0, 10, 10], [50, 50, 60, 60]], [0, 0])
    data = dataset(*(replace(one, image_id=number) for number in range(1, 9)), source_ids=(1,))
    detections = {number: found([[0, 0, 10, 10], [200, 200, 220, 220]], [0.9, 0.8], [0, 0]) for number in range(1, 9)}
    interval = bootstrap(find_overlaps(data, detections), HEADLINES, resamples=50)["AP"]
    assert interval.low == pytest.approx(interval.high, abs=1e-12)
    assert interval.low == pytest.approx(interval.value, abs=1e-12)


def test_perfect_detections_are_certain() -> None:
    data, _ = scenes.random_scene(2)
    interval = bootstrap(find_overlaps(data, of_ground_truth(data)), resamples=30)["AP"]
    assert (interval.value, interval.low, interval.high) == (1, 1, 1)


def test_what_cannot_be_measured_is_minus_one() -> None:
    """Objects of class b are in one image of two; large ones are nowhere."""
    data = dataset(sample(1, [[0, 0, 10, 10]], [0]), sample(2, [], []))
    intervals = bootstrap(find_overlaps(data, {1: found([[0, 0, 10, 10]], [0.5], [0])}), resamples=100)
    assert 0 < intervals["AP"].resamples < 100  # some draws have the empty image twice
    assert intervals["AP"].low == pytest.approx(1)
    large = intervals["AP_large"]
    assert (large.value, large.low, large.high, large.resamples) == (-1, -1, -1, 0)
    assert bootstrap(find_overlaps(dataset(), {}), resamples=3)["AP"].value == -1


def test_the_seed_decides() -> None:
    overlaps = overlaps_of(6)
    first, again, other = (bootstrap(overlaps, resamples=50, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    once, twice = (compare(overlaps, overlaps_of(6, ties=True), resamples=20, seed=4) for _ in range(2))
    assert once == twice


def test_a_run_does_not_differ_from_itself() -> None:
    overlaps = overlaps_of(1, crowds=True, ties=True)
    for name, result in compare(overlaps, overlaps, FIGURES, resamples=10).items():
        assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1), name


def test_a_large_difference_is_found_and_signed() -> None:
    good, bad = worse(1)
    down, up = compare(good, bad, resamples=200)["AP"], compare(bad, good, resamples=200)["AP"]
    assert down.difference == down.second - down.first < 0
    assert down.low <= down.difference <= down.high < 0
    assert down.p_value == pytest.approx(1 / 201)
    assert (up.difference, up.first, up.p_value) == (-down.difference, down.second, down.p_value)
    assert (up.low, up.high) == pytest.approx((-down.high, -down.low), abs=1e-12)


def test_chance_alone_is_seldom_called_a_difference() -> None:
    """Two shakings of the same annotations differ by chance: small p values are as rare as they say."""
    p_values = []
    for seed in range(12):
        data, _ = scenes.random_scene(seed, images=16, objects=5)
        first, second = (find_overlaps(data, scenes.jittered(data, 100 * seed + run, 6)) for run in (1, 2))
        p_values.append(compare(first, second, {"AP": Figure()}, resamples=40)["AP"].p_value)
    assert sum(p < 0.05 for p in p_values) <= 3
    assert np.mean(p_values) > 0.3


def test_only_runs_on_the_same_annotations_are_compared() -> None:
    data, detections = scenes.random_scene(1)
    with pytest.raises(DatasetError, match="different images or classes"):
        compare(find_overlaps(data, detections), find_overlaps(replace(data, samples=data.samples[1:]), {}))
    samples = (replace(data.samples[0], class_ids=data.samples[0].class_ids[::-1]), *data.samples[1:])
    with pytest.raises(DatasetError, match="different annotations"):
        compare(find_overlaps(data, detections), find_overlaps(replace(data, samples=samples), detections))
    with pytest.raises(ValueError, match="resamples must be at least 1, got 0"):
        bootstrap(find_overlaps(data, detections), resamples=0)


def test_results_are_json() -> None:
    overlaps = overlaps_of(1)
    interval, difference = bootstrap(overlaps, resamples=5)["AP"], compare(overlaps, overlaps, resamples=5)["AP"]
    assert json.loads(json.dumps(interval.to_dict()))["value"] == interval.value
    assert set(difference.to_dict()) == {"first", "second", "difference", "low", "high", "p_value"}
