"""What the writers share: numbers that read back as the same float32, class names, what a format cannot hold."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyas.data.faults import Fault, Report, silent
from eyas.data.images import without_suffix
from eyas.data.sample import Dataset, Sample
from eyas.data.textfiles import read_lines, read_text
from eyas.errors import DatasetError
from eyas.saving import write_text


def decimals(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The shortest decimal numbers that read back as the same float32: 10.1 for 10.1000003814697265625."""
    return values.astype(str).astype(np.float64)


def plain(values: NDArray[np.float64]) -> list[float | int]:
    """Numbers for a file, whole ones without `.0`."""
    return [int(value) if value == int(value) else value for value in values.tolist()]


def corners_of(boxes_xyxy: NDArray[np.float32]) -> list[list[float | int]]:
    """Boxes as lists of numbers for a file."""
    return [plain(row) for row in decimals(boxes_xyxy)]


def check_names(dataset: Dataset, format: str) -> None:
    """Raises DatasetError for a class name that a line of text cannot hold."""
    for name in dataset.classes.names:
        if name != name.strip() or not name or not name.isprintable() or name in ("__ignore__", "_background_"):
            raise DatasetError(f"{format} cannot hold the class name {name!r}; rename the class")


def write_classes(dataset: Dataset, target: Path, format: str, report: Report) -> None:
    """Write label.txt; raises DatasetError where one with other classes is there."""
    file = target / "label.txt"
    text = "".join(f"{name}\n" for name in dataset.classes.names)
    if file.is_file() and read_text(file, silent) != text:
        raise DatasetError(f"{file} is there already, with other classes; write into an empty folder")
    target.mkdir(parents=True, exist_ok=True)
    write_text(file, text)
    ids = dataset.classes.source_ids
    if ids != tuple(range(1, len(ids) + 1)):
        message = f"the class ids {', '.join(map(str, ids[:5]))} … become 1, 2, 3 …; {format} holds only class names"
        report(Fault("warning", "class-ids-left-out", file, message, value=list(ids[:5])))


def taken_by_others(listing: Path, pattern: str) -> set[str]:
    """The stems that the lists of the other splits name: files beside `listing` that fit the glob `pattern`."""
    others = [file for file in sorted(listing.parent.glob(pattern)) if file.name != listing.name]
    names = [text.rpartition("/")[2] for file in others for _, text in read_lines(file, silent)]
    return {without_suffix(name.removesuffix(".json")) for name in names}


def tell_lost(dataset: Dataset, target: Path, format: str, report: Report) -> None:
    """Tell what only COCO holds: areas that are not those of the boxes, and image ids."""
    areas = sum(map(_has_own_areas, dataset.samples))
    if areas:
        message = f"the areas of the objects in {areas} images are left out; {format} holds only their boxes"
        report(Fault("warning", "areas-left-out", target, message, value=areas))
    if [sample.image_id for sample in dataset.samples] != list(range(1, len(dataset) + 1)):
        report(Fault("info", "image-ids-left-out", target, f"image ids are left out; {format} holds only file names"))


def _has_own_areas(sample: Sample) -> bool:
    if sample.areas is None:
        return False
    sizes = (sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]).astype(np.float64)
    return not np.allclose(sample.areas, sizes.prod(axis=1), rtol=1e-4, atol=0.01)
