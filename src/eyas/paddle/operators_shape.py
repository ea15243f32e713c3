"""Paddle's operators that move elements without changing them, in ONNX."""

from collections.abc import Sequence

import numpy as np

from eyas.paddle.onnx_graph import Tensor
from eyas.paddle.operators_call import Call

LAST = 2**63 - 1
"""An end that lies behind every side."""


def same(at: Call) -> Tensor:
    """The input as it is."""
    return at.input(0, "X")


def cast(at: Call) -> Tensor:
    """The input in the type of the output."""
    return at.cast(at.input(0, "X"), at.output.dtype)


def transpose(at: Call) -> Tensor:
    """The sides in another order."""
    perm = at.wholes("perm") or at.wholes("axis")
    x = at.input(0, "X")
    return at.node("Transpose", [x], {"perm": [at.axis(axis, x) for axis in perm]})


def reshape(at: Call) -> Tensor:
    """Other sides.  The file says what they become; where it leaves more than one open, they are computed."""
    x = at.input(0, "X")
    sides = at.output_sides()
    if x.constant is None and sides.count(None) <= 1:
        return at.reshape(x, [-1 if side is None else side for side in sides])
    wanted = at.numbers(1, ["ShapeTensor", "Shape"], "shape")
    return at.node("Reshape", [x, wanted])


def flatten(at: Call) -> Tensor:
    """The sides from `start_axis` to `stop_axis` as one; the oldest files give two sides, cut at `axis`."""
    x = at.input(0, "X")
    sides = at.sides(x)
    if at.attr("axis") is not None:
        return at.node("Flatten", [x], {"axis": at.whole("axis", 1)})
    if not sides:
        return at.reshape(x, [1])
    start, stop = (at.axis(at.whole(name, default), x) for name, default in (("start_axis", 1), ("stop_axis", 1)))
    behind = sides[stop + 1 :]
    if None not in behind:
        return at.reshape(x, [0] * start + [-1] + [side for side in behind if side is not None])
    shape = at.shape_of(x)
    parts = [at.cut(shape, 0, 0, start), at.wholes_tensor([-1]), at.cut(shape, 0, stop + 1, len(sides))]
    return at.node("Reshape", [x, at.node("Concat", parts, {"axis": 0})])


def squeeze(at: Call) -> Tensor:
    """Without those of the given sides that are 1, or without all that are."""
    x = at.input(0, "X")
    sides = at.sides(x)
    axes = [at.axis(axis, x) for axis in at.fixed_numbers(1, ["AxesTensor", "AxesTensorList"], "axes")]
    if not axes and None in sides:
        raise at.error(f"which sides are 1 is not known: {list(sides)} (None is not known).")
    return at.squeeze(x, sorted({axis for axis in axes or range(len(sides)) if sides[axis] == 1}))


def unsqueeze(at: Call) -> Tensor:
    """New sides of 1, put in one after the other."""
    x = at.input(0, "X")
    is_new = [False] * len(at.sides(x))
    for axis in at.fixed_numbers(1, ["AxesTensor", "AxesTensorList"], "axes"):
        is_new.insert(axis % (len(is_new) + 1), True)
    return at.unsqueeze(x, [axis for axis, new in enumerate(is_new) if new])


def slice_(at: Call) -> Tensor:
    """A cut along some sides; those in `decrease_axis` are dropped, as an index does it."""
    x = at.input(0, "Input")
    axes = at.wholes("axes")
    dropped = [at.axis(axis, x) for axis in at.wholes("decrease_axis")]
    starts = at.numbers(1, ["StartsTensor", "StartsTensorList"], "starts")
    ends = at.numbers(2, ["EndsTensor", "EndsTensorList"], "ends")
    if starts.constant is not None and ends.constant is not None:
        # The index -1 is written as the cut from -1 to 0, which taken literally is empty.
        last = (starts.constant == -1) & (ends.constant == 0) & np.isin([at.axis(axis, x) for axis in axes], dropped)
        ends = at.wholes_tensor(np.where(last, LAST, ends.constant).tolist())
    steps = at.wholes_tensor([1] * len(axes))
    return at.squeeze(at.node("Slice", [x, starts, ends, at.wholes_tensor(_forward(at, x, axes)), steps]), dropped)


def strided_slice(at: Call) -> Tensor:
    """A cut along some sides with steps."""
    x = at.input(0, "Input")
    starts = at.numbers(1, ["StartsTensor", "StartsTensorList"], "starts")
    ends = at.numbers(2, ["EndsTensor", "EndsTensorList"], "ends")
    steps = at.numbers(3, ["StridesTensor", "StridesTensorList"], "strides")
    axes = _forward(at, x, at.wholes("axes"))
    dropped = _forward(at, x, at.wholes("decrease_axis"))
    return at.squeeze(at.node("Slice", [x, starts, ends, at.wholes_tensor(axes), steps]), dropped)


def _forward(at: Call, x: Tensor, axes: Sequence[int]) -> list[int]:
    return [at.axis(axis, x) for axis in axes]


