"""What the two calling instructions of a pickle, REDUCE and BUILD, may mean in a file of numpy arrays.

numpy writes an array as: call _reconstruct(ndarray, (0,), b"b"); BUILD (1, shape, dtype, is it in Fortran's order,
bytes).  An element type: call dtype("f4", False, True); BUILD (3, "<", None, None, None, -1, -1, 0).  Protocol 2 writes
bytes as: call encode(text, "latin1").  Nothing of it is called here: the values are compared, and an array is a view.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

RECONSTRUCT = ("numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct")
NDARRAY, DTYPE, ENCODE = "numpy.ndarray", "numpy.dtype", "_codecs.encode"
GLOBALS = (*RECONSTRUCT, NDARRAY, DTYPE, ENCODE)

_ELEMENTS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class Refused(Exception):
    """The file asks for what weights do not need; the text says what."""


class Nested(tuple[Any, ...]):
    """A tuple that holds tuples; no tuple may hold it."""


class Global:
    """A name that the file wants to call."""

    def __init__(self, name: str) -> None:
        self.name = name


class Text:
    """A text too long to be a name, as its bytes in UTF-8."""

    def __init__(self, raw: memoryview) -> None:
        self.raw = raw


class Dtype:
    """An element type; it is `ready` after its BUILD."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.ready = False


class Array:
    """An array; `data` is None until its BUILD."""

    def __init__(self) -> None:
        self.data: NDArray[Any] | None = None


def reduce(function: object, args: object) -> Array | Dtype | bytes:
    """What calling `function` would make, for the three calls that arrays need.  Raises Refused for every other."""
    name = function.name if isinstance(function, Global) else ""
    match args:
        case (Global(name="numpy.ndarray"), (0,), start) if name in RECONSTRUCT and start == b"b":
            return Array()
        case (str(code), 0, 1) if name == DTYPE and code in _ELEMENTS:
            return Dtype(code)
        case (str(text), "latin1") if name == ENCODE:
            return _latin1(text)
        case (Text(raw=raw), "latin1") if name == ENCODE:
            return _latin1(decoded(raw))
    raise Refused(f"REDUCE calls {name or kind(function)} with {describe(args)}")


def build(target: object, state: object) -> None:
    """Give an element type its byte order or an array its content.  Raises Refused for everything else."""
    match target, state:
        case (Dtype() as dtype, (3, "<" | "|", None, None, None, -1, -1, 0)):
            dtype.ready = True
        case (Array(data=None) as array, _):
            array.data = _array(state)
        case _:
            again = " a second time" if isinstance(target, Array) else ""
            raise Refused(f"BUILD of {kind(target)}{again} with {describe(state)}")


def _array(state: object) -> NDArray[Any]:
    match state:
        case (1, tuple(shape), Dtype(ready=True, code=code), bool(fortran), memoryview() | bytes() as data):
            pass
        case _:
            raise Refused(f"BUILD of an array with {describe(state)}")
    item = int(code[1])
    # numpy bounds the size of an array as if the sides of 0 were 1.
    good = len(shape) <= 32 and all(type(side) is int and side >= 0 for side in shape)
    if not good or math.prod(max(side, 1) for side in shape) * item >= 1 << 62:
        raise Refused(f"BUILD of an array of the shape {describe(shape)}")
    if math.prod(shape) * item != len(data):
        raise Refused(f"BUILD of an array {list(shape)} of {code} with {len(data)} bytes")
    return np.ndarray(shape, "<" + code, data, order="F" if fortran else "C")


def decoded(raw: memoryview) -> str:
    """A text of its UTF-8."""
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"a text is not UTF-8: {error.reason}") from error


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise Refused(f"REDUCE calls {ENCODE} with a text that is not latin1") from error


def kind(value: object) -> str:
    """A value's kind in words; never its content, which a hostile file can make endless."""
    if isinstance(value, Array):
        return "an array" if value.data is not None else "an array without content"
    words = {
        Global: "a name",
        Text: "a long text",
        Dtype: "an element type",
        dict: "a dict",
        tuple: "a tuple",
        Nested: "a tuple",
        memoryview: "bytes",
    }
    return words.get(type(value), f"a value of type {type(value).__name__}")


def describe(value: object) -> str:
    """A value in words: a name, a number and a short text with their content, a tuple with that of its items."""
    if isinstance(value, tuple):
        return f"({', '.join(kind(item) if isinstance(item, tuple) else describe(item) for item in value):.300})"
    if isinstance(value, Global):
        return value.name
    return f"{value!r:.40}" if isinstance(value, str | int | None) else kind(value)
