"""What numpy makes of an ONNX operator whose inputs are known before the network runs.

An exported network computes shapes: it takes the shape of a feature map, cuts a side out of it, puts a list together
again.  Most sides are known, so most of that needs no operator in the file; the batch size is not, and stays open.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.paddle.onnx_file import Attribute

Known = NDArray[Any]
"""A constant, or an object array in which None stands for each element that only a run can tell."""

Attributes = Mapping[str, Attribute]

MOST_ELEMENTS = 2**28
"""No larger array is made before the network runs; a damaged file may ask for any."""


def fold(kind: str, inputs: Sequence[Known | None], attrs: Attributes, dtype: str) -> Known | None:
    """The output of type `dtype` as far as the inputs tell it, or None where they tell nothing.

    An input is None where it is not known at all.  Operators that only move elements also take arrays in part known.
    Raises what numpy raises where the inputs do not fit each other.
    """
    if kind not in FOLDS or any(known is None for known in inputs):
        return None
    arrays = [known for known in inputs if known is not None]
    in_part = [known.dtype == object for known in arrays]
    if any(in_part) and (kind not in MOVES or (any(in_part[1:]) and kind != "Concat")):
        return None
    if _length(kind, arrays, attrs) > MOST_ELEMENTS:
        return None
    with np.errstate(all="ignore"):  # numbers of a damaged file overflow; numpy would warn
        result = FOLDS[kind](arrays, attrs)
        if any(in_part) and any(item is None for item in result.ravel()):
            return result
        return result.astype(dtype, copy=False)


def _length(kind: str, arrays: Sequence[Known], attrs: Attributes) -> float:
    """How many elements the result has, where it can have more than the first input and is not a view of it."""
    first = arrays[0]
    if kind == "Range":
        start, end, step = (array.item() for array in arrays)
        return float((end - start) / step)
    if kind == "Tile":
        return float(first.size * math.prod(arrays[1].tolist()))
    if kind == "Gather":
        return first.size * arrays[1].size
    if kind == "Concat":
        return sum(array.size for array in arrays)
    if kind in ARITHMETIC:
        return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    return 0


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

ARITHMETIC: dict[str, Fold] = {
    "Add": _of_two(np.add),
    "Max": _of_two(np.maximum),
    "Min": _of_two(np.minimum),
    "Mul": _of_two(np.multiply),
    "Sub": _of_two(np.subtract),
}

FOLDS: dict[str, Fold] = {
    **MOVES,
    **ARITHMETIC,
    "Range": lambda arrays, attrs: np.arange(*(array.item() for array in arrays)),
    "Tile": lambda arrays, attrs: np.tile(arrays[0], arrays[1].tolist()),
}
