"""The report of an evaluation: what is in it, whatever the dataset is like."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.metrics import scenes
from tests.metrics.scenes import Found, found, jittered, sample
from tests.report.reading import check_self_contained

from eyas.data import load_dataset
from eyas.data.sample import ClassMap, Dataset
from eyas.metrics.bootstrap import Difference, compare
from eyas.metrics.evaluation import evaluate_all
from eyas.metrics.overlaps import find_overlaps
from eyas.report.comparison import Comparison, verdict
from eyas.report.evaluation import write_evaluation_report
from eyas.report.figures import wilson
from eyas.report.worst import CONFUSED, FALSE_ALARM, FOUND, IGNORED, MISPLACED, MISSED, judge

NAMES = ("<script>alert(1)</script>", "a&b\"'\u202e", "短い名前" * 12)


def drawn(data: Dataset, folder: Path, size: tuple[int, int] = (640, 512)) -> Dataset:
    """The dataset with image files, named as badly as a file system allows."""
    samples = []
    for one in data.samples:
        path = folder / f"<img src=x onerror=alert(1)> & '{one.image_id}'.png"
        Image.new("RGB", size, (40, 80, 120)).save(path)
        samples.append(replace(one, path=path))
    return replace(data, samples=tuple(samples), source=folder / "<b>.json")


def hostile(data: Dataset) -> Dataset:
    return replace(data, classes=ClassMap(NAMES[: len(data.classes)], data.classes.source_ids))


def test_everything_is_on_the_page(tmp_path: Path) -> None:
    data, detections = scenes.random_scene(3, crowds=True)
    data = hostile(drawn(data, tmp_path))
    other = jittered(data, seed=2)
    result, first = evaluate_all(data, detections, resamples=20), evaluate_all(data, other, resamples=0)
    differences = compare(find_overlaps(data, other), find_overlaps(data, detections), resamples=20)
    comparison = Comparison("<first>", "second", first, differences)
    path = tmp_path / "out" / "report.html"
    facts = {"Model": "<i>x</i>"}
    assert write_evaluation_report(path, result, data, detections, facts=facts, comparison=comparison) == path
    page = check_self_contained(path.read_text("utf-8"))
    for name in ("Comparison", "COCO", "VisDrone", "AI-TOD", "SODA", "Precision against recall, IoU 0.75"):
        assert name in page.text
    for name in ("Confusion matrix", "Gain in AP50 by mending", "Worst images", "<first>", "<i>x</i>", NAMES[0]):
        assert name in page.text
    values = {one["value"] for one in page.all("data")}
    assert {repr(getattr(result.metrics, key)) for key in ("AP", "AP50", "AR100", "AP_500")} <= values
    assert {repr(result.visdrone.AP), repr(result.protocols["soda"].AP)} <= values
    interval = result.intervals["AP"]
    assert f"{interval.low:.4f} … {interval.high:.4f}" in page.text
    assert len(page.all("img")) == 12
    assert all(f"{count:,}" in page.text for count in result.errors.counts.values())


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    data, detections = scenes.random_scene(4)
    data = drawn(data, tmp_path)
    result = evaluate_all(data, detections, resamples=5)
    paths = [write_evaluation_report(tmp_path / name, result, data, detections) for name in ("a.html", "b.html")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_nothing_annotated_and_nothing_found(tmp_path: Path) -> None:
    cases: list[tuple[Dataset, dict[int, Found]]] = [
        (scenes.dataset(sample(1, [], [])), {}),
        (scenes.dataset(sample(1, [[0, 0, 9, 9]], [0])), {}),
        (scenes.dataset(sample(1, [], [])), {1: found([[0, 0, 9, 9]], [0.5], [1])}),
        (Dataset((), ClassMap(("a",), (1,)), Path("x")), {}),
    ]
    for number, (data, detections) in enumerate(cases):
        path = tmp_path / f"{number}.html"
        write_evaluation_report(path, evaluate_all(data, detections, resamples=0), data, detections)
        check_self_contained(path.read_text("utf-8"))


def test_many_classes_stay_readable(tmp_path: Path) -> None:
    boxes = [[10 * k, 0, 10 * k + 8, 8] for k in range(60)]
    names = ClassMap(tuple(f"class {k}" for k in range(60)), tuple(range(60)))
    data = Dataset((sample(1, boxes, list(range(60))),), names, Path("many.json"))
    detections = {1: found(boxes, np.linspace(0.9, 0.1, 60), [(k + k // 50) % 60 for k in range(60)])}
    path = write_evaluation_report(tmp_path / "r.html", evaluate_all(data, detections, resamples=0), data, detections)
    content = path.read_text("utf-8")
    page = check_self_contained(content)
    assert "class 59" in page.text and "30 classes with the most objects" in page.text
    assert len(content) < 300_000


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    data, detections = scenes.random_scene(5, images=3)
    data = drawn(data, tmp_path)
    data.samples[0].path.unlink()
    path = write_evaluation_report(tmp_path / "r.html", evaluate_all(data, detections, resamples=0), data, detections)
    page = check_self_contained(path.read_text("utf-8"))
    assert len(page.all("img")) == 2 and f"cannot read {data.samples[0].path}" in page.text


def test_large_images_have_a_close_up(tmp_path: Path) -> None:
    far = sample(1, [[1900, 1400, 1906, 1406], [1910, 1400, 1916, 1406], [10, 10, 16, 16]], [0, 1, 0])
    data = drawn(scenes.dataset(replace(far, width=2000, height=1500)), tmp_path, (2000, 1500))
    path = write_evaluation_report(tmp_path / "r.html", evaluate_all(data, {}, resamples=0), data, {})
    page = check_self_contained(path.read_text("utf-8"))
    sizes = [(one["width"], one["height"]) for one in page.all("img")]
    assert sizes == [("900", "675"), ("880", "600")]
    assert "from x 1120 to 2000 and y 900 to 1500" in page.text  # there are two of the three missed ones


def test_errors_are_judged_as_they_are() -> None:
    boxes = [[0, 0, 20, 20], [40, 0, 60, 20], [80, 0, 100, 20], [120, 0, 140, 20], [300, 300, 400, 400]]
    data = scenes.dataset(sample(1, boxes, [0, 0, 0, 0, 0], ignore=[4]), sample(2, [[0, 0, 9, 9]], [0]))
    here = [
        [0, 0, 20, 20],
        [40, 0, 60, 20],
        [80, 0, 90, 14],
        [200, 0, 220, 20],
        [310, 310, 390, 390],
        [120, 0, 140, 20],
    ]
    detections = {1: found(here, [0.9, 0.8, 0.7, 0.6, 0.5, 0.1], [0, 1, 0, 0, 0, 0])}
    first, second = judge(data, detections, 0.3)
    assert (first.sample.image_id, second.sample.image_id) == (1, 2)
    assert {kind: first.count(kind) for kind in (FOUND, CONFUSED, MISPLACED, FALSE_ALARM, MISSED, IGNORED)} == dict(
        zip((FOUND, CONFUSED, MISPLACED, FALSE_ALARM, MISSED, IGNORED), (1, 1, 1, 1, 1, 1), strict=True)
    )
    assert (first.errors, second.errors) == (4, 1)
    placed = dict(zip(first.kinds, first.boxes_xyxy.tolist(), strict=True))
    assert placed[MISSED] == boxes[3] and placed[FALSE_ALARM] == here[3] and placed[CONFUSED] == here[1]
    assert judge(data, detections, 0.05)[0].count(FOUND) == 2


def test_pictures_are_limited() -> None:
    data = scenes.dataset(sample(1, [], []))
    with pytest.raises(ValueError, match=r"pictures must lie in 0…24, got 25"):
        write_evaluation_report("never.html", evaluate_all(data, {}, resamples=0), data, {}, pictures=25)


def test_verdicts() -> None:
    better = Difference(0.4, 0.5, 0.1, 0.05, 0.15, 0.01)
    assert verdict("AP", "new", better) == "AP: new is better by 0.1000, more than other images would explain."
    assert "could as well" in verdict("AP", "new", replace(better, low=-0.01))
    assert "worse by 0.1000" in verdict("AP", "new", replace(better, difference=-0.1, low=-0.2, high=-0.01))


def test_wilson() -> None:
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe (1998), table I, method 3


def test_real_images(shared_data: Path, tmp_path: Path) -> None:
    data = load_dataset(shared_data / "hit_uav", "val")
    detections = jittered(data, seed=3)
    result = evaluate_all(data, detections, resamples=0)
    path = write_evaluation_report(tmp_path / "r.html", result, data, detections, pictures=24)
    page = check_self_contained(path.read_text("utf-8"))
    assert len(page.all("img")) == 24
    assert path.stat().st_size < 4_000_000
