"""The ONNX files that are written without the onnx package are what onnx and the runtimes read."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.paddle.running import RUNTIMES

from eyas.errors import ModelError
from eyas.paddle.onnx_file import DTYPES, Node, OnnxGraph, Port, write_onnx

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def graph_of(weight: np.ndarray = WEIGHT) -> OnnxGraph:
    """x [batch, 2] @ weight [2, 3], then the largest with 1."""
    nodes = [
        Node("MatMul", ("x", "weight"), "product"),
        Node("Clip", ("product", "one"), "clipped"),
        Node("Softmax", ("clipped",), "y", {"axis": -1}),
    ]
    constants = {"weight": weight, "one": np.array(1, dtype=np.float32)}
    return OnnxGraph(nodes, [Port("x", ("batch", 2))], [Port("y", ("batch", 3))], constants)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_both_runtimes_run_it(runtime: str, tmp_path: Path) -> None:
    write_onnx(graph_of(), tmp_path / "a.onnx")
    x = np.array([[1, -1], [2, 0.5], [0, 0]], dtype=np.float32)
    exponents = np.exp(np.maximum(x @ WEIGHT, 1))
    found = RUNTIMES[runtime](tmp_path / "a.onnx", {"x": x})["y"]
    np.testing.assert_allclose(found, exponents / exponents.sum(1, keepdims=True), rtol=1e-6)


def test_onnx_reads_what_was_meant(tmp_path: Path) -> None:
    write_onnx(graph_of(), tmp_path / "a.onnx")
    onnx.checker.check_model(str(tmp_path / "a.onnx"), full_check=True)
    model = onnx.load(tmp_path / "a.onnx")
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 18)]
    assert (model.ir_version, model.producer_name) == (9, "eyas")
    sides = [(side.dim_param, side.dim_value) for side in model.graph.input[0].type.tensor_type.shape.dim]
    assert sides == [("batch", 0), ("", 2)]
    assert [node.name for node in model.graph.node] == ["product", "clipped", "y"]


def test_attributes_of_every_kind(tmp_path: Path) -> None:
    attrs = {"a": -3, "b": 0.1, "c": "näh", "d": [1, -(2**40)], "e": [0.5, 2.0]}
    write_onnx(OnnxGraph([Node("Any", ("x", "", "x"), "y", attrs)], [], [], {}), tmp_path / "a.onnx")
    node = onnx.load(tmp_path / "a.onnx").graph.node[0]
    found = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    assert found == {**attrs, "b": np.float32(0.1), "c": "näh".encode()}
    assert list(node.input) == ["x", "", "x"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (1, 1, 5)])
def test_constants_of_every_type(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2).astype(dtype)
    write_onnx(OnnxGraph([], [], [], {"c": array}), tmp_path / "a.onnx")
    found = numpy_helper.to_array(onnx.load(tmp_path / "a.onnx").graph.initializer[0])
    assert found.dtype == array.dtype and found.shape == shape and np.array_equal(found, array)


def test_constants_however_they_lie_in_memory(tmp_path: Path) -> None:
    raw = bytearray(1 + WEIGHT.nbytes)
    raw[1:] = WEIGHT.tobytes()
    unaligned = np.frombuffer(raw, dtype=np.float32, offset=1).reshape(2, 3)
    assert not unaligned.flags.aligned
    arrays = {
        "unaligned": unaligned,
        "turned": WEIGHT.T,
        "spread": np.broadcast_to(WEIGHT[:1], (4, 3)),
        "backwards": WEIGHT[:, ::-1],
        "big-endian": WEIGHT.astype(">f4"),
    }
    write_onnx(OnnxGraph([], [], [], arrays), tmp_path / "a.onnx")
    found = {item.name: numpy_helper.to_array(item) for item in onnx.load(tmp_path / "a.onnx").graph.initializer}
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_more_than_two_gigabytes_are_refused(tmp_path: Path) -> None:
    huge = np.broadcast_to(np.float32(0), (600_000_000,))  # takes no memory
    with pytest.raises(ModelError, match=r"The network has 2\.4 GB, and an ONNX file holds at most 2 GB"):
        write_onnx(graph_of(huge), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.onnx"
    write_onnx(graph_of(), target)
    before = target.read_bytes()
    with pytest.raises(KeyError):
        write_onnx(graph_of(WEIGHT.astype(np.complex64)), target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]
