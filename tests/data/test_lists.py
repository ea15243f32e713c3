"""Recognition datasets: lists, folders, LabelMe flags; labels that are numbers or words."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.data.trees import codes, tree

from eyas.data.faults import FaultList, Unusable
from eyas.data.labelled import LabelledImages
from eyas.data.labelled_layout import find_labelled
from eyas.data.labelnames import split_line
from eyas.data.lists import read_labelled, read_list
from eyas.data.plain import read_unlabelled
from eyas.data.sample import ClassMap
from eyas.errors import DatasetError

JPG = (4, 4)


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ("images/a.jpg 3", "images/a.jpg", "3"),
        ("images/my photo 1.jpg 3", "images/my photo 1.jpg", "3"),
        ("a.jpg\tred shoe", "a.jpg", "red shoe"),
        ("a.jpg red running shoe", "a.jpg", "red running shoe"),
        ('"my photo.jpg" 3', "my photo.jpg", "3"),
        ("'my photo.jpg', big shoe", "my photo.jpg", "big shoe"),
        ("train/Fruit/a_001.jpg, 12, 4", "train/Fruit/a_001.jpg", "12"),
        ("a.jpg,5", "a.jpg", "5"),
        ("a,b.jpg 3", "a,b.jpg", "3"),
        ("a,1.jpg 7", "a,1.jpg", "7"),
        ("图/康 师.jpg 方便 面", "图/康 师.jpg", "方便 面"),
        ("gallery\\a.png 0", "gallery\\a.png", "0"),
    ],
)
def test_a_line_is_taken_apart(line: str, path: str, label: str) -> None:
    assert split_line(line) == (path, label)


@pytest.mark.parametrize("line", ["a.jpg", "\t3", "a.jpg\t", "x" * 5000 + " 3"])
def test_a_line_that_is_none(line: str) -> None:
    with pytest.raises(Unusable):
        split_line(line)


def test_shitu_lists_share_their_labels_and_keep_their_numbers(tmp_path: Path) -> None:
    files = {
        "train.txt": "images/a.jpg 7\nimages/b.jpg 30\n",
        "gallery.txt": "images/c.jpg 2\n",
        "query.txt": "\nimages/c.jpg 30\n../x.jpg 2\nbroken\n",
        "label.txt": "2 cup\n7 bowl\n30 plate\n",
        **{f"images/{name}.jpg": JPG for name in "abc"},
    }
    layout = find_labelled(tree(tmp_path / "deep" / "set", files).parent)
    assert layout.description == (
        "lists of images and labels in train.txt, gallery.txt, query.txt, names from label.txt; "
        "parts: train, gallery, query"
    )
    faults = FaultList()
    parts = read_labelled(tmp_path, faults)
    assert list(parts) == ["train", "gallery", "query"]
    assert parts["train"].labels.names == parts["query"].labels.names == ("cup", "bowl", "plate")
    assert parts["train"].labels.source_ids == (2, 7, 30)
    assert parts["train"].label_ids.tolist() == [1, 2] and parts["train"].names == ["bowl", "plate"]
    assert parts["gallery"].label_ids.tolist() == [0] and parts["query"].label_ids.tolist() == [2]
    assert parts["query"].paths == (tmp_path / "deep" / "set" / "images" / "c.jpg",)
    assert [(fault.code, fault.record, fault.file.name) for fault in faults.kept] == [
        ("wrong-value", "line 4", "query.txt"), ("path-outside", "line 3", "query.txt")]  # fmt: skip
    with pytest.raises(DatasetError, match="query.txt: line 4: expected a path and a label, got 'broken'"):
        read_labelled(tmp_path)


def test_labels_that_are_words_and_paths_from_the_images_folder(tmp_path: Path) -> None:
    files = {
        "gallery.txt": "a.jpg\tred shoe\nb.jpg\tboot 10\nc.jpg\tboot 9\n",
        "images/a.jpg": JPG,
        "images/b.jpg": JPG,
    }
    parts = read_labelled(tree(tmp_path, files))
    assert parts["gallery"].labels.names == ("boot 9", "boot 10", "red shoe")
    assert parts["gallery"].names == ["red shoe", "boot 10", "boot 9"]
    assert parts["gallery"].paths[0] == tmp_path / "images" / "a.jpg"


def test_numbers_without_a_name_and_names_that_repeat(tmp_path: Path) -> None:
    table = "Class Name (str),Class ID (int)\napple,0\napple,1\n"
    tree(tmp_path, {"train.txt": "a.jpg, 0, 1\nb.jpg, 1, 1\nc.jpg, 2, 1\n", "classes.csv": table})
    faults = FaultList()
    parts = read_labelled(tmp_path, faults)
    assert parts["train"].labels.names == ("apple", "apple (1)", "2")
    assert codes(faults.kept) == [("warning", "label-without-name")]


def test_a_folder_for_each_label(tmp_path: Path) -> None:
    files = {f"{part}/{label}/{part}.jpg": JPG for part in ("gallery", "query") for label in ("b", "a", "c/d")}
    root = tree(tmp_path / "parts", {**files, "query/loose.jpg": JPG})
    with pytest.raises(DatasetError, match="no recognition dataset"):
        find_labelled(root / "query")  # images beside the folders of labels
    (root / "query" / "loose.jpg").unlink()
    parts = read_labelled(root)
    assert list(parts) == ["gallery", "query"]
    assert parts["query"].labels.names == ("a", "b", "c/d") and parts["query"].names == ["a", "b", "c/d"]
    parts = read_labelled(tree(tmp_path / "flat", {"shoe/a.jpg": JPG, "boot/b.jpg": JPG, "train/c.jpg": JPG}))
    assert list(parts) == ["all"] and parts["all"].names == ["boot", "shoe", "train"]


def test_labelme_flags(tmp_path: Path) -> None:
    def flags(**values: bool) -> str:
        return json.dumps({"flags": values, "shapes": [], "imagePath": "..\\images\\a.jpg"})

    files = {
        "annotations/a.json": flags(cup=True, bowl=False),
        "annotations/b.json": flags(cup=True, bowl=True),
        "annotations/c.json": flags(cup=False),
        "annotations/d.json": "{}",
        "images/a.jpg": JPG,
    }
    faults = FaultList()
    parts = read_labelled(tree(tmp_path, files), faults)
    assert parts["all"].names == ["cup"] and parts["all"].paths == (tmp_path / "images" / "a.jpg",)
    assert [(fault.code, fault.file.name) for fault in faults.kept] == [
        ("label-missing", "b.json"), ("label-missing", "c.json"), ("label-missing", "d.json")]  # fmt: skip


def test_what_is_not_recognised(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not there"):
        find_labelled(tmp_path / "none")
    with pytest.raises(
        DatasetError, match="no recognition dataset is recognised in .* Looked for train.txt, gallery.txt"
    ):
        find_labelled(tmp_path)
    with pytest.raises(DatasetError, match="no format 'list'.* Did you mean 'lists'"):
        find_labelled(tmp_path, "list")
    tree(tmp_path, {"one/train.txt": "a.jpg 1", "two/train.txt": "a.jpg 1"})
    with pytest.raises(DatasetError, match="holds 2 datasets"):
        find_labelled(tmp_path)


def test_a_list_of_any_name(tmp_path: Path) -> None:
    tree(tmp_path, {"lists/drinks.txt": "g/a.jpg cola\ng/b.jpg tea\n", "g/a.jpg": JPG})
    rows = read_list(tmp_path / "lists" / "drinks.txt", tmp_path, FaultList())
    assert [(row.path, row.label) for row in rows] == [
        (tmp_path / "g" / "a.jpg", "cola"), (tmp_path / "g" / "b.jpg", "tea")]  # fmt: skip


def test_labelled_images_check_their_arrays() -> None:
    labels = ClassMap(("a", "b"), (0, 1))
    images = LabelledImages((Path("x"), Path("y")), np.array([1, 0]), labels, Path("l.txt"))
    assert images.take([1]).names == ["a"] and images.take(np.array([1])).paths == (Path("y"),) and len(images) == 2
    with pytest.raises(DatasetError, match=r"2 images came with labels int64 \(1,\)"):
        LabelledImages((Path("x"), Path("y")), np.array([1]), labels, Path("l.txt"))
    with pytest.raises(DatasetError, match="label ids 0…2, known are 0…1"):
        LabelledImages((Path("x"), Path("y")), np.array([0, 2]), labels, Path("l.txt"))


def test_unlabelled_images_beside_a_dataset(tmp_path: Path) -> None:
    faults = FaultList()
    assert read_unlabelled(tmp_path, faults) == ()
    tree(tmp_path, {"annotations/unlabeled.txt": "images/a.jpg\nb.jpg\nb.jpg\nc.jpg\n\\\\x\\..\\b.jpg\n"})
    tree(tmp_path, {"images/a.jpg": JPG, "images/b.jpg": JPG})
    assert read_unlabelled(tmp_path, faults) == (tmp_path / "images" / "a.jpg", tmp_path / "images" / "b.jpg")
    assert [(fault.code, fault.record) for fault in faults.kept] == [
        ("image-twice", "line 3"), ("list-entry-missing", "line 4"), ("image-twice", "line 5")]  # fmt: skip
