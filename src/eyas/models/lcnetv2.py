"""PP-LCNetV2, the backbone of PP-ShiTuV2_rec: depthwise-separable blocks that train with parallel kernels.

Parameter names equal those of the published weights. The feature network's variant of it: the last stage keeps its
resolution, and the last convolution has a bias and no activation.
Tensor legend: B batch, C channels, H height, W width, D features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyas.models.blocks import BatchNorm2d, init_conv_weights
from eyas.models.fuse import conv_like, fold


@dataclass(frozen=True)
class LCNetConfig:
    """The shape of one network. `dropout` belongs to it: evaluation multiplies the features by 1 - dropout."""

    scale: float = 1.0
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)
    features: int = 512
    dropout: float = 0.2


@dataclass(frozen=True)
class Stage:
    """What the blocks of a stage have. `channels` come in and twice as many go out, both before the scale."""

    channels: int
    kernel: int
    stride: int
    branches: bool = False
    gate: bool = False
    split: bool = False
    shortcut: bool = False


STAGES = (
    Stage(64, kernel=3, stride=2),
    Stage(128, kernel=3, stride=2),
    Stage(256, kernel=5, stride=2, branches=True, gate=True, split=True),
    Stage(512, kernel=5, stride=1, branches=True, shortcut=True),
)
STEM = Stage(32, kernel=3, stride=1)


class ConvReLU(nn.Module):
    """Convolution without bias, BatchNorm, and ReLU unless `act` is False. [B,C,H,W] -> [B,out,H/stride,W/stride]"""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = BatchNorm2d(channels_out)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        return F.relu(y, inplace=True) if self.act else y

    def fused(self) -> nn.Module:
        conv = conv_like(self.conv, *fold(self.conv, self.bn))
        return nn.Sequential(conv, nn.ReLU(inplace=True)) if self.act else conv


class Branches(nn.ModuleList):
    """ReLU of the sum of depthwise convolutions of sizes `kernel`, `kernel` - 2, ..., 1; one convolution when fused.

    A 1x1 with a stride would skip most of the map, so it is left out there.
    """

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        sizes = [size for size in range(kernel, 0, -2) if size > 1 or stride == 1]
        super().__init__(ConvReLU(channels, channels, size, stride, groups=channels, act=False) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self
        y = first(x)
        for branch in others:
            y = y + branch(x)
        return F.relu(y, inplace=True)

    def fused(self) -> nn.Module:
        """The small kernels are large ones with zeros around them."""
        first, *others = (branch for branch in self if isinstance(branch, ConvReLU))
        weight, bias = fold(first.conv, first.bn)
        for branch in others:
            part, part_bias = fold(branch.conv, branch.bn)
            border = (weight.shape[-1] - part.shape[-1]) // 2
            weight, bias = weight + F.pad(part, (border, border, border, border)), bias + part_bias
        return nn.Sequential(conv_like(first.conv, weight, bias), nn.ReLU(inplace=True))


class SqueezeExcite(nn.Module):
    """x * sigmoid(conv2(relu(conv1(mean over H and W)))). The published code calls this sigmoid "hardsigmoid"."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 4, 1)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.conv2(F.relu(self.conv1(x.mean((2, 3), keepdim=True)))))


class Block(nn.Module):
    """Depthwise, gate, pointwise (in one step or by way of half the channels); plus the input where it fits."""

    def __init__(self, stage: Stage, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.stage = stage
        if stage.branches:
            self.dw_conv_list = Branches(channels_in, stage.kernel, stride)
        else:
            self.dw_conv = ConvReLU(channels_in, channels_in, stage.kernel, stride, groups=channels_in)
        self.se = SqueezeExcite(channels_in) if stage.gate else nn.Identity()
        if stage.split:
            self.pw_conv_1 = ConvReLU(channels_in, channels_out // 2, 1)
            self.pw_conv_2 = ConvReLU(channels_out // 2, channels_out, 1)
        else:
            self.pw_conv = ConvReLU(channels_in, channels_out, 1)
        self.shortcut = stage.shortcut and stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.se(self.dw_conv_list(x) if self.stage.branches else self.dw_conv(x))
        y = self.pw_conv_2(self.pw_conv_1(y)) if self.stage.split else self.pw_conv(y)
        return x + y if self.shortcut else y


class FadingDropout(nn.Module):
    """Dropout that does not scale up what it keeps; evaluation multiplies by 1 - p instead.

    `nn.Dropout` is the other convention: with it, published weights give features 1.25 times too large.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        keep = 1.0 - self.p
        return x * torch.bernoulli(torch.full_like(x, keep)) if self.training else x * keep


class PPLCNetV2(nn.Module):
    """Images [B,3,H,W] -> one vector for each [B,D]. H and W may be of any size."""

    def __init__(self, config: LCNetConfig) -> None:
        super().__init__()
        stem = _width(STEM.channels, config.scale)
        block = Block(STEM, stem, _width(2 * STEM.channels, config.scale), STEM.stride)
        self.stem = nn.Sequential(ConvReLU(3, stem, 3, stride=2), block)
        self.stages = nn.ModuleList(
            nn.Sequential(*_blocks(stage, depth, config.scale))
            for stage, depth in zip(STAGES, config.depths, strict=True)
        )
        self.last_conv = nn.Conv2d(_width(2 * STAGES[-1].channels, config.scale), config.features, 1)
        self.dropout = FadingDropout(config.dropout)
        init_conv_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        x = self.last_conv(x.mean((2, 3), keepdim=True))
        return self.dropout(x).flatten(1)


def _blocks(stage: Stage, depth: int, scale: float) -> list[Block]:
    """The first block of a stage widens and takes its stride, the others keep size and width."""
    before, after = _width(stage.channels, scale), _width(2 * stage.channels, scale)
    return [Block(stage, before if i == 0 else after, after, stage.stride if i == 0 else 1) for i in range(depth)]


def _width(channels: int, scale: float) -> int:
    """The multiple of 8 nearest to `channels` * `scale`, at least 8 and not more than 10 % below it."""
    wanted = channels * scale
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded
