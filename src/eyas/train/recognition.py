"""What training a feature network means: the loss of a batch, the manifest of the result, and its validation."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyas.bundle import AnyManifest, EmbeddingManifest
from eyas.evaluate.features import retrieval_of
from eyas.export.run import first_pictures
from eyas.models import Network
from eyas.models.backend import TorchBackend
from eyas.models.published import normalised
from eyas.models.recognition import FeatureNet
from eyas.pipelines.embedder import Embedder
from eyas.schema import Features, Train
from eyas.train.datasets import LabelledParts
from eyas.train.loader import Position, RunSampler, make_loader
from eyas.train.metric_losses import MetricTerms, Mixture, metric_loss
from eyas.train.pictures import PictureBatch, PictureSchedule, TrainPictures, collate
from eyas.train.ranks import Ranks
from eyas.train.task import Loss, Validation
from eyas.vision.preprocess import Preprocess

EVAL_BATCH = 16


class TrainNet(nn.Module):
    """uint8 images [B,H,W,3] and labels [B] -> features [B,D] and logits [B,K]; its own module, since DDP hooks
    `forward`. `alpha` and `beta` normalise the pixels as prediction does."""

    alpha: Tensor
    beta: Tensor

    def __init__(self, model: FeatureNet, alpha: tuple[float, ...], beta: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        device = next(model.parameters()).device
        for name, values in (("alpha", alpha), ("beta", beta)):
            self.register_buffer(name, torch.tensor(values, device=device).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.forward_train(images.permute(0, 3, 1, 2).float() * self.alpha + self.beta, labels)


@dataclass(frozen=True)
class RecognitionTask:
    """A feature network that learns the labels of `parts.train` and is validated by search in `parts.gallery`."""

    config: Train
    parts: LabelledParts

    @property
    def names(self) -> tuple[str, ...]:
        """The labels of the class layer."""
        return self.parts.train.labels.names

    @property
    def count(self) -> int:
        """How many pictures there are to train on."""
        return len(self.parts.train)

    @property
    def _preprocess(self) -> Preprocess:
        preprocess = normalised(self.config.input_size)
        return replace(preprocess, interpolation="area") if self.config.pictures.smooth else preprocess

    @cached_property
    def _schedule(self) -> PictureSchedule:
        return PictureSchedule(self.parts.train, self.config)

    def steps(self, ranks: int) -> int:
        """Steps an epoch."""
        return self._schedule.batches(ranks)

    def batches(self, start: Position, ranks: Ranks) -> Iterable[PictureBatch]:
        """The batches of this process from `start` to the end of the run."""
        sampler = RunSampler(self._schedule, self.config.epochs_iters, ranks.rank, ranks.count, start)
        return make_loader(TrainPictures(self.parts.train, self.config), sampler, self.config.workers, collate)

    def net(self, model: Network) -> nn.Module:
        """`model` from uint8 images on."""
        return TrainNet(_feature_net(model), self._preprocess.alpha, self._preprocess.beta)

    def loss(self, model: Network, ranks: int) -> Loss:
        """The loss of a batch: each process has its own, and their gradients are averaged."""
        features = self.config.features
        return lambda net, batch: batch_loss(net, batch, features)

    def manifest(self, name: str, model: Network, made: dict[str, Any]) -> EmbeddingManifest:
        """What the trained network needs to predict."""
        width = _feature_net(model).width
        return EmbeddingManifest(model=name, preprocess=self._preprocess, width=width, made=made)

    def validate(self, model: Network, manifest: AnyManifest, device: torch.device) -> Validation:
        """The figures of the network in its present state, through the `Embedder` that predicts."""
        queries, limit = self.parts.queries, self.config.eval_limit
        if limit is not None and limit < len(queries):
            queries = queries.take([i * len(queries) // limit for i in range(limit)])
        found = retrieval_of(Embedder(manifest, TorchBackend(model, device)), self.parts.gallery, queries, EVAL_BATCH)
        figures = {"recall1": found.recall1, "recall5": found.recall5, "mAP": found.mAP}
        return Validation(found.recall1, figures, found.to_dict())

    def check_images(self) -> list[NDArray[np.uint8]]:
        """Pictures that the exported network is checked with."""
        return first_pictures(self.parts.queries)


def batch_loss(net: nn.Module, batch: PictureBatch, settings: Features) -> MetricTerms:
    """The loss terms of one batch."""
    features, logits = net(batch.images, batch.labels)
    return metric_loss(
        features,
        logits,
        batch.labels,
        smoothing=settings.label_smoothing,
        triplet=settings.triplet,
        mixture=Mixture(batch.others, batch.shares),
    )


def _feature_net(model: Network) -> FeatureNet:
    assert isinstance(model, FeatureNet)
    return model
