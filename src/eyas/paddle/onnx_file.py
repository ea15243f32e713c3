"""An ONNX file written without the onnx package: the graph as plain values, and its bytes straight into the file.

The messages and their field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyas.errors import ModelError
from eyas.paddle.wire import BYTES, Chunks, blob, float32, floats, integer, integers, message, varint

OPSET = 18
IR_VERSION = 9
MOST_BYTES = 2**31 - 1  # protobuf reads no larger message

Array = NDArray[np.generic]
Attribute = int | float | str | Sequence[int] | Sequence[float]

DTYPES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
}
"""numpy's name of a type -> ONNX' number (TensorProto.DataType)."""


@dataclass(frozen=True)
class Node:
    """One operator; an input "" is one that is not given."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attrs: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Port:
    """An input or output of the graph; a side with a name may have any length, the same wherever the name stands."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class OnnxGraph:
    """Nodes in an order in which they can run, and the arrays that they use by name."""

    nodes: Sequence[Node]
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    constants: Mapping[str, Array]


def write_onnx(graph: OnnxGraph, target: Path) -> None:
    """Write `graph` to `target`, which appears whole or not at all.

    The arrays go to the file one by one and are not copied, unless their elements lie apart.  Raises ModelError where
    the file would be larger than protobuf allows.
    """
    tensors = [(_tensor_head(name, array), array) for name, array in graph.constants.items()]
    head = _chunks_of(graph)
    length = sum(map(len, head)) + sum(_field_size(len(start) + array.nbytes) for start, array in tensors)
    if length > MOST_BYTES - 1000:
        raise ModelError(
            f"The network has {length / 1e9:.1f} GB, and an ONNX file holds at most 2 GB. Expected a smaller network."
        )
    temporary = target.parent / f".eyas-{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as stream:
            stream.writelines(_model_head(length))
            stream.writelines(head)
            for start, array in tensors:
                stream.write(_length_of_field(5, len(start) + array.nbytes) + start)
                stream.write(_raw(array))
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _model_head(graph_length: int) -> Chunks:
    """ModelProto up to the content of its graph, which is the last field."""
    opset = message(8, blob(1, ""), integer(2, OPSET))
    return [*integer(1, IR_VERSION), *blob(2, "eyas"), *opset, _length_of_field(7, graph_length)]


def _chunks_of(graph: OnnxGraph) -> Chunks:
    """GraphProto without its tensors."""
    chunks = list(_node_chunks(graph.nodes)) + blob(2, "network")
    for number, ports in ((11, graph.inputs), (12, graph.outputs)):
        for port in ports:
            chunks += message(number, blob(1, port.name), message(2, _type(port)))
    return chunks


def _node_chunks(nodes: Sequence[Node]) -> Iterator[bytes | memoryview]:
    for node in nodes:
        inputs = [chunk for name in node.inputs for chunk in blob(1, name)]
        attributes = [chunk for name, value in node.attrs.items() for chunk in message(5, _attribute(name, value))]
        yield from message(1, inputs, blob(2, node.output), blob(3, node.output), blob(4, node.kind), attributes)


def _attribute(name: str, value: Attribute) -> Chunks:
    """AttributeProto; its field 20 says which of the others holds the value."""
    if isinstance(value, int):
        return [*blob(1, name), *integer(3, value), *integer(20, 2)]
    if isinstance(value, float):
        return [*blob(1, name), *float32(2, value), *integer(20, 1)]
    if isinstance(value, str):
        return [*blob(1, name), *blob(4, value), *integer(20, 3)]
    if all(isinstance(item, int) for item in value):
        return [*blob(1, name), *integers(8, (int(item) for item in value)), *integer(20, 7)]
    return [*blob(1, name), *floats(7, value), *integer(20, 6)]


def _type(port: Port) -> Chunks:
    sides = [
        chunk
        for side in port.shape
        for chunk in message(1, integer(1, side) if isinstance(side, int) else blob(2, side))
    ]
    return message(1, integer(1, DTYPES[port.dtype]), message(2, sides))


def _tensor_head(name: str, array: Array) -> bytes:
    """TensorProto up to its raw bytes, which come last."""
    chunks = [*integers(1, array.shape), *integer(2, DTYPES[array.dtype.name]), *blob(8, name)]
    return b"".join(chunks) + _length_of_field(9, array.nbytes)


def _raw(array: Array) -> memoryview:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _length_of_field(number: int, length: int) -> bytes:
    return varint(number << 3 | BYTES) + varint(length)


def _field_size(length: int) -> int:
    return len(_length_of_field(5, length)) + length
