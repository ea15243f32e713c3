"""Reads recognition datasets: lists (`train.txt`, `gallery.txt`, `query.txt`), a folder a label, LabelMe flags."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eyas.data.classnames import found_classes
from eyas.data.faults import Fault, Report, Severity, Unusable, shown, silent, strictly
from eyas.data.images import ImageFolder, found_below, images_below, leads_out, likeliest, posix_name
from eyas.data.labelled import LabelledImages
from eyas.data.labelled_layout import find_labelled
from eyas.data.labelnames import read_label_names, split_line
from eyas.data.parts import Layout, Part
from eyas.data.perimage import annotation_files
from eyas.data.sample import ClassMap
from eyas.data.textfiles import MAX_BYTES_OF_ONE_IMAGE, read_json, read_lines


class Labelled(NamedTuple):
    """One image and its label as the source writes it; `record` says where in the source."""

    path: Path
    label: str
    record: str


def read_labelled(
    root: str | Path, report: Report | None = None, format: str | None = None
) -> dict[str, LabelledImages]:
    """The parts of the recognition dataset in `root`, by name, as `find_labelled` finds them. All share their labels.

    A label that is a number in the lists keeps it as source id; its name is that of the dataset's file of names, else
    the number. Without a `report` the first line that cannot be used raises DatasetError. Image files are not looked
    for here; `eyas.data.sample.check_files` does that.
    """
    layout = find_labelled(root, format)
    if report is None:
        return strictly(lambda told: _read(layout, told))
    return _read(layout, report)


def read_list(file: Path, root: Path, report: Report) -> list[Labelled]:
    """The lines `path label` of a list, as `split_line` takes them apart.

    Paths are seen from `root`, or, where the files are there, from `root/images` or the list's own folder.
    """
    rows: list[tuple[str, str, str]] = []
    for record, text in read_lines(file, report):
        try:
            path, label = split_line(text)
            rows.append((record, posix_name(path), label))
        except Unusable as problem:
            report(problem.fault(file, record))
    base = likeliest((root, root / "images", file.parent), (path for _, path, _ in rows))
    found = []
    for record, path, label in rows:
        image = found_below((base,), path) if leads_out(path) else base / path
        if image is None:
            fix = f"Put the image into {root} and write its path from there."
            message = f"the path {path!r} leads out of the dataset"
            report(Fault("error", "path-outside", file, message, record, "path", path, fix))
        else:
            found.append(Labelled(image, label, record))
    return found


def _read(layout: Layout, report: Report) -> dict[str, LabelledImages]:
    found = {name: _READ[layout.format](layout, part, report) for name, part in layout.splits.items()}
    if layout.format == "lists":
        found = _of_one_kind(layout, found, report)
    labels, place = _labels(layout, {one.label for part in found.values() for one in part}, report)
    return {
        name: LabelledImages(
            tuple(one.path for one in part),
            np.array([place[one.label] for one in part], np.int64),
            labels,
            layout.splits[name].annotations,
            tuple(one.record for one in part),
        )
        for name, part in found.items()
    }


def _of_one_kind(layout: Layout, found: dict[str, list[Labelled]], report: Report) -> dict[str, list[Labelled]]:
    """The lines whose label is a number, where the dataset names its labels by number and most lines have one.

    Without a file of names, words among the numbers are told and kept: they may be product codes.
    """
    words = {name: [one for one in part if not _is_number(one.label)] for name, part in found.items()}
    strays = sum(map(len, words.values()))
    numbered = bool(layout.class_file and read_label_names(layout.class_file, silent))
    if not 0 < 2 * strays < sum(map(len, found.values())):
        return found
    for name, part in words.items():
        for one in part if numbered else part[:1]:
            message = f"the label of {one.path.name} must be a number as in the other lines, got {one.label[:80]!r}"
            fix = "Write the number of the label."
            severity: Severity = "error" if numbered else "warning"
            file = layout.splits[name].annotations
            report(Fault(severity, "label-no-number", file, message, one.record, "label", one.label, fix))
    if not numbered:
        return found
    return {name: [one for one in part if _is_number(one.label)] for name, part in found.items()}


def _is_number(label: str) -> bool:
    return re.fullmatch(r"[0-9]{1,15}", label) is not None


def _labels(layout: Layout, written: set[str], report: Report) -> tuple[ClassMap, dict[str, int]]:
    """(the labels of a dataset, what was written -> place among them)."""
    if not all(map(_is_number, written)):
        labels = found_classes(written)
        return labels, {name: place for place, name in enumerate(labels.names)}
    ids = sorted({int(label) for label in written})
    names = read_label_names(layout.class_file, report) if layout.class_file else {}
    unnamed = [label for label in ids if names and label not in names]
    if unnamed and layout.class_file:
        message = f"{len(unnamed)} labels of the lists have no name, the first is {unnamed[0]}"
        report(Fault("warning", "label-without-name", layout.class_file, message, value=unnamed[0]))
    places = {label: place for place, label in enumerate(ids)}
    return _named(ids, names), {label: places[int(label)] for label in written}


def _named(ids: list[int], names: dict[int, str]) -> ClassMap:
    """The labels `ids`; where two are called the same, the number is added to the second name."""
    distinct: dict[str, int] = {}
    for label in ids:
        name = names.get(label, str(label))
        while name in distinct:
            name = f"{name} ({label})"
        distinct[name] = label
    return ClassMap(tuple(distinct), tuple(ids))


def _from_list(layout: Layout, part: Part, report: Report) -> list[Labelled]:
    return read_list(part.annotations, layout.root, report)


def _from_folders(layout: Layout, part: Part, report: Report) -> list[Labelled]:
    """Every image, its label the path of its folder: `shoes/boot 7/a.jpg` -> "shoes/boot 7"."""
    top = part.annotations
    images = images_below(top)
    loose = [path for path in images if path.parent == top]
    if loose:
        message = f"{len(loose)} images lie in no folder of a label and are left out, the first is {loose[0].name}"
        report(Fault("warning", "label-missing", top, message, fix="Put them into the folder of their label."))
    return [
        Labelled(path, label := path.parent.relative_to(top).as_posix(), f"{label}/{path.name}")
        for path in images
        if path.parent != top
    ]


def _from_flags(layout: Layout, part: Part, report: Report) -> list[Labelled]:
    """The image of every LabelMe file, its label the one flag that is set."""
    folder = ImageFolder(part.images)
    found = []
    for file in annotation_files(part.annotations, ".json"):
        content = read_json(file, report, MAX_BYTES_OF_ONE_IMAGE)
        flags = content.get("flags") if isinstance(content, dict) else None
        label = [str(name) for name, value in flags.items() if value is True] if isinstance(flags, dict) else []
        try:
            if len(label) != 1:
                message = f"expected one flag that is set, the label; got {shown(label)}"
                raise Unusable("label-missing", message, field="flags", value=label, fix="Set one flag.")
            name = content.get("imagePath")
            image, _ = folder.find(posix_name(name) if isinstance(name, str) else None, file.stem)
            if image is None:
                message = f"there is no image {shown(name)} in {part.images[0]}"
                raise Unusable("image-missing", message, field="imagePath", value=name, fix="Put the image there.")
        except Unusable as problem:
            report(problem.fault(file, "flags" if problem.field == "flags" else "imagePath"))
            continue
        found.append(Labelled(image, label[0], file.name))
    return found


_READ: dict[str, Callable[[Layout, Part, Report], list[Labelled]]] = {
    "lists": _from_list,
    "flags": _from_flags,
    "folders": _from_folders,
}
