"""Whom to blame: each part of a small pipeline of colours is broken in turn."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.pipelines.test_recogniser import COLOURS, ScriptedDetector, embedder, gallery_of, scene
from tests.report.reading import check_self_contained

from eyas.doctor import Blame, blame, write_blame
from eyas.errors import GalleryError
from eyas.index.gallery import Gallery
from eyas.index.pictures import Picture
from eyas.pipelines.recogniser import Options

LEFT, RIGHT = (10.0, 10.0, 40.0, 40.0), (50.0, 10.0, 90.0, 40.0)
Box = tuple[float, float, float, float]


def corners(box: tuple[float, ...]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (int(side) for side in box)
    return x1, y1, x2, y2


def shot(folder: Path, *painted: tuple[str, tuple[float, ...]], name: str = "shot.png") -> Path:
    image = scene(*((colour, corners(box)) for colour, box in painted))
    cv2.imwrite(str(folder / name), image[..., ::-1])
    return folder / name


def shades() -> Gallery:
    """Three near shades of each colour: what is usual is a cosine above 0.99."""
    rows = [(name, np.array(colour) + shift) for name, colour in COLOURS.items() for shift in (0, 6, 12)]
    return gallery_of(*((name, colour.tolist()) for name, colour in rows))


def run(path: Path, truth: dict[Box, str], *boxes: Box, **options: Any) -> Blame:
    pictures = [Picture(path, label, box=box, where=f"line {row}") for row, (box, label) in enumerate(truth.items())]
    gallery = options.pop("gallery", None) or shades()
    return blame(ScriptedDetector(*boxes), embedder(), gallery, pictures, Options(**options))


def test_all_is_right(tmp_path: Path) -> None:
    path = shot(tmp_path, ("red", LEFT), ("blue", RIGHT))
    found = run(path, {LEFT: "red", RIGHT: "blue"}, RIGHT, LEFT)
    assert (found.objects, found.right, found.errors, found.recall) == (2, 2, (), (1.0,) * 5)
    assert (found.extra_known, found.extra_unknown, found.advice()) == (0, 0, [])


def test_the_detector(tmp_path: Path) -> None:
    path = shot(tmp_path, ("red", LEFT), ("blue", RIGHT))
    found = run(path, {LEFT: "red", RIGHT: "blue"}, LEFT, (40, 50, 60, 70))
    assert found.culprits() == {"detector": 1}
    error = found.errors[0]
    assert (error.label, error.found, error.found_box) == ("blue", None, None)
    assert error.line() == "line 1: 'blue' → not found. detector: none of 2 detected boxes overlaps it by half"
    assert found.recall == (0.5,) * 5
    assert found.extra_known + found.extra_unknown == 1
    assert found.advice() == ["no box lies on 1 object: train the detector on such pictures, or lower det_threshold"]


def test_nothing_is_detected_at_all(tmp_path: Path) -> None:
    """The whole picture stands in then; it lies on no small object, and is no extra box."""
    found = run(shot(tmp_path, ("red", LEFT)), {LEFT: "red"})
    assert found.culprits() == {"detector": 1}
    assert found.extra_known + found.extra_unknown == 0


def test_the_crop(tmp_path: Path) -> None:
    """The box begins in a blue neighbour, and the fake network looks at the first pixel alone."""
    wide = (4.0, 10.0, 40.0, 40.0)
    path = shot(tmp_path, ("red", LEFT), ("blue", (0, 10, 10, 40)))
    found = run(path, {LEFT: "red"}, wide)
    assert found.culprits() == {"crop": 1}
    assert found.errors[0].found == "blue"
    assert found.errors[0].found_box == wide
    assert found.errors[0].reason.startswith("with the true box it is 'red' with 1")


def test_the_threshold(tmp_path: Path) -> None:
    path = shot(tmp_path, ("orange", LEFT))
    found = run(path, {LEFT: "orange"}, LEFT, rec_threshold=1.5)
    assert found.culprits() == {"threshold": 1}
    assert found.errors[0].found is None
    assert "the right label is the nearest for the detected box, but best match 'orange'" in found.errors[0].reason
    assert found.recall[0] == 0.0


def test_an_unknown_object(tmp_path: Path) -> None:
    path = shot(tmp_path, ("red", LEFT))
    accepted = run(path, {LEFT: "unknown"}, LEFT)
    assert accepted.culprits() == {"threshold": 1}
    assert accepted.errors[0].reason.startswith("an unknown object was accepted as 'red' with 1")
    rejected = run(path, {LEFT: "unknown"}, LEFT, rec_threshold=1.5)
    assert (rejected.right, rejected.errors, rejected.recall) == (1, (), (-1.0,) * 5)


def test_the_gallery_without_the_label(tmp_path: Path) -> None:
    found = run(shot(tmp_path, ("red", LEFT)), {LEFT: "crimson"}, LEFT)
    assert found.culprits() == {"gallery": 1}
    assert found.errors[0].reason == "it has no picture of this label"
    assert found.errors[0].own is None


def test_the_gallery_without_such_views(tmp_path: Path) -> None:
    """The red one looks orange today; no red picture of the gallery is like that."""
    found = run(shot(tmp_path, ("orange", LEFT)), {LEFT: "red"}, LEFT)
    assert found.culprits() == {"gallery": 1}
    assert found.errors[0].reason.startswith("its nearest picture of this label is far, 0.9")
    gallery = shades()
    error = run(shot(tmp_path, ("orange", LEFT)), {LEFT: "red"}, LEFT, gallery=gallery).errors[0]
    assert [item.label for item in gallery.get([error.nearest or 0, error.own or 0])] == ["orange", "red"]


def test_the_feature_model(tmp_path: Path) -> None:
    """Two labels of one colour: the right one is as near as ever, and the other one nearer."""
    near = gallery_of(*((name, (200, shift, 0)) for name, shift in (("apple", 0), ("apple", 30), ("tomato", 14))))
    painted = shot(tmp_path, ("red", LEFT))
    image = cv2.imread(str(painted))
    image[10:40, 10:40] = (0, 14, 200)
    cv2.imwrite(str(painted), image)
    found = run(painted, {LEFT: "apple"}, LEFT, gallery=near)
    assert found.culprits() == {"features": 1}
    assert found.errors[0].found == "tomato"
    assert "train the feature model" in found.advice()[0]
    assert (found.recall[0], found.recall[1]) == (0.0, 1.0)


def test_a_whole_picture_is_what_the_best_box_shows(tmp_path: Path) -> None:
    path = shot(tmp_path, ("red", LEFT), ("blue", RIGHT))
    for label, right in (("red", 1), ("blue", 1), ("green", 0)):
        outcome = blame(ScriptedDetector(LEFT, RIGHT), embedder(), shades(), [Picture(path, label)])
        assert outcome.right == right
        assert outcome.extra_known == 1
    alone = blame(None, embedder(), shades(), [Picture(shot(tmp_path, ("red", (0, 0, 100, 80)), name="b.png"), "red")])
    assert (alone.right, alone.recall[0]) == (1, 1.0)


def test_each_box_stands_for_one_object(tmp_path: Path) -> None:
    path = shot(tmp_path, ("red", LEFT))
    near = (12.0, 10.0, 42.0, 40.0)
    found = run(path, {LEFT: "red", near: "red"}, LEFT)
    assert (found.right, found.culprits()) == (1, {"detector": 1})


def test_the_outcome_as_json_and_page(tmp_path: Path) -> None:
    path = shot(tmp_path, ("orange", LEFT), ("blue", RIGHT))
    gallery = shades()
    found = run(path, {LEFT: "red", RIGHT: "<b>blue</b>"}, LEFT, RIGHT, gallery=gallery)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (data["recall_1"], data["culprits"], data["right"]) == (0.0, {"gallery": 2}, 0)
    assert data["errors"][0]["picture"] == str(path)
    assert found.lines()[0] == "0 of 2 objects in 1 pictures are right"
    page = check_self_contained(write_blame(tmp_path / "blame.html", gallery, found).read_text(encoding="utf-8"))
    assert "The gallery: 2" in page.text
    assert len(page.all("img")) == 2
    assert page.all("img")[0]["alt"] == "Beside each other: shot.png, orange (9), red (2)"


def test_what_cannot_be_tested(tmp_path: Path) -> None:
    path = shot(tmp_path, ("red", LEFT))
    with pytest.raises(GalleryError, match="the test set 0. Expected both to have some"):
        blame(ScriptedDetector(LEFT), embedder(), shades(), [])
    with pytest.raises(
        GalleryError, match=r"line 0: the box \[200.0, .* has no area in the picture of 100 x 80 pixels"
    ):
        run(path, {(200.0, 0.0, 300.0, 50.0): "red"}, LEFT)
