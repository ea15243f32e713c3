"""The YOLO reader: boxes, outlines, keypoints, names, and what is said about broken lines."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.trees import boxes, codes, told, tree

from eyas.data import read_dataset
from eyas.errors import DatasetError

BASE: dict[str, Any] = {"images/a.jpg": (100, 50), "images/b.jpg": (10, 10), "labels/a.txt": "1 0.5 0.5 0.2 0.4\n"}


def test_boxes_background_and_labels_without_image(tmp_path: Path) -> None:
    files = {**BASE, "classes.txt": "car\nbus\n", "labels/c.txt": "0 0.5 0.5 1 1", "labels/notes.txt": "hello"}
    dataset, faults = told(tree(tmp_path, files))
    assert (dataset.classes.names, dataset.classes.source_ids) == (("car", "bus"), (0, 1))
    assert boxes(dataset) == {"a.jpg": [[40, 15, 60, 35]], "b.jpg": []}
    assert dataset.samples[0].class_ids.tolist() == [1]
    assert [(fault.severity, fault.code, fault.file.name) for fault in faults] == [
        ("warning", "label-without-image", "c.txt")]  # fmt: skip


def test_outlines_rotated_boxes_and_keypoints(tmp_path: Path) -> None:
    text = "0 0.1 0.2 0.3 0.2 0.2 0.6\n0 0.1 0.1 0.3 0.1 0.3 0.5 0.1 0.5\n"
    root = tree(tmp_path / "one", {**BASE, "labels/a.txt": text, "classes.txt": "car"})
    dataset, faults = told(root)
    assert faults == []
    np.testing.assert_allclose(dataset.samples[0].boxes_xyxy, [[10, 10, 30, 30], [10, 5, 30, 25]], rtol=1e-6)
    text = "0 0.5 0.5 0.2 0.4 0.1 0.2 2 0.3 0.4 1\n"
    yaml = "train: images\nkpt_shape: [2, 3]\nnames: {0: person}\n"
    dataset, faults = told(tree(tmp_path / "two", {**BASE, "labels/a.txt": text, "data.yaml": yaml}))
    assert faults == [] and boxes(dataset)["a.jpg"] == [[40, 15, 60, 35]]


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("0 0.5 0.5 0.2", "wrong-value", "got 4 values"),
        ("0 0.5 0.5 0.2 0.4 0.9", "wrong-value", "got 6 values"),
        ("0 0.5 0.5 0.2 nan", "wrong-value", "must be a number, got 'nan'"),
        ("car 0.5 0.5 0.2 0.4", "wrong-value", "must be a number, got 'car'"),
        ("-1 0.5 0.5 0.2 0.4", "wrong-value", "the class must be a whole number from 0, got -1"),
        ("0.5 0.5 0.5 0.2 0.4", "wrong-value", "got 0.5"),
        ("0 50 25 20 20", "not-normalised", "fractions of the image's width and height"),
        ("2 0.5 0.5 0.2 0.4", "unknown-class", "the class 2 is not one of the dataset's"),
        ("0 0.5 0.5 0 0.4", "box-without-area", "has no area"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, line: str, code: str, words: str) -> None:
    text = f"1 0.5 0.5 0.2 0.4\n\n{line}\n"
    root = tree(tmp_path, {**BASE, "labels/a.txt": text, "classes.txt": "car\nbus\n"})
    dataset, faults = told(root)
    assert boxes(dataset)["a.jpg"] == [[40, 15, 60, 35]]
    assert [(fault.code, fault.file.name, fault.record) for fault in faults] == [(code, "a.txt", "line 3")]
    assert words in faults[0].message
    if faults[0].severity == "error":
        with pytest.raises(DatasetError, match=r"a\.txt: line 3: "):
            read_dataset(root)


def test_names_as_list_as_sparse_mapping_and_absent(tmp_path: Path) -> None:
    files = {**BASE, "labels/a.txt": "7 0.5 0.5 0.2 0.4\n2 0.5 0.5 0.2 0.4"}
    dataset, faults = told(tree(tmp_path / "sparse", {**files, "data.yaml": "names: {2: 'yes', 7: 12}\n"}))
    assert (dataset.classes.names, dataset.classes.source_ids) == (("yes", "12"), (2, 7))
    assert dataset.samples[0].class_ids.tolist() == [1, 0] and faults == []
    dataset, faults = told(tree(tmp_path / "absent", files))
    assert (dataset.classes.names, dataset.classes.source_ids) == (("2", "7"), (2, 7))
    assert codes(faults) == [("warning", "class-names-missing")]
    dataset, faults = told(tree(tmp_path / "twice", {**files, "data.yaml": "names: {2: a, 7: a}\n"}))
    assert dataset.classes.names == ("a", "a#7") and codes(faults) == [("error", "duplicate-id")]
    dataset, faults = told(tree(tmp_path / "wrong", {**files, "data.yaml": "names: 5\n"}))
    assert codes(faults)[0] == ("error", "wrong-value")


def test_a_list_of_images_and_its_wrong_lines(tmp_path: Path) -> None:
    listing = "./images/b.jpg\n# no\n/data/set/images/a.jpg\nimages/none.jpg\n../../x\x01.jpg\n"
    files = {**BASE, "list.txt": listing, "data.yaml": "val: list.txt\nnames: [car, bus]\n"}
    dataset, faults = told(tree(tmp_path, files), "val")
    assert [sample.path.name for sample in dataset.samples] == ["b.jpg", "a.jpg"]
    assert [(fault.code, fault.record) for fault in faults] == [
        ("list-entry-missing", "line 4"), ("path-unusable", "line 5")]  # fmt: skip


def test_several_folders_of_one_split(tmp_path: Path) -> None:
    files = {
        "images/one/a.jpg": (10, 10), "labels/one/a.txt": "0 0.5 0.5 1 1",
        "images/two/b.jpg": (10, 10), "labels/two/b.txt": "0 0.5 0.5 1 1",
        "data.yaml": "train: [images/one, images/two]\nnames: [car]\n",
    }  # fmt: skip
    dataset, faults = told(tree(tmp_path, files))
    assert boxes(dataset) == {"a.jpg": [[0, 0, 10, 10]], "b.jpg": [[0, 0, 10, 10]]} and faults == []


def test_an_image_that_is_broken_is_told(tmp_path: Path) -> None:
    root = tree(tmp_path, {**BASE, "images/b.jpg": b"\xff\xd8\xffnothing", "classes.txt": "car\nbus"})
    dataset, faults = told(root)
    assert list(boxes(dataset)) == ["a.jpg"]
    assert codes(faults) == [("error", "image-unreadable")] and faults[0].value.endswith("b.jpg")
