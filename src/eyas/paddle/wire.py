"""Protocol buffers on the wire: a bounds-checked reader, and a writer that copies no tensor.

The format (https://protobuf.dev/programming-guides/encoding): a message is a sequence of fields; a field is a varint
`number << 3 | kind`, then a varint (kind 0), 8 bytes (1), a varint length and that many bytes (2), or 4 bytes (5).
"""

import struct
from collections.abc import Iterable

from eyas.errors import ModelError

Fields = dict[int, list[int | memoryview]]
Chunks = list[bytes | memoryview]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MASK = (1 << 64) - 1


class Wire:
    """The fields of one message, by number.

    `where` is what the message is, for the ModelError that every method raises where the bytes do not fit.
    """

    def __init__(self, data: memoryview, where: str) -> None:
        raise NotImplementedError


def varint(value: int) -> bytes:
    """A whole number as a varint; a negative one as 64-bit two's complement, as int32 and int64 fields write it."""
    value &= _MASK
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(number: int, value: int) -> Chunks:
    """A field of kind int32, int64, uint64, bool or enum."""
    return [varint(number << 3 | VARINT) + varint(value)]


def float32(number: int, value: float) -> Chunks:
    """A field of kind float."""
    return [varint(number << 3 | FIXED32) + struct.pack("<f", value)]


def blob(number: int, value: str | bytes | memoryview) -> Chunks:
    """A field of kind string or bytes; bytes are referred to, not copied.  A memoryview is one of single bytes."""
    data = value.encode() if isinstance(value, str) else value
    return [varint(number << 3 | BYTES) + varint(len(data)), data]


def message(number: int, *parts: Chunks) -> Chunks:
    """A field that holds a message of the fields `parts`."""
    chunks = [chunk for part in parts for chunk in part]
    return [varint(number << 3 | BYTES) + varint(sum(map(len, chunks))), *chunks]


def integers(number: int, values: Iterable[int]) -> Chunks:
    """A packed repeated field of whole numbers."""
    return blob(number, b"".join(map(varint, values)))


def floats(number: int, values: Iterable[float]) -> Chunks:
    """A packed repeated field of kind float."""
    return blob(number, b"".join(struct.pack("<f", value) for value in values))
