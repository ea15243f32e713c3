"""One image in, its detections out: preprocessing, a network, decoding, thresholds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from eyas.backends import Backend
from eyas.bundle import AnyManifest, Manifest, need_task
from eyas.errors import ConfigError, ModelError, did_you_mean
from eyas.pipelines.stream import Work
from eyas.results import Detections
from eyas.vision.boxes import Floats
from eyas.vision.decode import Decoded, decode
from eyas.vision.preprocess import Image, Placement

Threshold = float | Mapping[int | str, float] | None
"""Keep scores strictly above this: one number, or one a class (by id or name), or None for the model's default."""


@dataclass(frozen=True)
class Prepared:
    """An image ready for the network: its input float32 [3, H, W] and where the image lies in it."""

    tensor: Floats
    placement: Placement


class Detector:
    """Runs a detection network.  Safe to share between threads: nothing is kept between calls."""

    def __init__(self, manifest: AnyManifest, backend: Backend) -> None:
        """Raises ModelError for the manifest of another task."""
        self.manifest = need_task(manifest, Manifest)
        self._backend = backend

    def __call__(self, image_rgb: Image, *, threshold: Threshold = None) -> Detections:
        """The detections in one image (uint8 RGB [H, W, 3]), boxes in its pixels, by descending score.

        Raises ConfigError for a wrong threshold and ModelError where the network does not fit its manifest.
        """
        return self.detect_batch([image_rgb], threshold=threshold)[0]

    def detect_batch(self, images: Sequence[Image], *, threshold: Threshold = None) -> list[Detections]:
        """`__call__` for several images, of any sizes, in one run of the network."""
        return self.detect_prepared([self.prepare(image) for image in images], threshold=threshold)

    def prepare(self, image_rgb: Image) -> Prepared:
        """The part before the network; it may run in other threads while the network is busy."""
        return Prepared(*self.manifest.preprocess.apply(image_rgb))

    def detect_prepared(self, batch: Sequence[Prepared], *, threshold: Threshold = None) -> list[Detections]:
        """The network and everything after it, for images that went through `prepare`."""
        limits = class_thresholds(threshold, self.manifest)
        if not batch:
            return []
        outputs = self._backend.run({self.manifest.input_name: stacked([item.tensor for item in batch])})
        self._check_classes(outputs)
        lowest = float(limits.min())
        decoded = decode(outputs, self.manifest.head, self.manifest.preprocess.size_hw, lowest)
        if len(decoded) != len(batch):
            raise ModelError(f"The network was given {len(batch)} images and answered for {len(decoded)}.")
        return [self._finish(*pair, limits) for pair in zip(decoded, batch, strict=True)]

    def work(self, threshold: Threshold = None) -> Work[Prepared, Detections]:
        """What a `Predictor` does with pictures, at that threshold.  Raises ConfigError for a wrong one."""
        class_thresholds(threshold, self.manifest)
        return Work(self.prepare, partial(self.detect_prepared, threshold=threshold))

    def _check_classes(self, outputs: Mapping[str, NDArray[np.float32]]) -> None:
        scores = outputs.get("scores")
        expected = len(self.manifest.names)
        if scores is not None and scores.ndim == 3 and scores.shape[1] != expected:
            raise ModelError(f"The network has {scores.shape[1]} classes, but its manifest names {expected}.")

    def _finish(self, decoded: Decoded, item: Prepared, limits: NDArray[np.float32]) -> Detections:
        """Detections in the image's own pixels; boxes that have no area inside the image are dropped, as in PaddleX."""
        boxes, scores, class_ids = decoded
        boxes = item.placement.restore(boxes)
        keep = (scores > limits[class_ids]) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Detections(boxes[keep], scores[keep], class_ids[keep], self.manifest.names)


def stacked(tensors: Sequence[Floats]) -> Floats:
    """Inputs [3, H, W] of single images as one input [B, 3, H, W]; that of one image is not copied."""
    return tensors[0][None] if len(tensors) == 1 else np.stack(tensors)


def class_thresholds(threshold: Threshold, manifest: Manifest) -> NDArray[np.float32]:
    """The score limit of each class, float32 [C]; a class that a mapping leaves out has the model's default.

    Raises ConfigError for anything but numbers in 0..1 and for classes that the model does not know.
    """
    if not isinstance(threshold, Mapping):
        value = manifest.threshold if threshold is None else _checked_score(threshold, "threshold")
        return np.full(len(manifest.names), value, dtype=np.float32)
    limits = np.full(len(manifest.names), manifest.threshold, dtype=np.float32)
    for key, value in threshold.items():
        limits[_class_index(key, manifest.names)] = _checked_score(value, f"threshold[{key!r}]")
    return limits


def _checked_score(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"{where} must be a number from 0 to 1, or a mapping from classes to numbers, got {value!r}.")
    number = float(value)
    if not 0 <= number <= 1 or math.isnan(number):
        raise ConfigError(f"{where} must lie in 0..1, got {value!r}.")
    return number


def _class_index(key: object, names: Sequence[str]) -> int:
    if isinstance(key, str) and key in names:
        return names.index(key)
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool) and 0 <= key < len(names):
        return int(key)
    known = f"{did_you_mean(key, names)}" if isinstance(key, str) else f"Class ids run from 0 to {len(names) - 1}."
    raise ConfigError(f"threshold names the class {key!r}, which the model does not have. {known}")
