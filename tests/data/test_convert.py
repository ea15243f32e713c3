"""Conversions: what is read is what was there, in every format; PaddleX's types in place, twice the same."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.trees import picture, tree

from eyas.data import find_layout, read_dataset, read_part
from eyas.data.convert import convert_dataset, convert_in_place
from eyas.data.faults import FaultList
from eyas.data.plain import read_unlabelled
from eyas.errors import ConfigError, DatasetError


def rows(root: Path, format: str | None = None) -> list[tuple[Path, Any]]:
    """(image file, (width, height, lines of class name, ignore and box)) over all parts of a dataset."""
    layout = find_layout(root, format)
    found = []
    for split in layout.splits:
        dataset = read_part(layout, split, FaultList())
        names = dataset.classes.names
        for sample in dataset.samples:
            table = zip(sample.class_ids.tolist(), sample.ignore.tolist(), sample.boxes_xyxy.tolist(), strict=True)
            lines = [(names[place], ignore, *box) for place, ignore, box in table]
            found.append((sample.path.resolve(), (sample.width, sample.height, lines)))
    return found


def content(root: Path) -> dict[Path, Any]:
    return dict(rows(root))


def pictures(root: Path, format: str | None = None) -> list[Any]:
    """The same by what the image files hold: equal files get one name in a written dataset."""
    found = rows(root, format)
    return sorted((path.read_bytes() if path.is_file() else path.name.encode(), value) for path, value in found)


REAL = {  # folder of formats -> (format, images in each part after conversion)
    "labelme_nuts": (None, {"train": 14, "val": 4}),
    "voc_bccd": (None, {"train": 34, "val": 8}),
    "voc_deepforest_trees": ("voc", {"train": 2, "val": 1}),
    "voc_deepforest_trees/.": ("csv", {"train": 2, "val": 1}),
    "voc_hit_uav": (None, {"train": 64, "val": 16}),
    "datumaro_formats/coco_dataset/coco_person_keypoints": (None, {"train": 1, "val": 1}),
    "datumaro_formats/cvat_dataset/for_images/export_project": (None, {"train": 5, "val": 1}),
    "datumaro_formats/coco_dataset/coco": (None, {"train": 1, "val": 1}),
    "datumaro_formats/coco_dataset/coco_instances": (None, {"train": 1, "val": 1}),
    "datumaro_formats/coco_dataset/coco_roboflow": (None, {"train": 1, "val": 1}),
    "datumaro_formats/coco_dataset/mmdet_coco": (None, {"train": 1, "val": 1}),
    "datumaro_formats/roboflow_dataset/coco": (None, {"train": 2, "val": 1}),
    "datumaro_formats/roboflow_dataset/voc": (None, {"train": 2, "val": 1}),
    "datumaro_formats/roboflow_dataset/yolo": (None, {"train": 2, "val": 1}),
    "datumaro_formats/roboflow_dataset/yolo_obb": (None, {"train": 2, "val": 1}),
    "datumaro_formats/dota_dataset": (None, {"train": 2, "val": 1}),
    "datumaro_formats/voc_dataset/voc_dataset1": (None, {"train": 1}),
    "datumaro_formats/voc_dataset/voc_dataset3": (None, {"train": 1}),
    "datumaro_formats/yolo_dataset/annotations": (None, {"train": 1}),
    "datumaro_formats/yolo_dataset/labels": (None, {"train": 1, "val": 1}),
    "datumaro_formats/yolo_dataset/strict": (None, {"train": 1}),
    "datumaro_formats/cvat_dataset/for_images/export_task": (None, {"train": 1, "val": 1}),
}


@pytest.mark.parametrize("folder", REAL)
def test_real_sets_read_back_the_same_from_coco(shared_data: Path, tmp_path: Path, folder: str) -> None:
    root, (format, parts) = shared_data / "formats" / folder, REAL[folder]
    summary = convert_dataset(root, tmp_path / "coco", format=format)
    assert {name: number for name, number in summary.kept.items() if name.startswith("images")} == {
        f"images in {name}": number for name, number in parts.items()
    }
    assert pictures(tmp_path / "coco") == pictures(root, format)
    assert summary.kept["boxes"] + summary.kept.get("ignored boxes", 0) == sum(
        len(rows) for _, (_, _, rows) in pictures(root, format)
    )
    assert all(line.endswith(".") for line in summary.lines())
    for name in parts:
        assert (tmp_path / "coco" / "annotations" / f"instance_{name}.json").is_file()


@pytest.mark.parametrize("to", ["voc", "labelme", "yolo"])
def test_real_boxes_survive_other_formats_and_the_way_back(shared_data: Path, tmp_path: Path, to: str) -> None:
    root = shared_data / "formats" / "voc_bccd"
    first = convert_dataset(root, tmp_path / "first", to=to, images="copy")
    second = convert_dataset(tmp_path / "first", tmp_path / "second")
    assert (first.kept["boxes"], second.kept["boxes"], first.dropped["box-without-area"]) == (808, 808, 2)
    back = {path.name: value for path, value in content(tmp_path / "second").items()}
    wanted = {path.name: value for path, value in content(root).items()}
    assert back.keys() == wanted.keys()
    for name, (width, height, rows) in wanted.items():
        assert back[name][:2] == (width, height)
        assert [row[:2] for row in back[name][2]] == [row[:2] for row in rows]
        got, expected = ([x for row in part for x in row[2:]] for part in (back[name][2], rows))
        assert got == (pytest.approx(expected, abs=1e-4) if to == "yolo" else expected)


def shape(label: str, kind: str = "rectangle") -> dict[str, Any]:
    points = {"rectangle": [[2, 2], [8, 6]], "polygon": [[1, 1], [9, 2], [5, 7]], "circle": [[5, 5], [5, 7]]}
    return {"label": label, "points": points.get(kind, [[1, 1]]), "shape_type": kind}


def labelme(name: str, *shapes: dict[str, Any], **more: Any) -> str:
    size = {"imageWidth": 20, "imageHeight": 10}
    return json.dumps({"shapes": shapes, "imagePath": f"..\\images\\{name}"} | size | more)


def paddlex_labelme(root: Path, count: int = 10, lists: tuple[str, ...] = ("train",)) -> Path:
    """PaddleX's LabelMe layout, with Windows paths, polygons and circles."""
    kinds = ("rectangle", "polygon", "circle")
    for n in range(count):
        shapes = [shape(("nut", "fig")[n % 2], kinds[n % 3])]
        tree(root, {f"images/a.{n}.jpg": (20, 10), f"annotations/a.{n}.json": labelme(f"a.{n}.jpg", *shapes)})
    names = [f"annotations/a.{n}.json\n" for n in range(count)]
    shares = {"train": names, "val": []} if len(lists) == 1 else {"train": names[:-2], "val": names[-2:]}
    tree(root, {f"{part}_anno_list.txt": "".join(shares[part]) for part in lists})
    return tree(root, {"label.txt": "nut\nfig\n"})


