"""The readers on real files: numbers of images, boxes and classes, and the faults that are known to be in them."""

from pathlib import Path

import numpy as np
import pytest
from tests.data.trees import codes, told

from eyas.data import find_layout, load_dataset, read_dataset
from eyas.data.lists import read_labelled
from eyas.data.sample import Dataset, check_files, check_images
from eyas.errors import DatasetError


def counted(dataset: Dataset) -> tuple[int, dict[str, int], int]:
    """(images, boxes by class, ignored boxes among them)."""
    ids = np.concatenate([sample.class_ids for sample in dataset.samples])
    ignored = sum(int(sample.ignore.sum()) for sample in dataset.samples)
    counts = np.bincount(ids, minlength=len(dataset.classes)).tolist()
    return len(dataset), dict(zip(dataset.classes.names, counts, strict=True)), ignored


@pytest.mark.parametrize(
    ("folder", "split", "format", "images", "boxes", "ignored", "faults"),
    [
        ("hit_uav", "train", "coco", 1283, {"Person": 5553, "Car": 3650, "Bicycle": 2376, "OtherVehicle": 96}, 212, []),
        ("hit_uav", "val", "coco", 218, {"Person": 1055, "Car": 314, "Bicycle": 1274, "OtherVehicle": 21}, 12, []),
        ("aerial_cars", None, "yolo", 3, {"car": 107, "truck": 0, "bus": 1, "minibus": 3, "cyclist": 0}, 0, []),
        ("formats/labelme_nuts", None, "labelme", 18, {"date": 71, "fig": 41, "hazelnut": 53}, 0,
         [("info", "shapes-boxed")]),
        ("formats/voc_bccd", None, "voc", 42, {"Platelets": 56, "RBC": 707, "WBC": 45}, 0,
         [("warning", "box-without-area")] * 2),
        ("formats/voc_hit_uav", None, "voc", 80, {"Bicycle": 32, "Car": 41, "Person": 670}, 0, []),
        ("formats/voc_deepforest_trees", None, "voc", 3, {"Alive": 9, "Dead": 28, "Tree": 340}, 0,
         [("info", "image-name-differs"), ("info", "image-without-annotation")]),
        ("formats/voc_deepforest_trees", "OSBS_029", "csv", 1, {"0": 0, "Alive": 0, "Dead": 0, "Tree": 61}, 0, []),
        ("formats/voc_deepforest_trees", "testfile_multi", "csv", 1,
         {"0": 0, "Alive": 9, "Dead": 28, "Tree": 0}, 0, []),
        ("formats/voc_deepforest_trees", "2018_SJER_3_252000_4107000_image_477_truth", "csv", 1,
         {"0": 7, "Alive": 0, "Dead": 0, "Tree": 0}, 0, []),
        ("formats/datumaro_formats/cvat_dataset/for_images/export_task", "train", "cvat", 2,
         {"label1": 1, "label2": 0}, 0,
         [*[("error", "wrong-value")] * 2, ("error", "shape-not-a-region")]),
        ("formats/datumaro_formats/cvat_dataset/for_images/export_project", None, "cvat", 6,
         {"label1": 6, "label2": 0}, 0, [*[("error", "shape-not-a-region")] * 6, ("info", "shapes-boxed")]),
        ("formats/tiff16", None, "images", 3, {}, 0, []),
        ("shelf", None, "images", 1, {}, 0, []),
    ],
)  # fmt: skip
def test_real_sets(
    shared_data: Path, folder: str, split: str | None, format: str, images: int, boxes: dict[str, int],
    ignored: int, faults: list[tuple[str, str]],
) -> None:  # fmt: skip
    dataset, found = told(shared_data / folder, split, format)
    assert counted(dataset) == (images, boxes, ignored)
    assert codes(found) == faults
    if folder != "formats/voc_hit_uav":
        check_images(dataset)


TINY = {  # folder of datumaro_formats -> format, (images, boxes) of each split
    "coco_dataset/coco": ("coco", {"train": (1, 1), "val": (1, 2)}),
    "coco_dataset/coco_instances": ("coco", {"train": (1, 1), "val": (1, 2)}),
    "coco_dataset/coco_person_keypoints": ("coco", {"train": (1, 1), "val": (1, 2)}),
    "coco_dataset/coco_roboflow": ("coco", {"train": (1, 1), "val": (1, 2)}),
    "coco_dataset/mmdet_coco": ("coco", {"train": (1, 1), "val": (1, 2)}),
    "roboflow_dataset/coco": ("coco", {"train": (2, 2), "val": (1, 2)}),
    "roboflow_dataset/voc": ("voc", {"train": (2, 2), "val": (1, 2)}),
    "roboflow_dataset/yolo": ("yolo", {"train": (2, 2), "val": (1, 2)}),
    "roboflow_dataset/yolo_obb": ("dota", {"train": (2, 2), "val": (1, 2)}),
    "dota_dataset": ("dota", {"train": (2, 2), "val": (1, 2)}),
    "voc_dataset/voc_dataset1": ("voc", {"train": (1, 2), "test": (0, 0)}),
    "voc_dataset/voc_dataset3": ("voc", {"train": (1, 1)}),
    "yolo_dataset/annotations": ("yolo", {"all": (1, 2)}),
    "yolo_dataset/labels": ("yolo", {"train": (1, 2), "val": (1, 2)}),
    "yolo_dataset/strict": ("yolo", {"train": (1, 2)}),
    "image_dir_dataset": ("images", {"all": (2, 0)}),
}


