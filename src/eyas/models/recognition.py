"""Feature networks: a picture -> a vector; pictures of the same thing -> vectors in nearly the same direction.

Tensor legend: B batch, D features, K classes (known things that the network is trained to tell apart).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyas.models.blocks import BatchNorm2d
from eyas.models.lcnetv2 import LCNetConfig, PPLCNetV2
from eyas.models.vit import ViT, ViTConfig

ARC_MARGIN, ARC_SCALE = 0.2, 30.0
"""The angle in radians and the factor of `ArcMarginHead`, as the published weights were trained."""


class BNNeck(nn.Module):
    """BatchNorm between the space where distances are trained and the class layer (Luo et al. 2019). [B,D] -> [B,D]

    Its bias is not trained, so the directions stay centred.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.feat_bn = BatchNorm2d(features)
        self.feat_bn.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.feat_bn(x[:, :, None, None]).flatten(1)


class LinearNeck(nn.Module):
    """One linear layer with bias. [B,D] -> [B,D]"""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.fc = nn.Linear(features, features)
        nn.init.xavier_uniform_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class LinearHead(nn.Module):
    """Class logits [B,K] of features [B,D], without bias. The labels do not matter to it."""

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(features, num_classes, bias=False)
        nn.init.normal_(self.fc.weight, std=0.001)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.fc(features)


class ArcMarginHead(nn.Module):
    """Cosines [B,K] between features [B,D] and one direction a class; with labels [B], the logits of ArcFace.

    ArcFace (Deng et al. 2019): the angle to the true class is made larger by a margin m, and all cosines are
    multiplied by a scale. Where the angle plus m would pass half a turn, cos - m sin(m) keeps the logit falling.
    """

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, features))
        nn.init.xavier_normal_(self.weight)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        # In float32 even under autocast: the margin is a small difference between numbers close to 1.
        with torch.autocast(features.device.type, enabled=False):
            cosine = F.linear(F.normalize(features.float(), dim=1), F.normalize(self.weight.float(), dim=1))
            if labels is None:
                return cosine
            rows = torch.arange(len(labels), device=labels.device)
            true = cosine[rows, labels]
            sine = (1.0 - true.square() + 1e-6).sqrt()
            turned = true * math.cos(ARC_MARGIN) - sine * math.sin(ARC_MARGIN)
            fallback = true - ARC_MARGIN * math.sin(ARC_MARGIN)
            wanted = torch.where(true > -math.cos(ARC_MARGIN), turned, fallback)
            return cosine.index_put((rows, labels), wanted) * ARC_SCALE


class FeatureNet(nn.Module):
    """Images float32 [B,3,H,W], normalised -> features [B,D], not normalised: their direction is what counts.

    `forward` gives the features; `forward_train` the features and the class logits that the losses need.
    `width` is D.
    """

    outputs = ("features",)

    def __init__(self, backbone: nn.Module, neck: nn.Module, head: LinearHead | ArcMarginHead, width: int) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head
        self.width = width

    def forward(self, images: Tensor) -> Tensor:
        return self.neck(self.backbone(images))

    def forward_train(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B,D] and logits [B,K] for images of the classes `labels` [B] (int64, 0 to K - 1)."""
        features = self(images)
        return features, self.head(features, labels)

    def fused(self) -> nn.Module:
        """The network without its class layer, which prediction does not use."""
        return nn.Sequential(self.backbone, self.neck)


def lcnet_features(config: LCNetConfig, num_classes: int) -> FeatureNet:
    """PP-LCNetV2, BNNeck and a linear class layer: PP-ShiTuV2_rec."""
    features = config.features
    return FeatureNet(PPLCNetV2(config), BNNeck(features), LinearHead(features, num_classes), features)


def vit_features(config: ViTConfig, num_classes: int) -> FeatureNet:
    """A vision transformer, a linear neck and ArcFace: PP-ShiTuV2_rec_CLIP_vit_base and _large."""
    features = config.features
    return FeatureNet(ViT(config), LinearNeck(features), ArcMarginHead(features, num_classes), features)
