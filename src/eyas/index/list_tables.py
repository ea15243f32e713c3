"""Reads a gallery from a CSV file: a picture, or an object in one, each line, with any further columns as metadata."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eyas.data.faults import shown
from eyas.data.images import likeliest
from eyas.data.table import COLUMNS
from eyas.data.textfiles import number
from eyas.index.pictures import Box, Picture, checked_label, located

_CORNERS = ("x1", "y1", "x2", "y2")
_SPELLINGS = {
    **{meaning: COLUMNS[meaning] for meaning in ("image", "label", *_CORNERS)},
    "box": ("box", "bbox", "bounding_box"),
    "metadata": ("metadata",),
}
_DELIMITERS = ",;\t"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?(?:[eE][-+]?[0-9]{1,2})?")
Row = dict[str, str]


def is_table(text: str) -> bool:
    """Whether the first line names the columns of a gallery."""
    _, header = _header(text)
    return {"image", "label"} <= _meanings(header).keys()


def pictures_of_table(file: Path, text: str, root: Path | None, problems: list[str]) -> Iterator[Picture]:
    """The pictures of a table; what is wrong with a line goes to `problems`.

    The columns are `path` and `label`, for an object its box (`x1,y1,x2,y2` or one column `box`), and `metadata` as
    JSON, in any order and in the usual spellings; every other column is metadata too. Such a column is of numbers where
    each of its values is one (`007` is none). Without a `root` paths are seen from the table's folder or, where the
    first files are there instead, from the folder above it.
    """
    delimiter, header = _header(text)
    meanings = _meanings(header)
    rows = list(_rows(file, text, delimiter, len(header), problems))
    if root is None:
        root = likeliest((file.parent, file.parent.parent), (values[meanings["image"]] for _, values in rows))
    others = {place: name.strip() for place, name in enumerate(header) if place not in meanings.values()}
    numeric = {place for place in others if all(_is_number(values[place]) for _, values in rows if values[place])}
    for where, values in rows:
        row = {meaning: values[place] for meaning, place in meanings.items()}
        further = {
            name: json.loads(values[place]) if place in numeric else values[place]
            for place, name in others.items()
            if values[place]
        }
        try:
            path, label = located(root, row["image"]), checked_label(row["label"])
            yield Picture(path, label, further | _metadata(row.get("metadata", "")), _box(row), where)
        except ValueError as problem:
            problems.append(f"{where}: {problem}")


def columns_of(text: str) -> list[str]:
    """The names in the first line, for a message."""
    return _header(text)[1]


def _header(text: str) -> tuple[str, list[str]]:
    """(what parts the columns, their names): the delimiter that makes the most of the first line."""
    line = re.split(r"\r\n|\n|\r", text, maxsplit=1)[0][:10_000]
    choices = [(delimiter, next(csv.reader([line], delimiter=delimiter), [])) for delimiter in _DELIMITERS]
    return max(choices, key=lambda choice: (len(_meanings(choice[1])), len(choice[1])))


def _meanings(header: list[str]) -> dict[str, int]:
    """What a column means -> its place."""
    places = {name.strip().lower(): place for place, name in reversed(list(enumerate(header)))}
    found = {meaning: [name for name in names if name in places] for meaning, names in _SPELLINGS.items()}
    return {meaning: places[names[0]] for meaning, names in found.items() if names}


def _rows(file: Path, text: str, delimiter: str, width: int, problems: list[str]) -> Iterator[tuple[str, list[str]]]:
    """("gallery.csv, line 3", the `width` values) of every line after the first."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    next(lines)
    start = lines.line_num + 1
    while True:
        where = f"{file.name}, line {start}"
        try:
            values = [value.strip(" \t\r\n") for value in next(lines)]
        except StopIteration:
            return
        except csv.Error as problem:
            problems.append(f"{where}: is not CSV: {problem}")
            return
        start = lines.line_num + 1
        if any(values[width:]):
            problems.append(f"{where}: {len(values)} values for {width} columns: {shown(values)}")
        elif any(values):
            yield where, (values + [""] * width)[:width]


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _metadata(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        found = json.loads(text)
        json.dumps(found, allow_nan=False)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f'metadata must be a JSON object like {{"colour": "red"}}, got {shown(text)}')
    return found


def _box(row: Row) -> Box | None:
    if row.get("box"):
        texts = re.split(r"[\s,;]+", row["box"].strip("[]() "))
    else:
        texts = [row.get(side, "") for side in _CORNERS]
    if not any(texts):
        return None
    if len(texts) != 4:
        raise ValueError(f"a box is x1, y1, x2, y2, got {shown(row['box'])}")
    x1, y1, x2, y2 = (number(text, side) for side, text in zip(_CORNERS, texts, strict=True))
    if x2 <= max(x1, 0) or y2 <= max(y1, 0):
        raise ValueError(
            f"the box {x1:g}, {y1:g}, {x2:g}, {y2:g} holds nothing; expected x1 < x2 and y1 < y2 in pixels"
        )
    return x1, y1, x2, y2
