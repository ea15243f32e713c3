"""Protocol buffers: what is written is read back, and bytes that are no message are refused with their place."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyas.errors import ModelError
from eyas.paddle.wire import FIXED64, Chunks, Message, blob, float32, floats, integer, integers, message, varint

int64 = st.integers(-(1 << 63), (1 << 63) - 1)
number = st.integers(1, 1 << 28)


def parse(*parts: Chunks) -> Message:
    return Message(memoryview(b"".join(chunk for part in parts for chunk in part)), "file")


def test_bytes_of_the_specification() -> None:
    # The examples of https://protobuf.dev/programming-guides/encoding.
    assert varint(150) == b"\x96\x01"
    assert b"".join(integer(1, 150)) == b"\x08\x96\x01"
    assert b"".join(blob(2, "testing")) == b"\x12\x07testing"
    assert b"".join(message(3, integer(1, 150))) == b"\x1a\x03\x08\x96\x01"
    assert b"".join(integers(6, [3, 270, 86942])) == b"\x32\x06\x03\x8e\x02\x9e\xa7\x05"
    assert varint(-1) == b"\xff" * 9 + b"\x01"


@given(number, st.lists(int64))
def test_whole_numbers_packed_and_not(field: int, values: list[int]) -> None:
    assert parse(integers(field, values)).wholes(field) == values
    assert parse(*(integer(field, value) for value in values)).wholes(field) == values
    assert parse(*(integer(field, value) for value in values)).whole(field) == (values[-1] if values else None)


@given(number, st.lists(st.floats(width=32, allow_nan=False)))
def test_floats_packed_and_not(field: int, values: list[float]) -> None:
    assert parse(floats(field, values)).reals(field) == values
    assert parse(*(float32(field, value) for value in values)).reals(field) == values
    doubles = [[varint(field << 3 | FIXED64) + struct.pack("<d", value)] for value in values]
    assert parse(*doubles).doubles(field) == values


@given(number, st.lists(st.text()))
def test_texts_and_messages(field: int, values: list[str]) -> None:
    assert parse(*(blob(field, value) for value in values)).texts(field) == values
    outer = parse(*(message(field, blob(1, value), integer(2, len(value))) for value in values))
    assert [(inner.text(1), inner.whole(2)) for inner in outer.messages(field, "op")] == [(v, len(v)) for v in values]


def test_a_written_tensor_is_not_copied() -> None:
    data = memoryview(bytes(1000))
    chunks = message(7, message(5, blob(9, data), integer(2, 1)))
    assert any(chunk is data for chunk in chunks)
    assert sum(map(len, chunks)) == len(b"".join(chunks))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x08", "the whole number at byte 1 does not end"),
        (b"\x08" + b"\x80" * 20, "the whole number at byte 1 does not end"),
        (b"\x08\x01\x0b", "byte 2 starts a field of the unknown kind 3"),
        (b"\x0e", "the unknown kind 6"),
        (b"\x12\x05abc", "the field at byte 2 has 5 bytes, 3 are left"),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "has 18446744073709551615 bytes, 0 are left"),
        (b"\x0d\x01", "the field at byte 1 has 4 bytes, 1 are left"),
        (b"\x09\x01", "the field at byte 1 has 8 bytes, 1 are left"),
    ],
)
def test_bytes_that_are_no_message(data: bytes, problem: str) -> None:
    with pytest.raises(ModelError, match=f"file: .*{problem}.*damaged"):
        Message(memoryview(data), "file")


def test_fields_without_end() -> None:
    with pytest.raises(ModelError, match="file: it has more than 200000 fields"):
        Message(memoryview(b"\x12\0" * 250_000), "file")


def test_a_field_of_another_kind() -> None:
    fields = parse(blob(1, b"\xff\xfe"), integer(2, 1), float32(3, 1.0))
    for read, problem in (
        (lambda: fields.texts(1), "field 1 must be UTF-8"),
        (lambda: fields.parts(2), "field 2 must hold bytes, it holds a whole number"),
        (lambda: fields.wholes(3), "field 3 must hold a whole number, it holds a float"),
        (lambda: fields.reals(2), "field 2 must hold a float, it holds a whole number"),
        (lambda: fields.doubles(3), "field 3 must hold a double, it holds a float"),
        (lambda: fields.reals(1), "field 1 must hold a float, it holds bytes"),
        (lambda: list(fields.messages(2, "op")), "field 2 must hold bytes"),
    ):
        with pytest.raises(ModelError, match=problem):
            read()
    with pytest.raises(ModelError, match=r"file, op\[0\]: the whole number"):
        list(parse(blob(4, b"\x80")).messages(4, "op"))


@given(st.binary(max_size=60))
def test_any_bytes_give_fields_or_a_refusal(data: bytes) -> None:
    try:
        fields = Message(memoryview(data), "file")
        for field in range(1, 8):
            fields.wholes(field)
            list(fields.messages(field, "op"))
    except ModelError:
        pass
