"""Checks that all runtimes share: does the network fit its manifest, does the input fit the network."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.bundle import NetworkManifest
from eyas.errors import BackendError, ModelError


def check_network(
    manifest: NetworkManifest, inputs: Mapping[str, Iterable[Any]], outputs: Iterable[str], where: str
) -> None:
    """Compare a loaded network with its manifest; `inputs` maps a name to its shape, in which only numbers count.

    Raises ModelError that says what the manifest and the network have each.
    """
    name = manifest.input_name
    if list(inputs) != [name]:
        raise ModelError(f"{where}: the manifest's input is {name!r}, the network's inputs are {sorted(inputs)}.")
    expected = (3, *manifest.preprocess.size_hw)
    shape = tuple(inputs[name])
    fits = len(shape) == 4 and all(not isinstance(a, int) or a == b for a, b in zip(shape[1:], expected, strict=True))
    if not fits:
        raise ModelError(
            f"{where}: the manifest's input {name!r} is [B, {', '.join(map(str, expected))}], the network's is "
            f"[{', '.join('?' if not isinstance(side, int) else str(side) for side in shape)}]."
        )
    present = list(outputs)
    missing = [output for output in manifest.outputs if output not in present]
    if missing:
        raise ModelError(f"{where}: the manifest's output {missing[0]!r} is missing, the network gives {present}.")


def checked_input(manifest: NetworkManifest, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """The one input as a contiguous array.  Raises BackendError where its name, type or shape is another one."""
    name, expected = manifest.input_name, (3, *manifest.preprocess.size_hw)
    if list(inputs) != [name]:
        raise BackendError(f"The network's input is {name!r}, got {sorted(inputs)}.")
    array = inputs[name]
    if array.ndim != 4 or array.shape[1:] != expected or array.dtype != np.float32 or len(array) == 0:
        raise BackendError(
            f"The network's input {name!r} is float32 [B, {', '.join(map(str, expected))}], got {array.dtype} "
            f"{list(array.shape)}."
        )
    return np.ascontiguousarray(array)