@pytest.mark.parametrize("val_list", ["absent", "empty", "filled"])
def test_labelme_in_place(tmp_path: Path, val_list: str) -> None:
    paddlex_labelme(tmp_path, lists=("train", "val") if val_list == "filled" else ("train",))
    if val_list == "empty":
        tree(tmp_path, {"val_anno_list.txt": "\n"})
    before = content(tmp_path)
    lists = {file: file.read_bytes() for file in tmp_path.glob("*.txt")}
    summary = convert_in_place(tmp_path, "LabelMe")
    assert summary.kept == {"images in train": 8, "images in val": 2, "boxes": 10, "classes": 2}
    assert summary.changed == {"shapes-boxed": 6}
    assert find_layout(tmp_path).format == "coco" and content(tmp_path) == before
    record = json.loads((tmp_path / "annotations" / "instance_train.json").read_text())
    assert record["categories"] == [{"id": 1, "name": "nut"}, {"id": 2, "name": "fig"}]
    assert record["images"][0]["file_name"].startswith("a.")
    files = sorted(tmp_path.rglob("*"))
    texts = [file.read_bytes() for file in files if file.is_file()]
    assert convert_in_place(tmp_path, "labelme").kept == summary.kept
    assert sorted(tmp_path.rglob("*")) == files
    assert [file.read_bytes() for file in files if file.is_file()] == texts
    assert {file: file.read_bytes() for file in tmp_path.glob("*.txt")} == lists
    if val_list == "filled":
        assert {sample.path.name for sample in read_dataset(tmp_path, "val").samples} == {"a.8.jpg", "a.9.jpg"}


