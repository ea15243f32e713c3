"""Protocol buffers on the wire: a bounds-checked reader, and a writer that copies no tensor.

The format (https://protobuf.dev/programming-guides/encoding): a message is a sequence of fields; a field is a varint
`number << 3 | kind`, then a varint (kind 0), 8 bytes (1), a varint length and that many bytes (2), or 4 bytes (5).
An inner message is opened when the reader asks for it, so no file can nest deeper than the reader does.
"""

import struct
from collections.abc import Iterable, Iterator

from eyas.errors import ModelError

Chunks = list[bytes | memoryview]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_KINDS = {VARINT: "a whole number", FIXED64: "a double", BYTES: "bytes", FIXED32: "a float"}
_MASK = (1 << 64) - 1
_MOST_FIELDS = 200_000  # of one message: a network has a few thousand; one costs up to 250 bytes of memory


class Message:
    """The fields of one message.

    `where` is what the message is, for the ModelError that is raised where the bytes are not a message or a field is of
    another kind than asked.  A field that stands twice counts with its last value, one that is absent is None or [].
    """

    def __init__(self, data: memoryview, where: str) -> None:
        self.where = where
        self._fields: dict[int, list[tuple[int, int | memoryview]]] = {}
        at = count = 0
        while at < len(data):
            key, at = _varint(data, at, where)
            kind, count = key & 7, count + 1
            if count > _MOST_FIELDS:
                raise ModelError(f"{where}: it has more than {_MOST_FIELDS} fields. {_DAMAGED}")
            if kind == VARINT:
                value, at = _varint(data, at, where)
                self._fields.setdefault(key >> 3, []).append((kind, value))
                continue
            if kind not in _KINDS:
                raise ModelError(f"{where}: byte {at - 1} starts a field of the unknown kind {kind}. {_DAMAGED}")
            size, at = _varint(data, at, where) if kind == BYTES else (8 if kind == FIXED64 else 4, at)
            if size > len(data) - at:
                raise ModelError(
                    f"{where}: the field at byte {at} has {size} bytes, {len(data) - at} are left. {_DAMAGED}"
                )
            self._fields.setdefault(key >> 3, []).append((kind, data[at : at + size]))
            at += size

    def whole(self, number: int) -> int | None:
        """A whole number, int32 or int64."""
        return next(reversed(self.wholes(number)), None)

    def wholes(self, number: int) -> list[int]:
        """Repeated whole numbers, packed or not."""
        result = []
        for kind, value in self._fields.get(number, ()):
            if isinstance(value, int):
                result.append(_signed(value))
            elif kind == BYTES:
                at = 0
                while at < len(value):
                    item, at = _varint(value, at, self.where)
                    result.append(_signed(item))
            else:
                raise self._wrong(number, VARINT, kind)
        return result

    def reals(self, number: int) -> list[float]:
        """Repeated floats, packed or not."""
        return self._fixed(number, FIXED32, struct.Struct("<f"))

    def doubles(self, number: int) -> list[float]:
        """Repeated doubles, packed or not."""
        return self._fixed(number, FIXED64, struct.Struct("<d"))

    def _fixed(self, number: int, expected: int, code: struct.Struct) -> list[float]:
        result: list[float] = []
        for kind, value in self._fields.get(number, ()):
            if isinstance(value, int) or kind not in (expected, BYTES) or len(value) % code.size:
                raise self._wrong(number, expected, kind)
            result += (item[0] for item in code.iter_unpack(value))
        return result

    def texts(self, number: int) -> list[str]:
        """Repeated texts."""
        try:
            return [str(part, "utf-8") for part in self.parts(number)]
        except UnicodeDecodeError as error:
            raise ModelError(f"{self.where}: field {number} must be UTF-8 text: {error.reason}. {_DAMAGED}") from error

    def text(self, number: int) -> str | None:
        """A text."""
        return next(reversed(self.texts(number)), None)

    def messages(self, number: int, where: str) -> Iterator["Message"]:
        """Repeated messages, each read when its turn comes; the one at index i is called `where[i]` in errors."""
        return (Message(part, f"{self.where}, {where}[{index}]") for index, part in enumerate(self.parts(number)))

    def parts(self, number: int) -> list[memoryview]:
        """Repeated bytes, as views of the data."""
        result = []
        for kind, value in self._fields.get(number, ()):
            if kind != BYTES or isinstance(value, int):
                raise self._wrong(number, BYTES, kind)
            result.append(value)
        return result

    def _wrong(self, number: int, expected: int, got: int) -> ModelError:
        return ModelError(
            f"{self.where}: field {number} must hold {_KINDS[expected]}, it holds {_KINDS[got]}. {_DAMAGED}"
        )


_DAMAGED = "The file is damaged or of another format."


def _varint(data: memoryview, at: int, where: str) -> tuple[int, int]:
    value = shift = 0
    start = at
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, at
        shift += 7
    raise ModelError(f"{where}: the whole number at byte {start} does not end. {_DAMAGED}")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


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
