"""What every reader returns: a checked, frozen set of annotated images. No pixels are read here."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.errors import DatasetError


@dataclass(frozen=True)
class ClassMap:
    """The classes of a dataset or model: class id `i` (0-based) has `names[i]` and, in its source, `source_ids[i]`."""

    names: tuple[str, ...]
    source_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.source_ids):
            raise DatasetError(f"{len(self.names)} class names came with {len(self.source_ids)} source ids")
        kinds: tuple[tuple[str, Sequence[Hashable]], ...] = (("name", self.names), ("source id", self.source_ids))
        for what, values in kinds:
            seen: set[Hashable] = set()
            for value in values:
                if value in seen:
                    raise DatasetError(f"the class {what} {value!r} is given twice; every class needs its own {what}")
                seen.add(value)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class Sample:
    """One annotated image.

    `boxes_xyxy` float32 [N, 4] are half-open pixels of the image as the annotation file wrote them (a box may reach
    over the image's edge); `class_ids` int64 [N]; `ignore` bool [N] marks regions (COCO: iscrowd) that are neither
    object nor background. `areas` float64 [N] are the areas that COCO evaluation sorts into size ranges: the `area` of
    the file, else None, which stands for width * height of each box.
    """

    image_id: int
    path: Path
    width: int
    height: int
    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    areas: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy)
        if self.width < 1 or self.height < 1:
            raise DatasetError(f"image {self.path}: width {self.width} and height {self.height} must be at least 1")
        if self.boxes_xyxy.shape != (count, 4) or self.boxes_xyxy.dtype != np.float32:
            raise DatasetError(
                f"image {self.path}: boxes must be float32 [N, 4], got {self.boxes_xyxy.dtype} {self.boxes_xyxy.shape}"
            )
        columns: dict[str, NDArray[Any]] = {"class_ids": self.class_ids, "ignore": self.ignore}
        if self.areas is not None:
            columns["areas"] = self.areas
        for name, column in columns.items():
            if column.shape != (count,):
                raise DatasetError(f"image {self.path}: {name} has shape {column.shape}, its boxes ask for {(count,)}")

    @property
    def box_areas(self) -> NDArray[np.float64]:
        """Areas float64 [N] in square pixels: those of the file, else width * height."""
        if self.areas is not None:
            return self.areas
        size = self.boxes_xyxy[:, 2:].astype(np.float64) - self.boxes_xyxy[:, :2]
        areas: NDArray[np.float64] = size[:, 0] * size[:, 1]
        return areas


@dataclass(frozen=True, eq=False)
class Dataset:
    """Annotated images with their classes.

    `source` is the annotation file or folder they came from. `classes` is empty for images without annotations.
    `embedded` names, for an image that exists only inside its LabelMe file, that file: image path -> JSON file.
    `files` names the annotation file of each image in formats that have one for each: image path -> that file.
    """

    samples: tuple[Sample, ...]
    classes: ClassMap
    source: Path
    embedded: Mapping[Path, Path] = field(default_factory=dict)
    files: Mapping[Path, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[int] = set()
        for sample in self.samples:
            if sample.image_id in seen:
                raise DatasetError(f"{self.source}: image id {sample.image_id} is given twice")
            seen.add(sample.image_id)
            ids = sample.class_ids
            if len(ids) and not (ids.min() >= 0 and ids.max() < len(self.classes)):
                raise DatasetError(
                    f"{self.source}: image {sample.image_id} has class ids {sorted(set(ids.tolist()))}, "
                    f"known are 0 to {len(self.classes) - 1}"
                )

    def __len__(self) -> int:
        return len(self.samples)

    def file_of(self, sample: Sample) -> Path:
        """The annotation file of an image: its own, or the one of the whole set."""
        return self.files.get(sample.path, self.source)


def check_images(dataset: Dataset) -> None:
    """Make sure that every image file is there; else a DatasetError counts the missing ones and names the first."""
    check_files([sample.path for sample in dataset.samples], dataset.source)


def check_files(paths: Sequence[Path], source: Path) -> None:
    """As `check_images`, for the image files that `source` names."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(paths)} images of {source} are not there, the first is {missing[0]}. "
            "Put them into the images folder, or mend their names in the annotations"
        )
