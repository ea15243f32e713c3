"""Paddle's arithmetic in ONNX: element by element, activations, products, reductions, normalisations."""

import math
from collections.abc import Callable

import numpy as np

from eyas.paddle.onnx_graph import Tensor
from eyas.paddle.operators_call import Call, Operator


def of_one(kind: str) -> Operator:
    """An operator that ONNX has too: one input, no attribute."""
    return lambda at: at.node(kind, [at.input(0, "X")])


def of_two(kind: str) -> Operator:
    """An operator on two tensors element by element.

    They broadcast as in numpy; in a ProgramDesc the attribute `axis` may say which side of x the first side of y meets.
    """

    def operator(at: Call) -> Tensor:
        x, y = at.input(0, "X"), at.input(1, "Y")
        axis = at.whole("axis", -1)
        if axis >= 0 and (more := len(at.sides(x)) - axis - len(at.sides(y))) > 0:
            y = at.unsqueeze(y, [len(at.sides(y)) + side for side in range(more)])
        x, y = at.cast(x, at.output.dtype), at.cast(y, at.output.dtype)
        return x if kind in ("Mul", "Div") and _are_ones(y, x) else at.node(kind, [x, y])

    return operator


def _are_ones(y: Tensor, x: Tensor) -> bool:
    """Whether `y` is a constant of ones that does not widen `x`: the boxes' division by a scale of 1 falls away."""
    if y.constant is None or x.shape is None or y.constant.ndim > len(x.shape):
        return False
    sides = zip(reversed(y.constant.shape), reversed(x.shape), strict=False)
    return all(own in (1, other) for own, other in sides) and bool((y.constant == 1).all())


def scale(at: Call) -> Tensor:
    """x * scale + bias, or (x + bias) * scale."""
    x = at.input(0, "X")
    factor = at.optional(1, "ScaleTensor")
    factor = at.constant(at.real("scale", 1.0), x.dtype) if factor is None else at.cast(factor, x.dtype)
    bias = at.real("bias", 0.0)
    first = not at.flag("bias_after_scale", True)
    if bias and first:
        x = at.node("Add", [x, at.constant(bias, x.dtype)])
    if factor.constant is None or factor.constant.size != 1 or factor.constant.item() != 1:
        x = at.node("Mul", [x, at.reshape(factor, [])])
    if bias and not first:
        x = at.node("Add", [x, at.constant(bias, x.dtype)])
    return x


def power(at: Call) -> Tensor:
    """x to a fixed power."""
    x = at.input(0, "X")
    factor = at.optional(1, "FactorTensor")
    if factor is None:
        factor = at.constant(at.real("y", at.real("factor", 1.0)), x.dtype)
    return at.node("Pow", [x, factor])


def rsqrt(at: Call) -> Tensor:
    """1 / sqrt(x)."""
    return at.node("Reciprocal", [at.node("Sqrt", [at.input(0, "X")])])


def square(at: Call) -> Tensor:
    """x * x."""
    return at.node("Mul", [at.input(0, "X")] * 2)


def swish(at: Call) -> Tensor:
    """x * sigmoid(beta * x)."""
    x = at.input(0, "X")
    beta = at.real("beta", 1.0)
    inner = x if beta == 1 else at.node("Mul", [x, at.constant(beta, x.dtype)])
    return at.node("Mul", [x, at.node("Sigmoid", [inner])])


def hard_sigmoid(at: Call) -> Tensor:
    """slope * x + offset, kept between 0 and 1."""
    attrs = {"alpha": at.real("slope", 0.2), "beta": at.real("offset", 0.5)}
    return at.node("HardSigmoid", [at.input(0, "X")], attrs)


