"""Datasets: one reader for each format, all returning the same `Dataset`.

`find_layout` tells which format a folder holds; `load_dataset` and `read_dataset` find, read and check in one call.
Recognition datasets (images with one label each) are read by `eyas.data.lists.read_labelled`.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from eyas.data import coco, cvat, dota, labelme, plain, table, visdrone, voc, yolo
from eyas.data.faults import Fault, Report, strictly
from eyas.data.layout import find_layout
from eyas.data.parts import Layout, Part
from eyas.data.sample import Dataset
from eyas.data.write_coco import write_coco
from eyas.data.write_images import Images
from eyas.data.write_labelme import write_labelme
from eyas.data.write_voc import write_voc
from eyas.data.write_yolo import write_yolo
from eyas.errors import DatasetError

__all__ = ["READERS", "WRITERS", "Dataset", "find_layout", "load_dataset", "read_dataset", "read_part"]

log = logging.getLogger(__name__)

READERS: dict[str, Callable[[Layout, Part, Report], Dataset]] = {
    "coco": coco.read,
    "voc": voc.read,
    "labelme": labelme.read,
    "yolo": yolo.read,
    "visdrone": visdrone.read,
    "dota": dota.read,
    "csv": table.read,
    "cvat": cvat.read,
    "images": plain.read,
}
WRITERS: dict[str, Callable[[Dataset, Path, str, Images], tuple[Fault, ...]]] = {
    "coco": write_coco,
    "voc": write_voc,
    "labelme": write_labelme,
    "yolo": write_yolo,
}


def read_part(layout: Layout, split: str | None, report: Report) -> Dataset:
    """A split of a dataset; None means the only one. What cannot be used is told to `report` and left out.

    Raises DatasetError only where the layout has no such split, and what `report` raises.
    """
    _, part = layout.part(split)
    return READERS[layout.format](layout, part, report)


def read_dataset(
    root: str | Path, split: str | None = None, report: Report | None = None, format: str | None = None
) -> Dataset:
    """`read_part` of the dataset that `root` holds. Without a `report`, the first fault that is an error raises
    DatasetError, which names file, record, field and value; the others are logged.
    """
    layout = find_layout(root, format)
    if report is not None:
        return read_part(layout, split, report)
    return strictly(lambda told: read_part(layout, split, told))


def load_dataset(root: str | Path, split: str) -> Dataset:
    """The images and boxes of `split` ("train" or "val") of the dataset in `root`, for training and measuring.

    The format is recognised, and logged. Raises DatasetError for a folder or split that is not there, for the first
    record that cannot be used, and where there are no classes; `check_images` looks for the image files.
    """
    layout = find_layout(root)
    log.info("%s: %s", root, layout.description)
    dataset = strictly(lambda told: read_part(layout, split, told))
    if not len(dataset.classes):
        raise DatasetError(f"{root} has no boxes to learn from or measure with. Found: {layout.description}")
    return dataset
