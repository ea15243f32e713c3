"""Reads DOTA's text files, one an image: `x1 y1 x2 y2 x3 y3 x4 y4 class difficult` a line, after header lines.

Boxes are horizontal here: each is the bounding box of its four corners, as in DOTA-HBB.
"""

from pathlib import Path

from eyas.data.faults import Report
from eyas.data.parts import Layout, Part
from eyas.data.perimage import Annotated, Mark, parse_lines, read_files
from eyas.data.sample import Dataset
from eyas.data.textfiles import number, read_lines

_HEADERS = ("imagesource:", "gsd:")


def read(layout: Layout, part: Part, report: Report) -> Dataset:
    """The reader of READERS. Difficult objects become `ignore`, as DOTA evaluates them."""
    return read_files(layout, part, ".txt", parse, report)


def fits(file: Path, report: Report) -> bool:
    """Whether a text file is DOTA's, told from its first line."""
    _, text = next(read_lines(file, report), ("", ""))
    if text.lower().startswith(_HEADERS):
        return True
    try:
        _mark(text, "")
    except ValueError:
        return False
    return True


def parse(file: Path, report: Report) -> Annotated:
    """What a DOTA file says about its image."""
    lines = ((record, text) for record, text in read_lines(file, report) if not text.lower().startswith(_HEADERS))
    return parse_lines(file, lines, _mark, report)


def _mark(text: str, record: str) -> Mark:
    values = text.split()
    if len(values) not in (9, 10):
        raise ValueError(f"expected x1 y1 x2 y2 x3 y3 x4 y4 class difficult, got {len(values)} values")
    corners = [number(value) for value in values[:8]]
    difficult = number(values[9]) if len(values) == 10 else 0.0
    if _is_number(values[8]) and len(values) == 9:
        raise ValueError(f"expected a class name after the eight coordinates, got {values[8]!r}")
    xs, ys = corners[::2], corners[1::2]
    return Mark(record, values[8], (min(xs), min(ys), max(xs), max(ys)), ignore=difficult != 0)


def _is_number(text: str) -> bool:
    try:
        number(text)
    except ValueError:
        return False
    return True
