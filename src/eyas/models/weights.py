"""State-dict names of the published weights, and strict loading.

Published (Paddle) names differ from ours in two ways: BatchNorm statistics are called `_mean` and `_variance`, and
linear weights are stored [in, out] where torch has [out, in]. In all published networks a linear weight is what is
called `weight` and has two dimensions. Files of PP-LCNetV2 also hold, beside the parallel depthwise kernels, a merged
one (`dw_conv.weight`, `dw_conv.bias`) which the published code overwrites before it is first used. Ours leaves it out.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyas.errors import ModelError

_SUFFIXES = {"._mean": ".running_mean", "._variance": ".running_var"}


def from_published(arrays: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """Published names and layouts -> ours."""
    state = {}
    for name, array in arrays.items():
        if _is_overwritten(name, arrays):
            continue
        for theirs, ours in _SUFFIXES.items():
            name = name.removesuffix(theirs) + ours if name.endswith(theirs) else name
        value = array.T if _is_linear(name, array) else array
        state[name] = torch.from_numpy(np.array(value, dtype=np.float32, order="C"))
    return state


def to_published(state: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Our names and layouts -> the published ones; `from_published` gives back exactly `state`, less step counters."""
    arrays = {}
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        array = value.detach().cpu().float().numpy()
        array = array.T if _is_linear(name, array) else array
        for theirs, ours in _SUFFIXES.items():
            name = name.removesuffix(ours) + theirs if name.endswith(ours) else name
        arrays[name] = np.ascontiguousarray(array)
    return arrays


def load_state(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load `state` into `model`, every tensor accounted for.

    BatchNorm step counters may be absent. Raises ModelError with the first missing, unknown and misshapen names.
    """
    own = model.state_dict()
    differences = shape_differences(own, state)
    if differences:
        parts = [f"{len(names)} {what}, first: {'; '.join(names[:3])}" for what, names in differences.items()]
        raise ModelError(f"The weights of {source} do not fit {type(model).__name__}: {'. '.join(parts)}.")
    model.load_state_dict({**{name: value for name, value in own.items() if _is_counter(name)}, **state})


def shape_differences(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """How `state` differs from a model's `own`: names under "missing", "unknown" and "of another shape".

    BatchNorm step counters may be absent. Empty where nothing differs.
    """
    found = {
        "missing": sorted(name for name in own.keys() - state.keys() if not _is_counter(name)),
        "unknown": sorted(state.keys() - own.keys()),
        "of another shape": [
            f"{name} is {list(state[name].shape)}, the model has {list(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ],
    }
    return {what: names for what, names in found.items() if names}


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def load_published(model: nn.Module, arrays: Mapping[str, NDArray[np.float32]], source: str = "the array") -> None:
    """Load weights in published names and layouts; see `load_state`."""
    load_state(model, from_published(arrays), source)


def _is_linear(name: str, array: NDArray[np.float32]) -> bool:
    return array.ndim == 2 and name.endswith("weight")


def _is_overwritten(name: str, arrays: Mapping[str, NDArray[np.float32]]) -> bool:
    """Whether `name` is the merged kernel of a block whose parallel kernels are there too."""
    block, found, _ = name.rpartition("dw_conv.")
    return bool(found) and f"{block}dw_conv_list.0.conv.weight" in arrays
