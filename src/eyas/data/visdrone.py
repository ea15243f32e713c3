"""Reads VisDrone's text files, one an image: `x,y,width,height,score,category,truncation,occlusion` a line."""

from pathlib import Path

from eyas.data.faults import Report
from eyas.data.parts import Layout, Part
from eyas.data.perimage import Annotated, Mark, parse_lines, read_files
from eyas.data.sample import ClassMap, Dataset
from eyas.data.textfiles import number, read_lines

VISDRONE_CLASSES = (
    *("pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor"),
)
IGNORED_REGION, OTHERS = 0, 11  # categories that are no class: where nothing is annotated, and objects of other kinds


def read(layout: Layout, part: Part, report: Report) -> Dataset:
    """The reader of READERS: ten classes with the ids 1 to 10.

    A box with score 0 is ignored; one of category 0 or 11 is ignored for every class, so it stands there ten times.
    """
    classes = ClassMap(VISDRONE_CLASSES, tuple(range(1, 11)))
    return read_files(layout, part, ".txt", parse, report, classes)


def fits(file: Path, report: Report) -> bool:
    """Whether a text file is VisDrone's, told from its first line."""
    _, text = next(read_lines(file, report), ("", ""))
    values = text.rstrip(",").split(",")
    return len(values) == 8 and all(value.strip().lstrip("-").isdecimal() for value in values)


def parse(file: Path, report: Report) -> Annotated:
    """What a VisDrone file says about its image."""
    return parse_lines(file, read_lines(file, report), _mark, report)


def _mark(text: str, record: str) -> Mark:
    values = [number(value) for value in text.rstrip(", ").split(",")]
    if len(values) not in (6, 8):
        raise ValueError(f"expected 8 values x,y,width,height,score,category,truncation,occlusion, got {len(values)}")
    x, y, width, height, score, category = values[:6]
    corners = (x, y, x + width, y + height)
    if category in (IGNORED_REGION, OTHERS):
        return Mark(record, None, corners, ignore=True)
    if category != int(category):
        raise ValueError(f"the category must be a whole number, got {category:g}")
    return Mark(record, int(category), corners, ignore=score == 0)
