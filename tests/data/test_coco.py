"""The COCO reader: ids, order, ignored boxes, and what it says about broken files."""

import copy
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.trees import codes

from eyas.data import find_layout, load_dataset
from eyas.data.coco import read_coco
from eyas.data.faults import FaultList
from eyas.data.sample import check_images
from eyas.errors import DatasetError

GOOD: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "b.png", "width": 64, "height": 48},
        {"id": 3, "file_name": "sub\\a.png", "width": 32, "height": 32},
        {"id": 9, "file_name": "none.png", "width": 32, "height": 32},
    ],
    "annotations": [
        {"id": 1, "image_id": 3, "category_id": 20, "bbox": [1, 2, 3, 4], "iscrowd": 0, "area": 11.5},
        {"id": 2, "image_id": 7, "category_id": 5, "bbox": [10.5, 20, 8, 6.5], "iscrowd": 1},
        {"id": 3, "image_id": 3, "category_id": 5, "bbox": [5, 6, 7, 8]},
    ],
    "categories": [{"id": 20, "name": "van"}, {"id": 5, "name": "bus"}],
}


def write(folder: Path, content: object, split: str = "train") -> Path:
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    file = folder / "annotations" / f"instance_{split}.json"
    file.write_text(json.dumps(content))
    return file


def test_reads_boxes_classes_and_ignored_regions(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    dataset = load_dataset(tmp_path, "train")
    assert dataset.classes.names == ("van", "bus")
    assert dataset.classes.source_ids == (20, 5)
    assert [sample.image_id for sample in dataset.samples] == [7, 3, 9]
    first, second, third = dataset.samples
    assert (first.width, first.height, first.path) == (64, 48, tmp_path / "images" / "b.png")
    assert first.boxes_xyxy.tolist() == [[10.5, 20, 18.5, 26.5]] and first.boxes_xyxy.dtype == np.float32
    assert first.ignore.tolist() == [True] and first.class_ids.tolist() == [1]
    assert second.path == tmp_path / "images" / "sub" / "a.png"
    assert second.boxes_xyxy.tolist() == [[1, 2, 4, 6], [5, 6, 12, 14]]
    assert second.class_ids.tolist() == [0, 1] and second.class_ids.dtype == np.int64
    assert second.box_areas.tolist() == [11.5, 56]
    assert third.boxes_xyxy.shape == (0, 4)


def test_a_file_without_any_image_or_box_is_an_empty_dataset(tmp_path: Path) -> None:
    file = write(tmp_path, {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]})
    assert len(read_coco(file, tmp_path / "images")) == 0


def test_boxes_without_area_are_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = copy.deepcopy(GOOD)
    for number, bbox in enumerate([[1, 1, 0, 5], [1, 1, 5, -2], [64, 5, 4, 4], [-9, 5, 4, 4]]):
        content["annotations"].append({"id": 50 + number, "image_id": 7, "category_id": 5, "bbox": bbox})
    file = write(tmp_path, content)
    with caplog.at_level(logging.WARNING):
        dataset = read_coco(file, tmp_path / "images")
    assert sum(len(sample.boxes_xyxy) for sample in dataset.samples) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"2 x box-without-area, the first: {file}: annotations[3] (id 50): box [1, 1, 0, 5] of b.png has no area; "
        "it is left out. Draw the box again, or remove it.",
        f"2 x box-outside, the first: {file}: annotations[5] (id 52): box [64, 5, 4, 4] of b.png lies outside the "
        "image of 64 x 48 pixels; it is left out. Draw the box again, or remove it.",
    ]
    faults = FaultList()
    read_coco(file, tmp_path / "images", faults)
    assert codes(faults.kept) == [("warning", "box-without-area")] * 2 + [("warning", "box-outside")] * 2
    assert [fault.record for fault in faults.kept] == [
        f"annotations[{place}] (id {place + 47})" for place in (3, 4, 5, 6)
    ]
    assert faults.kept[2].value == [64, 5, 4, 4]


def edited(*path_and_value: Any) -> Any:
    """A copy of GOOD with the value at the path replaced, or, for the value `...`, removed."""
    *path, last, value = path_and_value
    content = copy.deepcopy(GOOD)
    place: Any = content
    for key in path:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return content


