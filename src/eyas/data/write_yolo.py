"""Writes YOLO labels: `images/<split>/`, `labels/<split>/`, `data.yaml`."""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas import yaml12
from eyas.data.faults import Fault, FaultList, strictly
from eyas.data.sample import Dataset, Sample
from eyas.data.textfiles import read_yaml
from eyas.data.write_common import check_names, tell_lost
from eyas.data.write_images import Images, place_images
from eyas.errors import DatasetError
from eyas.saving import write_text


def write_yolo(dataset: Dataset, target: Path, split: str = "train", images: Images = "link") -> tuple[Fault, ...]:
    """Write a split of a dataset into the folder `target`; returns what YOLO could not hold.

    Class ids are 0-based; data.yaml keeps those of the source under `source_ids`, which `read_dataset` knows. Left out
    with a warning: ignored boxes (YOLO would take them for objects) and the parts of boxes outside their image. Other
    boxes read back as the same float32. Raises DatasetError where an image cannot be placed, or where `target` holds
    a data.yaml with other classes.
    """
    check_names(dataset, "YOLO")
    told = FaultList()
    settings = _settings(dataset, target, split)
    names = place_images(dataset, target / "images" / split, images, told, taken=())
    folder = target / "labels" / split
    folder.mkdir(parents=True, exist_ok=True)
    ignored = clipped = 0
    for sample, name in zip(dataset.samples, names, strict=True):
        lines, cut = _lines(sample)
        ignored += int(sample.ignore.sum())
        clipped += cut
        write_text(folder / PurePosixPath(name).with_suffix(".txt").name, "".join(lines))
    write_text(target / "data.yaml", yaml12.dump(settings))
    if ignored:
        message = f"{ignored} ignored boxes are left out; YOLO would take them for objects"
        told(Fault("warning", "ignore-left-out", folder, message, value=ignored))
    if clipped:
        message = f"{clipped} boxes were cut at the edge of their image; YOLO holds no values outside 0 to 1"
        told(Fault("warning", "boxes-cut", folder, message, value=clipped))
    tell_lost(dataset, folder, "YOLO", told)
    return tuple(told.kept)


def _settings(dataset: Dataset, target: Path, split: str) -> dict[str, Any]:
    """The content of data.yaml, with the other splits that it names already."""
    file = target / "data.yaml"
    names = dict(enumerate(dataset.classes.names))
    before = strictly(lambda report: read_yaml(file, report)) if file.is_file() else {}
    if not isinstance(before, dict) or (before and before.get("names") != names):
        raise DatasetError(f"{file} is there already, with other classes; write into an empty folder")
    kept = {key: value for key, value in before.items() if key in ("train", "val", "test")}
    ids = dataset.classes.source_ids
    return {
        **kept,
        split: f"images/{split}",
        "names": names,
        **({} if ids == tuple(range(len(ids))) else {"source_ids": list(ids)}),
    }


def _lines(sample: Sample) -> tuple[list[str], int]:
    """(a line for every box that is not ignored, how many boxes were cut)."""
    size = np.array([sample.width, sample.height], np.float64)
    wanted = ~sample.ignore
    rows = _fractions(sample.boxes_xyxy[wanted].astype(np.float64), size)
    over = np.asarray((rows < 0).any(axis=1) | (rows > 1).any(axis=1))
    if over.any():
        cut = np.clip(sample.boxes_xyxy[wanted].astype(np.float64), 0, np.tile(size, 2))
        rows[over] = _fractions(cut, size)[over]
    values = zip(sample.class_ids[wanted].tolist(), rows.tolist(), strict=True)
    return [f"{class_id} {' '.join(map(repr, row))}\n" for class_id, row in values], int(over.sum())


def _fractions(corners: NDArray[np.float64], size_wh: NDArray[np.float64]) -> NDArray[np.float64]:
    """cx, cy, width, height as fractions, float64 [N, 4]."""
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2 / size_wh, (high - low) / size_wh], axis=1)
