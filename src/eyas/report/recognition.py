"""The report of a feature model's evaluation: figures, thresholds, labels, and wrong answers in pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eyas.errors import InputError
from eyas.metrics.retrieval import OpenSet, RetrievalMetrics
from eyas.report.axes import Axis
from eyas.report.charts import Line, lines
from eyas.report.marks import RGB, encoded, fitted
from eyas.report.page import Cell, Picture, Section, charts, page, paragraph, pictures, table, tiles, write_page
from eyas.saving import PathLike
from eyas.vision.image import read_image

SIDE = 260
"""Longest side in pixels of each of the two pictures of a wrong answer."""


@dataclass(frozen=True)
class Mistake:
    """A query whose most similar picture of the gallery has another label."""

    query: Path
    label: str
    found: Path
    found_label: str
    similarity: float


def write_recognition_report(
    path: PathLike,
    metrics: RetrievalMetrics,
    open_set: OpenSet,
    mistakes: Sequence[Mistake],
    facts: Mapping[str, str],
) -> Path:
    """Write the figures and the `mistakes`, both pictures of each, as one HTML file that loads nothing; its path.

    A picture that cannot be read is named on the page.
    """
    first: dict[str, Cell] = {
        "recall@1": metrics.recall1, "recall@5": metrics.recall5, "mAP": metrics.mAP,
        "queries": metrics.queries, "labels": len(metrics.per_label), "gallery": metrics.gallery,
        "unknown queries": metrics.unknown,
    }  # fmt: skip
    lead = [table(["What", "Value"], [[name, said] for name, said in facts.items()]), tiles(first)]
    sections = [_thresholds(open_set), _labels(metrics), _mistakes(mistakes)]
    return write_page(path, page("Evaluation of a feature model", lead, sections, "Made by eyas evaluate"))


def _thresholds(found: OpenSet) -> Section:
    low, high = min(found.thresholds, default=0.0), max(found.thresholds, default=1.0)
    curves = {
        "known queries refused": found.false_reject,
        "known queries identified": found.identified,
        "unknown queries accepted": found.false_accept,
    }
    drawn = [
        Line(name, list(zip(found.thresholds, shares, strict=True)))
        for name, shares in curves.items()
        if shares and shares[0] >= 0
    ]
    said = f"{found.known} known and {found.unknown} unknown queries at {len(found.thresholds)} thresholds"
    axes = Axis("least similarity", low, high if high > low else low + 1), Axis("share", 0.0, 1.0)
    note = "The gallery has the label of every query: what would be accepted wrongly cannot be measured."
    if found.unknown:
        note = (
            f"As many unknown queries are accepted as known ones refused, {found.equal_error:.4f}, at a similarity of "
            f"{found.equal_error_threshold:.4f}."
        )
    return Section(
        "Thresholds", (paragraph(note, "muted"), charts((lines("Shares by threshold", said, drawn, *axes), "")))
    )


def _labels(metrics: RetrievalMetrics) -> Section:
    worst = sorted(metrics.per_label, key=lambda name: (metrics.per_label[name].recall1, name))
    rows: list[list[Cell]] = []
    for name in worst:
        one = metrics.per_label[name]
        rows.append([name, one.queries, one.recall1, one.recall5, one.mAP])
    return Section("Labels", (table(["Label", "Queries", "recall@1", "recall@5", "mAP"], rows, "Worst first"),))


def _mistakes(mistakes: Sequence[Mistake]) -> Section:
    shown, unread = [], []
    for one in mistakes:
        try:
            pair = _beside(read_image(one.query), read_image(one.found))
        except InputError as error:
            unread.append(paragraph(str(error), "note"))
            continue
        said = f"{one.label}, taken for {one.found_label} at {one.similarity:.3f}: {one.query.name}, {one.found.name}"
        alt = f"A picture of {one.label} and the most similar one of the gallery, which shows {one.found_label}"
        shown.append(Picture(encoded(pair), pair.shape[1], pair.shape[0], said, alt))
    note = "Left the query, right the most similar picture of the gallery; the surest wrong answers first."
    return Section("Wrong answers", (paragraph(note, "muted"), *unread, pictures(shown)))


def _beside(one: RGB, other: RGB) -> RGB:
    left, right = fitted(one, SIDE)[0], fitted(other, SIDE)[0]
    height = max(left.shape[0], right.shape[0])
    canvas = np.full((height, left.shape[1] + 8 + right.shape[1], 3), 128, np.uint8)
    canvas[: left.shape[0], : left.shape[1]] = left
    canvas[: right.shape[0], left.shape[1] + 8 :] = right
    return canvas