def test_what_is_replaced_in_place_is_kept_once(tmp_path: Path) -> None:
    paddlex_labelme(tmp_path)
    old = json.dumps({"images": [], "annotations": [], "categories": []})
    tree(tmp_path, {"annotations/instance_train.json": old})
    for seed in (0, 1, 2):
        convert_in_place(tmp_path, "LabelMe", seed=seed)
    assert (tmp_path / "annotations" / "instance_train.json.bak").read_text() == old


def voc(name: str, *boxes: tuple[str, int, int, int, int]) -> str:
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        "</bndbox></object>" for label, x1, y1, x2, y2 in boxes
    )  # fmt: skip
    size = "<size><width>20</width><height>10</height></size>"
    return f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"


def test_voc_with_unlabelled_images_in_place(tmp_path: Path) -> None:
    for n in range(5):
        tree(tmp_path, {f"images/{n}.png": (20, 10), f"annotations/{n}.xml": voc(f"{n}.png", ("nut", 1, 2, 3, 4))})
    tree(tmp_path, {"annotations/5.xml": voc("5.png", ("nut", 1, 2, 3, 4)), "images/u.png": (8, 8), "label.txt": "nut"})
    lines = "".join(f"annotations/{n}.xml\n" for n in (0, 1, 2, 3, 4, 5, 77))
    tree(tmp_path, {"train_anno_list.txt": lines, "unlabeled.txt": "images/u.png\nimages/none.png\n"})
    for _ in range(2):
        summary = convert_in_place(tmp_path, "VOCWithUnlabeled", val_percent=40)
        assert summary.kept == {
            "images in train": 4, "images in val": 2, "boxes": 6, "classes": 1, "unlabelled images": 1}  # fmt: skip
        assert summary.dropped == {"list-entry-missing": 2, "image-missing": 1}
        assert not (tmp_path / "unlabeled.txt").exists()
        assert (tmp_path / "annotations" / "unlabeled.txt").read_text() == "images/u.png\nimages/none.png\n"
        assert read_unlabelled(tmp_path, FaultList()) == (tmp_path / "images" / "u.png",)
    (tmp_path / "annotations" / "unlabeled.txt").unlink()
    with pytest.raises(DatasetError, match=r"has no unlabeled\.txt"):
        convert_in_place(tmp_path, "VOCWithUnlabeled")


def test_images_outside_of_images_are_linked_in_place(tmp_path: Path) -> None:
    for n in range(4):
        tree(
            tmp_path,
            {f"JPEGImages/s/{n}.png": (20, 10), f"Annotations/s/{n}.xml": voc(f"{n}.png", ("nut", 1, 2, 3, 4))},
        )
    for _ in range(2):
        convert_in_place(tmp_path, "VOC")
        assert len(content(tmp_path)) == 4 and all(path.is_file() for path in content(tmp_path))
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [f"{n}.png" for n in range(4)]


@pytest.mark.parametrize("to", ["coco", "yolo", "voc", "labelme"])
def test_unlabelled_images_come_along(tmp_path: Path, to: str) -> None:
    root = paddlex_labelme(tmp_path / "source")
    tree(root, {"images/new/a.0.jpg": (8, 6), "unlabeled.txt": "images/new/a.0.jpg\n"})
    summary = convert_dataset(root, tmp_path / "target", to)
    assert summary.kept["unlabelled images"] == 1 and summary.kept["boxes"] == 10
    (image,) = read_unlabelled(tmp_path / "target", FaultList())
    assert image.read_bytes() == picture(8, 6, "JPEG")
    assert content(tmp_path / "target").keys() == content(root).keys()


def test_parts_with_other_classes_get_the_same_ones(tmp_path: Path) -> None:
    for part, names in (("train", ["car"]), ("val", ["bus", "car"])):
        rows = [{"id": n, "image_id": 1, "category_id": n, "bbox": [1, 1, 2, 2]} for n in range(1, len(names) + 1)]
        record = {"id": 1, "file_name": f"{part}0.png", "width": 20, "height": 10}
        categories = [{"id": n, "name": name} for n, name in enumerate(names, start=1)]
        text = json.dumps({"images": [record], "annotations": rows, "categories": categories})
        tree(tmp_path / "s", {f"annotations/instance_{part}.json": text, f"images/{part}0.png": (20, 10)})
    for to in ("coco", "yolo", "voc", "labelme"):
        convert_dataset(tmp_path / "s", tmp_path / to, to)
        for part in ("train", "val"):
            assert read_dataset(tmp_path / to, part).classes.names == ("car", "bus")
        assert content(tmp_path / to) == content(tmp_path / "s")


