"""The whole state of a training run in one weights file.

Tensors are named `model.*`, `ema.*`, `optimizer.<index>.<key>`, `rng.torch` and `rng.cuda`; everything else is
JSON in the header. A run that is killed at any moment finds the last complete file (see
`eyas.models.files`).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eyas.errors import ModelError

CHECKPOINT = "checkpoint.safetensors"


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of an optimiser as named tensors, and its scalars as JSON."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                scalars[f"{index}.{key}"] = value
    return tensors, scalars


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    """The inverse of `optimizer_tensors`; learning rates and other settings stay those of `optimizer`."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *scalars.items()]:
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def find_checkpoint(path: Path) -> Path:
    """The checkpoint file that `Train.resume_path` means: a file, or a run's output directory.

    A `.pdparams` spelling of an eyas checkpoint is understood. Raises ModelError where nothing is there.
    """
    candidates = [path, path / CHECKPOINT, path.with_suffix(".safetensors"), path.parent / CHECKPOINT]
    for candidate in candidates:
        if candidate.is_file() and candidate.suffix == ".safetensors":
            return candidate
    raise ModelError(
        f"Train.resume_path: no checkpoint at {path}. Expected the output directory of an earlier run or its "
        f"{CHECKPOINT}."
    )