def renamed() -> Any:
    """The trap: an object that looks like COCO and names its keys otherwise."""
    content = copy.deepcopy(GOOD)
    content["annotation"] = content.pop("annotations")
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (renamed(), ["no list 'annotations'", "Did you mean 'annotation'?"]),
        (edited("images", 1, {"id": 3, "filename": "a", "width": 1, "height": 1}), ["images[1] (id 3)", "'filename'?"]),
        (edited("annotations", 2, "bbox", ...), ["annotations[2] (id 3): has no 'bbox'"]),
        (edited("annotations", 1, "image_id", 8), ["annotations[1] (id 2)", "image_id", "(7, 3, 9)", "got 8"]),
        (edited("annotations", 1, "category_id", 1), ["annotations[1] (id 2)", "category_id", "(20, 5)", "got 1"]),
        (edited("annotations", 1, "category_id", True), ["category_id must be a whole number, got True"]),
        (edited("annotations", 0, "bbox", [1, float("nan"), 3, 4]), ["annotations[0] (id 1)", "finite", "nan"]),
        (edited("annotations", 0, "bbox", [1, 2, 3]), ["annotations[0] (id 1)", "four numbers", "[1, 2, 3]"]),
        (edited("annotations", 0, "bbox", [1, 2, 3, None]), ["four numbers"]),
        (edited("annotations", 0, "area", "big"), ["annotations[0] (id 1)", "area must be a finite number, got 'big'"]),
        (edited("images", 0, "width", 0), ["images[0] (id 7)", "width", ">= 1, got 0"]),
        (edited("images", 0, "file_name", 5), ["images[0] (id 7)", "file_name must be a text, got 5"]),
        (edited("images", 2, "id", 7), ["image id 7 is given twice"]),
        (edited("categories", 0, "id", 5), ["categories", "source id 5 is given twice"]),
        (edited("categories", 0, "name", "bus"), ["class name 'bus' is given twice"]),
        (edited("annotations", {}), ["'annotations' must be a list, got a dict"]),
        (edited("images", 0, 5), ["images[0]: must be an object, got 5"]),
        (edited("annotations", 0, "iscrowd", "0"), ["iscrowd must be 0 or 1, got '0'"]),
        (edited("annotations", 0, "bbox", [1, 2, 10**400, 4]), ["four finite numbers"]),
        (edited("images", 0, "width", 10**400), ["width must be a whole number >= 1, got 1000"]),
        (edited("images", 0, "file_name", "../../etc/a.png"), ["'../../etc/a.png' leads out of the dataset"]),
        (edited("images", 0, "file_name", "/etc/a.png"), ["'/etc/a.png' leads out of the dataset"]),
        (edited("images", 0, "file_name", "C:\\a.png"), ["leads out of the dataset"]),
        (edited("images", 0, "file_name", "a\0.png"), ["cannot have the name 'a\\x00.png'"]),
        (edited("images", 0, "file_name", "\ud800.png"), ["cannot have the name"]),
        (edited("images", 0, "file_name", "a" * 300), ["cannot have the name"]),
        ({"images": [], "annotations": [], "categories": []}, ["no classes"]),
        ([], ["expected a COCO object", "list"]),
    ],
)
def test_broken_files_are_named_with_record_field_and_value(tmp_path: Path, content: Any, words: list[str]) -> None:
    file = write(tmp_path, content)
    with pytest.raises(DatasetError) as caught:
        read_coco(file, tmp_path / "images")
    for word in [str(file), *words]:
        assert word in str(caught.value)


def test_a_file_that_is_not_json_or_not_there(tmp_path: Path) -> None:
    file = write(tmp_path, {})
    file.write_text("{")
    with pytest.raises(DatasetError, match="is not JSON: Expecting property name"):
        read_coco(file, tmp_path)
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        read_coco(tmp_path / "none.json", tmp_path)


def test_the_layout_is_found_at_the_root_and_nested(tmp_path: Path) -> None:
    file = write(tmp_path / "deep" / "set", GOOD)
    for root in (tmp_path, tmp_path / "deep" / "set"):
        name, part = find_layout(root).part("train")
        assert (name, part.annotations, part.images[0]) == ("train", file, tmp_path / "deep" / "set" / "images")


def test_what_is_missing_of_a_layout_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no dataset is recognised .*instance_train\.json .* There: no file"):
        load_dataset(tmp_path, "train")
    with pytest.raises(DatasetError, match="is not there"):
        load_dataset(tmp_path / "nowhere", "train")
    write(tmp_path / "one", GOOD)
    with pytest.raises(
        DatasetError, match=r"no split 'val' \(expected annotations/instance_val\.json\).*splits: train"
    ):
        load_dataset(tmp_path, "val")
    write(tmp_path / "two", GOOD)
    with pytest.raises(DatasetError, match="holds 2 datasets: COCO JSON in one, COCO JSON in two"):
        load_dataset(tmp_path, "train")
    write(tmp_path, GOOD)
    assert find_layout(tmp_path).root == tmp_path


