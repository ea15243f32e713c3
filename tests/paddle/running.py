"""Helpers of the translation's tests: small graphs of Paddle operators, and ONNX files run by both runtimes."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eyas.backends.quiet import import_onnxruntime, import_openvino
from eyas.paddle.graph import Graph, Op, Value
from eyas.paddle.onnx_file import write_onnx
from eyas.paddle.onnx_graph import GraphBuilder
from eyas.paddle.operators import results_of
from eyas.paddle.operators_call import Call

Arrays = Mapping[str, Sequence[np.ndarray]]


def networks(folder: Path) -> Path:
    """The networks that Paddle exported (see make_networks.py), unpacked in `folder`."""
    with zipfile.ZipFile(Path(__file__).parent / "networks.zip") as archive:
        archive.extractall(folder)
    return folder


def by_onnxruntime(path: Path, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def by_openvino(path: Path, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    openvino = import_openvino()
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(path, "CPU", options)
    results = compiled.create_infer_request().infer(dict(feeds))
    return {name: np.array(results[port]) for port in compiled.outputs for name in port.names}


RUNTIMES = {"onnxruntime": by_onnxruntime, "openvino": by_openvino}


class One:
    """One Paddle operator on given arrays, in either spelling."""

    def __init__(self, kind: str, inputs: Arrays, attrs: Mapping[str, Any] | None = None) -> None:
        self.kind, self.inputs, self.attrs = kind, inputs, attrs or {}

    def run(
        self,
        tmp_path: Path,
        shapes: Sequence[Sequence[int]],
        dtype: str = "float32",
        fixed: Sequence[str] = (),
        open_sides: bool = False,
    ) -> list[np.ndarray]:
        """Its outputs of the declared `shapes`, by ONNX Runtime; `fixed` slots are constants, the others are fed.

        With `open_sides` no side of what is fed is known beforehand.
        """
        builder, values, tensors, feeds = GraphBuilder(), {}, {}, {}
        for slot, arrays in self.inputs.items():
            for index, array in enumerate(arrays):
                name = f"{slot}_{index}"
                values[name] = Value(name, array.shape, array.dtype.name)
                if slot in fixed:
                    tensors[name] = builder.constant(array, name)
                else:
                    sides = [f"{name}_{axis}" for axis in range(array.ndim)] if open_sides else array.shape
                    tensors[name] = builder.input(name, sides, array.dtype.name)
                    feeds[name] = array
        slots = {slot: tuple(f"{slot}_{i}" for i in range(len(arrays))) for slot, arrays in self.inputs.items()}
        outputs = {f"out_{i}": Value(f"out_{i}", tuple(shape), dtype) for i, shape in enumerate(shapes)}
        op = Op(self.kind, slots, {"0": tuple(outputs)}, self.attrs)
        results = results_of(op, Call(op, values | outputs, tensors, builder))
        sides = {name: [f"{name}_{axis}" for axis in range(len(value.shape))] for name, value in outputs.items()}
        path = tmp_path / "one.onnx"
        write_onnx(builder.finish(results, sides), path)
        found = by_onnxruntime(path, {name: feeds[name] for name in feeds})
        return [found[name] for name in outputs]


def network_of(
    ops: Sequence[Op],
    values: Sequence[Value],
    inputs: Sequence[str],
    outputs: Sequence[str],
    parameters: Mapping[str, np.ndarray] | None = None,
) -> Graph:
    """A graph of given operators."""
    return Graph(tuple(ops), {value.name: value for value in values}, tuple(inputs), tuple(outputs), parameters or {})
