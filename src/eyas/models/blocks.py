"""Building blocks shared by the detectors.

Parameter names equal those of the published PP-YOLOE weights, so a state dict maps one to one (see `weights`).
Tensor legend: B batch, C channels, H height, W width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyas.models.fuse import conv_like, fold


class BatchNorm2d(nn.BatchNorm2d):
    """BatchNorm whose running variance averages the *biased* batch variance, as the published training does.

    torch averages the unbiased one. The two differ by n / (n - 1) for n = B*H*W values a channel, which is visible
    only on tiny maps. eps 1e-5; momentum 0.1 here equals 0.9 in Paddle's convention.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.running_var is None or self.momentum is None:
            return super().forward(x)
        kept = self.running_var * (1 - self.momentum)
        out = super().forward(x)
        count = x.numel() // x.shape[1]
        # `.data`: autograd guards the buffer against changes although a training step's gradient does not read it.
        self.running_var.data.sub_(kept).mul_((count - 1) / count).add_(kept)
        return out


class ConvBN(nn.Module):
    """Convolution without bias, BatchNorm, and swish unless `act` is False. [B,C,H,W] -> [B,out,H/stride,W/stride]"""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
        self.bn = BatchNorm2d(channels_out)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        return F.silu(y, inplace=True) if self.act else y

    def fused(self) -> nn.Module:
        conv = conv_like(self.conv, *fold(self.conv, self.bn))
        return nn.Sequential(conv, nn.SiLU(inplace=True)) if self.act else conv


class RepVGG(nn.Module):
    """swish(3x3 + alpha * 1x1): two branches while training, one 3x3 convolution after `fuse`.

    `alpha` is a learnable scalar of the backbone; the neck has none. The published code skips the 1x1 branch's
    factor where alpha is exactly 0, which is a plain sum; a product with 0 is what the formula says and what is done
    here (no published weight is 0).
    """

    def __init__(self, channels: int, alpha: bool) -> None:
        super().__init__()
        self.conv1 = ConvBN(channels, channels, 3, act=False)
        self.conv2 = ConvBN(channels, channels, 1, act=False)
        self.alpha = nn.Parameter(torch.ones(1)) if alpha else None

    def forward(self, x: Tensor) -> Tensor:
        point = self.conv2(x)
        return F.silu(self.conv1(x) + (point if self.alpha is None else self.alpha * point), inplace=True)

    def fused(self) -> nn.Module:
        """3x3 + alpha * 1x1 as one 3x3: the 1x1 is a 3x3 with zeros around it."""
        weight, bias = fold(self.conv1.conv, self.conv1.bn)
        point, point_bias = fold(self.conv2.conv, self.conv2.bn)
        alpha = 1.0 if self.alpha is None else self.alpha.double()
        weight = weight + alpha * F.pad(point, (1, 1, 1, 1))
        return nn.Sequential(conv_like(self.conv1.conv, weight, bias + alpha * point_bias), nn.SiLU(inplace=True))


class BasicBlock(nn.Module):
    """3x3 ConvBN, then RepVGG; plus the input, without an activation, where `shortcut`."""

    def __init__(self, channels: int, *, shortcut: bool, alpha: bool) -> None:
        super().__init__()
        self.conv1 = ConvBN(channels, channels, 3)
        self.conv2 = RepVGG(channels, alpha)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class EffectiveSE(nn.Module):
    """x * hardsigmoid(fc(mean over H and W)). Paddle's hardsigmoid (slope 1/6, offset 0.5) is torch's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class SPP(nn.Module):
    """Max pools of 5, 9 and 13 beside the input, then a 1x1 ConvBN."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvBN(channels * 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pools = [F.max_pool2d(x, size, stride=1, padding=size // 2) for size in (5, 9, 13)]
        return self.conv(torch.cat([x, *pools], 1))


def init_conv_weights(module: nn.Module) -> None:
    """Set every convolution below `module` to N(0, 2 / fan_in), Paddle's default; BatchNorm stays at 1 and 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.weight[0].numel()
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / fan_in))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
