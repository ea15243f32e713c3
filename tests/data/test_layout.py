"""Which dataset a folder holds: every layout, nested, ambiguous, unknown."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.trees import boxes, told, tree

from eyas.data import READERS, find_layout, load_dataset, read_dataset
from eyas.data.layout import TITLES
from eyas.data.parts import split_of
from eyas.errors import DatasetError

COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 10, "height": 10}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 1, "name": "car"}],
    }
)
VOC = """<annotation><filename>a.jpg</filename><size><width>10</width><height>10</height></size><object>
<name>car</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>4</xmax><ymax>6</ymax></bndbox></object></annotation>"""
LABELME = json.dumps(
    {"shapes": [{"label": "car", "points": [[4, 6], [1, 2]], "shape_type": "rectangle"}], "imagePath": "a.jpg"}
)
YOLO = "0 0.25 0.4 0.3 0.4\n"
VISDRONE = "1,2,3,4,1,4,0,0\n"
DOTA = "imagesource:GoogleEarth\ngsd:0.1\n1 2 4 2 4 6 1 6 car 0\n"
CSV = "xmin,ymin,xmax,ymax,label,image_path\n1,2,4,6,car,a.jpg\n"
CVAT = """<annotations><image id="0" name="a.jpg" width="10" height="10">
<box label="car" xtl="1" ytl="2" xbr="4" ybr="6"/></image></annotations>"""
JPG = (10, 10)
BOX = {"a.jpg": [[1, 2, 4, 6]]}

LAYOUTS: list[tuple[str, list[str], dict[str, Any]]] = [
    ("coco", ["train", "val"], {
        "images/a.jpg": JPG, "annotations/instance_train.json": COCO, "annotations/instance_val.json": COCO}),
    ("coco", ["train"], {"train2017/a.jpg": JPG, "annotations/instances_train2017.json": COCO}),
    ("coco", ["train2014", "train2017"], {
        "train2017/a.jpg": JPG, "annotations/instances_train2017.json": COCO,
        "train2014/a.jpg": JPG, "annotations/instances_train2014.json": COCO}),
    ("coco", ["train"], {"images/train2017/a.jpg": JPG, "annotations/instances_train2017.json": COCO}),
    ("coco", ["train", "val", "test"], {
        f"{split}/{name}": content for split in ("train", "valid", "test")
        for name, content in {"a.jpg": JPG, "_annotations.coco.json": COCO}.items()}),
    ("coco", ["train", "val"], {"image/a.jpg": JPG, "train.json": COCO, "val.json": COCO}),  # PaddleLabel
    ("coco", ["all"], {"images/a.jpg": JPG, "result.json": COCO}),  # Label Studio
    ("coco", ["all"], {"data/a.jpg": JPG, "labels.json": COCO}),  # FiftyOne
    ("voc", ["all"], {"JPEGImages/a.jpg": JPG, "Annotations/a.xml": VOC}),
    ("voc", ["train", "val"], {
        "JPEGImages/a.jpg": JPG, "Annotations/a.xml": VOC, "ImageSets/Main/train.txt": "a\n",
        "ImageSets/Main/val.txt": "a\n", "ImageSets/Main/car_train.txt": "a -1\n"}),
    ("voc", ["train"], {
        "images/a.jpg": JPG, "annotations/a.xml": VOC, "train_anno_list.txt": "annotations/a.xml\n",
        "val_anno_list.txt": ""}),  # PaddleX; an empty list is no split
    ("voc", ["train"], {"images/a.jpg": JPG, "annotations/a.xml": VOC,
                        "train.txt": "images/a.jpg annotations/a.xml"}),
    ("voc", ["all"], {"a.jpg": JPG, "a.xml": VOC}),
    ("voc", ["train", "val"], {
        "train/a.jpg": JPG, "train/a.xml": VOC, "valid/a.jpg": JPG, "valid/a.xml": VOC}),
    ("labelme", ["train"], {
        "images/a.jpg": JPG, "annotations/a.json": LABELME, "label.txt": "car\n",
        "train_anno_list.txt": "annotations/a.json\n"}),
    ("labelme", ["all"], {"images/a.jpg": JPG, "images/a.json": LABELME}),
    ("labelme", ["train"], {"train/a.jpg": JPG, "train/a.json": LABELME}),
    ("yolo", ["all"], {"images/a.jpg": JPG, "labels/a.txt": YOLO, "classes.txt": "car\n"}),
    ("yolo", ["all"], {"images/a.jpg": JPG, "labels/a.txt": YOLO, "labels/classes.txt": "car\n"}),
    ("yolo", ["all"], {"a.jpg": JPG, "a.txt": YOLO, "classes.txt": "car\n"}),
    ("yolo", ["train", "val"], {
        "images/train2017/a.jpg": JPG, "labels/train2017/a.txt": YOLO, "images/val2017/a.jpg": JPG,
        "labels/val2017/a.txt": YOLO, "data.yaml": "train: images/train2017\nval: images/val2017\nnames: {0: car}\n"}),
    ("yolo", ["train", "val"], {
        "images/one/a.jpg": JPG, "labels/one/a.txt": YOLO, "images/two/a.jpg": JPG, "labels/two/a.txt": YOLO,
        "coco8.yaml": "path: ../datasets/x\ntrain: images/one\nval: images/two\nnames: [car]\n"}),
    ("yolo", ["train"], {"train/images/a.jpg": JPG, "train/labels/a.txt": YOLO,
                         "data.yaml": "train: ../train/images\nval: ../valid/images\nnames: ['car']\n"}),
    ("yolo", ["train"], {"images/a.jpg": JPG, "labels/a.txt": YOLO, "list.txt": "# ours\n./images/a.jpg\n",
                         "data.yaml": "train: list.txt\nnames: [car]\n"}),
    ("yolo", ["train"], {"obj_train_data/a.jpg": JPG, "obj_train_data/a.txt": YOLO, "obj.names": "car\n",
                         "train.txt": "data/obj_train_data/a.jpg\n"}),
    ("visdrone", ["all"], {"images/a.jpg": JPG, "annotations/a.txt": VISDRONE}),
    ("visdrone", ["train", "val", "test-dev"], {
        f"VisDrone2019-DET-{split}/{name}": content for split in ("train", "val", "test-dev")
        for name, content in {"images/a.jpg": JPG, "annotations/a.txt": VISDRONE}.items()}),
    ("dota", ["train", "val"], {
        f"{split}/{name}": content for split in ("train", "val")
        for name, content in {"images/a.jpg": JPG, "labelTxt-v1.0/labelTxt/a.txt": DOTA}.items()}),
    ("cvat", ["all"], {"images/a.jpg": JPG, "annotations.xml": CVAT}),
    ("csv", ["all"], {"a.jpg": JPG, "boxes.csv": CSV}),
    ("csv", ["train", "val"], {"images/a.jpg": JPG, "train.csv": CSV, "val.csv": CSV}),
    ("csv", ["train"], {"train/a.jpg": JPG, "train/_annotations.csv": CSV}),
]  # fmt: skip


@pytest.mark.parametrize(("format", "splits", "files"), LAYOUTS, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("nested", ["", "deep/er"])
def test_every_layout_is_found_and_read(
    tmp_path: Path, format: str, splits: list[str], files: dict[str, Any], nested: str
) -> None:
    root = tree(tmp_path / "root" / nested, files)
    layout = find_layout(tmp_path / "root")
    assert (layout.format, layout.root, list(layout.splits)) == (format, root, splits)
    assert layout.description.startswith(TITLES[format])
    for split in splits:
        dataset, faults = told(tmp_path / "root", split)
        assert faults == []
        assert boxes(dataset) == {"a.jpg": [[pytest.approx(value) for value in BOX["a.jpg"][0]]]}
        names = dataset.classes.names
        assert names[dataset.samples[0].class_ids[0]] == "car" and dataset.samples[0].path.is_file()


def test_formats_readers_and_titles_are_the_same() -> None:
    assert list(TITLES) == list(READERS)


def test_descriptions(tmp_path: Path) -> None:
    layout = find_layout(tree(tmp_path / "a", LAYOUTS[0][2]))
    assert layout.description == (
        "COCO JSON in annotations/instance_train.json, annotations/instance_val.json, images in images; "
        "splits: train, val"
    )
    layout = find_layout(tree(tmp_path / "b", {**LAYOUTS[9][2], "label.txt": "car"}))
    assert layout.description == (
        "Pascal VOC XML in Annotations, images in JPEGImages, class names from label.txt; splits: train, val "
        "(by ImageSets/Main/train.txt, ImageSets/Main/val.txt)"
    )


def test_a_folder_of_images_alone(tmp_path: Path) -> None:
    tree(
        tmp_path, {"images/sub/b.png": (5, 4), "images/a.jpg": (8, 6), "README.txt": "hello", "images/.hidden.png": ""}
    )
    dataset, faults = told(tmp_path)
    assert faults == [] and len(dataset.classes) == 0
    assert [(sample.path.name, sample.width, sample.height) for sample in dataset.samples] == [
        ("a.jpg", 8, 6), ("b.png", 5, 4)]  # fmt: skip
    with pytest.raises(DatasetError, match="no boxes to learn from .* images without annotations in images"):
        load_dataset(tmp_path, "all")


def test_two_formats_side_by_side_have_to_be_chosen(tmp_path: Path) -> None:
    tree(tmp_path, {"a.jpg": JPG, "a.xml": VOC, "boxes.csv": CSV})
    with pytest.raises(DatasetError, match=r"CSV of boxes .*, Pascal VOC XML .*Say which .* format 'csv' or 'voc'"):
        find_layout(tmp_path)
    assert boxes(read_dataset(tmp_path, format="voc")) == boxes(read_dataset(tmp_path, format="csv")) == BOX
    with pytest.raises(DatasetError, match="no dataset format 'vocs'. Did you mean 'voc'"):
        find_layout(tmp_path, "vocs")
    with pytest.raises(DatasetError, match="Looked for YOLO labels. There: 1 x .jpg, 1 x .xml, 1 x .csv"):
        find_layout(tmp_path, "yolo")


def test_coco_wins_over_what_it_was_made_from(tmp_path: Path) -> None:
    tree(tmp_path, {**LAYOUTS[14][2], "annotations/instance_train.json": COCO})
    layout = find_layout(tmp_path)
    assert layout.format == "coco" and layout.description.endswith("Not read: LabelMe JSON in the same folder")
    dataset, faults = told(tmp_path, "train", "labelme")
    assert (boxes(dataset), faults) == (BOX, [])


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("Annotations/a.xml", "a.xml: is not XML"),
        ("annotations/a.json", "a.json: is not JSON"),
        ("labels/a.txt", "a.txt: line 1: a value must be a number, got '<broken'"),
        ("annotations/instance_train.json", "instance_train.json: is not JSON"),
    ],
)
def test_a_dataset_whose_only_file_is_broken_is_still_recognised(tmp_path: Path, file: str, words: str) -> None:
    tree(tmp_path, {"images/a.jpg": JPG, file: "<broken"})
    with pytest.raises(DatasetError, match=words):
        read_dataset(tmp_path)


def test_an_unknown_layout_says_what_is_there(tmp_path: Path) -> None:
    tree(tmp_path, {"a.jpg": JPG, "x/boxes.json": '[{"image": "a.jpg"}]', "odd.xml": "<annotations/>"})
    with pytest.raises(DatasetError) as caught:
        find_layout(tmp_path)
    message = str(caught.value)
    assert "labels/*.txt or data.yaml (YOLO)" in message
    assert message.endswith("There: 1 x .jpg, 1 x .xml, 1 x .json; such as odd.xml, x/boxes.json")


def test_a_recognition_dataset_is_named_as_such(tmp_path: Path) -> None:
    tree(tmp_path, {"images/a.jpg": JPG, "train.txt": "images/a.jpg 0\n", "gallery.txt": "images/a.jpg 0\n"})
    with pytest.raises(DatasetError, match="looks like a recognition dataset: lists of images and labels in train.txt"):
        find_layout(tmp_path)


def test_a_json_that_only_looks_like_coco_is_explained(tmp_path: Path) -> None:
    odd = {"images": [{"id": 1, "filename": "a.jpg", "width": 1, "height": 1}], "annotation": [], "categories": []}
    tree(tmp_path, {"images/a.jpg": JPG, "annotations/mine.json": json.dumps(odd)})
    with pytest.raises(DatasetError, match="no list 'annotations', which COCO needs. Did you mean 'annotation'"):
        read_dataset(tmp_path)


def test_a_split_has_other_names_and_must_be_there(tmp_path: Path) -> None:
    root = tree(tmp_path, LAYOUTS[0][2])
    assert len(load_dataset(root, "valid")) == 1
    with pytest.raises(DatasetError, match="has the splits train, val; name one of them"):
        read_dataset(root)
    with pytest.raises(DatasetError, match="no split 'test' .*splits: train, val$"):
        load_dataset(root, "test")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train2017", "train"), ("VisDrone2019-DET-val", "val"), ("valid", "val"), ("test-dev", "test-dev"),
        ("trainval", "trainval"), ("Training", "train"), ("obj_train_data", "train"), ("brain", None),
        ("training_day_3", None), ("", None), ("my_val", "val"), ("interval", None),
    ],
)  # fmt: skip
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_a_linked_folder_that_leads_back_is_no_trap(tmp_path: Path) -> None:
    root = tree(tmp_path / "set", LAYOUTS[0][2])
    (root / "loop").symlink_to(root)
    (root / "images" / "up").symlink_to(tmp_path)
    assert list(find_layout(root).splits) == ["train", "val"]