def test_a_tolerant_reading_tells_every_fault_and_keeps_the_rest(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    content["images"][2]["width"] = "wide"
    content["images"].append({"id": 7, "file_name": "again.png", "width": 1, "height": 1})
    content["annotations"] += [{"id": 1, "image_id": 9, "category_id": 5, "bbox": [0, 0, 2, 2]}, 5]
    content["annotations"].append({"id": 2, "image_id": 7, "category_id": 5, "bbox": [0, 0, 2, 2]})
    content["categories"].append({"id": 8, "name": "van"})
    faults = FaultList()
    dataset = read_coco(write(tmp_path, content), tmp_path / "images", faults)
    assert [sample.image_id for sample in dataset.samples] == [7, 3]
    assert [len(sample.boxes_xyxy) for sample in dataset.samples] == [2, 2]
    assert [(fault.code, fault.record, fault.field) for fault in faults.kept] == [
        ("duplicate-id", "categories[2] (id 8)", "name"),
        ("wrong-value", "images[2] (id 9)", "width"),
        ("duplicate-id", "images[3] (id 7)", "id"),
        ("unknown-reference", "annotations[3] (id 1)", "image_id"),
        ("wrong-value", "annotations[4]", ""),
        ("duplicate-id", "annotations[5] (id 2)", "id"),
    ]
    assert faults.count("error") == 5 and faults.count("warning") == 1


def test_an_image_path_from_elsewhere_is_found_by_its_end(tmp_path: Path) -> None:
    file = write(tmp_path, edited("images", 0, "file_name", "/home/me/set/images/b.png"))
    (tmp_path / "images" / "b.png").touch()
    faults = FaultList()
    dataset = read_coco(file, tmp_path / "images", faults)
    assert dataset.samples[0].path == tmp_path / "images" / "b.png"
    assert codes(faults.kept) == [("info", "path-outside")]


def test_deep_or_huge_numbers_do_not_break_the_reader(tmp_path: Path) -> None:
    file = write(tmp_path, {})
    file.write_text("[" * 200_000)
    with pytest.raises(DatasetError, match="nested too deeply"):
        read_coco(file, tmp_path)
    file.write_text('{"images": ' + "9" * 5000 + "}")
    with pytest.raises(DatasetError, match="is not JSON"):
        read_coco(file, tmp_path)


def test_check_images_counts_and_names_the_first(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "images" / "b.png").touch()
    dataset = load_dataset(tmp_path, "train")
    with pytest.raises(DatasetError, match=r"2 of 3 images .* the first is .*sub.a\.png"):
        check_images(dataset)
    (tmp_path / "images" / "sub").mkdir()
    (tmp_path / "images" / "sub" / "a.png").touch()
    (tmp_path / "images" / "none.png").touch()
    check_images(dataset)


coordinate = st.integers(0, 400).map(lambda value: value / 4)
size = st.integers(1, 400).map(lambda value: value / 4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), coordinate, coordinate, size, size), max_size=30))
def test_every_box_comes_back_in_its_image_in_the_order_of_the_file(tmp_path_factory: Any, rows: list[Any]) -> None:
    content = {
        "images": [
            {"id": 100 - number, "file_name": f"{number}.png", "width": 500, "height": 500} for number in range(5)
        ],
        "annotations": [
            {"image_id": 100 - image, "category_id": category, "bbox": bbox} for image, category, *bbox in rows
        ],
        "categories": [{"id": number, "name": str(number)} for number in (2, 0, 1)],
    }
    file = tmp_path_factory.mktemp("coco") / "file.json"
    file.write_text(json.dumps(content))
    dataset = read_coco(file, "images")
    for number, sample in enumerate(dataset.samples):
        mine = [row for row in rows if row[0] == number]
        assert [dataset.classes.source_ids[place] for place in sample.class_ids] == [row[1] for row in mine]
        assert sample.boxes_xyxy.tolist() == [[x, y, x + w, y + h] for _, _, x, y, w, h in mine]


def test_reads_the_real_set(shared_data: Path) -> None:
    dataset = load_dataset(shared_data / "hit_uav", "train")
    assert len(dataset) == 1283
    ignore = np.concatenate([sample.ignore for sample in dataset.samples])
    class_ids = np.concatenate([sample.class_ids for sample in dataset.samples])
    assert np.bincount(class_ids[~ignore]).tolist() == [5500, 3597, 2323, 43]
    check_images(dataset)
