"""Images with one label each: what recognition learns from, searches in and is measured with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyas.data.sample import ClassMap
from eyas.errors import DatasetError


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """One part (train, gallery, query …) of a recognition dataset; image `i` has the label `label_ids[i]`.

    label_ids: int64 [N], 0-based places in `labels`, which holds the names and, as source ids, the numbers that the
    files wrote. All parts of a dataset share `labels`: the same name is the same thing in each. `source` is the file or
    folder they came from, `records` says where in it each image is named (() where that is not known).
    """

    paths: tuple[Path, ...]
    label_ids: NDArray[np.int64]
    labels: ClassMap
    source: Path
    records: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ids = self.label_ids
        if ids.shape != (len(self.paths),) or ids.dtype != np.int64:
            raise DatasetError(f"{self.source}: {len(self.paths)} images came with labels {ids.dtype} {ids.shape}")
        if len(ids) and not (ids.min() >= 0 and ids.max() < len(self.labels)):
            raise DatasetError(f"{self.source}: label ids {ids.min()}…{ids.max()}, known are 0…{len(self.labels) - 1}")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def names(self) -> list[str]:
        """The label name of every image."""
        return [self.labels.names[label] for label in self.label_ids.tolist()]

    def take(self, places: Sequence[int] | NDArray[np.int64]) -> "LabelledImages":
        """The images at those places, in that order, with the same labels."""
        chosen = np.asarray(places, np.int64)
        paths = tuple(self.paths[place] for place in chosen.tolist())
        records = tuple(self.records[place] for place in chosen.tolist()) if self.records else ()
        return LabelledImages(paths, self.label_ids[chosen], self.labels, self.source, records)
