"""Reads YOLO labels: one text file an image, `class cx cy width height` a line, as fractions of the image's size.

A line may also be an outline, `class x1 y1 x2 y2 x3 y3 …`, which becomes its bounding box; with `kpt_shape` in
data.yaml, what follows the box are keypoints. An image without a label file, or with an empty one, has no objects.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from eyas.data.classnames import NAME_FILES, read_names
from eyas.data.faults import Fault, Report, Unusable, shown, silent
from eyas.data.images import found_below, images_below, is_image, posix_name
from eyas.data.parts import Layout, Part
from eyas.data.perimage import Annotated, Mark, annotation_files, gather
from eyas.data.sample import ClassMap, Dataset
from eyas.data.textfiles import number, read_lines, read_yaml
from eyas.errors import DatasetError

_FIELDS = ("class", "cx", "cy", "width", "height")
_SLACK = 1e-3  # how far over 1 a fraction may be: rounding of the tool that wrote it


def read(layout: Layout, part: Part, report: Report) -> Dataset:
    """The reader of READERS: every image of the part, in the order of their paths or of its list."""
    settings = _settings(layout, report)
    keypoints = "kpt_shape" in settings
    said = []
    for image in _images(layout, part, report):
        file = label_file(image, part)
        marks = _marks(file, keypoints, report) if file.is_file() else []
        said.append(Annotated(file, marks, relative=True, image=image))
    _tell_orphans(part, {one.file for one in said}, report)
    names = read_names(layout.class_file, report) if layout.class_file else _numbers(layout, keypoints, report)
    dataset = gather(said, ClassMap(tuple(names.values()), tuple(names)), part.annotations, report)
    return _with_ids(dataset, settings.get("source_ids"), layout, report)


def fits(file: Path, report: Report) -> bool:
    """Whether a text file holds YOLO labels, told from its first line."""
    if file.name.lower() in NAME_FILES:
        return False
    _, text = next(read_lines(file, report), ("", ""))
    values = text.split()
    try:
        fractions = [number(value) for value in values[1:]]
    except ValueError:
        return False
    return values[:1] != [] and values[0].isdecimal() and len(fractions) >= 4 and all(-1 <= f <= 2 for f in fractions)


def label_file(image: Path, part: Part) -> Path:
    """Where the labels of an image are, or would be: in the part's folder, in `labels` for `images`, beside it."""
    inside = (image.relative_to(folder) for folder in part.images if image.is_relative_to(folder))
    places = [part.annotations / next(inside, Path(image.name))]
    swapped = list(image.parts)
    for place in reversed(range(len(swapped) - 1)):
        if swapped[place].lower() == "images":
            swapped[place] = "labels"
            places.append(Path(*swapped))
            break
    files = [place.with_suffix(".txt") for place in (*places, image)]
    return next((file for file in files if file.is_file()), files[0])


def _settings(layout: Layout, report: Report) -> dict[Any, Any]:
    """What data.yaml says, {} without one."""
    if layout.class_file is None or layout.class_file.suffix.lower() not in (".yaml", ".yml"):
        return {}
    content = read_yaml(layout.class_file, report)
    return content if isinstance(content, dict) else {}


def _images(layout: Layout, part: Part, report: Report) -> list[Path]:
    if part.members is None:
        return [path for folder in part.images for path in images_below(folder)]
    images = []
    for record, text in read_lines(part.members, report):
        if text.startswith("#"):
            continue
        try:
            found = found_below((part.members.parent, layout.root, *part.images), posix_name(text))
        except Unusable as problem:
            report(problem.fault(part.members, record))
            continue
        if found is None or not is_image(found.name):
            message = f"names {text[:80]!r}, and there is no such image in {layout.root}"
            report(
                Fault("error", "list-entry-missing", part.members, message, record, value=text, fix="Mend the list.")
            )
        else:
            images.append(found)
    return images


