"""Reads COCO JSON, and finds it in PaddleX's layout: images/ beside annotations/instance_{train,val}.json."""

import json
import logging
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from eyas.data.sample import ClassMap, Dataset, Sample
from eyas.errors import DatasetError, did_you_mean

log = logging.getLogger(__name__)

Record = dict[str, Any]
NEEDED = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}


def load_dataset(root: str | Path, split: str) -> Dataset:
    """The images and boxes of `split` ("train" or "val") of the COCODetDataset folder `root`.

    Raises DatasetError when the layout or the annotations are wrong; `check_images` looks for the image files.
    """
    annotation_file, images_dir = find_split(root, split)
    return read_coco(annotation_file, images_dir)


def find_split(root: str | Path, split: str) -> tuple[Path, Path]:
    """(annotation file, images folder) of `split` below `root`, which may hold the dataset one or more folders deeper.

    The layout is PaddleX's: `images/` and `annotations/instance_<split>.json` side by side.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"the dataset folder {root} is not there")
    homes = [root] if (root / "images").is_dir() else sorted({found.parent for found in _images_dirs(root)})
    if not homes:
        raise DatasetError(
            f"no folder named 'images' in {root} or below it; expected images/ and annotations/instance_{split}.json"
        )
    if len(homes) > 1:
        raise DatasetError(
            f"{root} holds {len(homes)} datasets ({homes[0]}, {homes[1]}{', …' if len(homes) > 2 else ''}); "
            "name the folder of one of them"
        )
    annotation_file = homes[0] / "annotations" / f"instance_{split}.json"
    if not annotation_file.is_file():
        present = sorted(path.name for path in annotation_file.parent.glob("*.json"))
        raise DatasetError(f"{annotation_file} is not there. JSON files in that folder: {', '.join(present) or 'none'}")
    return annotation_file, homes[0] / "images"


def _images_dirs(root: Path) -> list[Path]:
    """Folders `images` that have an `annotations` sibling; when no one has, every folder `images`."""
    found = [path for path in root.glob("**/images") if path.is_dir()]
    return [path for path in found if (path.parent / "annotations").is_dir()] or found


def read_coco(annotation_file: str | Path, images_dir: str | Path) -> Dataset:
    """The annotated images of a COCO JSON file, in the order of the file; class id = place in its category list.

    Boxes become x1, y1, x2, y2; `iscrowd` becomes `ignore`. A box without area inside its image cannot be learnt or
    found: it is left out, logged and told in `problems`. Raises DatasetError for everything else that is wrong, naming
    file, record, key and value.
    """
    file = Path(annotation_file)
    content = _load_json(file)
    images, annotations, categories = (_records(file, content, key) for key in NEEDED)
    classes = _read_classes(file, categories)
    owner = _places(file, annotations, "image_id", _read_image_rows(file, images))
    class_ids = _places(
        file, annotations, "category_id", {known: place for place, known in enumerate(classes.source_ids)}
    )
    boxes = _read_boxes(file, annotations)
    areas = _read_areas(file, annotations, boxes)
    ignore = np.array([bool(record.get("iscrowd", 0)) for record in annotations], dtype=np.bool_)
    problems, keep = _without_area(annotations, boxes, owner, images)
    for problem in problems:
        log.warning("%s: %s", file, problem)

    # one stable sort by image, then a slice for each: linear in the number of boxes, order of the file kept
    order = np.flatnonzero(keep)[np.argsort(owner[keep], kind="stable")]
    xyxy = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).astype(np.float32)
    ends = np.searchsorted(owner[order], np.arange(1, len(images)))
    samples = []
    for record, rows in zip(images, np.split(order, ends), strict=False):  # no images: np.split still gives one part
        path = Path(images_dir, record["file_name"].replace("\\", "/"))
        annotated = (xyxy[rows], class_ids[rows], ignore[rows], areas[rows])
        samples.append(Sample(record["id"], path, record["width"], record["height"], *annotated))
    return Dataset(tuple(samples), classes, file, problems)


def _load_json(file: Path) -> Record:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{file}: expected a COCO object with {', '.join(NEEDED)}, got a {type(content).__name__}")
    return content


def _records(file: Path, content: Record, key: str) -> list[Record]:
    """The list under `key`, every record checked to be an object that holds the keys it needs."""
    records = content.get(key)
    if records is None:
        raise DatasetError(f"{file} has no list {key!r}, which COCO needs. {did_you_mean(key, content)}")
    if not isinstance(records, list):
        raise DatasetError(f"{file}: {key!r} must be a list, got a {type(records).__name__}")
    for place, record in enumerate(records):
        if not isinstance(record, dict):
            raise DatasetError(f"{file}: {key}[{place}] must be an object, got {record!r}")
        for needed in NEEDED[key]:
            if needed not in record:
                raise DatasetError(
                    f"{file}: {key}[{place}] (id {record.get('id')}) has no {needed!r}; its keys are {sorted(record)}. "
                    f"{did_you_mean(needed, record)}"
                )
    return records


def _bad(file: Path, key: str, record: Record, field: str, expected: str) -> NoReturn:
    raise DatasetError(
        f"{file}: {key} id {record.get('id')}: {field} must be {expected}, got {record[field]!r}. Mend the record"
    )


def _check_integers(file: Path, key: str, records: list[Record], field: str, at_least: int | None = None) -> None:
    for record in records:
        value = record[field]
        if type(value) is not int or (at_least is not None and value < at_least):
            _bad(file, key, record, field, "a whole number" + (f" >= {at_least}" if at_least is not None else ""))


def _check_texts(file: Path, key: str, records: list[Record], field: str) -> None:
    for record in records:
        if not isinstance(record[field], str) or not record[field]:
            _bad(file, key, record, field, "a text")


def _read_classes(file: Path, categories: list[Record]) -> ClassMap:
    _check_integers(file, "categories", categories, "id")
    _check_texts(file, "categories", categories, "name")
    try:
        return ClassMap(tuple(row["name"] for row in categories), tuple(row["id"] for row in categories))
    except DatasetError as error:
        raise DatasetError(f"{file}: categories: {error}") from None


def _read_image_rows(file: Path, images: list[Record]) -> dict[int, int]:
    """Image id -> place in the list."""
    _check_integers(file, "images", images, "id")
    for side in ("width", "height"):
        _check_integers(file, "images", images, side, at_least=1)
    _check_texts(file, "images", images, "file_name")
    return {record["id"]: place for place, record in enumerate(images)}


def _places(file: Path, annotations: list[Record], field: str, known: dict[int, int]) -> NDArray[np.int64]:
    """For every annotation the place (int64 [N]) of what its `field` refers to."""
    _check_integers(file, "annotations", annotations, field)
    for record in annotations:
        if record[field] not in known:
            ids = ", ".join(map(str, sorted(known)[:10])) + (", …" if len(known) > 10 else "")
            _bad(file, "annotations", record, field, f"an id that the file defines ({ids or 'there is none'})")
    return np.array([known[record[field]] for record in annotations], dtype=np.int64)


def _read_boxes(file: Path, annotations: list[Record]) -> NDArray[np.float64]:
    """x, y, width, height, float64 [N, 4]."""
    rows: list[list[float]] = []
    for record in annotations:
        row = record["bbox"]
        if not isinstance(row, list) or len(row) != 4 or not all(type(value) in (int, float) for value in row):
            _bad(file, "annotations", record, "bbox", "four numbers x, y, width, height")
        rows.append(row)
    boxes = np.array(rows, dtype=np.float64).reshape(-1, 4)
    broken = np.flatnonzero(~np.isfinite(boxes).all(axis=1))
    if len(broken):
        _bad(file, "annotations", annotations[broken[0]], "bbox", "four finite numbers")
    return boxes


def _read_areas(file: Path, annotations: list[Record], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The `area` of every annotation, width * height where the file gives none: float64 [N]."""
    areas = boxes[:, 2] * boxes[:, 3]
    for place, record in enumerate(annotations):
        value = record.get("area")
        if value is None:
            continue
        if type(value) not in (int, float) or not np.isfinite(value):
            _bad(file, "annotations", record, "area", "a finite number")
        areas[place] = value
    return areas


def _without_area(
    annotations: list[Record], boxes: NDArray[np.float64], owner: NDArray[np.int64], images: list[Record]
) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """(sentences about the boxes that have no area in their image, bool [N]: the others)."""
    sizes = np.array([(record["width"], record["height"]) for record in images], dtype=np.float64).reshape(-1, 2)[owner]
    empty = (boxes[:, 2:] <= 0).any(axis=1)
    corners = boxes[:, :2] + boxes[:, 2:]
    outside = ~empty & ((boxes[:, :2] >= sizes) | (corners <= 0)).any(axis=1)
    problems = []
    for mask, what in ((empty, "without area"), (outside, "outside their image")):
        if mask.any():
            first = annotations[int(np.argmax(mask))]
            problems.append(
                f"{int(mask.sum())} of {len(annotations)} boxes {what} are left out, the first is annotation id "
                f"{first.get('id')} of image id {first['image_id']}: bbox {first['bbox']}"
            )
    return tuple(problems), np.logical_not(empty | outside, dtype=np.bool_)
