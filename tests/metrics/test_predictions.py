"""Detections saved by other tools: what is read, and how every fault is told."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.metrics import scenes
from tests.metrics.scenes import dataset, jittered, sample

from eyas.data.sample import Dataset
from eyas.errors import InputError
from eyas.metrics.coco import to_coco_results
from eyas.metrics.detection import evaluate_detections
from eyas.metrics.predictions import read_predictions
from eyas.results import Detections

BOX = {"label": "b", "score": 0.5, "coordinate": [1, 2, 30.5, 40]}
RECORD = {"image_id": 3, "category_id": 2, "bbox": [10, 20, 5, 6.5], "score": 0.25}


@pytest.fixture
def data() -> Dataset:
    """Images 3 and 7 under other folders; class a has the id 9, b the id 2."""
    one, other = sample(3, [[0, 0, 9, 9]], [0]), sample(7, [], [])
    return dataset(replace(one, path=Path("set/images/x/one.jpg")), replace(other, path=Path("set/images/two.jpg")))


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_coco_results(tmp_path: Path, data: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    records = [RECORD, {**RECORD, "score": 0.75, "category_id": 9, "segmentation": []}]
    with caplog.at_level(logging.WARNING, logger="eyas"):
        result = read_predictions(write(tmp_path / "results.json", records), data)
    assert list(result) == [3] and isinstance(result[3], Detections)
    assert result[3].scores.tolist() == [0.75, 0.25]
    assert result[3].class_ids.tolist() == [0, 1] and result[3].names == ("a", "b")
    assert result[3].boxes_xyxy.tolist() == [[10, 20, 15, 26.5]] * 2
    assert caplog.messages == [f"{tmp_path / 'results.json'} has no record of 1 of 2 images: nothing was found there"]


def test_the_figures_survive_the_round_trip(tmp_path: Path) -> None:
    known, _ = scenes.random_scene(1, crowds=True)
    detections = jittered(known, seed=2)
    file = write(tmp_path / "results.json", to_coco_results(known, detections))
    assert evaluate_detections(known, read_predictions(file, known)) == evaluate_detections(known, detections)


def test_a_result_file_of_eyas(tmp_path: Path, data: Dataset) -> None:
    boxes = np.array([[1, 2, 30.5, 40], [0, 0, 5, 5]], np.float32)
    saved = Detections(boxes, np.array([0.5, 0.25]), np.array([1, 0]), ("a", "b"), input_path="/elsewhere/x/one.jpg")
    saved.save_to_json(tmp_path)
    for path in (tmp_path / "one_res.json", tmp_path):
        result = read_predictions(path, data)
        assert list(result) == [3]
        assert np.array_equal(result[3].boxes_xyxy, boxes) and result[3].labels == ["b", "a"]


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"res": x}, lambda x: [x], lambda x: [{"res": x}]])
def test_a_result_file_of_paddlex(tmp_path: Path, data: Dataset, wrap: Any) -> None:
    content = wrap({"input_path": "C:\\pictures\\two.jpg", "page_index": None, "boxes": [BOX, {**BOX, "label": "a"}]})
    result = read_predictions(write(tmp_path / "out.json", content), data)
    assert result[7].class_ids.tolist() == [1, 0] and result[7].boxes_xyxy[0].tolist() == [1, 2, 30.5, 40]


def test_old_spellings_and_boxes_without_a_label(tmp_path: Path, data: Dataset) -> None:
    box = {"cls_id": 1, "score": 1, "coordinates": [1, 2, 3, 4]}
    result = read_predictions(write(tmp_path / "out.json", {"img_path": "two.jpg", "boxes": [box]}), data)
    assert result[7].labels == ["b"] and result[7].boxes_xyxy.tolist() == [[1, 2, 3, 4]]


def test_a_folder_of_results(tmp_path: Path, data: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "one_res.json", {"input_path": "x/one.jpg", "boxes": []})
    write(tmp_path / "sub" / "two_res.json", {"input_path": "two.jpg", "boxes": [BOX]})
    write(tmp_path / "other.json", "no result")
    result = read_predictions(tmp_path, data)
    assert {key: len(one.scores) for key, one in result.items()} == {3: 0, 7: 1}
    assert caplog.messages == []


def test_the_longest_common_end_of_a_path_decides(tmp_path: Path) -> None:
    paths = ("train/a/1.jpg", "train/b/1.jpg", "val/b/1.jpg")
    many = dataset(*(replace(sample(n, [], []), path=Path(path)) for n, path in enumerate(paths)))
    file = tmp_path / "out.json"
    assert list(read_predictions(write(file, {"input_path": "/data/val/b/1.jpg", "boxes": []}), many)) == [2]
    assert list(read_predictions(write(file, {"input_path": "a/1.jpg", "boxes": []}), many)) == [0]
    with pytest.raises(InputError, match=r"'b/1.jpg' may be image 1 or 2 of tiny.json. Give more of the path"):
        read_predictions(write(file, {"input_path": "b/1.jpg", "boxes": []}), many)


def test_no_detections_at_all(tmp_path: Path, data: Dataset) -> None:
    assert read_predictions(write(tmp_path / "results.json", []), data) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 4}, "record 1: image_id: expected the id of an image of tiny.json, got 4"),
        ({"image_id": "3"}, "record 1: image_id: expected the id of an image of tiny.json, got '3'"),
        ({"category_id": 1}, "record 1: category_id: expected one of 2, 9 of tiny.json, got 1"),
        ({"category_id": True}, "record 1: category_id: expected one of 2, 9 of tiny.json, got True"),
        ({"bbox": [1, 2, 3]}, "record 1: bbox: expected four numbers x, y, width, height, got [1, 2, 3]"),
        ({"bbox": [1, 2, 3, float("nan")]}, "record 1: bbox: expected a finite number, got nan"),
        ({"bbox": [1, 2, 3, "4"]}, "record 1: bbox: expected a finite number, got '4'"),
        ({"bbox": [1, 2, -3, 4]}, "record 1: bbox: expected a width and height of 0 or more, got [1, 2, -3, 4]"),
        ({"score": None}, "record 1: score: expected a finite number, got None"),
        ({"score": float("inf")}, "record 1: score: expected a finite number, got inf"),
        ({"score": 10**400}, "record 1: score: expected a finite number, got 1000000"),
    ],
)
def test_faults_of_coco_results_name_the_record(tmp_path: Path, data: Dataset, change: Any, message: str) -> None:
    file = write(tmp_path / "results.json", [RECORD, {**RECORD, **change}])
    with pytest.raises(InputError) as caught:
        read_predictions(file, data)
    assert str(caught.value).startswith(f"{file}: {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "results.json is not JSON: "),
        ([{"image_id": 3}], "record 0: expected an object with image_id, category_id, bbox, score, got {"),
        ([7], "record 0: expected an object with image_id, category_id, bbox, score, got 7"),
        ({"a": 1}, "expected a COCO results list, or a detection result with `input_path` and a list `boxes`"),
        ({"input_path": "two.jpg", "boxes": 3}, "expected a COCO results list, or a detection result"),
        ({"boxes": []}, "input_path: expected the path of an image, got None"),
        ({"input_path": "three.jpg", "boxes": []}, "tiny.json has no image with the file name of 'three.jpg'"),
        ([{"input_path": "two.jpg", "boxes": []}] * 2, "record 1: there is a result for image id 7 already"),
        ({"input_path": "two.jpg", "boxes": [BOX, 3]}, "boxes[1]: expected an object with label, score and coordinate"),
        ({"input_path": "two.jpg", "boxes": [{**BOX, "label": "c"}]}, "boxes[0]: label 'c' is not a class of"),
        ({"input_path": "two.jpg", "boxes": [{**BOX, "score": "x"}]}, "boxes[0]: score: expected a finite number"),
        ({"input_path": "two.jpg", "boxes": [{"score": 1, "coordinate": [0, 0, 1, 1], "cls_id": 2}]},
         "boxes[0]: without a label, cls_id: expected 0 to 1, got 2"),
        ({"input_path": "two.jpg", "boxes": [{**BOX, "coordinate": [1, 2, 0, 4]}]},
         "boxes[0]: coordinate: expected x1 <= x2 and y1 <= y2, got [1.0, 2.0, 0.0, 4.0]"),
        ({"input_path": "two.jpg", "boxes": [{"label": "a", "score": 1}]},
         "boxes[0]: coordinate: expected four numbers x1, y1, x2, y2, got None"),
    ],
)  # fmt: skip
def test_faults_of_files_are_told(tmp_path: Path, data: Dataset, content: Any, message: str) -> None:
    file = write(tmp_path / "results.json", content)
    with pytest.raises(InputError) as caught:
        read_predictions(file, data)
    assert str(caught.value).startswith(str(file)) and message in str(caught.value)


def test_missing_files_and_empty_folders(tmp_path: Path, data: Dataset) -> None:
    with pytest.raises(InputError, match=r"nothing.json cannot be read: No such file"):
        read_predictions(tmp_path / "nothing.json", data)
    with pytest.raises(InputError, match=r"holds no result files. Expected files that are named \*_res.json"):
        read_predictions(tmp_path, data)
