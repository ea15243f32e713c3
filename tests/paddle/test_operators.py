"""Each operator gives what Paddle gives, in either spelling; whole networks are in test_translate."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.paddle.cases import CASES, TORCH, X, f32, ints
from tests.paddle.running import One, networks

from eyas.errors import ModelError
from eyas.paddle import read_graph
from eyas.paddle.graph import Op
from eyas.paddle.operators import OPERATORS, check_known, operator_of


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("how", ["fed", "constant"])
def test_operator(name: str, how: str, tmp_path: Path) -> None:
    kind, inputs, attrs, expected = CASES[name]
    wanted = [np.asarray(array) for array in (expected if isinstance(expected, list) else [expected])]
    # Numbers such as axes are always known; how large a tensor is, not always.
    fixed = [slot for slot in inputs if how == "constant" or inputs[slot][0].dtype != np.float32]
    shapes = [array.shape for array in wanted]
    found = One(kind, inputs, attrs).run(tmp_path, shapes, wanted[0].dtype.name, fixed)
    for got, array in zip(found, wanted, strict=True):
        assert got.dtype == array.dtype and got.shape == array.shape
        np.testing.assert_allclose(got, array, rtol=2e-6, atol=2e-6)


# Those for which the number of sides is enough, and sizes come at run time.
OPEN = ["flatten, middle", "expand_as", "expand_v2", "mul, flattened", "full_batch_size_like", "fill_any_like", "shape",
        "slice", "unbind", "tile fewer sides", "meshgrid", "axis 1", "stack"]  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_operator_on_open_sides(name: str, tmp_path: Path) -> None:
    kind, inputs, attrs, expected = CASES[name]
    wanted = expected if isinstance(expected, list) else [expected]
    shapes = [[-1] * array.ndim for array in wanted]
    found = One(kind, inputs, attrs).run(tmp_path, shapes, wanted[0].dtype.name, open_sides=True)
    for got, array in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, array, rtol=2e-6, atol=2e-6)


def test_every_operator_is_tested(tmp_path: Path) -> None:
    """Each function that translates is used by a case here or by a network that Paddle exported."""
    used = {operator_of(Op(case[0], {}, {}, {})) for case in CASES.values()}
    for folder in networks(tmp_path).glob("*/*/"):
        used |= {operator_of(op) for op in read_graph(folder).ops}
    assert {kind for kind, operator in OPERATORS.items() if operator not in used} == set()


@pytest.mark.parametrize(
    ("size", "stride", "pads", "dilation", "groups"),
    [
        (3, 1, [1, 1], 1, 1),
        (3, 2, [0, 2], 1, 3),
        (5, 2, [2, 2], 1, 3),
        (3, 1, [0, 1, 2, 3], 2, 1),
        (1, 3, [0, 0], 1, 3),
    ],
)
def test_convolution_is_that_of_torch(
    size: int, stride: int, pads: list[int], dilation: int, groups: int, tmp_path: Path
) -> None:
    x = np.random.default_rng(size).normal(size=(2, 3, 9, 11)).astype(np.float32)
    weight = np.random.default_rng(stride).normal(size=(6, 3 // groups, size, size)).astype(np.float32)
    top, bottom, left, right = pads if len(pads) == 4 else (pads[0], pads[0], pads[1], pads[1])
    padded = F.pad(torch.from_numpy(x), (left, right, top, bottom))
    expected = F.conv2d(padded, torch.from_numpy(weight), stride=stride, dilation=dilation, groups=groups).numpy()
    attrs = {"strides": [stride] * 2, "paddings": pads, "dilations": [dilation] * 2, "groups": groups}
    one = One("conv2d" if groups == 1 else "depthwise_conv2d", {"Input": [x], "Filter": [weight]}, attrs)
    np.testing.assert_allclose(one.run(tmp_path, [expected.shape], fixed=["Filter"])[0], expected, atol=1e-5)


@pytest.mark.parametrize(("exclusive", "ceil", "pad"), list(itertools.product([True, False], [True, False], [0, 1])))
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling_is_that_of_torch(kind: str, exclusive: bool, ceil: bool, pad: int, tmp_path: Path) -> None:
    if kind == "max":
        expected = F.max_pool2d(TORCH, 2, 2, pad, ceil_mode=ceil)
    else:
        expected = F.avg_pool2d(TORCH, 2, 2, pad, ceil_mode=ceil, count_include_pad=not exclusive)
    attrs = {"ksize": [2, 2], "strides": [2, 2], "paddings": [pad, pad], "ceil_mode": ceil, "exclusive": exclusive}
    one = One("pool2d", {"X": [X]}, {**attrs, "pooling_type": kind})
    if kind == "avg" and ceil and not exclusive:
        with pytest.raises(ModelError, match="ceil_mode"):
            one.run(tmp_path, [expected.shape])
    else:
        np.testing.assert_allclose(one.run(tmp_path, [expected.shape])[0], expected.numpy(), atol=1e-6)


def test_pooling_to_a_size(tmp_path: Path) -> None:
    attrs = {"ksize": [2, 3], "adaptive": True, "pooling_type": "avg"}
    expected = F.adaptive_avg_pool2d(TORCH, (2, 3)).numpy()
    np.testing.assert_allclose(One("pool2d", {"X": [X]}, attrs).run(tmp_path, [(2, 3, 2, 3)])[0], expected, atol=1e-6)
    whole = One("pool2d", {"X": [X]}, {"ksize": [9, 9], "global_pooling": True, "pooling_type": "max"})
    assert np.array_equal(whole.run(tmp_path, [(2, 3, 1, 1)])[0], X.max((2, 3), keepdims=True))
    with pytest.raises(ModelError, match=r"pooling to \[3, 3\].*multiples.*\[4, 6\]"):
        One("pool2d", {"X": [X]}, {**attrs, "ksize": [3, 3]}).run(tmp_path, [(2, 3, 3, 3)])


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("size", [(8, 12), (7, 9), (2, 3)])
def test_resizing_is_that_of_torch(corners: bool, size: tuple[int, int], tmp_path: Path) -> None:
    attrs = {"align_corners": corners, "align_mode": 0, "out_h": size[0], "out_w": size[1], "scale": []}
    expected = F.interpolate(TORCH, size, mode="bilinear", align_corners=corners).numpy()
    shape = [(2, 3, *size)]
    for kind, slots in (("bilinear_interp_v2", {"X": [X]}), ("bilinear_interp", {"0": [X]})):
        np.testing.assert_allclose(One(kind, slots, attrs).run(tmp_path, shape)[0], expected, atol=1e-5)
    for extra in ({"OutSize": [np.array(size, np.int32)]}, {"SizeTensor": [ints(size[0]), ints(size[1])]}):
        one = One("bilinear_interp_v2", {"X": [X], **extra}, {**attrs, "out_h": -1, "out_w": -1})
        np.testing.assert_allclose(one.run(tmp_path, shape, fixed=list(extra))[0], expected, atol=1e-5)
    if not corners:
        nearest = F.interpolate(TORCH, size, mode="nearest").numpy()
        assert np.array_equal(One("nearest_interp_v2", {"X": [X]}, attrs).run(tmp_path, shape)[0], nearest)


def test_resizing_nearest_with_corners_rounds(tmp_path: Path) -> None:
    attrs = {"align_corners": True, "out_h": 4, "out_w": 11, "scale": 0.0}
    found = One("nearest_interp", {"X": [X]}, attrs).run(tmp_path, [(2, 3, 4, 11)])[0]
    assert np.array_equal(found, X[..., [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]])


def test_resizing_by_a_factor_given_as_input(tmp_path: Path) -> None:
    one = One("nearest_interp_v2", {"X": [X], "Scale": [f32(2, 3)]}, {"align_corners": False})
    found = one.run(tmp_path, [(2, 3, 8, 18)], fixed=["Scale"])[0]
    assert np.array_equal(found, X.repeat(2, axis=2).repeat(3, axis=3))


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (One("conv2d", {"Input": [X]}, {}), "Operator 'conv2d' (output 'out_0'): input 1 (Filter) is missing"),
        (One("conv2d", {"Input": [X], "Filter": [X]}, {"data_format": "NHWC"}), "expected NCHW, got NHWC"),
        (One("conv2d", {"Input": [X], "Filter": [X]}, {"paddings": [1]}), "expected 2 or 4 numbers, got [1]"),
        (One("softmax", {"X": [X]}, {"axis": 4}), "axis 4 does not fit an input with 4 sides"),
        (One("softmax", {"X": [X]}, {"axis": "last"}), "attribute 'axis': expected a whole number, got 'last'"),
        (One("relu", {"X": [X, X]}, {}), "input 0 (X) must be one tensor, got 2"),
        (One("concat", {"X": []}, {"axis": 0}), "nothing to join"),
        (One("expand", {"X": [X]}, {"expand_times": [1, 2]}), "neither an input 1 nor an attribute 'shape' is given"),
        (One("sum", {"0": [X], "1": [ints(0)]}, {}), "axis is computed while the network runs"),
        (One("p_norm", {"X": [X]}, {"porder": np.inf}), "porder: expected a positive number, got inf"),
        (One("pool2d", {"X": [X]}, {"pooling_type": "sum"}), "expected max or avg, got 'sum'"),
        (One("nearest_interp", {"X": [X]}, {"out_h": -1, "out_w": 3}), "a height and a width, got [-1, 3]"),
        (One("fill_constant", {}, {"str_value": "many"}), "str_value: expected a number, got 'many'"),
        (One("assign_value", {}, {"fp32_values": [1.0]}), "expected values for the shape [2], got 1"),
        (One("meshgrid", {"X": [f32(1)]}, {}), "it gives 1 tensors, and the file has 2 for it"),
    ],
)
def test_what_does_not_fit_is_explained(one: One, message: str, tmp_path: Path) -> None:
    shapes = [(2,), (2,)] if one.kind == "meshgrid" else [(2,)]
    with pytest.raises(ModelError) as error:
        one.run(tmp_path, shapes)
    assert message in str(error.value)


def test_unknown_operators_are_all_named() -> None:
    ops = [Op("relu", {}, {"0": ("a",)}, {}), *(Op(k, {}, {"Out": (f"{k}_1",)}, {}) for k in ("lstm", "crop", "lstm"))]
    with pytest.raises(ModelError, match=r"cannot translate: 'crop' \(output 'crop_1'\), 'lstm' \(output 'lstm_1'\)\."):
        check_known(ops)


def test_an_operator_in_place_is_the_same_one() -> None:
    assert operator_of(Op("relu_", {}, {}, {})) is operator_of(Op("relu", {}, {}, {})) is not None
    assert operator_of(Op("nothing_", {}, {}, {})) is None
