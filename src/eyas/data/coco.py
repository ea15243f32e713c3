"""Reads COCO JSON."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from eyas.data.assemble import BoxTable, ImageRow, assemble
from eyas.data.faults import Fault, Report, Unusable, shown, strictly
from eyas.data.images import found_below, leads_out, likeliest, posix_name
from eyas.data.parts import Layout, Part
from eyas.data.sample import ClassMap, Dataset
from eyas.data.textfiles import read_json
from eyas.errors import did_you_mean

Record = dict[str, Any]
NEEDED = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
_LARGEST = 1e9  # no coordinate, size or area of a picture is near it; also keeps NaN and infinity out
_MAX_SIDE = 10_000_000


def read_coco(annotation_file: str | Path, images_dir: str | Path, report: Report | None = None) -> Dataset:
    """The annotated images of a COCO JSON file, in the order of the file; class id = place in its category list.

    Boxes become x1, y1, x2, y2; `iscrowd` becomes `ignore`; category and image ids are kept. Without a `report`, the
    first record that cannot be used raises DatasetError, which names file, record, key and value.
    """
    file, folders = Path(annotation_file), (Path(images_dir),)
    if report is None:
        return strictly(lambda told: _read(file, folders, told))
    return _read(file, folders, report)


def read(_: Layout, part: Part, report: Report) -> Dataset:
    """The reader of READERS: as `read_coco`, with the image folder that holds the first images of the file."""
    return _read(part.annotations, part.images, report)


def _read(file: Path, folders: Sequence[Path], report: Report) -> Dataset:
    lists = _lists(file, report)
    if lists is None:
        return Dataset((), ClassMap((), ()), file)
    images, annotations, categories = lists
    classes, class_of = _read_categories(file, categories, report)
    rows, place_of = _read_images(file, images, folders, report)
    return _read_annotations(file, annotations, classes, class_of, rows, place_of, report)


def _lists(file: Path, report: Report) -> tuple[list[Any], list[Any], list[Any]] | None:
    """The three lists of the file; None after a report where it is not COCO at all."""
    content = read_json(file, report)
    if content is None:
        return None
    if not isinstance(content, dict):
        message = f"expected a COCO object with {', '.join(NEEDED)}, got a {type(content).__name__}"
        report(Fault("error", "not-coco", file, message))
        return None
    for key in NEEDED:
        if not isinstance(content.get(key), list):
            message = f"{key!r} must be a list, got a {type(content[key]).__name__}" if key in content else ""
            fix = "" if message else did_you_mean(key, content)
            message = message or f"has no list {key!r}, which COCO needs"
            report(Fault("error", "key-missing", file, message, field=key, fix=fix))
            return None
    return content["images"], content["annotations"], content["categories"]


def _read_categories(file: Path, categories: list[Any], report: Report) -> tuple[ClassMap, dict[int, int]]:
    """(classes, category id -> class id)."""
    names: dict[str, None] = {}
    class_of: dict[int, int] = {}
    for place, record in enumerate(categories):
        try:
            _check_keys(record, "categories")
            source_id, name = _integer(record, "id"), _text(record, "name")
            if source_id in class_of:
                raise _twice("id", f"source id {source_id}", source_id)
            if name in names:
                raise _twice("name", f"class name {name!r}", name)
        except Unusable as problem:
            report(problem.fault(file, _name("categories", place, record)))
            continue
        class_of[source_id] = len(names)
        names[name] = None
    if not names:
        report(Fault("error", "no-classes", file, "no classes; at least one category is needed", field="categories"))
    return ClassMap(tuple(names), tuple(class_of)), class_of


def _twice(field: str, what: str, value: Any) -> Unusable:
    return Unusable("duplicate-id", f"the {what} is given twice", field=field, value=value, fix="Keep one of the two.")


def _read_images(
    file: Path, images: list[Any], folders: Sequence[Path], report: Report
) -> tuple[list[ImageRow], dict[int, int]]:
    """(images, image id -> place among them)."""
    folder = likeliest(folders, (record.get("file_name") for record in images if isinstance(record, dict)))
    rows: list[ImageRow] = []
    place_of: dict[int, int] = {}
    for place, record in enumerate(images):
        record_name = _name("images", place, record)
        try:
            _check_keys(record, "images")
            image_id = _integer(record, "id")
            if image_id in place_of:
                raise _twice("id", f"image id {image_id}", image_id)
            size = _integer(record, "width", 1), _integer(record, "height", 1)
            path = _image_path(file, record_name, _text(record, "file_name"), folder, report)
        except Unusable as problem:
            report(problem.fault(file, record_name))
            continue
        place_of[image_id] = len(rows)
        rows.append(ImageRow(image_id, path, *size))
    return rows, place_of


def _image_path(file: Path, record: str, text: str, folder: Path, report: Report) -> Path:
    name = posix_name(text)
    if not leads_out(name):
        return folder / name
    found = found_below([folder], name)
    if found is None:
        raise Unusable(
            "path-outside", f"file_name {text!r} leads out of the dataset", field="file_name", value=text,
            fix=f"Put the image into {folder} and write its path from there.",
        )  # fmt: skip
    message = f"file_name {text!r} leads out of the dataset; {found} is used"
    report(Fault("info", "path-outside", file, message, record, "file_name", text))
    return found


def _read_annotations(
    file: Path, annotations: list[Any], classes: ClassMap, class_of: dict[int, int],
    rows: list[ImageRow], place_of: dict[int, int], report: Report,
) -> Dataset:  # fmt: skip
    table: list[tuple[int, int, float, float, float, float, bool, float]] = []
    places: list[int] = []
    ids: set[int] = set()
    outlines = 0
    for place, record in enumerate(annotations):
        try:
            table.append(_annotation(record, place_of, class_of))
        except Unusable as problem:
            report(problem.fault(file, _name("annotations", place, record)))
            continue
        places.append(place)
        outlines += bool(record.get("segmentation"))
        own = record.get("id")
        if type(own) is int and own in ids:
            message = f"the id {own} is given twice"
            report(Fault("warning", "duplicate-id", file, message, _name("annotations", place, record), "id", own))
        elif type(own) is int:
            ids.add(own)
    if outlines:
        message = f"{outlines} annotations also have an outline (segmentation); only the boxes are read"
        report(Fault("info", "segmentation-not-read", file, message))

    columns = np.array(table, dtype=np.float64).reshape(-1, 8)
    xyxy = np.concatenate([columns[:, 2:4], columns[:, 2:4] + columns[:, 4:6]], axis=1)
    owner, class_ids = columns[:, 0].astype(np.int64), columns[:, 1].astype(np.int64)
    boxes = BoxTable(owner, xyxy, class_ids, columns[:, 6] != 0, columns[:, 7])

    def spot(row: int) -> tuple[Path, str, Any]:
        record = annotations[places[row]]
        return file, _name("annotations", places[row], record), record["bbox"]

    return assemble(rows, boxes, classes, file, spot, report)


def _annotation(
    record: Any, place_of: dict[int, int], class_of: dict[int, int]
) -> tuple[int, int, float, float, float, float, bool, float]:
    """place of the image, class id, x, y, width, height, ignore, area. Raises Unusable."""
    _check_keys(record, "annotations")
    place, class_id = (
        _known(record, field, known) for field, known in (("image_id", place_of), ("category_id", class_of))
    )
    box = record["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        raise _wrong(record, "bbox", "four numbers x, y, width, height")
    x, y, width, height = box
    if not all(-_LARGEST <= value <= _LARGEST for value in box):
        raise _wrong(record, "bbox", "four finite numbers")
    crowd = record.get("iscrowd")
    if crowd not in (None, 0, 1):
        raise _wrong(record, "iscrowd", "0 or 1")
    area = record.get("area")
    if area is None:
        area = width * height
    elif type(area) not in (int, float) or not abs(area) <= _LARGEST**2:
        raise _wrong(record, "area", "a finite number")
    return place, class_id, x, y, width, height, bool(crowd), area


def _known(record: Record, field: str, known: dict[int, int]) -> int:
    value = _integer(record, field)
    if value not in known:
        ids = ", ".join(map(str, islice(known, 10))) + (", …" if len(known) > 10 else "")
        raise _wrong(record, field, f"an id that the file defines ({ids or 'there is none'})", "unknown-reference")
    return known[value]


def _check_keys(record: Any, key: str) -> None:
    if not isinstance(record, dict):
        raise Unusable("wrong-value", f"must be an object, got {shown(record)}", value=record)
    for needed in NEEDED[key]:
        if needed not in record:
            message = f"has no {needed!r}; its keys are {sorted(record)}"
            raise Unusable("key-missing", message, field=needed, fix=did_you_mean(needed, record))


def _integer(record: Record, field: str, at_least: int | None = None) -> int:
    value = record[field]
    if type(value) is not int or (at_least is not None and not at_least <= value <= _MAX_SIDE):
        raise _wrong(record, field, "a whole number" + (f" >= {at_least}" if at_least is not None else ""))
    return value


def _text(record: Record, field: str) -> str:
    value = record[field]
    if not isinstance(value, str) or not value.strip():
        raise _wrong(record, field, "a text")
    return value


def _wrong(record: Record, field: str, expected: str, code: str = "wrong-value") -> Unusable:
    value = record[field]
    message = f"{field} must be {expected}, got {shown(value)}"
    return Unusable(code, message, field=field, value=value, fix="Mend the record.")


def _name(key: str, place: int, record: Any) -> str:
    """How a fault names a record: by its id, else by its place in the list."""
    own = record.get("id") if isinstance(record, dict) else None
    return f"{key}[{place}]" if own is None else f"{key}[{place}] (id {shown(own)})"
