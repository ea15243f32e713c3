""".pdiparams, the weights of an exported model: tensors one after another, without their names.

The layout was found from the files of Paddle 2.6.2, 3.0.0 and 3.3.1, which agree.  A record, little-endian: uint32
version 0 of the tensor, uint64 number of its sequence levels, uint32 version 0 of its content, int32 n, n bytes of the
message TensorDesc (1: element type, 2: repeated side), then the elements.  Records are sorted by the name that the
program gives to the parameter.
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.errors import ModelError
from eyas.paddle.files import mapped
from eyas.paddle.graph import Value
from eyas.paddle.wire import Message

DTYPES = {
    0: "bool",
    1: "int16",
    2: "int32",
    3: "int64",
    4: "float16",
    5: "float32",
    6: "float64",
    20: "uint8",
    21: "int8",
    22: "bfloat16",
}
"""Numbers of VarType.Type in framework.proto, which both this format and the ProgramDesc use."""

_HEADER = struct.Struct("<IQIi")
_LONGEST_DESCRIPTION = 1024  # a tensor of 64 sides, each of the longest varint, fits


def read_pdiparams(path: Path, declared: Mapping[str, Value]) -> dict[str, NDArray[Any]]:
    """The parameters that the program has declared, by name.

    The arrays are read-only views of the mapped file; they may start at any byte, so `flags.aligned` can be false.
    Raises ModelError, with the tensor and the byte, where the file is another one than the program's.
    """
    data = mapped(path)
    at = 0
    arrays = {}
    for name in sorted(declared):
        arrays[name], at = _record(data, at, declared[name], path)
    if at != len(data):
        raise ModelError(
            f"{path}: {len(data) - at} bytes follow at byte {at}, after the last of {len(declared)} tensors that the "
            "program declares. The program and the weights are not of the same model."
        )
    return arrays


def _record(data: memoryview, at: int, value: Value, path: Path) -> tuple[NDArray[Any], int]:
    where = f"{path}: tensor {value.name!r} at byte {at}"
    start = at
    at += _HEADER.size
    if at > len(data):
        raise ModelError(f"{where}: the file ends after {len(data) - start} bytes of its header. {_INCOMPLETE}")
    version, levels, content, length = _HEADER.unpack_from(data, start)
    if (version, levels, content) != (0, 0, 0):
        raise ModelError(
            f"{where}: its header holds the versions {version} and {content} and {levels} sequence levels. Expected 0 "
            "of each: the file is not a .pdiparams file, or not the program's."
        )
    if not 0 <= length <= min(_LONGEST_DESCRIPTION, len(data) - at):
        raise ModelError(f"{where}: its description has {length} bytes, {len(data) - at} are left. {_INCOMPLETE}")
    description = Message(data[at : at + length], where)
    at += length
    _check_description(description, value, where)
    dtype = np.dtype(value.dtype).newbyteorder("<")
    size = math.prod(value.shape) * dtype.itemsize
    if size > len(data) - at:
        raise ModelError(f"{where}: it has {size} bytes of {value.dtype}, {len(data) - at} are left. {_INCOMPLETE}")
    return np.ndarray(value.shape, dtype, buffer=data, offset=at), at + size


_INCOMPLETE = "The file is damaged, not complete, or not the program's."


def _check_description(description: Message, value: Value, where: str) -> None:
    number = description.whole(1)
    found = (DTYPES.get(-1 if number is None else number, f"type {number}"), tuple(description.wholes(2)))
    if found != (value.dtype, value.shape):
        raise ModelError(
            f"{where}: the program declares {value.dtype} {list(value.shape)}, the file holds {found[0]} "
            f"{list(found[1])}. The program and the weights are not of the same model."
        )
    # numpy bounds the size of an array as if the sides of 0 were 1; a size that is too large itself is found later.
    endless = 0 in value.shape and math.prod(max(side, 1) for side in value.shape) >= 1 << 59
    if value.dtype == "bfloat16" or min(value.shape, default=0) < 0 or len(value.shape) > 32 or endless:
        raise ModelError(f"{where}: {value.dtype} {list(value.shape)} is not supported. Expected a plain tensor.")
