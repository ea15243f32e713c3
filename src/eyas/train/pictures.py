"""Training batches of a feature network: which labelled pictures come when.

As in `eyas.train.loader`, the picture at a place of an epoch is a pure function of (seed, epoch, place).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from eyas.data.labelled import LabelledImages
from eyas.errors import ConfigError
from eyas.schema import Train
from eyas.train.views import Image, cutmix, random_view
from eyas.vision.image import read_image

CACHE_BYTES = 2_000_000_000
"""Decoded pictures are kept in memory up to this, for all workers together."""
CACHE_SIDE = 1.5
"""Pictures are kept at no more than this many times the input's side."""


@dataclass(frozen=True)
class PictureDraw:
    """One view to make: of picture `index`, with the generator key of its randomness, of `size_hw` pixels."""

    index: int
    key: tuple[int, int, int]
    size_hw: tuple[int, int]


@dataclass(frozen=True)
class PictureBatch:
    """images uint8 [B,H,W,3] and their labels int64 [B]; `others` [B] are the labels of what else they show, `shares`
    float32 [B] how much of them that is: 0 where nothing was mixed in."""

    images: torch.Tensor
    labels: torch.Tensor
    others: torch.Tensor
    shares: torch.Tensor

    def to(self, device: torch.device) -> "PictureBatch":
        """The same on another device."""
        tensors = (self.images, self.labels, self.others, self.shares)
        return PictureBatch(*(tensor.to(device, non_blocking=True) for tensor in tensors))


class View(NamedTuple):
    """One training image with its label, and the label and share of what was mixed in."""

    image: Image
    label: int
    other: int
    share: float


class PictureSchedule:
    """Order of all batches of a run, as a pure function of the epoch.

    Either all pictures are shuffled, or each batch holds `Train.features.samples_per_label` pictures of each of as many
    labels as fit, drawn without one coming twice; a label's pictures come in turn, from the start again where it has
    too few. An epoch has as many batches as the pictures fill.
    """

    def __init__(self, images: LabelledImages, config: Train) -> None:
        self.config, self.batch_size, self.seed = config, config.batch_size, config.seed
        self.each = config.features.samples_per_label or 1
        self._count, self._labels = len(images), len(images.labels)
        self._own = [np.flatnonzero(images.label_ids == label) for label in range(self._labels)]
        if self.each > 1:
            self._check()

    def _check(self) -> None:
        given = f"Train.features.samples_per_label: {self.each} pictures of each label"
        if self.batch_size % self.each:
            raise ConfigError(
                f"{given} do not fill batches of {self.batch_size}. Expected a divisor of Train.batch_size."
            )
        if self.batch_size // self.each > self._labels:
            raise ConfigError(
                f"{given} make {self.batch_size // self.each} labels a batch, and the data has {self._labels}. Set "
                f"Train.batch_size to {self.each * self._labels} or less, or raise Train.features.samples_per_label."
            )

    def batches(self, ranks: int) -> int:
        """Steps an epoch; the last, incomplete batch is left out unless it is the only one."""
        return max(self._count // (self.batch_size * ranks), 1)

    def order(self, epoch: int, ranks: int) -> NDArray[np.int64]:
        """The pictures of an epoch, the batches of all ranks one after another: int64 [steps * ranks * batch size]."""
        rng = np.random.default_rng((self.seed, epoch))
        batches = self.batches(ranks) * ranks
        if self.each == 1:
            return np.resize(rng.permutation(self._count), batches * self.batch_size)
        turns = [rng.permutation(own) for own in self._own]
        seen = np.zeros(self._labels, np.int64)
        order = []
        for _ in range(batches):
            for label in rng.choice(self._labels, self.batch_size // self.each, replace=False):
                order.append(np.take(turns[label], seen[label] + np.arange(self.each), mode="wrap"))
                seen[label] += self.each
        return np.concatenate(order)

    def size_hw(self, epoch: int, epochs: int) -> tuple[int, int]:
        """The size of the views of an epoch: small ones first make a run shorter."""
        sides = self.config.pictures.sides
        if sides is None:
            return self.config.input_size
        side = sides[min(epoch, epochs - 1) * len(sides) // epochs]
        return side, side

    def draws(self, epoch: int, epochs: int, first_step: int, rank: int, ranks: int) -> Iterator[list[PictureDraw]]:
        """What the batches of one rank in `epoch` hold, from `first_step` on."""
        order, size_hw = self.order(epoch, ranks), self.size_hw(epoch, epochs)
        for step in range(first_step, self.batches(ranks)):
            first = (step * ranks + rank) * self.batch_size
            places = range(first, first + self.batch_size)
            yield [PictureDraw(int(order[place]), (self.seed, epoch, place), size_hw) for place in places]


class TrainPictures(Dataset[View]):
    """Makes the view and label of a draw. Pictures are decoded once and kept, smaller where they are large."""

    def __init__(self, images: LabelledImages, config: Train) -> None:
        self.images, self.config = images, config.pictures
        self._limit = int(CACHE_SIDE * max(*config.input_size, *(config.pictures.sides or ())))
        self._room = CACHE_BYTES // max(config.workers, 1)
        self._cache: dict[int, Image] = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, draw: PictureDraw) -> View:
        rng = np.random.default_rng((*draw.key, 2))
        view, label = self._view(draw.index, draw.size_hw, rng)
        if not self.config.cutmix or rng.random() >= self.config.cutmix:
            return View(view, label, label, 0.0)
        second, other = self._view(int(rng.integers(len(self))), draw.size_hw, rng)
        mixed, share = cutmix(view, second, rng)
        return View(mixed, label, other, share)

    def _view(self, index: int, size_hw: tuple[int, int], rng: np.random.Generator) -> tuple[Image, int]:
        return random_view(self._picture(index), size_hw, self.config, rng), int(self.images.label_ids[index])

    def _picture(self, index: int) -> Image:
        if index in self._cache:
            return self._cache[index]
        picture = shrunk(read_image(self.images.paths[index]), self._limit)
        if picture.nbytes <= self._room:
            self._room -= picture.nbytes
            self._cache[index] = picture
        return picture


def shrunk(picture: Image, limit: int) -> Image:
    """`picture` with neither side longer than `limit`; sides that are shorter stay as they are."""
    height, width = (min(side, limit) for side in picture.shape[:2])
    if (height, width) == picture.shape[:2]:
        return picture
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def collate(views: list[View]) -> PictureBatch:
    """Stack views of one size."""
    images, labels, others, shares = zip(*views, strict=True)
    arrays = (np.stack(images), np.array(labels, np.int64), np.array(others, np.int64), np.array(shares, np.float32))
    return PictureBatch(*(torch.from_numpy(array) for array in arrays))
