"""VOC, LabelMe, VisDrone, DOTA and CSV: boxes, classes, image look-up, and what is said about broken records."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.trees import boxes, codes, picture, told, tree

from eyas.data import read_dataset
from eyas.data.labelme import embedded_picture
from eyas.errors import DatasetError


def voc(*objects: str, filename: str = "a.jpg", size: tuple[object, object] | None = (20, 10)) -> str:
    sides = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation><filename>{filename}</filename>{sides}{''.join(objects)}</annotation>"


def thing(name: str, corners: str = "1 2 4 6", more: str = "") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners.split(), strict=False)
    box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name>{name}</name>{more}<bndbox>{box}</bndbox></object>"


def test_voc_boxes_classes_and_difficult_objects(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part>"
    files = {
        "Annotations/a.xml": voc(thing("car 10", "1.5 2 4 6"), thing("car 2", more="<difficult>1</difficult>" + part)),
        "Annotations/sub/b.c.xml": voc(filename="b.c.jpg", size=None),
        "JPEGImages/a.jpg": (20, 10),
        "JPEGImages/sub/b.c.jpg": (8, 6),
        "JPEGImages/c.jpg": (8, 6),
    }
    dataset, faults = told(tree(tmp_path, files))
    assert (dataset.classes.names, dataset.classes.source_ids) == (("car 2", "car 10"), (1, 2))
    first, second = dataset.samples
    assert first.boxes_xyxy.tolist() == [[1.5, 2, 4, 6], [1, 2, 4, 6]]
    assert (first.class_ids.tolist(), first.ignore.tolist()) == ([1, 0], [False, True])
    assert (second.path.name, second.width, second.height, len(second.class_ids)) == ("b.c.jpg", 8, 6, 0)
    assert [sample.image_id for sample in dataset.samples] == [1, 2]
    assert codes(faults) == [("info", "image-without-annotation")] and "1 images" in faults[0].message


@pytest.mark.parametrize(
    ("content", "code", "record", "words"),
    [
        (voc("<object><bndbox/></object>"), "key-missing", "object 1", "has no <name>"),
        (voc(thing("a"), "<object><name>b</name><polygon/></object>"), "key-missing", "object 2", "<name>, <polygon>"),
        (voc(thing("a", "1 2 x 6")), "wrong-value", "object 1", "xmax must be a number, got 'x'"),
        (voc(thing("a", "1 2 4")), "wrong-value", "object 1", "ymax must be a number, got ''"),
        (voc(thing("a", "1 2 nan 6")), "wrong-value", "object 1", "xmax must be a number, got 'nan'"),
        (voc(thing("a", "1 2 1e999 6")), "wrong-value", "object 1", "got '1e999'"),
        ("<annotations></annotations>", "not-voc", "", "expected <annotation> outside, got <annotations>"),
        ("<annotation>", "not-xml", "", "no element found"),
        (voc(filename="../../other/a2.jpg"), "path-outside", "image name", "leads out of the dataset"),
    ],
)
def test_broken_voc_records_are_named(tmp_path: Path, content: str, code: str, record: str, words: str) -> None:
    good = voc(thing("car"), filename="ok.jpg")
    root = tree(tmp_path, {"Annotations/b.xml": content, "Annotations/ok.xml": good, "JPEGImages/ok.jpg": (20, 10)})
    dataset, faults = told(root)
    assert any(sample.path.name == "ok.jpg" for sample in dataset.samples)
    errors = [fault for fault in faults if fault.severity == "error"]
    assert [(fault.code, fault.record, fault.file.name) for fault in errors] == [(code, record, "b.xml")]
    assert words in errors[0].message
    with pytest.raises(DatasetError, match="b.xml"):
        read_dataset(root)


def test_voc_images_are_found_by_name_stem_and_case(tmp_path: Path) -> None:
    files = {
        "Annotations/a.xml": voc(filename="copied.jpg"),  # the name of another picture was left inside
        "Annotations/copied.xml": voc(filename="copied.jpg"),
        "Annotations/b.xml": voc(filename="/home/me/VOC/JPEGImages/b.jpg"),
        "Annotations/C.xml": voc(filename="c.JPG"),
        "Annotations/d.jpg.xml": voc(filename=""),
        "Annotations/e.xml": voc(filename="e.tif"),
        "Annotations/gone.xml": voc(filename="gone.jpg"),
        "Annotations/lost.xml": voc(filename="lost.jpg", size=("?", 0)),
    } | {f"JPEGImages/{name}": (20, 10) for name in ("a.jpg", "copied.jpg", "b.jpg", "c.jpg", "d.jpg", "e.png")}
    dataset, faults = told(tree(tmp_path, files))
    assert [sample.path.name for sample in dataset.samples] == [
        "c.jpg", "a.jpg", "b.jpg", "copied.jpg", "d.jpg", "e.png", "gone.jpg"]  # fmt: skip
    assert [(fault.code, fault.file.name) for fault in faults] == [
        ("wrong-size", "lost.xml"),
        ("image-name-differs", "a.xml"),
        ("path-outside", "b.xml"),
        ("image-name-differs", "e.xml"),
        ("image-missing", "lost.xml"),
    ]


def test_two_files_about_one_image_and_a_wrong_list(tmp_path: Path) -> None:
    files = {
        "annotations/a.xml": voc(),
        "annotations/b.xml": voc(),
        "images/a.jpg": (20, 10),
        "train_anno_list.txt": "annotations/a.xml\nb.xml\n\nnone.xml\n",
    }
    dataset, faults = told(tree(tmp_path, files))
    assert len(dataset) == 1
    assert [(fault.code, fault.file.name, fault.record) for fault in faults] == [
        ("list-entry-missing", "train_anno_list.txt", "line 4"),
        ("image-twice", "b.xml", ""),
    ]


def test_names_with_dots_and_blanks_in_lists(tmp_path: Path) -> None:
    names = ["a.b", "a", "photo 1", "x.tar.gz"]
    files: dict[str, Any] = {f"Annotations/{name}.xml": voc(filename=f"{name}.jpg") for name in names}
    files |= {f"JPEGImages/{name}.jpg": (20, 10) for name in names}
    files["ImageSets/Main/train.txt"] = "".join(f"{name}\n" for name in names)
    dataset, faults = told(tree(tmp_path, files))
    assert [sample.path.name for sample in dataset.samples] == [f"{name}.jpg" for name in names] and faults == []


def test_classes_are_the_same_in_every_split(tmp_path: Path) -> None:
    files = {
        "train/a.xml": voc(thing("b"), thing("c")), "train/a.jpg": (20, 10),
        "val/d.xml": voc(thing("a"), filename="d.jpg"), "val/d.jpg": (20, 10),
    }  # fmt: skip
    root = tree(tmp_path / "one", files)
    assert read_dataset(root, "train").classes.names == read_dataset(root, "val").classes.names == ("a", "b", "c")
    root = tree(tmp_path / "two", {**files, "labels.txt": "__ignore__\n_background_\nc\nb\n"})
    dataset, faults = told(root, "val")
    assert dataset.classes.names == ("c", "b")
    assert [(fault.code, fault.value) for fault in faults] == [("unknown-class", "a")]
    assert "Known: b, c." in faults[0].fix


def labelme(*shapes: Any, **more: Any) -> str:
    return json.dumps({"shapes": shapes, "imagePath": "a.jpg", "imageHeight": 10, "imageWidth": 20, **more})


def shape(kind: str | None, *points: tuple[float, float], label: Any = "car", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, **more}


def test_labelme_shapes_become_boxes_and_are_counted(tmp_path: Path) -> None:
    content = labelme(
        shape("rectangle", (8, 6), (2, 1)),
        shape("polygon", (1, 2), (5, 4), (3, 7.5)),
        shape("circle", (10, 5), (10, 2)),
        shape(None, (1, 1), (2, 1), (2, 3)),
        shape("rectangle", (1, 1), (2, 2), label="bus", flags={"ignore": True}),
        shape("line", (1, 1), (2, 2)),
        shape("rectangle", (1, 1), label="van"),
        shape("rectangle", (1, 1), (2, float("nan"))),
        shape("rectangle", (1, 1), (2, 2), label=5),
        7,
    )
    dataset, faults = told(tree(tmp_path, {"images/a.jpg": (20, 10), "annotations/a.json": content}))
    assert boxes(dataset) == {"a.jpg": [[2, 1, 8, 6], [1, 2, 5, 7.5], [7, 2, 13, 8], [1, 1, 2, 3], [1, 1, 2, 2]]}
    assert dataset.samples[0].ignore.tolist() == [False] * 4 + [True]
    assert dataset.classes.names == ("bus", "car")
    assert [(fault.severity, fault.code, fault.record) for fault in faults] == [
        ("error", "shape-not-a-region", "shapes[5]"),
        ("error", "shape-not-a-region", "shapes[6]"),
        ("error", "wrong-value", "shapes[7]"),
        ("error", "wrong-value", "shapes[8]"),
        ("error", "wrong-value", "shapes[9]"),
        ("info", "shapes-boxed", ""),
    ]
    assert faults[-1].message.endswith("3 shapes were turned into the boxes around them: 1 of kind circle, "
                                       "2 of kind polygon")  # fmt: skip


@pytest.mark.parametrize(
    ("image_path", "code"),
    [
        ("..\\images\\a.jpg", None),
        ("../images/a.jpg", None),
        ("a.jpg", None),
        ("C:\\Users\\me\\set\\images\\a.jpg", "path-outside"),
        ("/home/me/a.jpg", "path-outside"),
        ("../../../a.jpg", "path-outside"),
        (None, None),
        (7, None),
    ],
)
def test_labelme_image_paths_of_every_kind(tmp_path: Path, image_path: object, code: str | None) -> None:
    content = labelme(shape("rectangle", (8, 6), (2, 1)), imagePath=image_path)
    dataset, faults = told(tree(tmp_path, {"images/a.jpg": (20, 10), "annotations/a.json": content}))
    assert dataset.samples[0].path == tmp_path / "images" / "a.jpg"
    assert codes(faults) == ([("info", code)] if code else [])


def test_a_picture_that_is_only_in_its_labelme_file(tmp_path: Path) -> None:
    data = base64.b64encode(picture(20, 10)).decode()
    content = labelme(shape("rectangle", (8, 6), (2, 1)), imagePath="C:\\a.png", imageData=data)
    dataset, faults = told(tree(tmp_path, {"annotations/a.json": content, "images/b.png": (2, 2)}))
    assert dict(dataset.embedded) == {tmp_path / "images" / "a.png": tmp_path / "annotations" / "a.json"}
    assert codes(faults)[-1] == ("warning", "image-embedded")
    assert embedded_picture(tmp_path / "annotations" / "a.json") == picture(20, 10)
    (tmp_path / "annotations" / "a.json").write_text(labelme(imageData="?"))
    assert embedded_picture(tmp_path / "annotations" / "a.json") is None


def test_visdrone_ignores_regions_for_every_class(tmp_path: Path) -> None:
    text = "1,2,3,4,1,4,0,0\n5,0,2,2,0,10,0,0,\n0,0,9,9,0,0,0,0\n2,2,4,4,1,11,0,0\n1,1,2,2,1,12,0,0\n1,1,2\n"
    dataset, faults = told(tree(tmp_path, {"images/a.jpg": (20, 10), "annotations/a.txt": text}))
    assert dataset.classes.names == (
        "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor",
    )  # fmt: skip
    assert dataset.classes.source_ids == tuple(range(1, 11))
    sample = dataset.samples[0]
    assert sample.class_ids.tolist() == [3, 9, *range(10), *range(10)]
    assert sample.ignore.tolist() == [False] + [True] * 21
    assert np.unique(sample.boxes_xyxy[2:12], axis=0).tolist() == [[0, 0, 9, 9]]
    assert sample.boxes_xyxy[:2].tolist() == [[1, 2, 4, 6], [5, 0, 7, 2]]
    assert [(fault.code, fault.record) for fault in faults] == [("wrong-value", "line 6"), ("unknown-class", "line 5")]


def test_dota_corners_become_boxes(tmp_path: Path) -> None:
    text = "imagesource:x\ngsd:0.5\n1 5 4 2 8 5 4 9 large-vehicle 1\n0 0 2 0 2 2 0 2 plane\n1 2 3\n"
    dataset, faults = told(tree(tmp_path, {"images/a.jpg": (20, 10), "labelTxt/a.txt": text}))
    assert dataset.classes.names == ("large-vehicle", "plane")
    assert boxes(dataset) == {"a.jpg": [[1, 2, 8, 9], [0, 0, 2, 2]]}
    assert dataset.samples[0].ignore.tolist() == [True, False]
    assert [(fault.code, fault.record) for fault in faults] == [("wrong-value", "line 5")]


def test_csv_columns_in_any_order_and_spelling(tmp_path: Path) -> None:
    files = {
        "a.csv": "Label, ymin ,xmin,XMAX,ymax,filename,width,height\nb,2,1,4,6,a.jpg,20,10\na,2,1,4,7,a.jpg,20,10\n"
        ",,,,,b.jpg,,\n",
        "a.jpg": (20, 10), "b.jpg": (6, 4),
    }  # fmt: skip
    dataset, faults = told(tree(tmp_path / "one", files))
    assert faults == [] and dataset.classes.names == ("a", "b")
    assert boxes(dataset) == {"a.jpg": [[1, 2, 4, 6], [1, 2, 4, 7]], "b.jpg": []}
    sizes = "image,x,y,w,h,class\nimages/a.jpg,1,2,3,4,b\nc.jpg,1,2,3,4,b\na.jpg,1,2,x,4,b\na.jpg,1,2,3,4,\n"
    dataset, faults = told(tree(tmp_path / "two", {"boxes.csv": sizes, "images/a.jpg": (20, 10)}))
    assert boxes(dataset) == {"a.jpg": [[1, 2, 4, 6]]}
    assert [(fault.code, fault.record) for fault in faults] == [
        ("image-missing", "line 3"), ("wrong-value", "line 4"), ("wrong-value", "line 5")]  # fmt: skip


def test_cvat_shapes(tmp_path: Path) -> None:
    text = """<annotations><meta><task><labels><label><name>van</name></label><label><name>car</name></label></labels>
    </task></meta><image id="4" name="sub/a.jpg" width="20" height="10">
    <box label="car" xtl="1" ytl="2" xbr="4" ybr="6"/><polygon label="van" points="1,2;3,4.5;6,3"/>
    <ellipse label="car" cx="5" cy="5" rx="2" ry="1"/><box label="bus" xtl="1" ytl="2" xbr="4" ybr="6"/>
    <box label="car" xtl="1" ytl="2" xbr="?" ybr="6"/><polygon label="car" points="1;2"/></image>
    <image id="5" name="b.jpg" width="0" height="10"/></annotations>"""
    dataset, faults = told(tree(tmp_path, {"annotations.xml": text, "images/sub/a.jpg": (20, 10)}))
    assert boxes(dataset) == {"a.jpg": [[1, 2, 4, 6], [1, 2, 6, 4.5], [3, 4, 7, 6]]}
    assert dataset.classes.names == ("van", "car") and dataset.samples[0].class_ids.tolist() == [1, 0, 1]
    assert [(fault.code, fault.record) for fault in faults] == [
        ("wrong-value", "image 4, shape 5"), ("wrong-value", "image 4, shape 6"), ("wrong-value", "image 5"),
        ("shapes-boxed", ""), ("unknown-class", "image 4, shape 4")]  # fmt: skip


def test_an_image_turned_by_exif_has_its_upright_size(tmp_path: Path) -> None:
    from PIL import Image

    tree(tmp_path, {"labels/a.txt": "0 0.5 0.5 0.5 0.5", "classes.txt": "car", "images/b.jpg": (20, 10)})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "images" / "a.jpg", exif=exif)
    dataset = read_dataset(tmp_path)
    assert [(sample.width, sample.height) for sample in dataset.samples] == [(10, 20), (20, 10)]
    assert dataset.samples[0].boxes_xyxy.tolist() == [[2.5, 5, 7.5, 15]]
