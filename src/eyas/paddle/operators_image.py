"""Paddle's operators on feature maps [B, C, H, W] in ONNX: convolution, pooling, batch normalisation, resizing."""

import math
from collections.abc import Mapping

from eyas.paddle.onnx_file import Attribute
from eyas.paddle.onnx_graph import Tensor
from eyas.paddle.operators_call import Call, Operator


def conv2d(at: Call) -> Tensor:
    """A convolution without bias."""
    _need_nchw(at)
    weight = at.input(1, "Filter")
    attrs: dict[str, Attribute] = {
        "strides": at.wholes("strides") or [1, 1],
        "dilations": at.wholes("dilations") or [1, 1],
        "group": max(at.whole("groups", 1), 1),
        **_padding(at),
    }
    if at.text("padding_algorithm", "EXPLICIT") == "SAME":
        attrs["dilations"] = [1, 1]
    bias = at.optional(2, "Bias")
    return at.node("Conv", [at.input(0, "Input"), weight] + ([] if bias is None else [bias]), attrs)


def _need_nchw(at: Call) -> None:
    for name in ("data_format", "data_layout"):
        if (layout := at.text(name, "NCHW")) not in ("NCHW", "AnyLayout"):
            raise at.error(f"{name}: expected NCHW, got {layout}. Export the model with channels first.")


def _padding(at: Call) -> Mapping[str, Attribute]:
    algorithm = at.text("padding_algorithm", "EXPLICIT")
    if algorithm in ("SAME", "VALID"):
        return {"auto_pad": "SAME_UPPER" if algorithm == "SAME" else "VALID"}
    pads = at.wholes("paddings") or [0, 0]
    if len(pads) == 2:
        return {"pads": pads * 2}
    if len(pads) != 4:
        raise at.error(f"paddings: expected 2 or 4 numbers, got {pads}.")
    top, bottom, left, right = pads
    return {"pads": [top, left, bottom, right]}


def batch_norm(at: Call) -> Tensor:
    """Batch normalisation with stored statistics."""
    _need_nchw(at)
    mean, variance = at.input(1, "Mean"), at.input(2, "Variance")
    weight, bias = at.input(3, "Scale"), at.input(4, "Bias")
    inputs = [at.input(0, "X"), weight, bias, mean, variance]
    return at.node("BatchNormalization", inputs, {"epsilon": at.real("epsilon", 1e-5)})


def pool2d(at: Call) -> Tensor:
    """Largest or mean value of windows, of the whole map, or of windows that divide it evenly."""
    _need_nchw(at)
    x = at.input(0, "X")
    kind = at.text("pooling_type", "max")
    if kind not in ("max", "avg"):
        raise at.error(f"pooling_type: expected max or avg, got {kind!r}.")
    name = {"max": "MaxPool", "avg": "AveragePool"}[kind]
    size = at.fixed_numbers(1, [], "ksize")
    adaptive = at.flag("adaptive", False)
    if at.flag("global_pooling", False) or (adaptive and set(size) == {1}):
        return at.node(f"Global{name}", [x])
    if adaptive:
        window = _even_windows(at, x, size)
        return at.node(name, [x], {"kernel_shape": window, "strides": window})
    ceil, inside = at.flag("ceil_mode", False), at.flag("exclusive", True)
    attrs = {
        "kernel_shape": size,
        "strides": at.wholes("strides") or [1, 1],
        "ceil_mode": int(ceil),
        **_padding(at),
    }
    if kind == "avg":
        if ceil and not inside:
            raise at.error("a mean that counts the padding, with ceil_mode: the runtimes do not agree on what it is.")
        attrs["count_include_pad"] = int(not inside)
    return at.node(name, [x], attrs)


def _even_windows(at: Call, x: Tensor, size: list[int]) -> list[int]:
    height, width = at.sides(x)[2:]
    if height is None or width is None or height % size[0] or width % size[1]:
        raise at.error(
            f"pooling to {size} (height, width): expected a map of multiples of that size, got {[height, width]}."
        )
    return [height // size[0], width // size[1]]


def interpolate(mode: str) -> Operator:
    """Resizing of height and width; `mode` is nearest or linear.

    Which input pixel an output pixel is taken from (PaddlePaddle, phi/kernels/funcs/interpolate_function.h): with
    align_corners the outer pixels meet; without, nearest takes floor(y * ratio), and linear has half-pixel centres
    unless align_mode is 1.
    """

    def operator(at: Call) -> Tensor:
        _need_nchw(at)
        x = at.input(0, "X")
        attrs: dict[str, Attribute] = {"mode": mode, "coordinate_transformation_mode": "asymmetric"}
        if at.flag("align_corners", False):
            attrs["coordinate_transformation_mode"] = "align_corners"
        elif mode == "linear" and at.whole("align_mode", 1) == 0:
            attrs["coordinate_transformation_mode"] = "half_pixel"
        if mode == "nearest":
            attrs["nearest_mode"] = "round_prefer_ceil" if at.flag("align_corners", False) else "floor"
        size = at.inputs(1, "OutSize") or at.inputs(2, "SizeTensor")
        factors = _factors(at)
        if not size and factors is not None:
            return at.node("Resize", [x, None, at.constant([1, 1, *factors], "float32")], attrs)
        return at.node("Resize", [x, None, None, _new_shape(at, x)], attrs)

    return operator


def _factors(at: Call) -> list[float] | None:
    """Height and width factor, None where the new size is given in pixels."""
    given = at.optional(3, "Scale")
    if given is not None:
        if given.constant is None:
            raise at.error("the factor is computed while the network runs. Expected a number that is known before.")
        factors = [float(item) for item in given.constant.ravel().tolist()]
    else:
        factors = at.reals("scale")
    if not factors or min(factors) <= 0:
        return None
    if not all(map(math.isfinite, factors)) or len(factors) > 2:
        raise at.error(f"scale: expected one or two numbers, got {factors}.")
    return [factors[0], factors[-1]]


def _new_shape(at: Call, x: Tensor) -> Tensor:
    """The shape int64 [4] after resizing to a size in pixels."""
    if at.inputs(1, "OutSize"):
        size = at.numbers(1, ["OutSize"], "out_size")
    elif at.inputs(2, "SizeTensor"):
        size = at.numbers(2, ["SizeTensor"], "out_size")
    else:
        size = at.wholes_tensor([at.whole("out_h", -1), at.whole("out_w", -1)])
    if size.constant is not None and (size.constant.size != 2 or size.constant.min() < 1):
        raise at.error(f"the new size: expected a height and a width, got {size.constant.tolist()}.")
    return at.node("Concat", [at.cut(at.shape_of(x), 0, 0, 2), size], {"axis": 0})
