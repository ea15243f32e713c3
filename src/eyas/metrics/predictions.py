"""Reads the detections that any tool has saved: COCO results, or the result files of eyas and PaddleX."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np

from eyas.data.sample import Dataset
from eyas.errors import InputError, did_you_mean
from eyas.results import Detections

log = logging.getLogger(__name__)

COCO_KEYS = ("image_id", "category_id", "bbox", "score")
RESULT_GLOB = "*_res.json"
_Row = tuple[list[float], float, int]


def read_predictions(path: str | Path, dataset: Dataset) -> dict[int, Detections]:
    """The detections saved at `path`, by image id of `dataset`, with its class ids (images without a record left out).

    `path` is one of

    * a COCO results file: a list of {image_id, category_id, bbox: [x, y, width, height], score};
    * a result file of eyas or PaddleX: {input_path, boxes: [{label, score, coordinate: [x1, y1, x2, y2]}]}, with or
      without `res` around it, or a list of such;
    * a folder with such result files, named *_res.json, at any depth.

    The image of a result is found by the end of its `input_path`, a class by its `label`, or by `cls_id` where there is
    no label. Raises InputError, which names the file and the number of the record, counted from 0.
    """
    path = Path(path)
    rows: dict[int, list[_Row]] = {}
    if path.is_dir():
        files = sorted(path.rglob(RESULT_GLOB))
        if not files:
            raise InputError(f"{path} holds no result files. Expected files that are named {RESULT_GLOB}")
        paths = _Paths(dataset)
        for file in files:
            _read_result(str(file), _load(file), paths, dataset, rows)
    else:
        content = _load(path)
        if isinstance(content, list) and not any(isinstance(item, dict) and _is_result(item) for item in content):
            _read_coco(str(path), content, dataset, rows)
        else:
            paths, results = _Paths(dataset), content if isinstance(content, list) else [content]
            for number, result in enumerate(results):
                where = f"{path}: record {number}" if isinstance(content, list) else str(path)
                _read_result(where, result, paths, dataset, rows)
    missing = len(dataset) - len(rows)
    if missing:
        log.warning("%s has no record of %d of %d images: nothing was found there", path, missing, len(dataset))
    return {image_id: _detections(found, dataset.classes.names) for image_id, found in rows.items()}


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: {error}") from error


def _is_result(record: Mapping[str, Any]) -> bool:
    return "boxes" in record or "res" in record


def _detections(rows: list[_Row], names: tuple[str, ...]) -> Detections:
    """The rows of one image, the best score first, equal scores as they came."""
    boxes = np.array([row[0] for row in rows], dtype=np.float64).reshape(-1, 4)
    scores, class_ids = np.array([row[1] for row in rows]), np.array([row[2] for row in rows], dtype=np.int64)
    order = np.argsort(-scores.astype(np.float32), kind="stable")
    return Detections(boxes[order].astype(np.float32), scores[order].astype(np.float32), class_ids[order], names)


def _read_coco(where: str, records: list[Any], dataset: Dataset, rows: dict[int, list[_Row]]) -> None:
    """Add the records of a COCO results file to `rows`."""
    images = {sample.image_id for sample in dataset.samples}
    classes = {source_id: class_id for class_id, source_id in enumerate(dataset.classes.source_ids)}
    for number, record in enumerate(records):
        here = f"{where}: record {number}"
        if not isinstance(record, dict) or any(key not in record for key in COCO_KEYS):
            _bad(here, f"an object with {', '.join(COCO_KEYS)}", record)
        image_id, category_id = record["image_id"], record["category_id"]
        if type(image_id) is not int or image_id not in images:
            _bad(f"{here}: image_id", f"the id of an image of {dataset.source}", image_id)
        if type(category_id) is not int or category_id not in classes:
            _bad(f"{here}: category_id", f"one of {_listed(classes)} of {dataset.source}", category_id)
        left, top, width, height = _four(f"{here}: bbox", record["bbox"], "x, y, width, height")
        if width < 0 or height < 0:
            _bad(f"{here}: bbox", "a width and height of 0 or more", record["bbox"])
        score = _finite(f"{here}: score", record["score"])
        rows.setdefault(image_id, []).append(([left, top, left + width, top + height], score, classes[category_id]))


def _read_result(where: str, result: Any, paths: "_Paths", dataset: Dataset, rows: dict[int, list[_Row]]) -> None:
    """Add the boxes of one eyas or PaddleX result to `rows`."""
    inner = result.get("res", result) if isinstance(result, dict) else result
    if not isinstance(inner, dict) or not isinstance(inner.get("boxes"), list):
        _bad(where, "a COCO results list, or a detection result with `input_path` and a list `boxes`", result)
    image_id = paths.image_id(where, inner.get("input_path", inner.get("img_path")))
    if image_id in rows:
        raise InputError(f"{where}: there is a result for image id {image_id} already; one for each image is expected")
    found = rows.setdefault(image_id, [])
    for number, box in enumerate(inner["boxes"]):
        here = f"{where}: boxes[{number}]"
        if not isinstance(box, dict) or "score" not in box:
            _bad(here, "an object with label, score and coordinate", box)
        corners = _four(f"{here}: coordinate", box.get("coordinate", box.get("coordinates")), "x1, y1, x2, y2")
        if corners[2] < corners[0] or corners[3] < corners[1]:
            _bad(f"{here}: coordinate", "x1 <= x2 and y1 <= y2", corners)
        found.append((corners, _finite(f"{here}: score", box["score"]), _class_id(here, box, dataset)))


def _class_id(here: str, box: Mapping[str, Any], dataset: Dataset) -> int:
    names, label, class_id = dataset.classes.names, box.get("label"), box.get("cls_id")
    if label is not None:
        if label not in names:
            raise InputError(
                f"{here}: label {label!r} is not a class of {dataset.source}. {did_you_mean(label, names)}"
            )
        return names.index(label)
    if type(class_id) is not int or not 0 <= class_id < len(names):
        _bad(f"{here}: without a label, cls_id", f"0 to {len(names) - 1}", class_id)
    return class_id


class _Paths:
    """The images of a dataset by the last parts of their paths."""

    def __init__(self, dataset: Dataset) -> None:
        self._source = dataset.source
        self._by_name: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        for sample in dataset.samples:
            parts = sample.path.parts
            self._by_name.setdefault(parts[-1] if parts else "", []).append((parts, sample.image_id))

    def image_id(self, where: str, input_path: object) -> int:
        """The image whose path shares the most last parts with `input_path`, its file name at least."""
        if not isinstance(input_path, str) or not input_path:
            _bad(f"{where}: input_path", "the path of an image", input_path)
        parts = PurePosixPath(input_path.replace("\\", "/")).parts
        known = self._by_name.get(parts[-1], []) if parts else []
        shared = [_shared_end(parts, own) for own, _ in known]
        best = [image_id for (_, image_id), count in zip(known, shared, strict=True) if count == max(shared)]
        if not best:
            raise InputError(f"{where}: {self._source} has no image with the file name of {input_path!r}")
        if len(best) > 1:
            raise InputError(
                f"{where}: {input_path!r} may be image {best[0]} or {best[1]} of {self._source}. Give more of the path"
            )
        return best[0]


def _shared_end(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """How many of the last parts are the same."""
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return count


def _four(where: str, value: object, expected: str) -> list[float]:
    if not isinstance(value, list) or len(value) != 4:
        _bad(where, f"four numbers {expected}", value)
    return [_finite(where, number) for number in value]


def _finite(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e9:
        _bad(where, "a finite number", value)
    return float(value)


def _listed(values: Mapping[int, int]) -> str:
    ids = sorted(values)
    return ", ".join(map(str, ids[:10])) + (", …" if len(ids) > 10 else "")


def _bad(where: str, expected: str, came: object) -> NoReturn:
    text = repr(came)
    raise InputError(f"{where}: expected {expected}, got {text if len(text) <= 200 else text[:200] + ' …'}")
