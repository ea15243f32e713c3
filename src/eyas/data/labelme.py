"""Reads LabelMe JSON, one file an image; shapes that are no rectangles become the boxes around them."""

import base64
import binascii
import math
from collections import Counter
from pathlib import Path
from typing import Any

from eyas.data.faults import Fault, Report, Unusable, shown, silent
from eyas.data.parts import Layout, Part
from eyas.data.perimage import Annotated, Mark, read_files
from eyas.data.sample import Dataset
from eyas.data.textfiles import MAX_BYTES_OF_ONE_IMAGE, read_json

Point = tuple[float, float]

_OUTLINES = ("rectangle", "polygon", "mask", "rotation", "oriented_rectangle", "quadrilateral")
_FORM = "a list of [x, y] pairs"


def read(layout: Layout, part: Part, report: Report) -> Dataset:
    """The reader of READERS. A shape whose flag `ignore` is set is an ignored box; `write_labelme` sets it."""
    boxed: Counter[str] = Counter()
    dataset = read_files(
        layout, part, ".json", lambda file, told: parse(file, told, boxed if told is report else Counter()), report
    )
    if boxed:
        kinds = ", ".join(f"{number} of kind {kind}" for kind, number in sorted(boxed.items()))
        message = f"{boxed.total()} shapes were turned into the boxes around them: {kinds}"
        report(Fault("info", "shapes-boxed", part.annotations, message, value=boxed.total()))
    if dataset.embedded:
        first = next(iter(dataset.embedded.values()))
        message = f"{len(dataset.embedded)} images exist only inside their JSON files, the first is in {first.name}"
        fix = "Convert the dataset: the pictures are then written as files."
        report(Fault("warning", "image-embedded", part.annotations, message, value=len(dataset.embedded), fix=fix))
    return dataset


def fits(file: Path, report: Report) -> bool:
    """Whether a JSON file is LabelMe's."""
    content = read_json(file, report, MAX_BYTES_OF_ONE_IMAGE)
    return isinstance(content, dict) and "shapes" in content


def parse(file: Path, report: Report, boxed: Counter[str]) -> Annotated | None:
    """What a LabelMe file says about its image; `boxed` counts the shapes, by kind, that were no rectangles."""
    content = read_json(file, report, MAX_BYTES_OF_ONE_IMAGE)
    if content is None:
        return None
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        there = f"its keys are {sorted(map(str, content))[:20]}" if isinstance(content, dict) else "it is no object"
        report(Fault("error", "not-labelme", file, f"is not LabelMe: it has no list 'shapes'; {there}"))
        return None
    marks = []
    for place, shape in enumerate(shapes):
        try:
            mark, kind = _mark(shape, f"shapes[{place}]")
        except Unusable as problem:
            report(problem.fault(file, f"shapes[{place}]"))
            continue
        marks.append(mark)
        if kind != "rectangle":
            boxed[kind] += 1
    name = content.get("imagePath")
    size = content.get("imageWidth"), content.get("imageHeight")
    return Annotated(
        file,
        marks,
        name if isinstance(name, str) and name.strip() else None,
        (size[0], size[1]) if all(type(side) is int and 1 <= side <= 1e7 for side in size) else None,
        embedded=bool(content.get("imageData")),
    )


def embedded_picture(file: Path) -> bytes | None:
    """The encoded picture inside a LabelMe file, None where there is none that can be decoded."""
    content = read_json(file, silent, MAX_BYTES_OF_ONE_IMAGE)
    data = content.get("imageData") if isinstance(content, dict) else None
    try:
        return base64.b64decode(data, validate=True) or None if isinstance(data, str) else None
    except (binascii.Error, ValueError):
        return None


def _mark(shape: Any, record: str) -> tuple[Mark, str]:
    """(the box of a shape, its kind). Raises Unusable."""
    if not isinstance(shape, dict):
        raise Unusable("wrong-value", f"must be an object, got {shown(shape)}", value=shape)
    label = shape.get("label")
    if not isinstance(label, str) or not label.strip():
        raise Unusable("wrong-value", f"label must be a text, got {shown(label)}", field="label", value=label)
    kind = shape.get("shape_type") or "polygon"  # old files do not say it
    points = _points(shape)
    flags = shape.get("flags")
    ignore = isinstance(flags, dict) and flags.get("ignore") is True
    return Mark(record, label.strip(), _corners(kind, points), ignore), str(kind)


def _points(shape: dict[str, Any]) -> list[Point]:
    points = shape.get("points")
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise Unusable("wrong-value", f"points must be {_FORM}, got {shown(points)}", field="points", value=points)
    for point in points:
        if not all(type(value) in (int, float) and -1e9 <= value <= 1e9 for value in point):
            raise Unusable(
                "wrong-value", f"points must be finite numbers, got {shown(point)}", field="points", value=point
            )
    return [(float(x), float(y)) for x, y in points]


def _corners(kind: Any, points: list[Point]) -> tuple[float, float, float, float]:
    if kind == "circle" and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        return x - radius, y - radius, x + radius, y + radius
    if kind in _OUTLINES and len(points) >= (3 if kind == "polygon" else 2):
        xs, ys = zip(*points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)
    known = kind == "circle" or kind in _OUTLINES
    raise Unusable(
        "shape-not-a-region",
        f"a shape of kind {shown(kind)} with {len(points)} points encloses nothing",
        field="points" if known else "shape_type",
        value=[list(point) for point in points] if known else kind,
        fix="Draw a rectangle, a polygon or a circle.",
    )
