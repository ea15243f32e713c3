"""Weights on disk: safetensors with JSON in the header, written atomically. No pickle is read or written."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from eyas.compat import is_paddle_url
from eyas.errors import ModelError
from eyas.store import published_weights


@dataclass(frozen=True)
class WeightsFile:
    """Tensors by name, and the JSON `state` that came with them."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors below `prefix.`, with the prefix taken off."""
        return {k.removeprefix(f"{prefix}."): v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}


def save_tensors(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write a safetensors file with `state` as JSON in its header: complete under its name, or not there at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    owned = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_file(owned, temporary, metadata={"eyas": json.dumps(state)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def read_tensors(path: Path) -> WeightsFile:
    """Read a file of `save_tensors`. Raises ModelError where it is absent, torn or not a safetensors file."""
    if not path.is_file():
        raise ModelError(f"There are no weights at {path}. Expected a .safetensors file.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            state = json.loads((file.metadata() or {}).get("eyas", "{}"))
    except (SafetensorError, ValueError, OSError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be read as safetensors weights: {error}.") from error
    return WeightsFile(tensors, state)


def find_weights(asked: str | Path) -> Path:
    """The weights file that `asked` means: a file, or `best_model.safetensors` in or below that directory.

    Paddle's `.pdparams` count where the file is there; the address of published ones is their file in the store, which
    is downloaded when it is missing. PaddleX's spellings of what training writes (`best_model/model.pdparams`,
    `best_model.pdparams`) find the weights that took their place. Raises ModelError where there is nothing.
    """
    if is_paddle_url(asked):
        return published_weights(str(asked))
    path = Path(asked)
    names = ("best_model.safetensors", "best_model/best_model.safetensors")
    folders = (path, path.parent, path.parent.parent) if path.suffix == ".pdparams" else (path,)
    candidates = [path.with_suffix(".safetensors"), *(folder / name for folder in folders for name in names)]
    if path.suffix == ".pdparams" and path.is_file():
        return path
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    expected = "Expected a .safetensors file of `eyas train`, its directory, or Paddle's .pdparams."
    if path.is_file():
        raise ModelError(f"{path} cannot be read: {path.suffix} is no format of eyas. {expected}")
    raise ModelError(f"There are no weights at {path}. {expected}")
