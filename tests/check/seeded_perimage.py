"""Faults of VOC, LabelMe and YOLO: one annotation file an image."""

import json
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tests.check.seeded_coco import OUTSIDE
from tests.check.seeding import CLASSES, SIZE_HW, Case, Expected, Kind, put

HEIGHT, WIDTH = SIZE_HW
SIDES = ("xmin", "ymin", "xmax", "ymax")


def voc_object(change: Callable[[Case, Element, Element], Expected]) -> Kind:
    """Damage one object of a VOC file; `change` is given the root and the object."""

    def kind(case: Case) -> Expected:
        path = case.picture()
        file = case.annotation(path)
        root = ElementTree.fromstring(file.read_text())
        objects = root.findall("object")
        place = case.rng.randrange(len(objects))
        told = change(case, root, objects[place])
        put(file, ElementTree.tostring(root))
        record = told.record.format(name=path.name, place=place + 1) or f"object {place + 1}"
        return Expected(told.severity, told.code, case.name(file), record, told.field, told.also)

    return kind


def voc_box(code: str, severity: str, field: str, corners: Callable[[Case], tuple[Any, ...]]) -> Kind:
    """Exchange the corners of an object."""

    def change(case: Case, _: Element, element: Element) -> Expected:
        for side, value in zip(SIDES, corners(case), strict=True):
            element.find(f"bndbox/{side}").text = str(value)  # type: ignore[union-attr]
        return Expected(severity, code, "", "", field)

    return voc_object(change)


def _voc_unknown_class(_: Case, __: Element, element: Element) -> Expected:
    element.find("name").text = "Person"  # type: ignore[union-attr]
    return Expected("error", "unknown-class", "", "", "class")


def _voc_box_again(case: Case, root: Element, element: Element) -> Expected:
    root.append(element)
    name = element.findtext("name")
    return Expected("warning", "box-twice", "", f"{{name}}, box {len(root.findall('object'))} ({name})", "bbox")


def _voc_over_edge(case: Case, root: Element, element: Element) -> Expected:
    for side, value in zip(SIDES, (WIDTH - 12, 20, WIDTH + 14, 50), strict=True):
        element.find(f"bndbox/{side}").text = str(value)  # type: ignore[union-attr]
    return Expected("warning", "box-over-edge", "", f"{{name}}, box {{place}} ({element.findtext('name')})",
                    "bbox")  # fmt: skip


def _swapped(case: Case) -> tuple[int, ...]:
    return case.rng.choice([(90, 20, 40, 60), (20, 80, 60, 30), (90, 80, 40, 30)])


def _outside(case: Case) -> tuple[int, ...]:
    return case.rng.choice([(WIDTH + 5, 5, WIDTH + 30, 40), (-40, 5, -3, 40), (5, HEIGHT, 30, HEIGHT + 20)])


def _one_of_four(case: Case, *values: Any) -> tuple[Any, ...]:
    corners: list[Any] = [20, 20, 60, 70]
    corners[case.rng.randrange(4)] = case.rng.choice(values)
    return tuple(corners)


def voc_without_image(case: Case) -> Expected:
    """The XML is there, its image is not: the annotation states the size, so only a look at the files finds it."""
    path = case.picture()
    path.unlink()
    return Expected("error", "image-missing", case.name(case.annotation(path)), path.name, "file_name")


def voc_without_xml(case: Case) -> Expected:
    path = case.picture()
    case.annotation(path).unlink()
    place = case.rows.index(path) + 1
    return Expected("error", "list-entry-missing", f"ImageSets/Main/{case.split}.txt", f"line {place}")


def voc_image_left_over(case: Case) -> Expected:
    """Neither an XML nor a list names the image."""
    path = case.picture()
    case.annotation(path).unlink()
    listing = case.root / "ImageSets" / "Main" / f"{case.split}.txt"
    put(listing, listing.read_text().replace(f"{path.stem}\n", ""))
    return Expected("info", "image-without-annotation", ".")


def cut_off(code: str) -> Kind:
    """An annotation file that ends too early."""

    def kind(case: Case) -> Expected:
        file = case.annotation(case.picture())
        text = file.read_text().rstrip()
        put(file, text[: case.rng.randrange(1, len(text) - 1)])
        return Expected("error", code, case.name(file))

    return kind


