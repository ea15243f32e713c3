"""PicoDet (Yu et al. 2021) as PP-ShiTuV2 uses it to find the main bodies of a picture: backbone, neck and head.

Tensor legend: B batch, C classes, L anchors over all levels (stride 8 first, row-major cells), n bins a side.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from eyas.models.blocks import BatchNorm2d, init_conv_weights
from eyas.models.lcnet import ConvChain, LCNet
from eyas.models.picopan import CSPPAN, KERNEL
from eyas.models.ppyoloe import anchor_grid

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's RGB values, in 0..1."""

HEAD_CONVS = 4


@dataclass(frozen=True)
class PicoDetConfig:
    """The shape of one network. `reg_range` holds the first distance bin and one past the last, in strides."""

    width: float = 2.5
    neck_channels: int = 128
    reg_range: tuple[int, int] = (0, 8)
    strides: tuple[int, ...] = (8, 16, 32, 64)


class PicoOutput(NamedTuple):
    """What training needs: class logits [B,L,C], side-major distance logits [B,L,4n], anchor centres [L,2] (x, y) in
    grid units of their level, and strides [L,1] in pixels."""

    cls_logits: Tensor
    reg_logits: Tensor
    anchors: Tensor
    strides: Tensor


class PicoFeat(nn.Module):
    """The convolutions of the head: of each level its own, 5x5 depthwise and 1x1 in turn. [B,C,H,W] -> [B,C,H,W]"""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        for level in range(levels):
            depthwise = (_conv_norm(channels, KERNEL, groups=channels) for _ in range(HEAD_CONVS))
            pointwise = (_conv_norm(channels, 1, groups=1) for _ in range(HEAD_CONVS))
            self.add_module(f"cls_conv_dw{level}", nn.ModuleList(depthwise))
            self.add_module(f"cls_conv_pw{level}", nn.ModuleList(pointwise))

    def forward(self, x: Tensor, level: int) -> Tensor:
        depthwise, pointwise = getattr(self, f"cls_conv_dw{level}"), getattr(self, f"cls_conv_pw{level}")
        for across, mix in zip(depthwise, pointwise, strict=True):
            x = mix(across(x))
        return x


class DistanceBins(nn.Module):
    """Distance logits [B,4n,H,W] of one level -> expected distances [B,H*W,4] in strides (l, t, r, b)."""

    project: Tensor

    def __init__(self, bins: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("project", torch.arange(*bins, dtype=torch.float32))

    def forward(self, reg: Tensor) -> Tensor:
        logits = reg.permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (4, len(self.project)))
        return (logits.softmax(-1) * self.project).sum(-1)


class PicoHead(nn.Module):
    """Per level: class logits [B,C,H,W] and distance logits [B,4n,H,W], from one convolution in that order."""

    def __init__(self, channels: int, num_classes: int, levels: int, bins: tuple[int, int]) -> None:
        super().__init__()
        self.split = (num_classes, 4 * (bins[1] - bins[0]))
        self.conv_feat = PicoFeat(channels, levels)
        self.distribution_project = DistanceBins(bins)
        for level in range(levels):
            self.add_module(f"head_cls{level}", nn.Conv2d(channels, sum(self.split), 1))
            # A published scalar that nothing reads: kept so that every tensor of the weights has its place.
            unused = nn.Module()
            unused.register_buffer("scale_reg", torch.ones(1))
            self.add_module(f"p{level + 3}_feat", unused)
        self._reset()

    def _reset(self) -> None:
        """Weights N(0, 0.01); scores start at 0.01 and, by the same bias -log 99, distances at a flat distribution."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, 0.01)
                if layer.bias is not None:
                    nn.init.constant_(layer.bias, -4.59511985)

    def forward(self, maps: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        levels = []
        for i, x in enumerate(maps):
            cls, reg = getattr(self, f"head_cls{i}")(self.conv_feat(x, i)).split(self.split, 1)
            levels.append((cls, reg))
        return levels


class PicoDet(nn.Module):
    """Images float32 [B,3,H,W], RGB, values 0..255, H and W multiples of 32 -> scores and distances.

    `forward` gives what prediction needs: scores [B,C,L] and distances [B,L,4] in strides (left, top, right, bottom
    of the anchor centre), see `eyas.vision.decode`. `forward_train` gives `PicoOutput`. Mean and deviation of ImageNet
    are taken off inside.
    """

    outputs = ("scores", "distances")
    alpha: Tensor
    beta: Tensor

    def __init__(self, config: PicoDetConfig, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.backbone = LCNet(config.width)
        self.neck = CSPPAN(self.backbone.channels, config.neck_channels)
        init_conv_weights(self)
        self.head = PicoHead(config.neck_channels, num_classes, len(config.strides), config.reg_range)
        mean, std = torch.tensor(PIXEL_MEAN).view(3, 1, 1), torch.tensor(PIXEL_STD).view(3, 1, 1)
        self.register_buffer("alpha", 1 / 255 / std, persistent=False)
        self.register_buffer("beta", -mean / std, persistent=False)

    def levels(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Class and distance logits of each level, fine to coarse."""
        maps = self.neck(self.backbone(images * self.alpha + self.beta))
        levels: list[tuple[Tensor, Tensor]] = self.head(maps)
        return levels

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        levels = self.levels(images)
        scores = torch.cat([cls.flatten(2) for cls, _ in levels], 2).sigmoid()
        distances = torch.cat([self.head.distribution_project(reg) for _, reg in levels], 1)
        return scores, distances

    def forward_train(self, images: Tensor) -> PicoOutput:
        levels = self.levels(images)
        cls = torch.cat([cls.flatten(2) for cls, _ in levels], 2).transpose(1, 2).float()
        reg = torch.cat([reg.flatten(2) for _, reg in levels], 2).transpose(1, 2).float()
        anchors, strides = anchor_grid([cls.shape[-2:] for cls, _ in levels], self.config.strides)
        return PicoOutput(cls, reg, anchors.to(reg), strides.to(reg))


def _conv_norm(channels: int, kernel: int, groups: int) -> ConvChain:
    conv = nn.Conv2d(channels, channels, kernel, 1, kernel // 2, groups=groups, bias=False)
    return ConvChain(OrderedDict(conv=conv, norm=BatchNorm2d(channels), act=nn.Hardswish(inplace=True)))
