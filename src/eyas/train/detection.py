"""What training a detector means: the loss of a batch, the manifest of the result, and its validation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from eyas.bundle import Manifest
from eyas.data.sample import Dataset
from eyas.evaluate.detection import evaluate_detector
from eyas.metrics.detection import DetectionMetrics
from eyas.models import DetectorNetwork
from eyas.models.backend import TorchBackend
from eyas.models.picodet import PicoDet
from eyas.models.published import PICODET_HEAD
from eyas.pipelines.detector import Detector
from eyas.schema import Train
from eyas.train.assign import Targets, anchors_inside
from eyas.train.loader import Batch
from eyas.train.losses import LossTerms, detection_loss
from eyas.train.picodet_loss import picodet_loss
from eyas.vision.decode import HeadSpec
from eyas.vision.preprocess import Preprocess

Loss = Callable[
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


def loss_of(model: DetectorNetwork) -> Loss:
    """The loss that the network is trained with."""
    return picodet_loss if isinstance(model, PicoDet) else detection_loss


def batch_loss(net: nn.Module, batch: Batch, loss: Loss, reg_range: tuple[int, int], ranks: int) -> LossTerms:
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


def validate(model: DetectorNetwork, manifest: Manifest, data: Dataset, device: torch.device) -> DetectionMetrics:
    """Metrics of the network in its present state on `data`, through the `Detector` that predicts."""
    detector = Detector(manifest, TorchBackend(model, device))
    return evaluate_detector(detector, data, batch_size=4)
