"""What single operators give, in numpy's words: name -> (kind, inputs by slot, attributes, expected).

`expected` is a list where the operator gives several tensors.  Slots with numbers are PIR's spelling, slots with names
that of a ProgramDesc.  What Paddle itself says of most operators is in networks.zip; here stand the other spellings.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

Case = tuple[str, dict[str, list[np.ndarray]], dict[str, Any], Any]

_random = np.random.default_rng(7)


def floats(*shape: int) -> np.ndarray:
    return _random.normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


X, Y, ROW, CUBE = floats(2, 3, 4, 6), floats(2, 3, 4, 6), floats(3), floats(4, 6, 5)
TORCH = torch.from_numpy(X)
EXP = np.exp(X - X.max(2, keepdims=True))
CENTRED = X - X.mean((2, 3), keepdims=True)
NORMED = CENTRED / np.sqrt(X.var((2, 3), keepdims=True) + 1e-3)
KEEP = {"dropout_prob": 0.25, "dropout_implementation": "upscale_in_train"}
DROP = {"dropout_prob": 0.25, "dropout_implementation": "downgrade_in_infer"}
SWISH = {"threshold": 4.0, "scale": 5.0, "offset": 1.0}
LIKE = {"value": 4.0, "str_value": ""}
STATISTICS = {"Scale": [ROW], "Bias": [ROW + 1], "Mean": [ROW + 2], "Variance": [np.abs(ROW)]}
TWO_SLICES = {"axes": [1, 3], "starts": [-2, 1], "ends": [9, -1], "decrease_axis": []}
LISTS = {"StartsTensorList": [ints(1)], "EndsTensorList": [np.array(3, np.int32)]}

MATH: dict[str, Case] = {
    "add_n": ("add_n", {"0": [X, Y, X]}, {}, X + Y + X),
    "sum of a list": ("sum", {"X": [X, Y]}, {}, X + Y),
    "sum in PIR": ("sum", {"0": [X], "1": [ints(1, -1)]}, {"keepdim": True}, X.sum((1, 3), keepdims=True)),
    "reduce_sum of all": ("reduce_sum", {"X": [X]}, {"reduce_all": True, "dim": [0]}, X.sum()),
    "mean of all, old": ("mean", {"X": [X]}, {}, X.mean().reshape(1)),
    "mean, axis as attribute": ("mean", {"0": [X]}, {"axis": [2], "keepdim": False}, X.mean(2)),
    "reduce_mean": ("reduce_mean", {"X": [X]}, {"dim": [-1], "keep_dim": True}, X.mean(-1, keepdims=True)),
    "reduce_max": ("reduce_max", {"X": [X]}, {"dim": [1]}, X.max(1)),
    "reduce_min": ("reduce_min", {"X": [X]}, {"dim": [1, 2]}, X.min((1, 2))),
    "max of all": ("max", {"0": [X], "1": [ints()]}, {}, X.max()),
    "axis 1": ("elementwise_add", {"X": [X], "Y": [ROW]}, {"axis": 1}, X + ROW.reshape(3, 1, 1)),
    "axis 0": ("elementwise_mul", {"X": [X], "Y": [X[:, 0, 0, 0]]}, {"axis": 0}, X * X[:, :1, :1, :1]),
    "axis -1": ("elementwise_sub", {"X": [X], "Y": [X[0, 0, 0]]}, {"axis": -1}, X - X[0, 0, 0]),
    "axis, equal ranks": ("elementwise_div", {"X": [X], "Y": [Y]}, {"axis": 1}, X / Y),
    "division by one": ("divide", {"0": [X], "1": [f32(1)]}, {}, X),
    "division by one that widens": (
        "divide",
        {"0": [ROW], "1": [np.ones((2, 1), np.float32)]},
        {},
        np.tile(ROW, (2, 1)),
    ),
    "elementwise_max": ("elementwise_max", {"X": [X], "Y": [Y]}, {"axis": -1}, np.maximum(X, Y)),
    "elementwise_min": ("elementwise_min", {"X": [X], "Y": [Y]}, {"axis": -1}, np.minimum(X, Y)),
    "whole numbers": ("add", {"0": [ints(1, 2)], "1": [ints(3, -4)]}, {}, ints(4, -2)),
    "scale, then bias": ("scale", {"X": [X]}, {"scale": 2.0, "bias": 1.0, "bias_after_scale": True}, X * 2 + 1),
    "scale as input": ("scale", {"X": [X], "ScaleTensor": [ROW[:1]]}, {"scale": 9.0}, X * ROW[0]),
    "scale of whole numbers": ("scale", {"0": [ints(4, 0)], "1": [f32(3)]}, {"bias": 1.0}, ints(13, 1)),
    "scale 1": ("scale", {"X": [X]}, {"scale": 1.0, "bias": 0.0}, X),
    "pow, factor": ("pow", {"X": [X]}, {"factor": 2.0}, X**2),
    "pow, factor as input": ("pow", {"X": [X], "FactorTensor": [f32(3)]}, {}, X**3),
    "mul": ("mul", {"X": [X], "Y": [CUBE[0]]}, {"x_num_col_dims": 3, "y_num_col_dims": 1}, X @ CUBE[0]),
    "mul, flattened": (
        "mul",
        {"X": [X], "Y": [CUBE]},
        {"x_num_col_dims": 2, "y_num_col_dims": 2},
        np.tensordot(X, CUBE, 2),
    ),
    "matmul, old": ("matmul", {"X": [X], "Y": [Y]}, {"transpose_Y": True, "alpha": 0.5}, X @ Y.swapaxes(2, 3) / 2),
    "matmul_v2": ("matmul_v2", {"X": [X], "Y": [Y]}, {"trans_x": True, "trans_y": False}, X.swapaxes(2, 3) @ Y),
    "matmul by a vector": ("matmul", {"0": [X], "1": [X[0, 0, 0]]}, {"transpose_y": True}, X @ X[0, 0, 0]),
    "relu6, threshold": ("relu6", {"X": [X]}, {"threshold": 0.5}, np.clip(X, 0, 0.5)),
    "swish, beta": ("swish", {"X": [X]}, {"beta": 2.0}, X / (1 + np.exp(-2 * X))),
    "hard_swish": ("hard_swish", {"X": [X * 3]}, {}, F.hardswish(TORCH * 3).numpy()),
    "hard_swish, numbers": ("hard_swish", {"X": [X]}, SWISH, X * np.clip(X + 1, 0, 4) / 5),
    "hard_sigmoid": ("hard_sigmoid", {"X": [X]}, {"slope": 0.3, "offset": 0.4}, np.clip(0.3 * X + 0.4, 0, 1)),
    "leaky_relu": ("leaky_relu", {"X": [X]}, {"alpha": 0.2}, np.where(X < 0, 0.2 * X, X)),
    "gelu": ("gelu", {"X": [X]}, {"approximate": False}, F.gelu(TORCH).numpy()),
    "gelu, tanh": ("gelu", {"0": [X]}, {"approximate": True}, F.gelu(TORCH, approximate="tanh").numpy()),
    "clip, input before attribute": ("clip", {"X": [X], "Max": [f32(0.2)]}, {"min": -9.0, "max": 9.0}, X.clip(-9, 0.2)),
    "dropout": ("dropout", {"X": [X]}, DROP, X * 0.75),
    "dropout, scaled in training": ("dropout", {"X": [X]}, KEEP, X),
    "p_norm": ("p_norm", {"X": [X]}, {"porder": 2.0, "axis": 1, "keepdim": True}, np.linalg.norm(X, axis=1)[:, None]),
    "p_norm of all": ("p_norm", {"X": [X]}, {"porder": 1.0, "asvector": True}, np.abs(X).sum()),
    "layer_norm without weights": ("layer_norm", {"X": [X]}, {"begin_norm_axis": 2, "epsilon": 1e-3}, NORMED),
    "batch_norm of rows": (
        "batch_norm",
        {"X": [X[:, :, 0, 0]], **STATISTICS},
        {"epsilon": 1e-2, "data_layout": "NCHW"},
        (X[:, :, 0, 0] - ROW - 2) / np.sqrt(np.abs(ROW) + 1e-2) * ROW + ROW + 1,
    ),
    "softmax": ("softmax", {"X": [X]}, {"axis": 2}, EXP / EXP.sum(2, keepdims=True)),
    "where": ("where", {"Condition": [X > 0], "X": [X], "Y": [Y]}, {}, np.where(X > 0, X, Y)),
}

SHAPES: dict[str, Case] = {
    "reshape2, shape as input": (
        "reshape2",
        {"X": [X], "Shape": [ints(0, 12, -1)]},
        {"shape": [1]},
        X.reshape(2, 12, 6),
    ),
    "flatten, old": ("flatten2", {"X": [X]}, {"axis": 2}, X.reshape(6, 24)),
    "flatten a scalar": (
        "flatten",
        {"0": [np.array(X[0, 0, 0, 0])]},
        {"start_axis": 0, "stop_axis": 0},
        X[0, 0, 0, :1],
    ),
    "flatten, middle": ("flatten", {"0": [X]}, {"start_axis": 1, "stop_axis": 2}, X.reshape(2, 12, 6)),
    "squeeze all": ("squeeze2", {"X": [X[:1, :, :1]]}, {"axes": []}, X[0, :, 0]),
    "squeeze keeps a wide side": ("squeeze", {"0": [X[:1]], "1": [ints(0, 1)]}, {}, X[0]),
    "unsqueeze": ("unsqueeze2", {"X": [ROW]}, {"axes": [0, -1, 1]}, ROW.reshape(1, 1, 3, 1)),
    "transpose2": ("transpose2", {"X": [X]}, {"axis": [0, -1, 1, 2]}, X.transpose(0, 3, 1, 2)),
    "slice": ("slice", {"Input": [X]}, TWO_SLICES, X[:, -2:, :, 1:-1]),
    "slice at -1": (
        "slice",
        {"Input": [X]},
        {"axes": [1], "starts": [-1], "ends": [0], "decrease_axis": [1]},
        X[:, -1],
    ),
    "slice, lists": ("slice", {"Input": [X], **LISTS}, {"axes": [3], "starts": [-1], "ends": [-1]}, X[..., 1:3]),
    "strided_slice": (
        "strided_slice",
        {"Input": [X]},
        {"axes": [3], "starts": [5], "ends": [0], "strides": [-2]},
        X[..., 5:0:-2],
    ),
    "concat, axis as input": ("concat", {"0": [X, Y], "1": [ints(-2)]}, {}, np.concatenate([X, Y], 2)),
    "stack": ("stack", {"X": [X, Y]}, {"axis": -1}, np.stack([X, Y], -1)),
    "split": ("split", {"X": [X]}, {"axis": 3, "num": 0, "sections": [1, 5]}, [X[..., :1], X[..., 1:]]),
    "unstack": ("unstack", {"X": [X]}, {"axis": 1, "num": 3}, [X[:, 0], X[:, 1], X[:, 2]]),
    "unbind": ("unbind", {"0": [X]}, {"axis": -2}, [X[:, :, i] for i in range(4)]),
    "expand_v2": ("expand_v2", {"X": [X[:, :1]]}, {"shape": [-1, 3, -1, -1]}, np.tile(X[:, :1], (1, 3, 1, 1))),
    "expand in front": ("expand", {"0": [ROW], "1": [ints(4, 3)]}, {}, np.tile(ROW, (4, 1))),
    "expand_as": ("expand_as_v2", {"X": [X[:, :1]], "Y": [X]}, {"target_shape": [0]}, np.tile(X[:, :1], (1, 3, 1, 1))),
    "expand_as, shape": ("expand_as_v2", {"X": [ROW]}, {"target_shape": [4, 3]}, np.tile(ROW, (4, 1))),
    "tile fewer sides": ("tile", {"X": [X]}, {"repeat_times": [2, 1]}, np.tile(X, (2, 1))),
    "tile more sides": ("tile", {"0": [ROW], "1": [ints(2, 3)]}, {}, np.tile(ROW, (2, 3))),
    "gather": ("gather", {"X": [X], "Index": [ints(2, 0)], "Axis": [ints(1)]}, {"axis": 0}, X[:, [2, 0]]),
    "gather, index in a column": ("gather", {"X": [X], "Index": [ints(1, 1, 0)[:, None]]}, {}, X[[1, 1, 0]]),
    "index_select": ("index_select", {"X": [X], "Index": [ints(3, 1)]}, {"dim": 2}, X[:, :, [3, 1]]),
    "flip": ("flip", {"X": [X]}, {"axis": [-1, 1]}, X[:, ::-1, :, ::-1]),
    "meshgrid": ("meshgrid", {"X": [ROW, X[0, 0, 0]]}, {}, list(np.meshgrid(ROW, X[0, 0, 0], indexing="ij"))),
    "cast": ("cast", {"X": [ints(4, 0)]}, {"in_dtype": 3, "out_dtype": 5}, f32(4, 0)),
    "share_data": ("share_data_", {"0": [X]}, {}, X),
}

VALUES: dict[str, Case] = {
    "fill_constant": (
        "fill_constant",
        {},
        {"shape": [2], "value": 9e15, "str_value": str(2**53 + 1)},
        ints(*[2**53 + 1] * 2),
    ),
    "fill_constant, inf": (
        "fill_constant",
        {},
        {"shape": [2], "value": 0.0, "str_value": "-inf"},
        f32(-np.inf, -np.inf),
    ),
    "full_like, value as input": ("full_like", {"0": [X], "1": [f32(2.5)]}, {}, np.full_like(X, 2.5)),
    "fill_any_like": ("fill_any_like", {"X": [X]}, {"value": 0.25}, np.full_like(X, 0.25)),
    "full_with_tensor": ("full_with_tensor", {"0": [f32(3)], "1": [ints(2, 2)]}, {}, np.full((2, 2), 3, np.float32)),
    "full_batch_size_like": (
        "full_batch_size_like",
        {"0": [X]},
        {"shape": [7, -1], "input_dim_idx": 3, "output_dim_idx": 1, **LIKE},
        np.full((7, 6), 4, np.float32),
    ),
    "fill_constant_batch_size_like": (
        "fill_constant_batch_size_like",
        {"Input": [X]},
        {"shape": [-1, 2], "input_dim_idx": 0, "output_dim_idx": 0, **LIKE},
        np.full((2, 2), 4, np.float32),
    ),
    "assign_value": ("assign_value", {}, {"shape": [2], "fp32_values": [1.5, 2.0], "int32_values": []}, f32(1.5, 2)),
    "shape": ("shape64", {"0": [X]}, {}, ints(2, 3, 4, 6)),
    "range": ("range", {"Start": [ints(1)], "End": [ints(8)], "Step": [ints(3)]}, {}, ints(1, 4, 7)),
}

CASES = MATH | SHAPES | VALUES
