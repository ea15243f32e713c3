"""What numpy makes of an ONNX operator whose inputs are known before the network runs.

An exported network computes shapes: it takes the shape of a feature map, cuts a side out of it, puts a list together
again.  Most sides are known, so most of that needs no operator in the file; the batch size is not, and stays open.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.paddle.onnx_file import Attribute

Known = NDArray[Any]
"""A constant, or an object array in which None stands for each element that only a run can tell."""

Attributes = Mapping[str, Attribute]


def fold(kind: str, inputs: Sequence[Known | None], attrs: Attributes, dtype: str) -> Known | None:
    """The output of type `dtype` as far as the inputs tell it, or None where they tell nothing.

    An input is None where it is not known at all.  Operators that only move elements also take arrays in part known.
    """
    if kind not in FOLDS or any(known is None for known in inputs):
        return None
    arrays = [known for known in inputs if known is not None]
    in_part = [known.dtype == object for known in arrays]
    if any(in_part) and (kind not in MOVES or (any(in_part[1:]) and kind != "Concat")):
        return None
    result = FOLDS[kind](arrays, attrs)
    if any(in_part) and any(item is None for item in result.ravel()):
        return result
    return result.astype(dtype, copy=False)


def _reshape(arrays: Sequence[Known], attrs: Attributes) -> Known:
    array, sides = arrays[0], arrays[1].tolist()
    return array.reshape([array.shape[axis] if side == 0 else side for axis, side in enumerate(sides)])


def _squeeze(arrays: Sequence[Known], attrs: Attributes) -> Known:
    return np.squeeze(arrays[0], tuple(arrays[1].tolist()))


def _unsqueeze(arrays: Sequence[Known], attrs: Attributes) -> Known:
    return np.expand_dims(arrays[0], tuple(arrays[1].tolist()))


def _transpose(arrays: Sequence[Known], attrs: Attributes) -> Known:
    return np.transpose(arrays[0], attrs["perm"])  # type: ignore[arg-type]


def _concat(arrays: Sequence[Known], attrs: Attributes) -> Known:
    return np.concatenate(arrays, axis=attrs["axis"])  # type: ignore[arg-type]


def _slice(arrays: Sequence[Known], attrs: Attributes) -> Known:
    cut = [slice(None)] * arrays[0].ndim
    for start, end, axis, step in zip(*(array.tolist() for array in arrays[1:]), strict=True):
        cut[axis] = slice(start, end, step)
    return arrays[0][tuple(cut)]


def _gather(arrays: Sequence[Known], attrs: Attributes) -> Known:
    return np.asarray(np.take(arrays[0], arrays[1], axis=attrs["axis"]))  # type: ignore[arg-type]


def _expand(arrays: Sequence[Known], attrs: Attributes) -> Known:
    return np.broadcast_to(arrays[0], np.broadcast_shapes(arrays[0].shape, tuple(arrays[1].tolist())))


def _of_two(function: Callable[[Known, Known], Known]) -> "Fold":
    return lambda arrays, attrs: np.asarray(function(arrays[0], arrays[1]))


Fold = Callable[[Sequence[Known], Attributes], Known]

MOVES: dict[str, Fold] = {
    "Cast": lambda arrays, attrs: arrays[0],  # `fold` sets the type of every result
    "Concat": _concat,
    "Expand": _expand,
    "Gather": _gather,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

FOLDS: dict[str, Fold] = MOVES | {
    "Add": _of_two(np.add),
    "Max": _of_two(np.maximum),
    "Min": _of_two(np.minimum),
    "Mul": _of_two(np.multiply),
    "Range": lambda arrays, attrs: np.arange(*(array.item() for array in arrays)),
    "Sub": _of_two(np.subtract),
    "Tile": lambda arrays, attrs: np.tile(arrays[0], arrays[1].tolist()),
}
