"""CSPPAN: the neck of PicoDet, a PAN of depthwise separable CSP stages with one level above the backbone's.

Tensor legend: B batch, C channels, H height, W width.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyas.models.blocks import BatchNorm2d
from eyas.models.lcnet import ConvChain, conv_bn

KERNEL = 5


class MatchedChannels(nn.Module):
    """Maps of different widths -> maps of one width, by a 1x1 convolution each."""

    def __init__(self, channels_in: Sequence[int], channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv_bn(c, channels, 1) for c in channels_in)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [conv(x) for conv, x in zip(self.convs, maps, strict=True)]


class CSPLayer(nn.Module):
    """Mixes two maps of `channels` each, half of it through a separable convolution. [B,2C,H,W] -> [B,C,H,W]"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = channels // 2
        self.main_conv = conv_bn(2 * channels, middle, 1)
        self.short_conv = conv_bn(2 * channels, middle, 1)
        self.blocks = nn.Sequential(
            nn.Sequential(OrderedDict(conv1=conv_bn(middle, middle, 1), conv2=separable(middle, stride=1)))
        )
        self.final_conv = conv_bn(2 * middle, channels, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        x = torch.cat([first, second], 1)
        mixed: Tensor = self.final_conv(torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], 1))
        return mixed


class CSPPAN(nn.Module):
    """Maps of the backbone, fine to coarse, -> mixed maps of `channels` each, fine to coarse, and one more of half
    the coarsest size."""

    def __init__(self, channels_in: Sequence[int], channels: int) -> None:
        super().__init__()
        steps = len(channels_in) - 1
        self.conv_t = MatchedChannels(channels_in, channels)
        self.top_down_blocks = nn.ModuleList(CSPLayer(channels) for _ in range(steps))
        self.downsamples = nn.ModuleList(separable(channels, stride=2) for _ in range(steps))
        self.bottom_up_blocks = nn.ModuleList(CSPLayer(channels) for _ in range(steps))
        self.first_top_conv = separable(channels, stride=2)
        self.second_top_conv = separable(channels, stride=2)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        matched = self.conv_t(maps)
        down = [matched[-1]]  # coarse to fine
        for mix, x in zip(self.top_down_blocks, matched[-2::-1], strict=True):
            down.append(mix(F.interpolate(down[-1], scale_factor=2.0, mode="nearest"), x))
        up = [down[-1]]  # fine to coarse
        for shrink, mix, x in zip(self.downsamples, self.bottom_up_blocks, down[-2::-1], strict=True):
            up.append(mix(shrink(up[-1]), x))
        # The extra level sees the backbone's coarsest map from before the mixing and the neck's from after it.
        return [*up, self.first_top_conv(matched[-1]) + self.second_top_conv(up[-1])]


def separable(channels: int, stride: int) -> ConvChain:
    """Depthwise 5x5 and 1x1 convolution, BatchNorm and hardswish after each. [B,C,H,W] -> [B,C,H/stride,W/stride]"""
    depthwise = nn.Conv2d(channels, channels, KERNEL, stride, KERNEL // 2, groups=channels, bias=False)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        dwconv=depthwise,
        bn1=BatchNorm2d(channels),
        act1=nn.Hardswish(inplace=True),
        pwconv=nn.Conv2d(channels, channels, 1, bias=False),
        bn2=BatchNorm2d(channels),
        act2=nn.Hardswish(inplace=True),
    )
    return ConvChain(layers)
