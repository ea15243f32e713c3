"""A trained network -> an ONNX file: branches fused, weights unchanged in meaning, batch size open."""

import warnings
from pathlib import Path

import torch

from eyas.models import Network
from eyas.models.fuse import fuse


def to_onnx(model: Network, size_hw: tuple[int, int], path: Path, opset: int) -> None:
    """Write `model` as ONNX: `image` float32 [B,3,H,W] -> the outputs that `model.outputs` names; B is open."""
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
            output_names=list(model.outputs),
            dynamic_axes={name: {0: "batch"} for name in ("image", *model.outputs)},
            opset_version=opset,
            dynamo=False,
        )
