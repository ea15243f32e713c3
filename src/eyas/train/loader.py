"""Training batches of a detector, and the sampler and loader that any training has.

What comes at `position` of `epoch` is a pure function of (seed, epoch, position): the number of worker processes, a
restart in the middle, or the rank of a process change nothing about it. That is what makes resume exact.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from eyas.data.sample import Dataset as Samples
from eyas.data.synthetic import SCENE_CLASSES, scene
from eyas.errors import ConfigError
from eyas.schema import Train
from eyas.train import augment
from eyas.train.augment import CropPlan, Example
from eyas.vision.image import read_image


@dataclass(frozen=True)
class Draw:
    """One sample to make: image `index`, the generator key of its randomness, and how to make it."""

    index: int
    key: tuple[int, int, int]
    size_hw: tuple[int, int]
    whole: bool


@dataclass(frozen=True)
class Batch:
    """images uint8 [B,H,W,3]; boxes float32 [B,N,4] px, classes int64 [B,N], valid bool [B,N] (padding and ignore
    regions are not valid); ignore bool [B,N] marks ignore regions."""

    images: torch.Tensor
    boxes: torch.Tensor
    classes: torch.Tensor
    valid: torch.Tensor
    ignore: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        tensors = (self.images, self.boxes, self.classes, self.valid, self.ignore)
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))


@dataclass(frozen=True)
class Position:
    """A place in a run: `step` batches of `epoch` are done."""

    epoch: int = 0
    step: int = 0


D = TypeVar("D")


class Draws(Protocol[D]):
    """The batches of a run as pure functions of the epoch and step."""

    def draws(self, epoch: int, epochs: int, first_step: int, rank: int, ranks: int) -> Iterator[list[D]]:
        """What the batches of one rank in `epoch` (of `epochs`) hold, from `first_step` on."""


class RunSampler(Sampler[list[D]], Generic[D]):
    """All batches of one rank from `start` to the end of the run, so that workers and their caches live on."""

    def __init__(self, schedule: Draws[D], epochs: int, rank: int, ranks: int, start: Position) -> None:
        self.schedule, self.epochs, self.rank, self.ranks, self.start = schedule, epochs, rank, ranks, start

    def __iter__(self) -> Iterator[list[D]]:
        for epoch in range(self.start.epoch, self.epochs):
            first_step = self.start.step if epoch == self.start.epoch else 0
            yield from self.schedule.draws(epoch, self.epochs, first_step, self.rank, self.ranks)


class Schedule:
    """Order and sizes of all batches of a run, as pure functions of the epoch and step."""

    def __init__(self, samples: Samples, config: Train) -> None:
        self.config, self.batch_size, self.seed = config, config.batch_size, config.seed
        self._repeat = repeat_factors(samples, config.augment.rare_classes)
        self._count = int(round(float(self._repeat.sum())))

    def batches(self, ranks: int) -> int:
        """Steps an epoch; the last, incomplete batch is left out unless it is the only one."""
        return max(self._count // (self.batch_size * ranks), 1)

    def draws(self, epoch: int, epochs: int, first_step: int, rank: int, ranks: int) -> Iterator[list[Draw]]:
        """What the batches of one rank in `epoch` (of `epochs`) hold, from `first_step` on."""
        order = self.order(epoch)
        whole = epoch >= epochs - self.config.augment.close_epochs
        for step in range(first_step, self.batches(ranks)):
            size_hw = self.size_hw(epoch, step, whole)
            yield [
                Draw(int(order[p % len(order)]), (self.seed, epoch, p), size_hw, whole)
                for p in self.positions(step, rank, ranks)
            ]

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Image indices of an epoch in drawing order, images of rare classes repeated."""
        rng = np.random.default_rng((self.seed, epoch))
        whole = np.floor(self._repeat)
        copies = whole + (rng.random(len(whole)) < self._repeat - whole)
        order = np.repeat(np.arange(len(whole)), copies.astype(int))
        rng.shuffle(order)
        return order

    def positions(self, step: int, rank: int, ranks: int) -> range:
        """Which places of the epoch's order make this batch; ranks share nothing."""
        first = (step * ranks + rank) * self.batch_size
        return range(first, first + self.batch_size)

    def size_hw(self, epoch: int, step: int, whole: bool) -> tuple[int, int]:
        """The input size of a batch: the whole size in the last epochs, else the crop or one of the training scales."""
        if whole:
            return self.config.input_size
        if not self.config.multi_scale:
            return self.config.augment.crop_size or self.config.input_size
        rng = np.random.default_rng((self.seed, epoch, step, 1))
        side = int(rng.choice(np.array(self.config.multi_scale)))
        return side, side


def repeat_factors(samples: Samples, strength: float) -> NDArray[np.float64]:
    """How often each image is drawn in an epoch: 1, or more for images of classes that few images hold.

    max(1, (t / f)^strength) over the classes of an image, f = share of images with the class, t = 0.1 (repeat-factor
    sampling, Gupta et al. 2019, has strength 0.5); capped at 5.
    """
    classes = [np.unique(s.class_ids[~s.ignore]) for s in samples.samples]
    counts = np.bincount(np.concatenate([*classes, np.zeros(0, np.int64)]), minlength=len(samples.classes.names))
    share = np.maximum(counts / max(len(classes), 1), 1e-9)
    factor = np.clip((0.1 / share) ** strength, 1.0, 5.0)
    return np.array([float(factor[c].max()) if len(c) else 1.0 for c in classes])