def labelme_shape(change: Callable[[Case, dict[str, Any], list[Any]], Expected]) -> Kind:
    """Damage one shape of a LabelMe file."""

    def kind(case: Case) -> Expected:
        path = case.picture()
        file = case.annotation(path)
        content = json.loads(file.read_text())
        place = case.rng.randrange(len(content["shapes"]))
        told = change(case, content["shapes"][place], content["shapes"])
        put(file, json.dumps(content))
        record = told.record.format(name=path.name, place=place + 1) or f"shapes[{place}]"
        return Expected(told.severity, told.code, case.name(file), record, told.field, told.also)

    return kind


def _shape(code: str, severity: str, field: str, **values: Callable[[Case], Any]) -> Kind:
    def change(case: Case, shape: dict[str, Any], _: list[Any]) -> Expected:
        shape |= {key: value(case) for key, value in values.items()}
        return Expected(severity, code, "", "", field)

    return labelme_shape(change)


def _shape_again(_: Case, shape: dict[str, Any], shapes: list[Any]) -> Expected:
    shapes.append(shape)
    return Expected("warning", "box-twice", "", f"{{name}}, box {len(shapes)} ({shape['label']})", "bbox")


def _shape_over_edge(case: Case, shape: dict[str, Any], _: list[Any]) -> Expected:
    shape["points"] = case.rng.choice([[[-14, 20], [16, 50]], [[30, HEIGHT - 12], [60, HEIGHT + 13]]])
    return Expected("warning", "box-over-edge", "", f"{{name}}, box {{place}} ({shape['label']})", "bbox")


def labelme_without_image(case: Case) -> Expected:
    """`imagePath` names a file that is not there, and no image is called like the JSON file."""
    path = case.picture()
    file = case.annotation(path)
    put(file, json.dumps(json.loads(file.read_text()) | {"imagePath": "..\\images\\gone.jpg"}))
    path.unlink()
    return Expected("error", "image-missing", case.name(file), "gone.jpg", "file_name")


def labelme_image_outside(case: Case) -> Expected:
    """As before, with a path that leads out of the dataset."""
    path = case.picture()
    file = case.annotation(path)
    put(file, json.dumps(json.loads(file.read_text()) | {"imagePath": case.rng.choice(OUTSIDE)}))
    path.unlink()
    return Expected("error", "path-outside", case.name(file), "image name")


def labelme_other_image(case: Case) -> Expected:
    """`imagePath` names a file that is not there; the image called like the JSON file is used."""
    path = case.picture()
    file = case.annotation(path)
    put(file, json.dumps(json.loads(file.read_text()) | {"imagePath": "gone.jpg"}))
    return Expected("info", "image-name-differs", case.name(file), "image name")


def yolo_row(change: Callable[[Case, list[str]], Expected]) -> Kind:
    """Damage one line of a YOLO file."""

    def kind(case: Case) -> Expected:
        path = case.picture()
        file = case.annotation(path)
        lines = file.read_text().splitlines()
        place = case.rng.randrange(len(lines))
        row = lines[place].split()
        told = change(case, row)
        lines[place] = " ".join(row)
        if told.code == "box-twice":
            lines.append(lines[place])
        put(file, "\n".join(lines) + "\n")
        record = told.record.format(name=path.name, place=len(lines)) or f"line {place + 1}"
        return Expected(told.severity, told.code, case.name(file), record, told.field, told.also)

    return kind


def _row(code: str, severity: str, field: str, place: int, *values: str) -> Kind:
    def change(case: Case, row: list[str]) -> Expected:
        row[place] = case.rng.choice(values)
        return Expected(severity, code, "", "", field)

    return yolo_row(change)


def _row_of_four(case: Case, row: list[str]) -> Expected:
    row.pop()
    return Expected("error", "wrong-value", "")


def _row_again(_: Case, row: list[str]) -> Expected:
    return Expected("warning", "box-twice", "", f"{{name}}, box {{place}} ({CLASSES[int(row[0])]})", "bbox")


def yolo_without_image(case: Case) -> Expected:
    path = case.picture()
    path.unlink()
    return Expected("warning", "label-without-image", case.name(case.annotation(path)))


def class_not_learnt(case: Case) -> Expected:
    """A class is taken out of the annotations of train: its objects get another one."""
    gone = case.rng.randrange(3)
    other = (gone + 1) % 3
    for path in case.rows_of("train"):
        file = case.annotation(path, "train")
        text = file.read_text()
        if case.format == "yolo":
            put(file, re.sub(rf"^{gone} ", f"{other} ", text, flags=re.MULTILINE))
        else:
            put(file, text.replace(CLASSES[gone], CLASSES[other]))
    return Expected("warning", "class-not-in-train", ".", "", "classes")