@pytest.mark.parametrize("folder", TINY)
def test_tiny_sets_of_many_tools(shared_data: Path, folder: str) -> None:
    root = shared_data / "formats" / "datumaro_formats" / folder
    layout = find_layout(root)
    found = {}
    for split in layout.splits:
        dataset, _ = told(root, split)
        check_images(dataset)
        found[split] = (len(dataset), sum(len(sample.boxes_xyxy) for sample in dataset.samples))
    assert (layout.format, found) == TINY[folder]


def test_one_scene_in_four_formats_has_the_same_boxes(shared_data: Path) -> None:
    for split in ("train", "val"):
        sets = [
            read_dataset(shared_data / "formats/datumaro_formats/roboflow_dataset" / name, split)
            for name in ("coco", "voc", "yolo")
        ]
        for first, *others in zip(*(dataset.samples for dataset in sets), strict=True):
            for other in others:
                assert (other.path.name, other.width, other.height) == (first.path.name, first.width, first.height)
                np.testing.assert_allclose(other.boxes_xyxy, first.boxes_xyxy, atol=1e-6)
                assert other.class_ids.tolist() == first.class_ids.tolist()


def test_boxes_without_area_are_named_by_file_and_record(shared_data: Path) -> None:
    _, faults = told(shared_data / "formats" / "voc_bccd")
    assert [(fault.file.name, fault.record, fault.value) for fault in faults] == [
        ("BloodImage_00338.xml", "object 13", [504, 337, 504, 337]),
        ("BloodImage_00343.xml", "object 4", [181, 329, 181, 329]),
    ]


def test_voc_and_coco_of_the_same_pictures_have_the_same_boxes(shared_data: Path) -> None:
    coco = {sample.path.name: sample for sample in load_dataset(shared_data / "hit_uav", "val").samples}
    voc = read_dataset(shared_data / "formats" / "voc_hit_uav")
    names = load_dataset(shared_data / "hit_uav", "val").classes.names
    for sample in voc.samples:
        other = coco[sample.path.name]
        assert (sample.width, sample.height) == (other.width, other.height)
        rows = [(voc.classes.names[place], *box) for place, box in _rows(sample)]
        assert sorted(rows) == sorted((names[place], *box) for place, box in _rows(other))
    assert len(voc) == 80


def _rows(sample: object) -> list[tuple[int, list[float]]]:
    return list(zip(sample.class_ids.tolist(), sample.boxes_xyxy.tolist(), strict=True))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("coco_dataset/coco_labels", "annotations[0] (id 1): has no 'bbox'"),
        ("coco_dataset/coco_captions", "no classes; at least one category is needed"),
        ("coco_dataset/coco_panoptic", "has no 'category_id'; its keys are ['file_name', 'image_id', 'segments_info']"),
        ("roboflow_dataset/createml", "no dataset is recognised"),
        ("roboflow_dataset/tfrecord", "such as train/train.tfrecord"),
        ("roboflow_dataset", "holds 4 datasets: COCO JSON in coco, "),
        ("cvat_dataset/for_video", "no dataset is recognised"),
        ("labelme_dataset", "no dataset is recognised"),
        ("voc_dataset/voc_dataset2", "@.xml: @.jpg: the size of its image is not known"),
    ],
)
def test_what_cannot_be_read_is_explained(shared_data: Path, folder: str, words: str) -> None:
    root = shared_data / "formats" / "datumaro_formats" / folder
    with pytest.raises(DatasetError) as caught:
        layout = find_layout(root)
        read_dataset(root, next(iter(layout.splits)))
    assert words in str(caught.value)


def test_the_grocery_store_as_lists_and_as_folders(shared_data: Path) -> None:
    parts = read_labelled(shared_data / "grocery_store")
    assert {name: len(part) for name, part in parts.items()} == {"train": 2640, "val": 296}
    train = parts["train"]
    assert len(train.labels) == 81 and train.labels.source_ids == tuple(range(81))
    assert train.names[0] == "Golden-Delicious" and len(set(train.names)) == 81
    check_files(train.paths, train.source)
    folders = read_labelled(shared_data / "grocery_store", format="folders")
    assert {name: len(part) for name, part in folders.items()} == {"train": 2640, "val": 296}
    by_path = dict(zip(train.paths, train.names, strict=True))
    assert all(
        label.rpartition("/")[2] == by_path[path]
        for path, label in zip(folders["train"].paths, folders["train"].names, strict=True)
    )
