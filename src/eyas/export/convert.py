"""A trained detector -> an ONNX file: branches fused, weights unchanged in meaning, batch size open."""

import copy
import warnings
from pathlib import Path

import torch
from torch import nn

from eyas.models.blocks import ConvBN, RepVGG
from eyas.models.ppyoloe import PPYOLOE


def fuse(model: PPYOLOE) -> PPYOLOE:
    """A copy of `model` in evaluation mode in which every RepVGG pair is one convolution, in float64 and back."""
    fused = copy.deepcopy(model).eval().cpu()
    for parent in list(fused.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RepVGG):
                setattr(parent, name, _fuse_rep(child))
            elif isinstance(child, ConvBN) and not isinstance(parent, RepVGG):
                conv = _with_bias(child)
                setattr(parent, name, nn.Sequential(conv, nn.SiLU(inplace=True)) if child.act else conv)
    return fused


def to_onnx(model: PPYOLOE, size_hw: tuple[int, int], path: Path, opset: int) -> None:
    """Write `model` as ONNX: `image` float32 [B,3,H,W] -> `scores` [B,C,L], `distances` [B,L,4]; B is open."""
    network = fuse(model)
    image = torch.zeros(1, 3, *size_hw)
    with warnings.catch_warnings():
        # The tracing exporter is announced as old; it is exact here and ten times faster than its successor.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (image,),
            str(path),
            input_names=["image"],
            output_names=["scores", "distances"],
            dynamic_axes={name: {0: "batch"} for name in ("image", "scores", "distances")},
            opset_version=opset,
            dynamo=False,
        )


def _folded(block: ConvBN) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias (float64) of a convolution with its BatchNorm folded in."""
    bn = block.bn
    assert bn.running_mean is not None and bn.running_var is not None
    gain = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
    weight = block.conv.weight.double() * gain.view(-1, 1, 1, 1)
    return weight, bn.bias.double() - bn.running_mean.double() * gain


def _conv(like: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor) -> nn.Conv2d:
    conv = nn.Conv2d(like.in_channels, like.out_channels, weight.shape[-1], like.stride, like.padding)  # type: ignore[arg-type]
    conv.weight = nn.Parameter(weight.float(), requires_grad=False)
    conv.bias = nn.Parameter(bias.float(), requires_grad=False)
    return conv


def _with_bias(block: ConvBN) -> nn.Conv2d:
    return _conv(block.conv, *_folded(block))


def _fuse_rep(block: RepVGG) -> nn.Sequential:
    """3x3 + alpha * 1x1 as one 3x3: the 1x1 is a 3x3 with zeros around it."""
    weight, bias = _folded(block.conv1)
    point, point_bias = _folded(block.conv2)
    alpha = 1.0 if block.alpha is None else block.alpha.double()
    weight = weight + alpha * nn.functional.pad(point, (1, 1, 1, 1))
    return nn.Sequential(_conv(block.conv1.conv, weight, bias + alpha * point_bias), nn.SiLU(inplace=True))
