"""The report of a dataset check."""

import json
from base64 import b64encode
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.metrics import scenes
from tests.metrics.scenes import sample
from tests.report.reading import Page, check_self_contained, number
from tests.report.test_evaluation import drawn, hostile

from eyas.check.statistics import detection_statistics, recognition_statistics
from eyas.data import load_dataset
from eyas.data.faults import Fault, FaultList
from eyas.data.labelled import LabelledImages
from eyas.data.sample import ClassMap, Dataset
from eyas.report.dataset import MOST_FAULTS, write_check_report
from eyas.report.distributions import pixel_histogram, share_histogram
from eyas.report.samples import IGNORED, class_kind

BAD = "<script>alert(1)</script>"


def report(path: Path, splits: dict[str, Dataset], faults: FaultList | None = None, pictures: int = 12) -> Page:
    statistics = detection_statistics(BAD, f"layout {BAD}", splits, (640, 640), True)
    write_check_report(path, statistics, faults or FaultList(), splits, pictures=pictures, facts={BAD: BAD})
    return check_self_contained(path.read_text("utf-8"))


def test_everything_is_on_the_page(tmp_path: Path) -> None:
    train, _ = scenes.random_scene(3, crowds=True)
    val, _ = scenes.random_scene(4, images=5)
    (tmp_path / "val").mkdir()
    splits = {f"train {BAD}": hostile(drawn(train, tmp_path)), "val": hostile(drawn(val, tmp_path / "val"))}
    page = report(tmp_path / "r.html", splits)
    for name in ("Faults", "Splits", "Boxes of each class", "Box sizes in pixels", "Box sizes relative to the image"):
        assert name in page.text
    for name in ("Boxes in an image", "Where the boxes lie", "Tiles are not needed", "Sample images", "very tiny"):
        assert name in page.text
    assert len(page.all("img")) == 6 + 5 and "17 images, 0 without boxes" in page.text
    assert IGNORED.name in page.text
    boxes = sum(int((~one.ignore).sum()) for split in splits.values() for one in split.samples)
    assert f"{boxes:,}" in page.text


def test_faults_are_grouped_by_kind(tmp_path: Path) -> None:
    faults = FaultList(limit=80)
    faults(Fault("info", "shapes-boxed", Path("b.json"), "a polygon became a box"))
    for place in range(MOST_FAULTS + 20):
        faults(
            Fault("error", "box-outside", Path(f"{BAD}.json"), BAD, f"record {place}", "bbox", [place, BAD], "Mend it.")
        )
    for _ in range(20):
        faults(Fault("warning", "late", Path("c"), "beyond what is kept"))
    page = report(tmp_path / "r.html", {"train": scenes.dataset(sample(1, [], []))}, faults)
    assert page.text.index("box-outside") < page.text.index("late") < page.text.index("shapes-boxed")
    assert f"box-outside (error): {MOST_FAULTS + 20}, the first {MOST_FAULTS}" in page.text
    assert "record 0 " in page.text and f"record {MOST_FAULTS - 1} " in page.text
    assert f"record {MOST_FAULTS} " not in page.text
    assert f"{MOST_FAULTS + 20} errors must be mended" in page.text and "Mend it." in page.text
    clean = report(tmp_path / "clean.html", {"train": scenes.dataset(sample(1, [], []))})
    assert "None were found." in clean.text and "No errors; 0 warnings." in clean.text


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    data, _ = scenes.random_scene(4)
    data = drawn(data, tmp_path)
    for name in ("a.html", "b.html"):
        report(tmp_path / name, {"train": data})
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_odd_datasets(tmp_path: Path) -> None:
    nothing = Dataset((), ClassMap((), ()), Path("x"))
    odd: list[dict[str, Dataset]] = [
        {},
        {"train": nothing},
        {"train": scenes.dataset(sample(1, [], []))},
        {"train": scenes.dataset(sample(1, [[0, 0, 640, 512]], [0]))},
        {"train": scenes.dataset(sample(1, [[-50, -50, 900, 900], [3, 3, 3.01, 3.01]], [0, 1]))},
    ]
    for place, splits in enumerate(odd):
        report(tmp_path / f"{place}.html", splits)