def flip(at: Call) -> Tensor:
    """Some sides backwards."""
    x = at.input(0, "X")
    axes = _forward(at, x, at.wholes("axis"))
    parts = ([-1] * len(axes), [-LAST] * len(axes), axes, [-1] * len(axes))
    return at.node("Slice", [x, *map(at.wholes_tensor, parts)])


def concat(at: Call) -> Tensor:
    """Tensors behind each other along one side."""
    parts = [at.cast(part, at.output.dtype) for part in at.inputs(0, "X")]
    if not parts:
        raise at.error("there is nothing to join. Expected at least one tensor.")
    axis = at.fixed_numbers(1, ["AxisTensor"], "axis")
    return at.node("Concat", parts, {"axis": at.axis(axis[0] if axis else 0, parts[0])})


def stack(at: Call) -> Tensor:
    """Tensors along a new side."""
    parts = at.inputs(0, "X")
    if not parts:
        raise at.error("there is nothing to stack. Expected at least one tensor.")
    axis = at.whole("axis", 0) % (len(at.sides(parts[0])) + 1)
    return at.node("Concat", [at.unsqueeze(part, [axis]) for part in parts], {"axis": axis})


def split(at: Call) -> list[Tensor]:
    """Parts along one side, of the sizes that the file gives for the outputs."""
    return _parts(at, at.fixed_numbers(2, ["AxisTensor"], "axis"))


def split_with_num(at: Call) -> list[Tensor]:
    """`split` into equal parts."""
    return _parts(at, at.fixed_numbers(1, [], "axis"))


def _parts(at: Call, axes: Sequence[int]) -> list[Tensor]:
    x = at.input(0, "X")
    axis = at.axis(axes[0] if axes else 0, x)
    sizes = [value.shape[axis] for value in at.outputs]
    if min(sizes) < 0:
        raise at.error(f"the sizes of the parts are not known: {sizes}. Expected a model with fixed sides.")
    ends = np.cumsum(sizes).tolist()
    return [at.cut(x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]


def unbind(at: Call) -> list[Tensor]:
    """The entries along one side, without it."""
    x = at.input(0, "X")
    axis = at.axis(at.whole("axis", 0), x)
    return [at.node("Gather", [x, at.constant(index, "int64")], {"axis": axis}) for index in range(len(at.outputs))]


def expand(at: Call) -> Tensor:
    """Sides of 1 repeated, and new sides in front; -1 keeps a side."""
    x = at.input(0, "X")
    wanted = at.numbers(1, ["Shape", "expand_shapes_tensor"], "shape")
    if wanted.known is None or -1 in wanted.known:
        # A side that is kept is one of 1 to ONNX, which takes the larger of two sides.
        wanted = at.node("Max", [wanted, at.wholes_tensor([1])])
    return at.node("Expand", [x, wanted])


def expand_as(at: Call) -> Tensor:
    """Expanded to the shape of another tensor, or to one that the file gives."""
    x, other = at.input(0, "X"), at.optional(1, "Y")
    shape = at.numbers(2, [], "target_shape") if other is None else at.shape_of(other)
    return at.node("Expand", [x, shape])


def tile(at: Call) -> Tensor:
    """Repeated along each side."""
    x = at.input(0, "X")
    times = at.numbers(1, ["RepeatTimes", "repeat_times_tensor"], "repeat_times")
    if times.shape is None or times.shape[0] is None:
        raise at.error("how many sides are repeated is not known before the network runs.")
    more = times.shape[0] - len(at.sides(x))
    if more < 0:
        times = at.node("Concat", [at.wholes_tensor([1] * -more), times], {"axis": 0})
    return at.node("Tile", [at.unsqueeze(x, list(range(more))) if more > 0 else x, times])


def gather(at: Call) -> Tensor:
    """The entries along one side with the numbers of a flat list."""
    x, index = at.input(0, "X"), at.input(1, "Index")
    axis = at.fixed_numbers(2, ["Axis"], "axis")
    return _taken(at, x, index, axis[0] if axis else 0)


def index_select(at: Call) -> Tensor:
    """`gather` in another spelling."""
    return _taken(at, at.input(0, "X"), at.input(1, "Index"), at.whole("axis", at.whole("dim", 0)))


def _taken(at: Call, x: Tensor, index: Tensor, axis: int) -> Tensor:
    if len(at.sides(index)) == 2:
        index = at.reshape(index, [-1])
    return at.node("Gather", [x, index], {"axis": at.axis(axis, x)})


def meshgrid(at: Call) -> list[Tensor]:
    """Flat lists -> grids of all their combinations, one for each list."""
    lists = at.inputs(0, "X")
    shape = at.node("Concat", [at.shape_of(item) for item in lists], {"axis": 0}) if lists else at.wholes_tensor([])
    grids = []
    for place, item in enumerate(lists):
        sides = [1] * len(lists)
        sides[place] = -1
        grids.append(at.node("Expand", [at.reshape(item, sides), shape]))
    return grids


def where(at: Call) -> Tensor:
    """x where a condition holds, else y."""
    inputs = [at.input(0, "Condition"), at.input(1, "X"), at.input(2, "Y")]
    return at.node("Where", inputs, dtype=at.output.dtype)