def hard_swish(at: Call) -> Tensor:
    """x * min(max(x + offset, 0), threshold) / scale; with 3, 6 and 6 ONNX has an operator for it."""
    x = at.input(0, "X")
    offset, threshold, divisor = (at.real(*item) for item in (("offset", 3.0), ("threshold", 6.0), ("scale", 6.0)))
    if (offset, threshold, divisor) == (3, 6, 6):
        return at.node("HardSwish", [x])
    raised = at.node("Add", [x, at.constant(offset, x.dtype)])
    kept = at.node("Clip", [raised, at.constant(0, x.dtype), at.constant(threshold, x.dtype)])
    return at.node("Div", [at.node("Mul", [x, kept]), at.constant(divisor, x.dtype)])


def relu6(at: Call) -> Tensor:
    """x kept between 0 and 6."""
    x = at.input(0, "X")
    return at.node("Clip", [x, at.constant(0, x.dtype), at.constant(at.real("threshold", 6.0), x.dtype)])


def leaky_relu(at: Call) -> Tensor:
    """x, or slope * x below 0."""
    slope = at.real("negative_slope", at.real("alpha", 0.02))
    return at.node("LeakyRelu", [at.input(0, "X")], {"alpha": slope})


def gelu(at: Call) -> Tensor:
    """x * P(a normal variable is below x): exactly, or as the well known tanh does it."""
    x = at.input(0, "X")
    half, one = at.constant(0.5, x.dtype), at.constant(1, x.dtype)
    if at.flag("approximate", False):
        cube = at.node("Mul", [x, at.node("Mul", [x, x])])
        inner = at.node("Add", [x, at.node("Mul", [cube, at.constant(0.044715, x.dtype)])])
        bent = at.node("Tanh", [at.node("Mul", [inner, at.constant(math.sqrt(2 / math.pi), x.dtype)])])
    else:
        bent = at.node("Erf", [at.node("Div", [x, at.constant(math.sqrt(2), x.dtype)])])
    return at.node("Mul", [at.node("Mul", [x, at.node("Add", [bent, one])]), half])


def clip(at: Call) -> Tensor:
    """x kept between two numbers."""
    x = at.input(0, "X")
    bounds = []
    for position, slot, name in ((1, "Min", "min"), (2, "Max", "max")):
        bound = at.optional(position, slot)
        bound = (
            at.constant(at.real(name, math.inf if name == "max" else -math.inf), x.dtype) if bound is None else bound
        )
        bounds.append(at.reshape(at.cast(bound, x.dtype), []))
    return at.node("Clip", [x, *bounds])


def dropout(at: Call) -> Tensor:
    """x, or x * (1 - p) where training did not scale up what it kept."""
    x = at.input(0, "X")
    mode = at.text("mode", at.text("dropout_implementation", "downgrade_in_infer"))
    if mode == "upscale_in_train":
        return x
    given = at.optional(2, "P")
    p = at.real("dropout_prob", 0.5)
    if given is not None:
        if given.constant is None:
            raise at.error(
                "the probability is computed while the network runs. Expected a number that is known before."
            )
        p = float(given.constant.item())
    return at.node("Mul", [x, at.constant(1 - p, x.dtype)])


def softmax(at: Call) -> Tensor:
    """Softmax over one side."""
    x = at.input(0, "X")
    return at.node("Softmax", [x], {"axis": at.axis(at.whole("axis", -1), x)})


def matmul(at: Call) -> Tensor:
    """The matrix product, broadcast over the other sides; either matrix may be turned first."""
    x, y = at.input(0, "X"), at.input(1, "Y")
    flags = (("transpose_x", "trans_x", "transpose_X"), ("transpose_y", "trans_y", "transpose_Y"))
    x, y = (
        _turned(at, item) if any(at.flag(name, False) for name in names) else item
        for item, names in zip((x, y), flags, strict=True)
    )
    product = at.node("MatMul", [x, y])
    alpha = at.real("alpha", 1.0)
    return product if alpha == 1 else at.node("Mul", [product, at.constant(alpha, x.dtype)])