def test_boxes_without_area(tmp_path: Path) -> None:
    splits = {"train": scenes.dataset(sample(1, [[0, 0, 9, 9]], [0]))}
    statistics = detection_statistics("a", "said", splits, (640, 640), True)
    flat = np.zeros((1, 2), np.float32)
    split = replace(statistics.splits[0], sides=flat, relative=flat)
    write_check_report(tmp_path / "r.html", replace(statistics, splits=(split,)), FaultList(), splits, pictures=0)
    assert "Box sizes in pixels" not in check_self_contained((tmp_path / "r.html").read_text("utf-8")).text


def test_images_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    page = report(tmp_path / "r.html", {"train": scenes.dataset(sample(1, [[0, 0, 9, 9]], [0]))})
    assert "cannot read 1.png" in page.text and not page.all("img")


def test_pictures_inside_labelme_files(tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.new("RGB", (64, 48), (9, 9, 200)).save(buffer, "PNG")
    holder = tmp_path / "a.json"
    holder.write_text(json.dumps({"imageData": b64encode(buffer.getvalue()).decode(), "shapes": []}))
    data = scenes.dataset(replace(sample(1, [[5, 5, 9, 9]], [0]), width=64, height=48))
    data = replace(data, embedded={data.samples[0].path: holder})
    page = report(tmp_path / "r.html", {"train": data})
    assert [(one["width"], one["height"]) for one in page.all("img")] == [("64", "48")]


def test_labelled_images(tmp_path: Path) -> None:
    paths = []
    for place in range(6):
        path = tmp_path / f"{place}.jpg"
        Image.new("RGB", (800, 600), (place * 40, 0, 0)).save(path)
        paths.append(path)
    labels = ClassMap(tuple(f"{BAD} {k}" for k in range(50)), tuple(range(50)))
    gallery = LabelledImages(tuple(paths[:4]), np.array([0, 0, 1, 2]), labels, tmp_path)
    query = LabelledImages(tuple(paths[4:]), np.array([1, 49]), labels, tmp_path)
    splits = {"gallery": gallery, "query": query}
    statistics = recognition_statistics("r", "said", splits)
    write_check_report(tmp_path / "r.html", statistics, FaultList(), splits)
    page = check_self_contained((tmp_path / "r.html").read_text("utf-8"))
    assert len(page.all("img")) == 6 and page.all("img")[0]["width"] == "400"
    assert "Box sizes" not in page.text and "Tiles" not in page.text
    assert f"label {BAD} 49" in page.text and "46 classes have no images" in page.text


def test_size_histograms_count_every_box_in_its_place() -> None:
    """Bars are as high as their counts, and stand over their sizes."""
    roots = np.array([4.1] * 10 + [17.0] * 40)
    low, high = Page(pixel_histogram(roots)).all("rect", "s0")
    assert number(high, "height") / number(low, "height") == pytest.approx(4, abs=0.02)
    place = [number(bar, "x") + number(bar, "width") / 2 for bar in (low, high)]
    grid = sorted({number(one, "x1") for one in Page(pixel_histogram(roots)).all("line", "grid")})[1:]  # 4, 8, 16 px …
    assert grid[0] < place[0] < grid[1] and grid[2] < place[1] < grid[3]
    spread = Page(pixel_histogram(np.array([2.0, 64.0, 300.0, 0.0])))
    assert len(spread.all("rect", "s0")) == 3
    shares = Page(share_histogram(np.array([0.001, 0.5, 1.0, 3.0])))
    assert len(shares.all("rect", "s0")) == 3  # above the whole image counts as the whole image


def test_classes_look_different() -> None:
    looks = {(class_kind("a", place).colour, class_kind("a", place).form) for place in range(60)}
    assert len(looks) == 60


def test_pictures_are_limited(tmp_path: Path) -> None:
    data, _ = scenes.random_scene(4, images=30)
    data = drawn(data, tmp_path)
    assert len(report(tmp_path / "r.html", {"train": data}, pictures=24).all("img")) == 24
    assert not report(tmp_path / "s.html", {"train": data}, pictures=0).all("img")
    with pytest.raises(ValueError, match=r"pictures must lie in 0…24, got -1"):
        report(tmp_path / "t.html", {"train": replace(data)}, pictures=-1)


def test_real_images(shared_data: Path, tmp_path: Path) -> None:
    splits = {name: load_dataset(shared_data / "hit_uav", name) for name in ("train", "val")}
    page = report(tmp_path / "r.html", splits, pictures=24)
    assert len(page.all("img")) == 24 and "14,115" in page.text
    assert (tmp_path / "r.html").stat().st_size < 4_000_000
