"""What training a detector means: the loss of a batch, the manifest of the result, and its validation."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyas.bundle import AnyManifest, Manifest
from eyas.data.sample import Dataset
from eyas.evaluate.detection import evaluate_detector
from eyas.export.run import first_images
from eyas.models import DetectorNetwork, Network
from eyas.models.backend import TorchBackend
from eyas.models.picodet import PicoDet
from eyas.models.published import PICODET_HEAD
from eyas.models.recognition import FeatureNet
from eyas.pipelines.detector import Detector
from eyas.schema import Train
from eyas.train.assign import Targets, anchors_inside
from eyas.train.loader import Batch, Position, RunSampler, Schedule, TrainImages, make_loader
from eyas.train.losses import LossTerms, detection_loss
from eyas.train.picodet_loss import picodet_loss
from eyas.train.ranks import Ranks
from eyas.train.task import Loss, Validation
from eyas.vision.decode import HeadSpec
from eyas.vision.preprocess import Preprocess

TensorLoss = Callable[
    [Tensor, Tensor, Tensor, Tensor, Targets, tuple[int, int], Callable[[Tensor], Tensor] | None], LossTerms
]
"""Of what `forward_train` gives, the targets, the range of distances and a mean over all ranks: the loss terms."""


class TrainNet(nn.Module):
    """uint8 images [B,H,W,3] -> what the network's `forward_train` gives; its own module, since DDP hooks `forward`."""

    def __init__(self, model: DetectorNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        out: tuple[Tensor, Tensor, Tensor, Tensor] = self.model.forward_train(images.permute(0, 3, 1, 2).float())
        return out


def loss_of(model: DetectorNetwork) -> TensorLoss:
    """The loss that the network is trained with."""
    return picodet_loss if isinstance(model, PicoDet) else detection_loss


def batch_loss(net: nn.Module, batch: Batch, loss: TensorLoss, reg_range: tuple[int, int], ranks: int) -> LossTerms:
    """The loss terms of one batch. With several ranks the divisor is their mean, so that all images weigh alike."""
    scores, logits, anchors, strides = net(batch.images)
    ignore = anchors_inside(anchors * strides, batch.boxes, batch.ignore) if batch.ignore.any() else None
    targets = Targets(batch.boxes, batch.classes, batch.valid, ignore)
    shared = mean_over_ranks if ranks > 1 else None
    return loss(scores, logits, anchors, strides, targets, reg_range, shared)


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean of `value` over all processes of the run."""
    total = value.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()


def make_manifest(name: str, model: DetectorNetwork, data: Dataset, train: Train, made: dict[str, Any]) -> Manifest:
    """What a trained detector needs to predict: preprocessing, head, classes, and how it was made."""
    preprocess = Preprocess(
        size_hw=train.input_size,
        resize="letterbox" if train.keep_ratio else "stretch",
        interpolation="linear" if train.keep_ratio else "cubic",
    )
    return Manifest(
        model=name,
        head=PICODET_HEAD if isinstance(model, PicoDet) else HeadSpec(strides=model.config.strides),
        preprocess=preprocess,
        names=data.classes.names,
        source_ids=data.classes.source_ids,
        made=made,
    )


CACHE_BYTES = 2_000_000_000
"""Decoded images are kept in memory where all of them, for every worker, fit into this."""

EVAL_BATCH = 4


@dataclass(frozen=True)
class DetectionTask:
    """A detector that learns from `train_data` and is validated on `val_data`."""

    config: Train
    train_data: Dataset
    val_data: Dataset

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.train_data.classes.names

    @property
    def count(self) -> int:
        """How many images there are to train on."""
        return len(self.train_data)

    @cached_property
    def _schedule(self) -> Schedule:
        return Schedule(self.train_data, self.config)

    def steps(self, ranks: int) -> int:
        """Steps an epoch."""
        return self._schedule.batches(ranks)

    def batches(self, start: Position, ranks: Ranks) -> Iterable[Batch]:
        """The batches of this process from `start` to the end of the run."""
        pixels = sum(s.width * s.height * 3 for s in self.train_data.samples) * max(self.config.workers, 1)
        images = TrainImages(self.train_data, self.config, cache=pixels < CACHE_BYTES)
        sampler = RunSampler(self._schedule, self.config.epochs_iters, ranks.rank, ranks.count, start)
        return make_loader(images, sampler, self.config.workers)

    def net(self, model: Network) -> nn.Module:
        """`model` from uint8 images on."""
        return TrainNet(_detector(model))

    def loss(self, model: Network, ranks: int) -> Loss:
        """The loss of a batch."""
        detector = _detector(model)
        return partial(batch_loss, loss=loss_of(detector), reg_range=detector.config.reg_range, ranks=ranks)

    def manifest(self, name: str, model: Network, made: dict[str, Any]) -> Manifest:
        """What the trained detector needs to predict."""
        return make_manifest(name, _detector(model), self.train_data, self.config, made)

    def validate(self, model: Network, manifest: AnyManifest, device: torch.device) -> Validation:
        """The figures of the network in its present state, through the `Detector` that predicts."""
        detector = Detector(manifest, TorchBackend(model, device))
        found = evaluate_detector(detector, spread(self.val_data, self.config.eval_limit), batch_size=EVAL_BATCH)
        return Validation(found.AP, {"AP": found.AP, "AP50": found.AP50}, found.to_dict())

    def check_images(self) -> list[NDArray[np.uint8]]:
        """Pictures that the exported network is checked with."""
        return first_images(self.val_data)


def spread(data: Dataset, limit: int | None) -> Dataset:
    """`data`, or `limit` of its images at even distances."""
    if limit is None or limit >= len(data):
        return data
    places = [i * len(data) // limit for i in range(limit)]
    return replace(data, samples=tuple(data.samples[i] for i in places))


def _detector(model: Network) -> DetectorNetwork:
    assert not isinstance(model, FeatureNet)
    return model