def test_ignored_boxes_are_counted_apart(tmp_path: Path) -> None:
    ignored = shape("nut") | {"flags": {"ignore": True}}
    root = tree(
        tmp_path / "s", {"a.png": (20, 10), "a.json": labelme("a.png", shape("nut"), ignored, imagePath="a.png")}
    )
    coco, yolo = (convert_dataset(root, tmp_path / to, to, val_percent=0) for to in ("coco", "yolo"))
    assert coco.kept == {"images in train": 1, "boxes": 1, "ignored boxes": 1, "classes": 1} and coco.dropped == {}
    assert yolo.kept == {"images in train": 1, "boxes": 1, "classes": 1} and yolo.dropped == {"ignore-left-out": 1}


def test_a_fault_of_the_file_of_classes_is_told_once(tmp_path: Path) -> None:
    for part in ("train", "val"):
        tree(
            tmp_path / "s", {f"images/{part}/{part}0.png": (9, 9), f"labels/{part}/{part}0.txt": "0 0.5 0.5 0.2 0.2\n"}
        )
    tree(tmp_path / "s", {"classes.txt": "car\ncar\n"})
    summary = convert_dataset(tmp_path / "s", tmp_path / "t")
    assert [(fault.code, fault.record) for fault in summary.faults] == [("duplicate-id", "line 2")]


def test_shapes_that_are_nothing_are_counted(tmp_path: Path) -> None:
    root = tree(tmp_path / "s", {"a.png": (20, 10), "b.png": (20, 10), "c.png": (20, 10)})
    tree(root, {"a.json": labelme("a.png", shape("nut"), shape("nut", "point"), imagePath="a.png")})
    tree(root, {"b.json": labelme("b.png", shape("x"), imagePath="b.png")})
    summary = convert_dataset(root, tmp_path / "t", val_percent=0)
    assert summary.kept == {"images in train": 2, "boxes": 2, "classes": 2}
    assert summary.dropped == {"shape-not-a-region": 1, "image-without-annotation": 1}
    assert summary.lines()[:3] == [
        f"Converted LabelMe JSON in {root} to COCO JSON in {tmp_path / 't'}.",
        "Kept: 2 images in train, 2 boxes, 2 classes.",
        "Left out: 1 shape-not-a-region, 1 image-without-annotation.",
    ]


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 30), st.integers(1, 99), st.integers(0, 3))
def test_no_image_is_lost_where_val_is_made(count: int, val: int, seed: int) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder, "source")
        for n in range(count):
            tree(root, {f"images/{n}.png": (9, 9), f"labels/{n}.txt": "0 0.5 0.5 0.5 0.5\n" * (n % 3)})
        tree(root, {"classes.txt": "car\n"})
        summary = convert_dataset(root, Path(folder, "target"), seed=seed, val_percent=val)
        assert summary.kept["images in train"] + summary.kept["images in val"] == count
        assert content(Path(folder, "target")) == content(root)


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    root = paddlex_labelme(tmp_path / "s", 3)
    with pytest.raises(ConfigError, match=r"cannot be written as 'coko'\. Did you mean 'coco'\?"):
        convert_dataset(root, tmp_path / "t", "coko")
    with pytest.raises(ConfigError, match=r"src_dataset_type: unknown 'LabelMee'\. Did you mean 'LabelMe'\?"):
        convert_in_place(root, "LabelMee")
    with pytest.raises(ConfigError, match="val_percent must be a number from 0 to below 100, got 100"):
        convert_dataset(root, tmp_path / "t", val_percent=100)
    with pytest.raises(DatasetError, match="not empty; convert into a new folder"):
        convert_dataset(root, root)
    tree(tmp_path / "plain", {"a.png": (9, 9)})
    with pytest.raises(DatasetError, match="has no boxes to convert. Found: images without annotations"):
        convert_dataset(tmp_path / "plain", tmp_path / "t")
    assert not (tmp_path / "t").exists()
