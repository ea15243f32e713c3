"""Paddle's operators that make tensors out of nothing, or out of a shape, in ONNX."""

import numpy as np

from eyas.paddle.onnx_graph import Tensor
from eyas.paddle.operators_call import Call


def full(at: Call) -> Tensor:
    """One number everywhere; the shape is that of the file."""
    sides = at.output_sides()
    value = _number(at)
    if None not in sides:
        return at.constant(np.broadcast_to(np.array(value, dtype=at.output.dtype), at.output.shape), at.output.dtype)
    shape = at.numbers(1, ["ShapeTensor", "ShapeTensorList"], "shape")
    return at.node("Expand", [at.constant(value, at.output.dtype), shape])


def full_with_tensor(at: Call) -> Tensor:
    """One number, itself a tensor, everywhere."""
    value = at.reshape(at.cast(at.input(0, "value"), at.output.dtype), [])
    return at.node("Expand", [value, at.numbers(1, ["shape"], "shape")])


def full_like(at: Call) -> Tensor:
    """One number everywhere, in the shape of another tensor."""
    given = at.optional(1, "value")
    value = at.constant(_number(at), at.output.dtype) if given is None else at.cast(given, at.output.dtype)
    return at.node("Expand", [at.reshape(value, []), at.shape_of(at.input(0, "X"))])


def full_batch_size_like(at: Call) -> Tensor:
    """One number everywhere; one side is that of another tensor, the others stand in the file."""
    sides, place = at.wholes("shape"), at.whole("output_dim_idx", 0)
    if not 0 <= place < len(sides):
        raise at.error(f"output_dim_idx: expected a side of {sides}, got {place}.")
    index = at.whole("input_dim_idx", 0)
    batch = at.cut(at.shape_of(at.input(0, "Input")), 0, index, index + 1)
    parts = [at.wholes_tensor(sides[:place]), batch, at.wholes_tensor(sides[place + 1 :])]
    shape = at.node("Concat", [part for part in parts if part.shape != (0,)], {"axis": 0})
    return at.node("Expand", [at.constant(_number(at), at.output.dtype), shape])


def _number(at: Call) -> float | int:
    """The attribute `value`; old files also write it as a text, which is exact for large whole numbers."""
    text = at.text("str_value", "")
    kind = np.dtype(at.output.dtype).kind
    try:
        return int(text) if text and kind in "iub" else float(text) if text else at.real("value", 0.0)
    except ValueError as error:
        raise at.error(f"str_value: expected a number, got {text!r}.") from error


def full_int_array(at: Call) -> Tensor:
    """A list of whole numbers."""
    return at.constant(at.wholes("value"), at.output.dtype)


def assign_value(at: Call) -> Tensor:
    """A constant that stands in the file."""
    names = ("values", "fp32_values", "fp64_values", "int32_values", "int64_values", "bool_values", "int8_values")
    values = next((at.reals(name) for name in names if at.reals(name)), [])
    if len(values) != np.prod(at.output.shape, dtype=int):
        raise at.error(f"expected values for the shape {list(at.output.shape)}, got {len(values)}.")
    return at.constant(np.array(values).reshape(at.output.shape), at.output.dtype)


def shape(at: Call) -> Tensor:
    """The shape of a tensor."""
    return at.shape_of(at.input(0, "Input"))


def arange(at: Call) -> Tensor:
    """Numbers from start to before end, a step apart."""
    names = ((0, "Start"), (1, "End"), (2, "Step"))
    bounds = [at.reshape(at.cast(at.input(*name), at.output.dtype), []) for name in names]
    return at.node("Range", bounds)
