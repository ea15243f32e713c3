"""The class names of a dataset: from the file that lists them, or from the annotations themselves."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eyas.data.faults import Fault, Report, shown
from eyas.data.sample import ClassMap
from eyas.data.textfiles import read_lines, read_yaml

NAME_FILES = (  # in the order in which they are looked for, beside the annotations or in the dataset's folder
    *("label.txt", "labels.txt", "classes.txt", "class_list.txt", "predefined_classes.txt"),
    *("obj.names", "_darknet.labels"),
)
_NOT_CLASSES = ("__ignore__", "_background_")  # LabelMe writes them at the top of its list


def read_names(file: Path, report: Report) -> dict[int, str]:
    """Place or index (0-based) -> class name, from a text file with a name a line, or from YOLO's data.yaml."""
    if file.suffix.lower() in (".yaml", ".yml"):
        return _yaml_names(file, report)
    lines = [(record, text) for record, text in read_lines(file, report) if text not in _NOT_CLASSES]
    return _distinct(file, [(place, text, record) for place, (record, text) in enumerate(lines)], report)


def _yaml_names(file: Path, report: Report) -> dict[int, str]:
    content = read_yaml(file, report)
    names: Any = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(type(key) is int and key >= 0 for key in names):
        message = f"names must be a list, or a mapping from class index to name, got {shown(names)}"
        report(Fault("error", "wrong-value", file, message, field="names", value=names))
        return {}
    return _distinct(file, [(key, str(name).strip(), f"names.{key}") for key, name in sorted(names.items())], report)


def _distinct(file: Path, rows: list[tuple[int, str, str]], report: Report) -> dict[int, str]:
    """The names by their index; a name that was there before is told and gets its index added."""
    names: dict[int, str] = {}
    seen: set[str] = set()
    for index, name, record in rows:
        unique = name
        if name in seen or not name:
            what = f"the class name {name!r} is given twice" if name else "a class has no name"
            report(Fault("error", "duplicate-id", file, what, record, value=name, fix="Give every class its own name."))
            unique = f"{name}#{index}"
        seen.add(unique)
        names[index] = unique
    return names


def listed_classes(file: Path, report: Report) -> ClassMap:
    """The classes of a text file of names, in its order, with the ids 1, 2, 3 … that COCO counts from."""
    names = read_names(file, report)
    return ClassMap(tuple(names.values()), tuple(index + 1 for index in names))


def found_classes(names: Iterable[str]) -> ClassMap:
    """The classes of annotations that come without a list: sorted, numbers in them by value; ids 1, 2, 3 …."""
    ordered = sorted(set(names), key=_natural)
    return ClassMap(tuple(ordered), tuple(range(1, len(ordered) + 1)))


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    pieces = re.findall(r"[0-9]{1,15}|[^0-9]+", name)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.lower()) for piece in pieces], name
