"""A torch network as a `Backend`: validation, evaluation, the export check and prediction run the same code."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from eyas.bundle import AnyManifest, manifest_from_dict
from eyas.errors import ModelError
from eyas.models import Network, build
from eyas.models.files import read_tensors
from eyas.models.published import num_classes, open_published
from eyas.models.recognition import FeatureNet
from eyas.models.weights import from_published, load_state
from eyas.paddle.pickles import read_pdparams

log = logging.getLogger(__name__)

N = TypeVar("N", bound=Network)


class TorchBackend:
    """A `Backend` over a network in evaluation mode. The returned arrays belong to the caller."""

    def __init__(self, model: Network, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._model = model.eval().to(self._device)

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """`image` float32 [B,3,H,W] -> the outputs that the network names, float32."""
        images = torch.from_numpy(inputs["image"]).to(self._device)
        with torch.inference_mode():
            found = self._model(images.contiguous(memory_format=torch.channels_last))
        values = found if isinstance(found, tuple) else (found,)
        return {name: value.float().cpu().numpy() for name, value in zip(self._model.outputs, values, strict=True)}


def in_channels_last(model: N) -> N:
    """`model` with its weights laid out channels last, which makes convolutions on CPUs about 30 % faster."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def open_weights(
    path: Path, name: str | None = None, classes: Sequence[str] | None = None
) -> tuple[Network, AnyManifest]:
    """The network of a weights file and what it needs to predict.

    A `best_model.safetensors` says that itself. For Paddle's `.pdparams`, `name` is the network (None: the published
    one that fits) and `classes` what it finds (None: what the published one does).
    Raises ModelError where the file is neither, or not of that network.
    """
    if path.suffix == ".pdparams":
        model, manifest = open_published(path, name, classes)
        return in_channels_last(model), manifest
    file = read_tensors(path)
    if "manifest" not in file.state:
        raise ModelError(
            f"{path} holds tensors but not what they are: its header has no eyas manifest. Expected a "
            "best_model.safetensors of `eyas train`."
        )
    manifest = manifest_from_dict(file.state["manifest"])
    model = build(manifest.model, num_classes(manifest.model, file.tensors) or 1)
    load_state(model, file.tensors, str(path))
    return in_channels_last(model), manifest


def load_pretrained(model: Network, path: Path) -> None:
    """Start `model` from the weights in the file `path`, eyas' own or Paddle's.

    Only the class layers may differ, where the number of classes does. Raises ModelError where anything else differs.
    """
    paddle = path.suffix == ".pdparams"
    tensors = from_published(read_pdparams(path)) if paddle else dict(read_tensors(path).tensors)
    own = model.state_dict()
    heads = ("head.",) if isinstance(model, FeatureNet) else (".pred_cls.", "head.head_cls")
    fresh = tuple(
        name for name in own if any(part in name for part in heads) and name in tensors
        and tensors[name].shape != own[name].shape
    )  # fmt: skip
    tensors.update({name: own[name] for name in fresh})
    load_state(model, tensors, str(path))
    log.info("starting from %s%s", path, f"; fresh: {', '.join(fresh)}" if fresh else "")
