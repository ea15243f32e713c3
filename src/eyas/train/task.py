"""What differs between training a detector and training a feature network; all else of a run is shared."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyas.bundle import AnyManifest
from eyas.models import Network
from eyas.train.loader import Position
from eyas.train.losses import LossTerms
from eyas.train.metric_losses import MetricTerms
from eyas.train.ranks import Ranks

Terms = LossTerms | MetricTerms
"""Of one step: `total` to differentiate, and what it is made of."""


class Batch(Protocol):
    """`images` uint8 [B,H,W,3], and what the loss asks for beside them."""

    @property
    def images(self) -> Tensor: ...

    def to(self, device: torch.device) -> Self: ...


Loss = Callable[[nn.Module, Any], Terms]
"""Of what `Task.net` gives and a batch of that task."""


@dataclass(frozen=True)
class Validation:
    """What a validation gives: the number to maximise, the figures to tell, and everything as JSON."""

    score: float
    figures: Mapping[str, float]
    record: Mapping[str, Any]


class Task(Protocol):
    """The data of a run and what is done with it. `names` are what the network's class layer tells apart."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def count(self) -> int:
        """How many images there are to train on."""

    def steps(self, ranks: int) -> int:
        """Steps an epoch."""

    def batches(self, start: Position, ranks: Ranks) -> Iterable[Batch]:
        """The batches of this process from `start` to the end of the run."""

    def net(self, model: Network) -> nn.Module:
        """What the gradients run through: `model` from uint8 images on."""

    def loss(self, model: Network, ranks: int) -> Loss: ...

    def manifest(self, name: str, model: Network, made: dict[str, Any]) -> AnyManifest:
        """What the trained network needs to predict."""

    def validate(self, model: Network, manifest: AnyManifest, device: torch.device) -> Validation: ...

    def check_images(self) -> Sequence[NDArray[np.uint8]]:
        """Pictures that the exported network is checked with."""
