"""Reads a CSV file with a box a line. Its first line names the columns, in any order and in the usual spellings."""

import csv
from collections.abc import Iterator
from pathlib import Path

from eyas.data.classnames import found_classes, listed_classes
from eyas.data.faults import Fault, Report, Unusable, shown, silent
from eyas.data.images import ImageFolder, posix_name
from eyas.data.parts import Layout, Part
from eyas.data.perimage import Annotated, Mark, gather
from eyas.data.sample import Dataset
from eyas.data.textfiles import number, read_text

COLUMNS = {  # what a column means -> its spellings, in lower case
    "image": ("image_path", "image", "filename", "file_name", "file", "path", "img", "image_id", "imageid"),
    "label": ("label", "class", "class_name", "category", "name", "labels"),
    "x1": ("xmin", "x1", "x_min", "left"),
    "y1": ("ymin", "y1", "y_min", "top"),
    "x2": ("xmax", "x2", "x_max", "right"),
    "y2": ("ymax", "y2", "y_max", "bottom"),
    "x": ("x", "bbox_x"),
    "y": ("y", "bbox_y"),
    "width": ("width", "w", "bbox_width"),
    "height": ("height", "h", "bbox_height"),
}
_CORNERS, _SIZES = ("x1", "y1", "x2", "y2"), ("x", "y", "width", "height")
Row = dict[str, str]


def read(layout: Layout, part: Part, report: Report) -> Dataset:
    """The reader of READERS. A line with an image and no box says that the image has no objects."""
    file, folder = part.annotations, ImageFolder(part.images)
    said: dict[Path, Annotated] = {}
    for record, row in _rows(file, report):
        try:
            image = _image(folder, row.get("image", ""))
            mark = _mark(row, record)
            size = _stated_size(row)
        except (Unusable, ValueError) as problem:
            if not isinstance(problem, Unusable):
                problem = Unusable("wrong-value", str(problem), fix="Mend the line.")
            report(problem.fault(file, record))
            continue
        one = said.setdefault(image, Annotated(file, [], size_wh=size, image=image))
        if mark is not None:
            one.marks.append(mark)
    if layout.class_file is not None:
        classes = listed_classes(layout.class_file, report)
    else:
        files = {other.annotations for other in layout.splits.values()}
        classes = found_classes(row["label"] for other in files for _, row in _rows(other, silent) if row.get("label"))
    return gather(list(said.values()), classes, file, report)


def fits(file: Path, report: Report) -> bool:
    """Whether a CSV file holds boxes, told from its first line."""
    text = read_text(file, report)
    head = (text or "").split("\n", 1)[0]
    return _is_box_table(_meanings(next(csv.reader([head]), [])))


def _is_box_table(meanings: dict[str, int]) -> bool:
    box = all(key in meanings for key in _CORNERS) or all(key in meanings for key in _SIZES)
    return box and "image" in meanings and "label" in meanings


def _meanings(header: list[str]) -> dict[str, int]:
    """What a column means -> its place."""
    places = {name.strip().lower(): place for place, name in reversed(list(enumerate(header)))}
    found = {meaning: [name for name in names if name in places] for meaning, names in COLUMNS.items()}
    return {meaning: places[names[0]] for meaning, names in found.items() if names}


def _rows(file: Path, report: Report) -> Iterator[tuple[str, Row]]:
    """("line 3", meaning -> text) of every line."""
    text = read_text(file, report)
    if text is None:
        return
    lines = csv.reader(text.splitlines())
    meanings = _meanings(next(lines, []))
    if not _is_box_table(meanings):
        message = f"its first line must name the columns image, label, xmin, ymin, xmax, ymax; got {shown(text[:120])}"
        report(Fault("error", "key-missing", file, message, "line 1"))
        return
    try:
        for values in lines:
            if any(value.strip() for value in values):
                row = {meaning: values[place].strip() for meaning, place in meanings.items() if place < len(values)}
                yield f"line {lines.line_num}", row
    except csv.Error as problem:
        report(Fault("error", "not-csv", file, f"is not CSV: {problem}", f"line {lines.line_num}"))


def _image(folder: ImageFolder, text: str) -> Path:
    name = posix_name(text)
    found, _ = folder.find(name, name.rpartition(".")[0] or name)
    if found is None:
        raise Unusable("image-missing", f"there is no image {text!r} in {folder.folders[0]}", field="image", value=text,
                       fix="Put the image there, or mend its name.")  # fmt: skip
    return found


def _mark(row: Row, record: str) -> Mark | None:
    keys = _CORNERS if "x1" in row or "x" not in row else _SIZES
    texts = [row.get(key, "") for key in keys]
    if not any(texts) and not row.get("label"):
        return None
    a, b, c, d = (number(text, key) for key, text in zip(keys, texts, strict=True))
    if not row.get("label"):
        raise Unusable("wrong-value", "the label is empty", field="label", fix="Name its class.")
    return Mark(record, row["label"], (a, b, c, d) if keys is _CORNERS else (a, b, a + c, b + d))


def _stated_size(row: Row) -> tuple[int, int] | None:
    """The image's size: beside corners, the columns width and height mean that."""
    if "x1" not in row or not row.get("width") or not row.get("height"):
        return None
    width, height = int(number(row["width"], "width")), int(number(row["height"], "height"))
    return (width, height) if width >= 1 and height >= 1 else None
