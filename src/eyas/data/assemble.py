"""The last step of every reader: a table of boxes -> checked samples, each image with its own boxes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyas.data.faults import Fault, Report, shown
from eyas.data.sample import ClassMap, Dataset, Sample

Spot = Callable[[int], tuple[Path, str, Any]]
"""Row of a table -> (file, record, what stands there), for a fault."""


class ImageRow(NamedTuple):
    """One image: its id, file and size in pixels."""

    image_id: int
    path: Path
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class BoxTable:
    """N boxes of many images: `owner` int64 [N] is the place of the image, `xyxy` float64 [N, 4], the rest as in
    Sample.
    """

    owner: NDArray[np.int64]
    xyxy: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    areas: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, owner: list[int], xyxy: list[Any], class_ids: list[int], ignore: list[bool]) -> "BoxTable":
        """The table of four lists of equal length."""
        corners = np.array(xyxy, dtype=np.float64).reshape(-1, 4)
        return cls(np.array(owner, np.int64), corners, np.array(class_ids, np.int64), np.array(ignore, np.bool_))


def assemble(
    images: Sequence[ImageRow],
    table: BoxTable,
    classes: ClassMap,
    source: Path,
    spot: Spot,
    report: Report,
    embedded: Mapping[Path, Path] | None = None,
) -> Dataset:
    """The dataset of `images` in their order, boxes of an image in the order of the table.

    A box without area, or wholly outside its image, can be neither learnt nor found: it is reported and left out.
    """
    boxes = table.xyxy.astype(np.float32)
    keep = _usable(images, table.owner, boxes, spot, report)
    # one stable sort by image, then a slice for each: linear in the number of boxes, order of the file kept
    order = np.flatnonzero(keep)[np.argsort(table.owner[keep], kind="stable")]
    ends = np.searchsorted(table.owner[order], np.arange(1, len(images)))
    samples = []
    for image, rows in zip(images, np.split(order, ends), strict=False):  # no images: np.split still gives one part
        areas = None if table.areas is None else table.areas[rows]
        samples.append(Sample(*image, boxes[rows], table.class_ids[rows], table.ignore[rows], areas))
    return Dataset(tuple(samples), classes, source, embedded or {})


def _usable(
    images: Sequence[ImageRow], owner: NDArray[np.int64], boxes: NDArray[np.float32], spot: Spot, report: Report
) -> NDArray[np.bool_]:
    sizes = np.array([(image.width, image.height) for image in images], np.float32).reshape(-1, 2)[owner]
    empty = np.asarray((boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
    beyond = np.asarray(((boxes[:, :2] >= sizes) | (boxes[:, 2:] <= 0)).any(axis=1))
    for place in np.flatnonzero(np.logical_or(empty, beyond)).tolist():
        file, record, value = spot(place)
        image = images[owner[place]]
        code, what = "box-without-area", "has no area"
        if not empty[place]:
            code, what = "box-outside", f"lies outside the image of {image.width} x {image.height} pixels"
        message = f"box {shown(value)} of {image.path.name} {what}; it is left out"
        report(Fault("warning", code, file, message, record, "box", value, "Draw the box again, or remove it."))
    return np.logical_not(np.logical_or(empty, beyond), dtype=np.bool_)
