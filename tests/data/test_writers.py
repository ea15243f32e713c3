"""The writers: every format reads back what was written, and says what it cannot hold."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.data.trees import codes, picture, told, tree

from eyas.data import WRITERS, find_layout, read_dataset, write_coco, write_labelme, write_voc, write_yolo
from eyas.data.sample import ClassMap, Dataset, Sample
from eyas.errors import DatasetError

SIZES = ((40, 30), (7, 64), (33, 33))
NAMES = st.lists(
    st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=12),
    min_size=1,
    max_size=5,
    unique=True,
)


def dataset_of(root: Path, classes: ClassMap, images: list[list[tuple[Any, ...]]]) -> Dataset:
    """Images 0.png, 1.png … below `root`, each with rows (class id, ignore, x1, y1, x2, y2)."""
    samples = []
    for number, rows in enumerate(images):
        width, height = SIZES[number % len(SIZES)]
        path = root / f"{number}.png"
        path.write_bytes(picture(width, height))
        table = np.array([row[2:] for row in rows], np.float32).reshape(-1, 4)
        ids, ignore = (np.array([row[place] for row in rows], kind) for place, kind in ((0, np.int64), (1, np.bool_)))
        samples.append(Sample(10 * number + 3, path, width, height, table, ids, ignore))
    return Dataset(tuple(samples), classes, root)


@st.composite
def drawn(draw: st.DrawFn) -> tuple[ClassMap, list[list[tuple[Any, ...]]]]:
    """Classes with any ids, and boxes that reach into their image and may reach over its edge."""
    names = draw(NAMES)
    ids = draw(st.lists(st.integers(0, 10**6), min_size=len(names), max_size=len(names), unique=True))
    images = []
    for number in range(draw(st.integers(0, 3))):
        width, height = SIZES[number % len(SIZES)]
        box = st.tuples(
            st.integers(0, len(names) - 1), st.booleans(),
            st.floats(-5, width - 1, width=32), st.floats(-5, height - 1, width=32),
            st.floats(0.5, 90, width=32), st.floats(0.5, 90, width=32),
        )  # fmt: skip
        rows = draw(st.lists(box, max_size=6))
        images.append([(c, i, x, y, max(x, 0) + w, max(y, 0) + h) for c, i, x, y, w, h in rows])
    return ClassMap(tuple(names), tuple(ids)), images


def same(written: Dataset, read: Dataset, *, keep: bool = True) -> None:
    """Every image has the same size, and the same boxes, classes and ignore flags in the same order."""
    assert read.classes.names == written.classes.names
    assert [sample.path.name for sample in read.samples] == [sample.path.name for sample in written.samples]
    for old, new in zip(written.samples, read.samples, strict=True):
        rows = np.ones(len(old.ignore), bool) if keep else ~old.ignore
        assert (new.width, new.height) == (old.width, old.height)
        np.testing.assert_array_equal(new.boxes_xyxy, old.boxes_xyxy[rows])
        assert new.class_ids.tolist() == old.class_ids[rows].tolist()
        assert new.ignore.tolist() == old.ignore[rows].tolist()


@settings(max_examples=25, deadline=None)
@given(drawn())
@pytest.mark.parametrize("format", ["coco", "voc", "labelme"])
def test_what_is_written_reads_back_the_same(format: str, content: Any) -> None:
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        source.mkdir()
        written = dataset_of(source, *content)
        WRITERS[format](written, target, "train", "copy")
        if not written.samples and format != "coco":
            return  # an empty list is no split
        read = read_dataset(target, "train", format=format)
        same(written, read)
        if format == "coco":
            assert read.classes.source_ids == written.classes.source_ids
            assert [sample.image_id for sample in read.samples] == [sample.image_id for sample in written.samples]
            for old, new in zip(written.samples, read.samples, strict=True):
                np.testing.assert_array_equal(new.box_areas, old.box_areas)


def held_by_centres(sample: Sample) -> bool:
    """Whether centre and size in double precision, which is all that a YOLO line has, still hold every corner.

    They do but for a corner like 8.6e-38 px beside one of 1 px, which no sum of the two can carry.
    """
    corners = sample.boxes_xyxy.astype(np.float64)
    middle, half = (corners[:, :2] + corners[:, 2:]) / 2, (corners[:, 2:] - corners[:, :2]) / 2
    back = np.concatenate([middle - half, middle + half], axis=1).astype(np.float32)
    return bool((back == sample.boxes_xyxy).all())


@settings(max_examples=25, deadline=None)
@given(drawn())
@example((ClassMap(("0",), (0,)), [[(0, False, 0.0, 8.576624269605228e-38, 1.0, 1.0)]]))
def test_yolo_reads_back_the_same_but_for_ignored_boxes_and_what_is_outside(content: Any) -> None:
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        source.mkdir()
        written = dataset_of(source, *content)
        faults = {fault.code: fault.value for fault in write_yolo(written, target, "train", "copy")}
        if not written.samples:
            return  # a folder without images is no split
        read = read_dataset(target, "train", format="yolo")
        assert read.classes.source_ids == written.classes.source_ids
        ignored = sum(int(sample.ignore.sum()) for sample in written.samples)
        assert faults.get("ignore-left-out", 0) == ignored
        if "boxes-cut" not in faults and all(map(held_by_centres, written.samples)):
            same(written, read, keep=False)
        for old, new in zip(written.samples, read.samples, strict=True):
            wanted = old.boxes_xyxy[~old.ignore]
            edge = np.array([old.width, old.height] * 2, np.float32)
            cut = np.clip(wanted, 0, edge)
            assert len(new.boxes_xyxy) == len(wanted)
            np.testing.assert_allclose(np.clip(new.boxes_xyxy, 0, edge), cut, atol=1e-5)


ONE = [[(1, False, 1, 2, 4, 6), (0, True, 0, 0, 9.5, 9.25)], [(0, False, -2, 1, 5, 3)]]
CLASSES = ClassMap(("car", "bus"), (4, 90))


def test_the_files_of_each_format(tmp_path: Path) -> None:
    data = dataset_of(tree(tmp_path / "source", {"x": ""}), CLASSES, ONE)
    assert codes(list(write_coco(data, tmp_path / "coco", "train", "copy"))) == []
    content = json.loads((tmp_path / "coco" / "annotations" / "instance_train.json").read_text())
    assert content["categories"] == [{"id": 4, "name": "car"}, {"id": 90, "name": "bus"}]
    assert content["images"][0] == {"id": 3, "file_name": "0.png", "width": 40, "height": 30}
    assert content["annotations"][1] == {
        "id": 2, "image_id": 3, "category_id": 4, "bbox": [0, 0, 9.5, 9.25], "area": 87.875, "iscrowd": 1}  # fmt: skip
    assert codes(list(write_yolo(data, tmp_path / "yolo", "val", "copy"))) == [
        ("warning", "ignore-left-out"), ("info", "image-ids-left-out")]  # fmt: skip
    assert (tmp_path / "yolo" / "labels" / "val" / "1.txt").read_text() == "0 0.21428571428571427 0.03125 1.0 0.03125\n"
    assert (tmp_path / "yolo" / "data.yaml").read_text() == (
        "val: images/val\nnames:\n  0: car\n  1: bus\nsource_ids:\n- 4\n- 90\n"
    )
    assert codes(list(write_voc(data, tmp_path / "voc", "train", "copy"))) == [
        ("warning", "class-ids-left-out"), ("info", "image-ids-left-out")]  # fmt: skip
    assert "<difficult>1</difficult>" in (tmp_path / "voc" / "Annotations" / "0.xml").read_text()
    assert (tmp_path / "voc" / "ImageSets" / "Main" / "train.txt").read_text() == "0\n1\n"
    assert codes(list(write_labelme(data, tmp_path / "labelme", "train", "copy"))) == [
        ("warning", "class-ids-left-out"), ("warning", "ignore-as-flag"), ("info", "image-ids-left-out")]  # fmt: skip
    content = json.loads((tmp_path / "labelme" / "annotations" / "1.json").read_text())
    assert content["imagePath"] == "../images/1.png" and content["imageData"] is None
    assert content["shapes"][0]["points"] == [[-2, 1], [5, 3]]
    assert (tmp_path / "labelme" / "train_anno_list.txt").read_text() == "annotations/0.json\nannotations/1.json\n"


@pytest.mark.parametrize("format", WRITERS)
def test_two_splits_with_equal_names_go_into_one_folder(tmp_path: Path, format: str) -> None:
    train = dataset_of(tree(tmp_path / "a", {"x": ""}), CLASSES, [[(0, False, 1, 2, 4, 6)]])
    val = dataset_of(tree(tmp_path / "b", {"x": ""}), CLASSES, [[(1, False, 1, 2, 5, 6)]])
    val.samples[0].path.write_bytes(picture(40, 30, "BMP"))  # another picture of the same name
    target = tmp_path / "target"
    for split, data in (("train", train), ("val", val), ("train", train)):
        WRITERS[format](data, target, split, "link")
    assert list(find_layout(target).splits) == ["train", "val"]
    for split, data in (("train", train), ("val", val)):
        read = read_dataset(target, split)
        assert read.samples[0].boxes_xyxy.tolist() == data.samples[0].boxes_xyxy.tolist()
        assert read.samples[0].path.read_bytes() == data.samples[0].path.read_bytes()
        assert read.samples[0].path.is_symlink()


def test_nested_and_equal_stems_are_told_apart(tmp_path: Path) -> None:
    tree(tmp_path / "s", {"x/a.png": (40, 30), "y/a.png": (40, 30), "y/a.jpg": (40, 30), "y/a.b.png": (40, 30)})
    row = np.array([[1, 2, 3, 4]], np.float32)
    names = ("x/a.png", "y/a.png", "y/a.jpg", "y/a.b.png")
    samples = tuple(
        Sample(place, tmp_path / "s" / name, 40, 30, row + place, np.array([0]), np.array([False]))
        for place, name in enumerate(names)
    )
    data = Dataset(samples, ClassMap(("a",), (1,)), tmp_path)
    for format in WRITERS:
        target = tmp_path / format
        WRITERS[format](data, target, "train", "link")
        read = read_dataset(target, "train")
        images = {sample.path.resolve(): sample.boxes_xyxy.tolist() for sample in read.samples}
        assert images == {sample.path: sample.boxes_xyxy.tolist() for sample in samples}


def test_images_can_stay_where_they_are(tmp_path: Path) -> None:
    tree(tmp_path, {"images/0.png": b""})
    data = dataset_of(tmp_path / "images", CLASSES, ONE)
    write_coco(data, tmp_path, "train", "link")
    assert not (tmp_path / "images" / "0.png").is_symlink()
    same(data, read_dataset(tmp_path, "train"))
    write_coco(data, tmp_path / "other", "train", "none")
    assert not (tmp_path / "other" / "images").exists()


def test_a_missing_and_an_embedded_image(tmp_path: Path) -> None:
    import base64

    shapes = [{"label": "car", "points": [[1, 2], [3, 4]], "shape_type": "rectangle"}]
    content = {"shapes": shapes, "imagePath": "a.png", "imageWidth": 9, "imageHeight": 8}
    inside = {**content, "imageData": base64.b64encode(picture(9, 8)).decode()}
    files = {
        "annotations/a.json": json.dumps(inside),
        "annotations/b.json": json.dumps({**content, "imagePath": "b.png"}),
    }
    data, _ = told(tree(tmp_path / "source", {**files, "images/readme": ""}))
    faults = write_coco(data, tmp_path / "target", "train", "link")
    assert codes(list(faults)) == [("warning", "image-missing")] and faults[0].file.name == "b.png"
    assert (tmp_path / "target" / "images" / "a.png").read_bytes() == picture(9, 8)
    assert len(read_dataset(tmp_path / "target", "train")) == 2


def test_what_a_target_with_other_classes_or_odd_names_brings(tmp_path: Path) -> None:
    data = dataset_of(tree(tmp_path / "a", {"x": ""}), CLASSES, ONE)
    other = dataset_of(tmp_path / "a", ClassMap(("van",), (1,)), [[]])
    for write in (write_yolo, write_voc, write_labelme):
        target = tmp_path / write.__name__
        write(data, target, "train", "none")
        with pytest.raises(DatasetError, match="is there already, with other classes"):
            write(other, target, "val", "none")
        odd = dataset_of(tmp_path / "a", ClassMap(("a\nb",), (1,)), [[]])
        with pytest.raises(DatasetError, match=r"cannot hold the class name 'a\\nb'"):
            write(odd, tmp_path / "odd", "train", "none")


def test_areas_of_outlines_are_told_where_they_are_lost(tmp_path: Path) -> None:
    data = dataset_of(tree(tmp_path / "a", {"x": ""}), CLASSES, [[(0, False, 0, 0, 10, 10)]])
    sample = data.samples[0]
    round_one = Sample(1, sample.path, 40, 30, sample.boxes_xyxy, sample.class_ids, sample.ignore, np.array([78.5]))
    data = Dataset((round_one,), ClassMap(("a", "b"), (1, 2)), tmp_path)
    assert codes(list(write_voc(data, tmp_path / "voc", "train", "none"))) == [("warning", "areas-left-out")]
    assert write_coco(data, tmp_path / "coco", "train", "copy") == ()
    assert read_dataset(tmp_path / "coco", "train").samples[0].box_areas.tolist() == [78.5]
