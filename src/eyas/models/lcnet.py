"""LCNet (Cui et al. 2021): the backbone of PicoDet, a chain of depthwise separable convolutions.

Every block is an `nn.Sequential` whose children carry the published names. Tensor legend: B batch, C channels, H
height, W width.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from eyas.models.blocks import BatchNorm2d
from eyas.models.fuse import conv_like, fold

STEM = 16
BLOCKS2 = ((3, 32, 1),)
BLOCKS3 = ((3, 64, 2), (3, 64, 1))
BLOCKS4 = ((3, 128, 2), (3, 128, 1))
BLOCKS5 = ((3, 256, 2), *((5, 256, 1),) * 5)
BLOCKS6 = ((5, 512, 2), (5, 512, 1))
"""Kernel, output channels before the width factor, and stride of each block of a stage."""


class ConvChain(nn.Sequential):
    """Convolutions without bias, a BatchNorm behind each, and activations; the BatchNorms are folded in by `fused`."""

    def fused(self) -> nn.Module:
        layers: list[nn.Module] = []
        for layer in self:
            if isinstance(layer, nn.BatchNorm2d):
                conv = layers.pop()
                assert isinstance(conv, nn.Conv2d)
                layer = conv_like(conv, *fold(conv, layer))
            layers.append(layer)
        return nn.Sequential(*layers)


class SqueezeExcite(nn.Module):
    """x * hardsigmoid(conv2(relu(conv1(mean over H and W)))), with a quarter of the channels between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 4, 1)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.relu(self.conv1(x.mean((2, 3), keepdim=True)), inplace=True)
        return x * F.hardsigmoid(self.conv2(pooled))


class LCNet(nn.Module):
    """Images [B,3,H,W] -> maps at strides 8, 16 and 32; `channels` gives their widths."""

    def __init__(self, width: float) -> None:
        super().__init__()
        stem = _scaled(STEM, width)
        self.conv1 = conv_bn(3, stem, 3, stride=2)
        self.blocks2 = _stage(stem, BLOCKS2, width)
        self.blocks3 = _stage(_scaled(BLOCKS2[-1][1], width), BLOCKS3, width)
        self.blocks4 = _stage(_scaled(BLOCKS3[-1][1], width), BLOCKS4, width)
        self.blocks5 = _stage(_scaled(BLOCKS4[-1][1], width), BLOCKS5, width)
        self.blocks6 = _stage(_scaled(BLOCKS5[-1][1], width), BLOCKS6, width, gated=True)
        self.channels = tuple(_scaled(stage[-1][1], width) for stage in (BLOCKS4, BLOCKS5, BLOCKS6))

    def forward(self, x: Tensor) -> list[Tensor]:
        stride_8 = self.blocks4(self.blocks3(self.blocks2(self.conv1(x))))
        stride_16 = self.blocks5(stride_8)
        return [stride_8, stride_16, self.blocks6(stride_16)]


def conv_bn(channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> ConvChain:
    """Convolution without bias, BatchNorm, hardswish. [B,in,H,W] -> [B,out,ceil(H/stride),ceil(W/stride)]"""
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return ConvChain(OrderedDict(conv=conv, bn=BatchNorm2d(channels_out), act=nn.Hardswish(inplace=True)))


def _stage(channels: int, blocks: Sequence[tuple[int, int, int]], width: float, gated: bool = False) -> nn.Sequential:
    """Blocks of a depthwise convolution, a gate between where `gated`, and a 1x1 convolution."""
    stage = nn.Sequential()
    for kernel, full_width, stride in blocks:
        block = nn.Sequential(OrderedDict(dw_conv=conv_bn(channels, channels, kernel, stride, groups=channels)))
        if gated:
            block.add_module("se", SqueezeExcite(channels))
        block.add_module("pw_conv", conv_bn(channels, _scaled(full_width, width), 1))
        channels = _scaled(full_width, width)
        stage.append(block)
    return stage


def _scaled(channels: int, width: float) -> int:
    """`channels` * `width`, rounded to a multiple of 8 that is not more than 10 % below."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded
