"""The losses that make features: pictures of one thing close together, of different things apart.

Tensor legend: B images, D features, K classes. Everything is computed in float32.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

RANK_MARGIN = 0.5
NEAR_COSINE, FAR_COSINE, ABSOLUTE_WEIGHT = 0.8, 0.4, 0.1
"""How near the same thing and how far other things should be, and how much that counts beside the ranking."""


@dataclass(frozen=True)
class MetricTerms:
    """Scalars float32. `total` carries the gradient; `cls` and `triplet` are its detached terms."""

    total: Tensor
    cls: Tensor
    triplet: Tensor


@dataclass(frozen=True)
class Mixture:
    """What else the images show: labels [B] int64, and how much of each image that is, [B] float32 from 0 to 1."""

    labels: Tensor
    shares: Tensor


def metric_loss(
    features: Tensor,
    logits: Tensor,
    labels: Tensor,
    *,
    smoothing: float = 0.0,
    triplet: bool = False,
    mixture: Mixture | None = None,
) -> MetricTerms:
    """Cross entropy of the logits [B,K], plus the triplet loss of the features [B,D] where `triplet`.

    The published PP-ShiTuV2_rec was trained with smoothing 0.1 and the triplet loss, the CLIP networks with neither.
    `smoothing` e: the target is 1 - e at the true class plus e / K everywhere. Of a `mixture` the entropies
    of both labels count by their shares (Yun et al. 2019). Safe under autocast.
    """
    with torch.autocast(logits.device.type, enabled=False):
        cls = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing, reduction="none")
        if mixture is not None:
            other = F.cross_entropy(logits.float(), mixture.labels, label_smoothing=smoothing, reduction="none")
            cls = torch.lerp(cls, other, mixture.shares)
        cls = cls.mean()
        pairs = triplet_angular_margin(features, labels) if triplet else torch.zeros_like(cls)
        return MetricTerms(cls + pairs, cls.detach(), pairs.detach())


def triplet_angular_margin(features: Tensor, labels: Tensor) -> Tensor:
    """Mean over the images of the loss of each one's hardest pair, by cosines between the features [B,D].

    With p the smallest cosine to an image of the same class (itself included: 1 where it is the only one) and n the
    largest to one of another class: max(0, n - p + 0.5) + 0.1 (max(0, 0.8 - p) + max(0, n - 0.4)). An image without
    one of another class in the batch has no terms with n. (The published code counts 1 for an n that is far enough;
    the gradient is the same.)
    """
    with torch.autocast(features.device.type, enabled=False):
        unit = F.normalize(features.float(), dim=1)
        cosine = unit @ unit.T
        same = labels[:, None] == labels
        near = cosine.masked_fill(~same, torch.inf).amin(1)
        far = cosine.masked_fill(same, -torch.inf).amax(1)
        ranking = F.relu(far - near + RANK_MARGIN)
        absolute = F.relu(NEAR_COSINE - near) + F.relu(far - FAR_COSINE)
        return (ranking + ABSOLUTE_WEIGHT * absolute).mean()
