"""A graph under construction: what is known is computed at once, and as the runtimes would; the rest stays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.paddle.running import by_onnxruntime

from eyas.errors import ModelError
from eyas.paddle.onnx_file import write_onnx
from eyas.paddle.onnx_fold import FOLDS
from eyas.paddle.onnx_graph import GraphBuilder

GRID = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


# kind: inputs, attributes, type of the result (that of the first input where None)
EXAMPLES: dict[str, tuple[list[np.ndarray], dict[str, Any], str | None]] = {
    "Add": ([GRID, GRID[0]], {}, None),
    "Cast": ([GRID * 0.7 - 3], {"to": 7}, "int64"),
    "Concat": ([GRID, GRID[:1]], {"axis": 0}, None),
    "Expand": ([GRID[:, :1], ints(5, 1, 3, 1)], {}, None),
    "Gather": ([GRID, ints(2, -1)], {"axis": 1}, None),
    "Max": ([GRID, GRID[::-1]], {}, None),
    "Min": ([GRID, GRID[::-1]], {}, None),
    "Mul": ([GRID, GRID], {}, None),
    "Range": ([np.array(7), np.array(-2), np.array(-3)], {}, None),
    "Reshape": ([GRID, ints(0, -1, 2)], {}, None),
    "Slice": ([GRID, ints(-1, 1), ints(-(2**60), 9), ints(0, 2), ints(-1, 2)], {}, None),
    "Squeeze": ([GRID[:1, :, :1], ints(0, 2)], {}, None),
    "Sub": ([GRID, GRID[::-1]], {}, None),
    "Tile": ([GRID, ints(1, 2, 3)], {}, None),
    "Transpose": ([GRID], {"perm": [2, 0, 1]}, None),
    "Unsqueeze": ([GRID, ints(3, 0)], {}, None),
}


def test_every_fold_has_an_example() -> None:
    assert EXAMPLES.keys() == FOLDS.keys()


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_fold_is_what_the_runtime_computes(kind: str, tmp_path: Path) -> None:
    inputs, attrs, dtype = EXAMPLES[kind]
    builder = GraphBuilder()
    folded = builder.node(kind, [builder.constant(array) for array in inputs], attrs, dtype).constant
    assert folded is not None
    fed = [builder.input(f"x{i}", array.shape, array.dtype.name) for i, array in enumerate(inputs)]
    result = builder.node(kind, fed, attrs, dtype)
    assert result.known is None
    write_onnx(builder.finish({"y": result}, {"y": [f"y{i}" for i in range(folded.ndim)]}), tmp_path / "a.onnx")
    found = by_onnxruntime(tmp_path / "a.onnx", {f"x{i}": array for i, array in enumerate(inputs)})["y"]
    assert found.dtype == folded.dtype and np.array_equal(found, folded)


def test_sides_that_are_known_become_constants() -> None:
    """shape -> its side 1, times 2 -> a shape again: no operator is left but that for the open batch."""
    builder = GraphBuilder()
    x = builder.input("x", ["batch", 3, 5])
    shape = builder.shape_of(x, "shape")
    assert shape.constant is None and shape.known is not None and shape.known.tolist() == [None, 3, 5]
    one, axis = builder.constant(ints(1)), builder.constant(ints(0))
    side = builder.node("Slice", [shape, one, builder.constant(ints(2)), axis, one])
    assert side.constant is not None and side.constant.dtype == np.int64 and side.constant.tolist() == [3]
    double = builder.node("Mul", [side, builder.constant(ints(2))])
    batch = builder.node("Slice", [shape, axis, one, axis, one])
    joined = builder.node("Concat", [batch, double], {"axis": 0})
    assert joined.constant is None and joined.known is not None and joined.known.tolist() == [None, 6]
    graph = builder.finish({"y": double}, {"y": [1]})
    assert [node.kind for node in graph.nodes] == ["Identity"]
    assert len(graph.constants) == 1


def test_arithmetic_on_an_open_side_is_left_to_the_run() -> None:
    builder = GraphBuilder()
    shape = builder.shape_of(builder.input("x", ["batch", 3]), "shape")
    sum_ = builder.node("Add", [shape, builder.constant(ints(1))])
    assert sum_.known is None and sum_.shape is None


def test_only_what_the_outputs_need_is_kept() -> None:
    builder = GraphBuilder()
    x = builder.input("x", ["batch", 3])
    weight = builder.constant(np.ones(3, np.float32), "weight")
    builder.node("Add", [x, builder.constant(np.zeros(3, np.float32), "unused")])
    y = builder.node("Relu", [builder.node("Mul", [x, weight])])
    graph = builder.finish({"y": y}, {"y": ["batch", 3]})
    assert [node.kind for node in graph.nodes] == ["Mul", "Relu", "Identity"]
    assert list(graph.constants.values())[0] is weight.constant and len(graph.constants) == 1


def test_a_type_that_onnx_lacks_is_refused() -> None:
    with pytest.raises(ModelError, match=r"weights has the type complex64\. Expected one of float32"):
        GraphBuilder().constant(np.zeros(2, np.complex64), "weights")


def test_arrays_that_no_network_has_are_not_made() -> None:
    """They are left to the run, or refused where they are constants; neither takes memory or time here."""
    builder = GraphBuilder()
    huge = builder.constant(np.broadcast_to(np.float32(1), (2**28,)))
    bounds = [builder.constant(np.array(bound)) for bound in (0, 2**60, 1)]
    for kind, inputs, attrs in (
        ("Range", bounds, {}),
        ("Tile", [huge, builder.constant(ints(2**40))], {}),
        ("Gather", [huge, builder.constant(ints(0, 0))], {"axis": 0}),
        ("Concat", [huge, huge], {"axis": 0}),
        ("Add", [huge, builder.constant(np.ones((2, 1), np.float32))], {}),
    ):
        assert builder.node(kind, inputs, attrs).known is None
    with pytest.raises(ModelError, match=r"node has 4\.3 GB, and an ONNX file holds at most 2 GB"):
        builder.node("Expand", [huge, builder.constant(ints(4, 1))])