def _marks(file: Path, keypoints: bool, report: Report) -> list[Mark]:
    marks = []
    for record, text in read_lines(file, report):
        try:
            marks.append(_mark(text, record, keypoints))
        except (Unusable, ValueError) as problem:
            if not isinstance(problem, Unusable):
                problem = Unusable("wrong-value", str(problem), field=_field(text), value=text, fix="Mend the line.")
            report(problem.fault(file, record))
    return marks


def _mark(text: str, record: str, keypoints: bool) -> Mark:
    label, *rest = (number(value) for value in text.split())
    if label != int(label) or label < 0:
        raise Unusable(
            "wrong-value", f"the class must be a whole number from 0, got {label:g}", field="class", value=text
        )
    if keypoints and len(rest) > 4:
        rest = rest[:4]
    outline = len(rest) >= 6 and len(rest) % 2 == 0
    if len(rest) != 4 and not outline:
        raise Unusable(
            "wrong-value",
            f"expected class, cx, cy, width, height, or an outline of at least 3 points; got {len(rest) + 1} values",
            value=text,
            fix="Remove a confidence at the end of the line." if len(rest) == 5 else "Mend the line.",
        )
    if not all(-_SLACK <= value <= 1 + _SLACK for value in rest):
        raise Unusable(
            "not-normalised",
            f"the values must be fractions of the image's width and height, from 0 to 1, got {shown(rest)}",
            field=_field(text, -_SLACK, 1 + _SLACK),
            value=text,
            fix="Divide x by the width and y by the height of the image.",
        )
    if outline:
        return Mark(record, int(label), (min(rest[::2]), min(rest[1::2]), max(rest[::2]), max(rest[1::2])))
    x, y, width, height = rest
    return Mark(record, int(label), (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def _field(text: str, low: float = -1e9, high: float = 1e9) -> str:
    """The name of the first value of a line that is no number, or, but for the class, not from `low` to `high`; "" in
    an outline.
    """
    values = text.split()
    for name, value in zip(_FIELDS, values, strict=False) if len(values) <= len(_FIELDS) else ():
        try:
            inside = name == "class" or low <= number(value) <= high
            number(value)
        except ValueError:
            inside = False
        if not inside:
            return name
    return ""


def _tell_orphans(part: Part, used: set[Path], report: Report) -> None:
    if part.members is not None or not part.annotations.is_dir():
        return
    for file in annotation_files(part.annotations, ".txt"):
        if file not in used and fits(file, silent):
            message = f"there is no image for these labels in {part.images[0]}"
            report(Fault("warning", "label-without-image", file, message, fix="Add the image, or remove the file."))


def _numbers(layout: Layout, keypoints: bool, report: Report) -> dict[int, str]:
    """Class index -> its number as a name, for a dataset that names no classes."""
    files = {file for part in layout.splits.values() for file in annotation_files(part.annotations, ".txt")}
    marks = [mark for file in sorted(files) if fits(file, silent) for mark in _marks(file, keypoints, silent)]
    indices = sorted({mark.label for mark in marks if isinstance(mark.label, int)})
    message = f"the dataset does not name its classes; they are called {', '.join(map(str, indices[:5]))} …"
    fix = "Add a file classes.txt, a name a line, or data.yaml with names."
    report(Fault("warning", "class-names-missing", layout.root, message, fix=fix))
    return {index: str(index) for index in indices}


def _with_ids(dataset: Dataset, source_ids: Any, layout: Layout, report: Report) -> Dataset:
    """`dataset` with the class ids that it had before `write_yolo` numbered its classes from 0."""
    if source_ids is None:
        return dataset
    try:
        return replace(dataset, classes=ClassMap(dataset.classes.names, tuple(map(int, source_ids))))
    except (DatasetError, TypeError, ValueError):
        message = f"source_ids must be one id for each class, got {shown(source_ids)}"
        report(Fault("error", "wrong-value", layout.class_file or layout.root, message, field="source_ids"))
        return dataset
