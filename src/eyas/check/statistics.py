"""The numbers of a dataset that its report shows: plain values and arrays, no drawing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eyas.check.tiling import Tiling, advise_tiling
from eyas.data.labelled import LabelledImages
from eyas.data.sample import Dataset, Sample
from eyas.metrics.coco import Range
from eyas.metrics.sizes import AITOD_BINS, COCO_RANGES

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

HEAT_CELLS = 32  # rows and columns of the map of positions

SIZE_BINS: Mapping[str, Range] = AITOD_BINS
"""AI-TOD's bins, open at both ends: name -> lowest and highest area in square pixels."""


@dataclass(frozen=True, eq=False)
class SplitStatistics:
    """The numbers of one split with N images, M boxes and C classes. Ignored regions are counted in `ignored` alone.

    class_boxes int64 [C]: boxes of each class; in a recognition dataset the images with that label.
    class_images int64 [C]: images that show the class.
    image_sizes int64 [N, 2]: width and height as annotated, px; [0, 2] in a recognition dataset.
    objects int64 [N]: boxes of each image.
    sides float32 [M, 2]: width and height of each box, px. relative float32 [M, 2]: the same as share of its image.
    box_classes int64 [M]: class id of each box.
    heat int64 [32, 32]: how many boxes have their centre in that cell of the image; rows are y from the top.
    coco_sizes, aitod_sizes: boxes by size bin; the keys are those of metrics/sizes.py, "all" left out.
    """

    name: str
    images: int
    boxes: int
    ignored: int
    images_without_boxes: int
    class_boxes: Ints
    class_images: Ints
    image_sizes: Ints
    objects: Ints
    sides: Floats
    relative: Floats
    box_classes: Ints
    heat: Ints
    coco_sizes: Mapping[str, int]
    aitod_sizes: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Statistics:
    """The numbers of a dataset, split by split in the order of the layout; all splits share `classes`.

    `description` is the layout's sentence. `tiling` is None in a recognition dataset and where there is no box.
    """

    kind: Literal["detection", "recognition"]
    name: str
    description: str
    classes: tuple[str, ...]
    splits: tuple[SplitStatistics, ...]
    tiling: Tiling | None

    @property
    def class_boxes(self) -> Ints:
        """Boxes (recognition: images) by split and class, int64 [S, C]."""
        return np.array([split.class_boxes for split in self.splits], np.int64).reshape(
            len(self.splits), len(self.classes)
        )

    @property
    def heat(self) -> Ints:
        """The map of positions of all splits together, int64 [32, 32]."""
        total = np.zeros((HEAT_CELLS, HEAT_CELLS), np.int64)
        for split in self.splits:
            total += split.heat
        return total


def detection_statistics(
    name: str, description: str, splits: Mapping[str, Dataset], input_hw: tuple[int, int], keep_ratio: bool
) -> Statistics:
    """The numbers of an annotated dataset. `input_hw` and `keep_ratio` say how the network will see its images.

    A split that names other classes than the first one has its own added behind them.
    """
    names = tuple(dict.fromkeys(name for dataset in splits.values() for name in dataset.classes.names))
    found = tuple(_detection_split(split, dataset, names) for split, dataset in splits.items())
    sides = np.concatenate([np.empty((0, 2), np.float32), *(split.sides for split in found)])
    relative = np.concatenate([np.empty((0, 2), np.float32), *(split.relative for split in found)])
    sizes = np.concatenate([np.empty((0, 2), np.int64), *(split.image_sizes for split in found)])
    tiling = advise_tiling(sizes, sides, relative, input_hw, keep_ratio) if len(sides) else None
    return Statistics("detection", name, description, names, found, tiling)


def recognition_statistics(name: str, description: str, parts: Mapping[str, LabelledImages]) -> Statistics:
    """The numbers of images with one label each; there are no boxes in them."""
    labels = next(iter(parts.values())).labels.names if parts else ()
    splits = tuple(_labelled_split(part, images, len(labels)) for part, images in parts.items())
    return Statistics("recognition", name, description, labels, splits, None)


def _detection_split(name: str, dataset: Dataset, names: Sequence[str]) -> SplitStatistics:
    place = np.array([names.index(own) for own in dataset.classes.names], np.int64)
    kept = [_objects(sample) for sample in dataset.samples]
    owner = np.repeat(np.arange(len(kept)), [len(boxes) for boxes, _ in kept])
    boxes = np.concatenate([np.empty((0, 4), np.float32), *(boxes for boxes, _ in kept)])
    own_ids = np.concatenate([np.empty(0, np.int64), *(class_ids for _, class_ids in kept)])
    ids = place[own_ids] if len(place) else own_ids
    sizes = np.array([(sample.width, sample.height) for sample in dataset.samples], np.int64).reshape(-1, 2)
    sides = boxes[:, 2:] - boxes[:, :2]
    objects = np.bincount(owner, minlength=len(kept))
    shown = np.unique(owner * max(len(names), 1) + ids) % max(len(names), 1)
    return SplitStatistics(
        name=name,
        images=len(kept),
        boxes=len(boxes),
        ignored=sum(int(sample.ignore.sum()) for sample in dataset.samples),
        images_without_boxes=int((objects == 0).sum()),
        class_boxes=np.bincount(ids, minlength=len(names)),
        class_images=np.bincount(shown, minlength=len(names)),
        image_sizes=sizes,
        objects=objects,
        sides=sides,
        relative=(sides / sizes[owner]).astype(np.float32),
        box_classes=ids,
        heat=_heat(boxes, sizes[owner]),
        coco_sizes=_by_size(sides, COCO_RANGES),
        aitod_sizes=_by_size(sides, SIZE_BINS),
    )


def _objects(sample: Sample) -> tuple[Floats, Ints]:
    """(boxes, class ids) of a sample without its ignored regions."""
    return sample.boxes_xyxy[~sample.ignore], sample.class_ids[~sample.ignore]


def _heat(boxes: Floats, sizes: Ints) -> Ints:
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / sizes
    column, row = np.clip((centres * HEAT_CELLS).astype(np.int64), 0, HEAT_CELLS - 1).T
    counts = np.bincount(row * HEAT_CELLS + column, minlength=HEAT_CELLS**2)
    return counts.reshape(HEAT_CELLS, HEAT_CELLS)


def _by_size(sides: Floats, bins: Mapping[str, Range]) -> dict[str, int]:
    """How many boxes are in each bin; a box on an edge counts in the upper one, so that none counts twice."""
    areas = sides[:, 0].astype(np.float64) * sides[:, 1]
    inner = {name: limits for name, limits in bins.items() if name != "all"}
    return {name: int(((areas >= low) & (areas < high)).sum()) for name, (low, high) in inner.items()}


def _labelled_split(name: str, images: LabelledImages, labels: int) -> SplitStatistics:
    counts = np.bincount(images.label_ids, minlength=labels)
    none, pairs = np.empty(0, np.int64), np.empty((0, 2), np.float32)
    return SplitStatistics(
        name=name,
        images=len(images),
        boxes=0,
        ignored=0,
        images_without_boxes=0,
        class_boxes=counts,
        class_images=counts,
        image_sizes=np.empty((0, 2), np.int64),
        objects=none,
        sides=pairs,
        relative=pairs,
        box_classes=none,
        heat=np.zeros((HEAT_CELLS, HEAT_CELLS), np.int64),
        coco_sizes={},
        aitod_sizes={},
    )
