"""Fewer layers for prediction, same numbers: what a network becomes before it is exported."""

import copy
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Fusable(Protocol):
    """A part of a network that knows a shorter form of itself for evaluation."""

    def fused(self) -> nn.Module:
        """The shorter form; it may share parts with this one, and they may be `Fusable` too."""


def fuse(model: nn.Module) -> nn.Module:
    """A copy of `model`, in evaluation mode on the CPU, in which every `Fusable` part is in its shorter form."""
    return _replaced(copy.deepcopy(model).eval().cpu())


def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias, in float64, of `conv` (which has no bias) with the BatchNorm behind it folded in."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return conv.weight.double() * gain.view(-1, 1, 1, 1), norm.bias.double() - norm.running_mean.double() * gain


def conv_like(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A float32 convolution with the stride, padding and groups of `conv`, and these weights."""
    size, stride, padding = weight.shape[-1], conv.stride, conv.padding
    made = nn.Conv2d(conv.in_channels, conv.out_channels, size, stride, padding, groups=conv.groups)  # type: ignore[arg-type]
    made.weight = nn.Parameter(weight.float(), requires_grad=False)
    made.bias = nn.Parameter(bias.float(), requires_grad=False)
    return made


def _replaced(module: nn.Module) -> nn.Module:
    if isinstance(module, Fusable):
        module = module.fused()
    for name, child in list(module.named_children()):
        setattr(module, name, _replaced(child))
    return module