def _turned(at: Call, x: Tensor) -> Tensor:
    sides = len(at.sides(x))
    if sides < 2:
        return x
    return at.node("Transpose", [x], {"perm": [*range(sides - 2), sides - 1, sides - 2]})


def mul(at: Call) -> Tensor:
    """The product of two matrices, into which x and y are flattened after so many of their sides."""
    x, y = at.input(0, "X"), at.input(1, "Y")
    columns_x, columns_y = at.whole("x_num_col_dims", 1), at.whole("y_num_col_dims", 1)
    if columns_x == len(at.sides(x)) - 1 and columns_y == 1 and len(at.sides(y)) == 2:
        return at.node("MatMul", [x, y])
    flat = [at.node("Flatten", [item], {"axis": axis}) for item, axis in ((x, columns_x), (y, columns_y))]
    product = at.node("MatMul", flat)
    rows = at.cut(at.shape_of(x), 0, 0, columns_x)
    columns = at.cut(at.shape_of(y), 0, columns_y, len(at.sides(y)))
    return at.node("Reshape", [product, at.node("Concat", [rows, columns], {"axis": 0})])


def layer_norm(at: Call) -> Tensor:
    """Layer normalisation over the sides from `begin_norm_axis` on; weight and bias are flat."""
    x = at.input(0, "X")
    axis = at.axis(at.whole("begin_norm_axis", 1), x)
    sides = [side for side in at.sides(x)[axis:] if side is not None]
    if len(sides) != len(at.sides(x)) - axis:
        raise at.error(f"expected known sides from side {axis} on, got {list(at.sides(x))} (None is not known).")
    weight, bias = at.optional(1, "Scale"), at.optional(2, "Bias")
    weight = at.constant(np.broadcast_to(np.array(1, x.dtype), math.prod(sides)), x.dtype) if weight is None else weight
    given = [at.reshape(item, sides) for item in (weight, bias) if item is not None]
    return at.node("LayerNormalization", [x, *given], {"axis": axis, "epsilon": at.real("epsilon", 1e-5)})


def reduce(kind: str) -> Callable[[Call], Tensor]:
    """A reduction over some sides, or over all where none is given."""

    def operator(at: Call) -> Tensor:
        x = at.input(0, "X")
        axes = [] if at.flag("reduce_all", False) else at.fixed_numbers(1, ["AxisTensor"], "axis") or at.wholes("dim")
        keep = at.flag("keepdim", at.flag("keep_dim", False))
        over = at.wholes_tensor([at.axis(axis, x) for axis in axes]) if axes else None
        result = at.node(kind, [x, over], {"keepdims": int(keep)})
        # Old files give the mean of everything one side.
        return at.reshape(result, [1]) if over is None and not keep and at.output.shape == (1,) else result

    return operator


reduce_sum = reduce("ReduceSum")


def sum_(at: Call) -> Tensor:
    """What PIR calls sum is a reduction; what a ProgramDesc calls so adds a list of tensors."""
    return reduce_sum(at) if at.inputs(0) else add_n(at)


def add_n(at: Call) -> Tensor:
    """The sum of a list of tensors."""
    return at.node("Sum", at.inputs(0, "X"))


def p_norm(at: Call) -> Tensor:
    """(sum of |x|^p over one side) ^ (1/p)."""
    x = at.input(0, "X")
    p = at.real("porder", 2.0)
    axes = None if at.flag("asvector", False) else at.wholes_tensor([at.whole("axis", -1)])
    keep = {"keepdims": int(at.flag("keepdim", False))}
    if p in (1, 2):
        return at.node(f"ReduceL{p:.0f}", [x, axes], keep)
    if p <= 0 or math.isinf(p):
        raise at.error(f"porder: expected a positive number, got {p}.")
    powers = at.node("Pow", [at.node("Abs", [x]), at.constant(p, x.dtype)])
    return at.node("Pow", [at.node("ReduceSum", [powers, axes], keep), at.constant(1 / p, x.dtype)])