class TrainImages(Dataset[Example]):
    """Makes the `Example` of a `Draw`. Images are decoded once and kept where `cache` allows."""

    def __init__(self, samples: Samples, config: Train, cache: bool) -> None:
        self.samples, self.config, self.keep_ratio = samples, config.augment, config.keep_ratio
        self._cache: dict[int, NDArray[np.uint8]] | None = {} if cache else None
        counts = np.bincount(
            np.concatenate([s.class_ids[~s.ignore] for s in samples.samples]), minlength=len(samples.classes.names)
        )
        self._weights = 1.0 / np.sqrt(np.maximum(counts, 1))
        self._scene_ids = scene_classes(samples) if self.config.synthetic else None

    def __len__(self) -> int:
        return len(self.samples.samples)

    def __getitem__(self, draw: Draw) -> Example:
        rng = np.random.default_rng((*draw.key, 2))
        example = self._make(draw, rng)
        if self.config.colour > 0:
            example = replace(example, image=augment.colour(example.image, self.config.colour, rng))
        return example

    def _make(self, draw: Draw, rng: np.random.Generator) -> Example:
        config = self.config
        flip = bool(rng.random() < config.flip)
        if draw.whole or rng.random() >= config.crop:
            place = augment.resize_to if self.keep_ratio else augment.stretch_to
            return place(self._example(draw.index, rng), draw.size_hw, flip)
        mixed = rng.random() < config.mosaic
        example = self._mosaic(draw, rng) if mixed else self._crop(draw.index, draw.size_hw, rng)
        if rng.random() < config.copy_paste:
            source = self._example(int(rng.integers(len(self))), rng)
            example = augment.copy_paste(example, source, self._weights, int(rng.integers(1, 6)), rng)
        return example

    def _crop(self, index: int, size_hw: tuple[int, int], rng: np.random.Generator) -> Example:
        config = self.config
        plan = CropPlan(size_hw, config.scale, config.aim, config.flip, config.min_side)
        return augment.random_crop(self._example(index, rng), plan, self._weights, rng)

    def _mosaic(self, draw: Draw, rng: np.random.Generator) -> Example:
        height, width = draw.size_hw
        centre = (int(width * rng.uniform(0.3, 0.7)), int(height * rng.uniform(0.3, 0.7)))
        indices = [draw.index, *(int(i) for i in rng.integers(len(self), size=3))]
        x, y = centre
        sizes = ((y, x), (y, width - x), (height - y, x), (height - y, width - x))
        a, b, c, d = (self._crop(i, size, rng) for i, size in zip(indices, sizes, strict=True))
        return augment.mosaic((a, b, c, d), draw.size_hw, centre)

    def _example(self, index: int, rng: np.random.Generator) -> Example:
        if self._scene_ids is not None and rng.random() < self.config.synthetic:
            made = scene(int(rng.integers(1 << 31)))
            return Example(
                made.image, made.boxes_xyxy, self._scene_ids[made.class_ids], np.zeros(len(made.class_ids), bool)
            )
        sample = self.samples.samples[index]
        return Example(self._image(index), sample.boxes_xyxy, sample.class_ids, sample.ignore)

    def _image(self, index: int) -> NDArray[np.uint8]:
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        image = read_image(self.samples.samples[index].path)
        if self._cache is not None:
            self._cache[index] = image
        return image


def scene_classes(samples: Samples) -> NDArray[np.int64]:
    """The class id in `samples` of each synthetic class. Raises ConfigError where a name is missing."""
    names = list(samples.classes.names)
    missing = [name for name in SCENE_CLASSES if name not in names]
    if missing:
        raise ConfigError(
            f"Train.augment.synthetic: the synthetic scenes hold {', '.join(SCENE_CLASSES)}; the dataset has no class "
            f"{', '.join(missing)}. Set Train.augment.synthetic to 0."
        )
    return np.array([names.index(name) for name in SCENE_CLASSES], np.int64)


def collate(examples: list[Example]) -> Batch:
    """Stack equal-sized examples; boxes padded to the largest count (at least 1)."""
    count = max(1, *(len(e.boxes_xyxy) for e in examples))
    boxes = np.zeros((len(examples), count, 4), np.float32)
    classes = np.zeros((len(examples), count), np.int64)
    valid = np.zeros((len(examples), count), np.bool_)
    ignore = np.zeros((len(examples), count), np.bool_)
    for i, e in enumerate(examples):
        n = len(e.boxes_xyxy)
        boxes[i, :n], classes[i, :n] = e.boxes_xyxy, e.class_ids
        valid[i, :n], ignore[i, :n] = ~e.ignore, e.ignore
    images = np.stack([e.image for e in examples])
    return Batch(*(torch.from_numpy(a) for a in (images, boxes, classes, valid, ignore)))


def make_loader(
    images: Dataset[Any], sampler: RunSampler[Any], workers: int, collate: Callable[[list[Any]], Any] = collate
) -> DataLoader[Any]:
    """A loader over the draws of a run. `workers` 0 prepares batches in this process."""
    return DataLoader(
        images,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_quiet_worker if workers else None,
        # Its own generator: a loader draws from the global one when it starts, and a resumed run starts one more.
        generator=torch.Generator(),
    )


def _quiet_worker(_: int) -> None:
    """One thread a worker: the cores belong to the training step."""
    import cv2

    # 0, not 1: OpenCV would stop its threads for 1 and wait forever for those that were not forked.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
