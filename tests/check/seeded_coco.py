"""Faults of COCO JSON."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.check.seeding import CLASSES, SIZE_HW, Case, Expected, Kind, put

OUTSIDE = ("../../secret.jpg", "/etc/hosts.jpg", "C:\\pictures\\a.jpg", "..\\..\\a.jpg", "images/../../../a.jpg")


def set_file(case: Case, split: str = "") -> Path:
    """The annotation file of a split."""
    return case.annotation(Path(), split)


def with_record(key: str, change: Callable[[Case, dict[str, Any], list[Any]], Expected]) -> Kind:
    """Damage one record of the list `key`; `change` returns what is expected, without file and record."""

    def kind(case: Case) -> Expected:
        file = set_file(case)
        content = json.loads(file.read_text())
        place = case.rng.randrange(len(content[key]))
        own = content[key][place].get("id")
        told = change(case, content[key][place], content[key])
        put(file, json.dumps(content))
        record = told.record or f"{key}[{place}]" + f" (id {own})"
        return Expected(told.severity, told.code, case.name(file), record, told.field, told.also)

    return kind


def box_kind(code: str, severity: str, field: str, change: Callable[[Case, list[float]], list[Any]]) -> Kind:
    """Exchange the bbox of an annotation."""

    def damage(case: Case, record: dict[str, Any], _: list[Any]) -> Expected:
        record["bbox"] = change(case, record["bbox"])
        return Expected(severity, code, "", field=field)

    return with_record("annotations", damage)


def _one_of_four(case: Case, box: list[float], value: Any) -> list[Any]:
    return [*box[: (place := case.rng.randrange(4))], value, *box[place + 1 :]]


def _outside(case: Case, box: list[float]) -> list[float]:
    height, width = SIZE_HW
    x, y = case.rng.choice([(width + 5, 10), (10, height + 1), (-box[2] - 3, 10), (10, -box[3] - 1)])
    return [x, y, *box[2:]]


def _no_side(case: Case, box: list[float]) -> list[float]:
    return [*box[:2], *case.rng.choice([(0, box[3]), (box[2], 0), (0, 0)])]


def _negative_side(case: Case, box: list[float]) -> list[float]:
    return [*box[:2], *case.rng.choice([(-box[2], box[3]), (box[2], -box[3]), (-box[2], -box[3])])]


def _image_id_again(case: Case, record: dict[str, Any], images: list[Any]) -> Expected:
    """Two images get one id: the later one cannot be used, its boxes go to the other."""
    place = images.index(record)
    first, second = sorted((place, case.rng.choice([other for other in range(len(images)) if other != place])))
    images[second]["id"] = images[first]["id"]
    named = f"images[{second}] (id {images[second]['id']})"
    # the boxes of the image that lost its id refer to none
    return Expected("error", "duplicate-id", "", named, "id", ("unknown-reference",))


def _annotation_id_again(case: Case, record: dict[str, Any], annotations: list[Any]) -> Expected:
    place = annotations.index(record)
    first, second = sorted((place, case.rng.choice([other for other in range(len(annotations)) if other != place])))
    annotations[second]["id"] = annotations[first]["id"]
    return Expected("warning", "duplicate-id", "", f"annotations[{second}] (id {annotations[second]['id']})", "id")


def _file_name_again(case: Case, record: dict[str, Any], images: list[Any]) -> Expected:
    place = images.index(record)
    first, second = sorted((place, case.rng.choice([other for other in range(len(images)) if other != place])))
    images[second]["file_name"] = images[first]["file_name"]
    return Expected("error", "image-twice", "", f"image id {images[second]['id']}", "file_name")


def _set(field: str, code: str, value: Callable[[Case], Any], also: tuple[str, ...] = ()) -> Any:
    def damage(case: Case, record: dict[str, Any], _: list[Any]) -> Expected:
        record[field] = value(case)
        return Expected("error", code, "", field=field, also=also)

    return damage


def _drop(field: str, also: tuple[str, ...] = (), instead: str = "") -> Any:
    """Take a key away, or give it another name."""

    def damage(case: Case, record: dict[str, Any], _: list[Any]) -> Expected:
        value = record.pop(field)
        if instead:
            record[instead] = value
        return Expected("error", "key-missing", "", field=field, also=also)

    return damage


def _category_again(case: Case, record: dict[str, Any], categories: list[Any]) -> Expected:
    field = case.rng.choice(["id", "name"])
    categories[2][field] = categories[case.rng.randrange(2)][field]
    # boxes of the class that is gone, and the other split, no longer fit
    also = ("unknown-reference", "classes-differ", "class-not-in-train")
    return Expected("error", "duplicate-id", "", f"categories[2] (id {categories[2]['id']})", field, also)


def _box_again(case: Case, record: dict[str, Any], annotations: list[Any]) -> Expected:
    own = [one for one in annotations if one["image_id"] == record["image_id"]]
    annotations.append({**record, "id": max(one["id"] for one in annotations) + 1})
    name = CLASSES[record["category_id"] - 1]
    return Expected("warning", "box-twice", "", f"image id {record['image_id']}, box {len(own) + 1} ({name})", "bbox")


def _box_of_two_classes(case: Case, record: dict[str, Any], annotations: list[Any]) -> Expected:
    own = [one for one in annotations if one["image_id"] == record["image_id"]]
    other = record["category_id"] % 3 + 1
    annotations.append({**record, "id": max(one["id"] for one in annotations) + 1, "category_id": other})
    named = f"image id {record['image_id']}, box {len(own) + 1} ({CLASSES[other - 1]})"
    return Expected("warning", "box-of-two-classes", "", named, "bbox")


def over_edge(case: Case, record: dict[str, Any], annotations: list[Any]) -> Expected:
    """A box of which about half is outside."""
    place = [one["id"] for one in annotations if one["image_id"] == record["image_id"]].index(record["id"])
    height, width = SIZE_HW
    x, y = case.rng.choice([(-15, 10), (width - 15, 10), (10, -15), (10, height - 15)])
    record["bbox"] = [x, y, 30, 30]
    name = CLASSES[record["category_id"] - 1]
    return Expected("warning", "box-over-edge", "", f"image id {record['image_id']}, box {place + 1} ({name})", "bbox")


SPOILT = ("split-empty", "split-missing", "classes-differ", "class-not-in-train")  # what a lost file brings with it


def whole_file(code: str, field: str, change: Callable[[Case, str], str]) -> Kind:
    """Damage the file as a whole, so that the split is lost."""

    def kind(case: Case) -> Expected:
        file = set_file(case)
        put(file, change(case, file.read_text()))
        return Expected("error", code, case.name(file), "", field, SPOILT)

    return kind


def _cut(case: Case, text: str) -> str:
    return text[: case.rng.randrange(1, len(text) - 1)]


def _without(key: str, instead: str, _: Case, text: str) -> str:
    content = json.loads(text)
    value = content.pop(key)
    return json.dumps({**content, **({instead: value} if instead else {})})


def _no_images(_: Case, text: str) -> str:
    return json.dumps({**json.loads(text), "images": [], "annotations": []})


def _class_not_learnt(case: Case) -> Expected:
    """The boxes of a class are taken out of train alone."""
    file = set_file(case, "train")
    content = json.loads(file.read_text())
    gone = case.rng.choice([1, 2, 3])
    content["annotations"] = [one for one in content["annotations"] if one["category_id"] != gone]
    put(file, json.dumps(content))
    return Expected("warning", "class-not-in-train", ".", "", "classes")


def _uneven(case: Case) -> Expected:
    """1040 small boxes of one class beside the few of another."""
    file = set_file(case, "train")
    content = json.loads(file.read_text())
    many, few = case.rng.sample([1, 2, 3], 2)
    kept = [one for one in content["annotations"] if one["category_id"] == few][:3]
    content["annotations"] = [one for one in content["annotations"] if one["category_id"] != few] + kept
    for image in content["images"]:
        for cell in range(130):
            box = [cell % 13 * 11 + 3.25, cell // 13 * 11 + 2.25, 4, 4.5]
            record = {"image_id": image["id"], "category_id": many, "bbox": box, "area": 18.0, "iscrowd": 0}
            content["annotations"].append({"id": 1000 + len(content["annotations"]), **record})
    put(file, json.dumps(content))
    # a box may happen to be where one was
    return Expected("warning", "class-rare", ".", "", "classes", ("box-twice", "box-of-two-classes"))


def _only(kind: Kind) -> tuple[tuple[str, ...], Kind]:
    return ("coco",), kind


def _records(key: str, damage: Any) -> tuple[tuple[str, ...], Kind]:
    return _only(with_record(key, damage))


KINDS: dict[str, tuple[tuple[str, ...], Kind]] = {
    "COCO: box outside the image": _only(box_kind("box-outside", "warning", "box", _outside)),
    "COCO: box half outside the image": _records("annotations", over_edge),
    "COCO: box of no width or height": _only(box_kind("box-without-area", "warning", "box", _no_side)),
    "COCO: negative width or height": _only(box_kind("box-without-area", "warning", "box", _negative_side)),
    "COCO: NaN in a box": _only(box_kind("wrong-value", "error", "bbox", partial(_one_of_four, value=float("nan")))),
    "COCO: infinity in a box": _only(
        box_kind("wrong-value", "error", "bbox", partial(_one_of_four, value=float("inf")))
    ),
    "COCO: text in a box": _only(box_kind("wrong-value", "error", "bbox", partial(_one_of_four, value="12"))),
    "COCO: box of three numbers": _only(box_kind("wrong-value", "error", "bbox", lambda _, box: box[:3])),
    "COCO: image id twice": _records("images", _image_id_again),
    "COCO: annotation id twice": _records("annotations", _annotation_id_again),
    "COCO: file name twice": _records("images", _file_name_again),
    "COCO: unknown category": _records(
        "annotations", _set("category_id", "unknown-reference", lambda case: case.rng.choice([0, 4, 99, -1]))
    ),
    "COCO: unknown image": _records(
        "annotations", _set("image_id", "unknown-reference", lambda case: case.rng.choice([0, 9, 777]))
    ),
    "COCO: category twice": _records("categories", _category_again),
    "COCO: no list of categories": _only(whole_file("key-missing", "categories", partial(_without, "categories", ""))),
    "COCO: category without a name": _records(
        "categories", _drop("name", ("unknown-reference", "classes-differ", "class-not-in-train"))
    ),
    "COCO: the same box twice": _records("annotations", _box_again),
    "COCO: the same box with another class": _records("annotations", _box_of_two_classes),
    "COCO: annotation without a box": _records("annotations", _drop("bbox")),
    "COCO: path out of the dataset": _records(
        "images", _set("file_name", "path-outside", lambda case: case.rng.choice(OUTSIDE), ("unknown-reference",))
    ),
    "COCO: file cut off": _only(whole_file("not-json", "", _cut)),
    "COCO: annotation for annotations": _only(
        whole_file("key-missing", "annotations", partial(_without, "annotations", "annotation"))
    ),
    "COCO: filename for file_name": _records("images", _drop("file_name", ("unknown-reference",), "filename")),
    "COCO: no image in a split": _only(whole_file("split-empty", "", _no_images)),
    "COCO: class that train lacks": _only(_class_not_learnt),
    "COCO: very uneven classes": _only(_uneven),
}