def empty_yolo_split(case: Case) -> Expected:
    for folder in ("images", "labels"):
        for file in (case.root / folder / "val").iterdir():
            file.unlink()
    return Expected("error", "split-empty", "labels/val")


KINDS: dict[str, tuple[tuple[str, ...], Kind]] = {
    "VOC: box outside the image": (("voc",), voc_box("box-outside", "warning", "box", _outside)),
    "VOC: box half outside the image": (("voc",), voc_object(_voc_over_edge)),
    "VOC: xmin beyond xmax": (("voc",), voc_box("box-without-area", "warning", "box", _swapped)),
    "VOC: NaN or infinity in a box": (
        ("voc",), voc_box("wrong-value", "error", "bndbox", lambda case: _one_of_four(case, "nan", "inf", "-Infinity")),
    ),
    "VOC: text in a box": (
        ("voc",), voc_box("wrong-value", "error", "bndbox", lambda case: _one_of_four(case, "left", "", "1,5")),
    ),
    "VOC: class that label.txt does not list": (("voc",), voc_object(_voc_unknown_class)),
    "VOC: the same box twice": (("voc",), voc_object(_voc_box_again)),
    "VOC: XML without its image": (("voc",), voc_without_image),
    "VOC: listed image without its XML": (("voc",), voc_without_xml),
    "VOC: image that nothing names": (("voc",), voc_image_left_over),
    "VOC: file cut off": (("voc",), cut_off("not-xml")),
    "LabelMe: box outside the image": (
        ("labelme",), _shape("box-outside", "warning", "box", points=lambda _: [[WIDTH + 3, 5], [WIDTH + 30, 40]]),
    ),
    "LabelMe: box half outside the image": (("labelme",), labelme_shape(_shape_over_edge)),
    "LabelMe: box of no width or height": (
        ("labelme",), _shape("box-without-area", "warning", "box", points=lambda _: [[20, 30], [20, 60]]),
    ),
    "LabelMe: NaN in a box": (
        ("labelme",), _shape("wrong-value", "error", "points", points=lambda _: [[20, float("nan")], [40, 60]]),
    ),
    "LabelMe: shape of one point": (
        ("labelme",), _shape("shape-not-a-region", "error", "points", points=lambda _: [[20, 30]]),
    ),
    "LabelMe: unknown kind of shape": (
        ("labelme",),
        _shape("shape-not-a-region", "error", "shape_type",
               shape_type=lambda case: case.rng.choice(["line", "linestrip", "point", "box"])),
    ),
    "LabelMe: class that label.txt does not list": (
        ("labelme",), _shape("unknown-class", "error", "class", label=lambda _: "Person"),
    ),
    "LabelMe: the same box twice": (("labelme",), labelme_shape(_shape_again)),
    "LabelMe: imagePath of a missing image": (("labelme",), labelme_without_image),
    "LabelMe: imagePath out of the dataset": (("labelme",), labelme_image_outside),
    "LabelMe: imagePath of another image": (("labelme",), labelme_other_image),
    "LabelMe: file cut off": (("labelme",), cut_off("not-json")),
    "YOLO: class beyond the names": (("yolo",), _row("unknown-class", "error", "class", 0, "3", "80", "100")),
    "YOLO: class that is no whole number": (("yolo",), _row("wrong-value", "error", "class", 0, "-1", "0.5", "car")),
    "YOLO: value over 1": (("yolo",), _row("not-normalised", "error", "cx", 1, "1.5", "320", "1.01")),
    "YOLO: negative width": (("yolo",), _row("not-normalised", "error", "width", 3, "-0.2", "-3")),
    "YOLO: no height": (("yolo",), _row("box-without-area", "warning", "box", 4, "0", "0.0")),
    "YOLO: NaN or text in a box": (("yolo",), _row("wrong-value", "error", "cy", 2, "nan", "inf", "0,5", "x")),
    "YOLO: line of four values": (("yolo",), yolo_row(_row_of_four)),
    "YOLO: the same box twice": (("yolo",), yolo_row(_row_again)),
    "YOLO: labels without an image": (("yolo",), yolo_without_image),
    "YOLO: no image in a split": (("yolo",), empty_yolo_split),
    "class that train lacks": (("voc", "labelme", "yolo"), class_not_learnt),
}  # fmt: skip
