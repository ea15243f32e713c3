"""Every operator of Paddle that can be translated: its name in PIR or in a ProgramDesc -> what it is in ONNX."""

from collections.abc import Iterable
from dataclasses import replace

from eyas.errors import ModelError
from eyas.paddle import operators_image as image
from eyas.paddle import operators_math as math
from eyas.paddle import operators_shape as shape
from eyas.paddle import operators_values as values
from eyas.paddle.graph import Op
from eyas.paddle.onnx_graph import Tensor
from eyas.paddle.operators_call import Call, Operator

OPERATORS: dict[str, Operator] = {
    # Feature maps
    "batch_norm": image.batch_norm,
    "bilinear_interp": image.interpolate("linear"),
    "bilinear_interp_v2": image.interpolate("linear"),
    "conv2d": image.conv2d,
    "depthwise_conv2d": image.conv2d,
    "nearest_interp": image.interpolate("nearest"),
    "nearest_interp_v2": image.interpolate("nearest"),
    "pool2d": image.pool2d,
    # Tensors with each other, element by element
    "add": math.of_two("Add"),
    "add_n": math.add_n,
    "divide": math.of_two("Div"),
    "elementwise_add": math.of_two("Add"),
    "elementwise_div": math.of_two("Div"),
    "elementwise_max": math.of_two("Max"),
    "elementwise_min": math.of_two("Min"),
    "elementwise_mul": math.of_two("Mul"),
    "elementwise_pow": math.of_two("Pow"),
    "elementwise_sub": math.of_two("Sub"),
    "maximum": math.of_two("Max"),
    "minimum": math.of_two("Min"),
    "multiply": math.of_two("Mul"),
    "subtract": math.of_two("Sub"),
    # One tensor, element by element
    "abs": math.of_one("Abs"),
    "ceil": math.of_one("Ceil"),
    "clip": math.clip,
    "cos": math.of_one("Cos"),
    "dropout": math.dropout,
    "erf": math.of_one("Erf"),
    "exp": math.of_one("Exp"),
    "floor": math.of_one("Floor"),
    "gelu": math.gelu,
    "hard_sigmoid": math.hard_sigmoid,
    "hard_swish": math.hard_swish,
    "hardsigmoid": math.hard_sigmoid,
    "hardswish": math.hard_swish,
    "leaky_relu": math.leaky_relu,
    "log": math.of_one("Log"),
    "pow": math.power,
    "relu": math.of_one("Relu"),
    "relu6": math.relu6,
    "rsqrt": math.rsqrt,
    "scale": math.scale,
    "sigmoid": math.of_one("Sigmoid"),
    "silu": math.swish,
    "sin": math.of_one("Sin"),
    "sqrt": math.of_one("Sqrt"),
    "square": math.square,
    "swish": math.swish,
    "tanh": math.of_one("Tanh"),
    # Products, reductions, normalisations
    "bmm": math.matmul,
    "layer_norm": math.layer_norm,
    "matmul": math.matmul,
    "matmul_v2": math.matmul,
    "max": math.reduce("ReduceMax"),
    "mean": math.reduce("ReduceMean"),
    "min": math.reduce("ReduceMin"),
    "mul": math.mul,
    "p_norm": math.p_norm,
    "reduce_max": math.reduce("ReduceMax"),
    "reduce_mean": math.reduce("ReduceMean"),
    "reduce_min": math.reduce("ReduceMin"),
    "reduce_sum": math.reduce_sum,
    "softmax": math.softmax,
    "sum": math.sum_,
    # Elements moved
    "assign": shape.same,
    "cast": shape.cast,
    "concat": shape.concat,
    "expand": shape.expand,
    "expand_as": shape.expand_as,
    "expand_as_v2": shape.expand_as,
    "expand_v2": shape.expand,
    "flatten": shape.flatten,
    "flatten2": shape.flatten,
    "flatten_contiguous_range": shape.flatten,
    "flip": shape.flip,
    "gather": shape.gather,
    "index_select": shape.index_select,
    "meshgrid": shape.meshgrid,
    "reshape": shape.reshape,
    "reshape2": shape.reshape,
    "share_data": shape.same,
    "slice": shape.slice_,
    "split": shape.split,
    "split_with_num": shape.split_with_num,
    "squeeze": shape.squeeze,
    "squeeze2": shape.squeeze,
    "stack": shape.stack,
    "strided_slice": shape.strided_slice,
    "tile": shape.tile,
    "transpose": shape.transpose,
    "transpose2": shape.transpose,
    "unbind": shape.unbind,
    "unsqueeze": shape.unsqueeze,
    "unsqueeze2": shape.unsqueeze,
    "unstack": shape.unbind,
    "where": shape.where,
    # Tensors made
    "arange": values.arange,
    "assign_value": values.assign_value,
    "fill_any_like": values.full_like,
    "fill_constant": values.full,
    "fill_constant_batch_size_like": values.full_batch_size_like,
    "full": values.full,
    "full_batch_size_like": values.full_batch_size_like,
    "full_int_array": values.full_int_array,
    "full_like": values.full_like,
    "full_with_tensor": values.full_with_tensor,
    "range": values.arange,
    "shape": values.shape,
    "shape64": values.shape,
}


def operator_of(op: Op) -> Operator | None:
    """What translates `op`, None where nothing does; a name that ends in "_" is the same operator done in place."""
    return OPERATORS.get(op.kind) or OPERATORS.get(op.kind.removesuffix("_"))


def check_known(ops: Iterable[Op]) -> None:
    """Raise ModelError that names every kind of `ops` that is not in OPERATORS, and where the first of it stands."""
    unknown: dict[str, str] = {}
    for op in ops:
        if operator_of(op) is None:
            unknown.setdefault(op.kind, next((name for names in op.outputs.values() for name in names), "?"))
    if unknown:
        listed = ", ".join(f"{kind!r} (output {output!r})" for kind, output in sorted(unknown.items()))
        raise ModelError(
            f"The model has operators that eyas cannot translate: {listed}. "
            "Expected an exported PP-YOLOE, PicoDet, PP-LCNet or CLIP; see eyas.paddle.operators for what is known."
        )


def results_of(op: Op, call: Call) -> dict[str, Tensor]:
    """Translate `op`, which `check_known` let pass: its results by name, of the type and shape that the file gives.

    Raises ModelError where its inputs and attributes do not fit each other.
    """
    operator = operator_of(op)
    assert operator is not None
    try:
        found = operator(call)
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:  # numpy's, of a damaged file
        raise call.error(f"its inputs and attributes do not fit each other: {error}.") from error
    tensors = found if isinstance(found, list) else [found]
    if len(tensors) != len(call.outputs):
        raise call.error(f"it gives {len(tensors)} tensors, and the file has {len(call.outputs)} for it.")
    results = {}
    for value, tensor in zip(call.outputs, tensors, strict=True):
        typed = call.cast(tensor, value.dtype)
        sides = tuple(None if side < 0 else side for side in value.shape)
        results[value.name] = typed if typed.known is not None else replace(typed, shape=sides)
    return results
