"""Pickles that try what weights must not: an assembler for them, and a table of (name, bytes, words of the refusal)."""

import pickle
import struct
from typing import Any

TOUCHED: list[object] = []


def touch(*args: object) -> None:
    """What a pickle calls to show that it could call something."""
    TOUCHED.append(args)


class Touch:
    """An object whose pickle calls `touch`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return touch, ("reduce",)


class State:
    """An object whose pickle calls __setstate__."""

    def __getstate__(self) -> dict[str, int]:
        return {"state": 1}

    def __setstate__(self, state: object) -> None:
        touch(state)


class Name:
    """A global, for `push`."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Raw(bytes):
    """Instructions as they are, for `push`."""


NDARRAY, DTYPE = Name("numpy", "ndarray"), Name("numpy", "dtype")
RECONSTRUCT = Name("numpy._core.multiarray", "_reconstruct")
ENCODE = Name("_codecs", "encode")
OURS = Name("tests.paddle.hostile", "touch")


def push(value: object) -> bytes:
    """The instructions of protocol 4 that put a value on the stack."""
    match value:
        case Raw():
            return bytes(value)
        case Name(module=module, name=name):
            return push(module) + push(name) + b"\x93"
        case bool() | None:
            return {True: b"\x88", False: b"\x89", None: b"N"}[value]
        case int():
            size = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case bytes():
            return b"B" + struct.pack("<I", len(value)) + value
        case tuple():
            return b"(" + b"".join(map(push, value)) + b"t"
    raise TypeError(value)


def call(function: object, *args: object) -> Raw:
    return Raw(push(function) + push(args) + b"R")


def dtype(code: object = "f4", *args: object, order: object = "<", state: object = None) -> Raw:
    state = (3, order, None, None, None, -1, -1, 0) if state is None else state
    return Raw(call(DTYPE, code, *(args or (False, True))) + push(state) + b"b")


EMPTY = call(RECONSTRUCT, NDARRAY, (0,), b"b")
F4 = dtype()


def built(*state: object) -> Raw:
    return Raw(EMPTY + push(state) + b"b")


def array(shape: tuple[object, ...] = (2,), kind: object = F4, data: object = bytes(8)) -> Raw:
    return built(1, shape, kind, False, data)


def file(*items: object, protocol: int = 4, end: bytes = b".") -> bytes:
    """A pickle of a dict of keys and values, in turn."""
    return bytes([0x80, protocol]) + b"}(" + b"".join(map(push, items)) + b"u" + end


def weights(value: object) -> bytes:
    return file("w", value)


def raw(instructions: bytes) -> bytes:
    return b"\x80\x04" + instructions


LAUGHS = push((1, 2)) + b"".join(b"\x94" + b"(" + b"h%c" % i * 10 + b"t" for i in range(40))
LONG = "é" * 5000

# Pickles that pickle.loads would obey: each calls `touch`, or a function of the interpreter.
EXECUTING: list[tuple[str, bytes, str]] = [
    ("reduce of a function", weights(call(OURS, 1)), "STACK_GLOBAL asks for 'tests.paddle.hostile.touch'"),
    ("global of protocol 2", weights(Raw(b"ctests.paddle.hostile\ntouch\n)R")), "GLOBAL asks for 'tests.paddle"),
    ("inst", weights(Raw(b"(itests.paddle.hostile\ntouch\n")), "INST is not an instruction"),
    ("obj", weights(Raw(b"(ctests.paddle.hostile\ntouch\no")), "GLOBAL asks for"),
    ("eval", weights(call(Name("builtins", "eval"), "__import__('tests.paddle.hostile').paddle.hostile.touch()")),
     "asks for 'builtins.eval'"),
    ("exec", weights(call(Name("builtins", "exec"), "from tests.paddle.hostile import touch; touch()")),
     "asks for 'builtins.exec'"),
    ("after the arrays", file("w", array(), "x", call(OURS)), "asks for 'tests.paddle.hostile.touch'"),
    ("in the dict of names", file("w", array(), "StructuredToParameterName@@", call(OURS)), "asks for 'tests.paddle"),
    *((f"object, protocol {p}", pickle.dumps({"w": Touch()}, p), "GLOBAL asks for 'tests.paddle.hostile.touch'")
      for p in (1, 2, 3, 4)),
    ("object, protocol 0", pickle.dumps({"w": Touch()}, 0), "byte 1: DICT is not"),
    ("object, protocol 5", pickle.dumps({"w": Touch()}, 5), "PROTO 5"),
    ("setstate, protocol 2", pickle.dumps({"w": State()}, 2), "asks for 'tests.paddle.hostile.State'"),
    ("setstate, protocol 4", pickle.dumps({"w": State()}, 4), "asks for 'tests.paddle.hostile.State'"),
]  # fmt: skip

NAMES: list[tuple[str, bytes, str]] = [
    (name, weights(call(Name(*name.rsplit(".", 1)), "x")), f"STACK_GLOBAL asks for '{name}'")
    for name in (
        "os.system", "posix.system", "subprocess.Popen", "builtins.getattr", "builtins.__import__", "builtins.open",
        "builtins.print", "__builtin__.bytes", "importlib.import_module", "runpy.run_path", "pickle.loads",
        "numpy.load", "numpy.fromfile", "numpy.memmap", "numpy._core.multiarray.scalar",
        "numpy._core.numeric._frombuffer",
        "numpy.ndarray.tofile", "_codecs.decode", "torch._utils._rebuild_tensor_v2", "paddle.Tensor",
        "collections.OrderedDict",
    )
]  # fmt: skip

INSTRUCTIONS: list[tuple[str, bytes, str]] = [
    (word, weights(Raw(code)), f"{word} is not an instruction")
    for word, code in (
        ("PERSID", b"Pabc\n"), ("BINPERSID", b"NQ"), ("EXT1", b"\x82\x01"), ("EXT2", b"\x83\x01\0"),
        ("EXT4", b"\x84\x01\0\0\0"), ("NEWOBJ", push("x") + b")\x81"), ("NEWOBJ_EX", b")}\x92"), ("OBJ", b"(o"),
        ("BYTEARRAY8", b"\x96" + bytes(8)), ("NEXT_BUFFER", b"\x97"), ("READONLY_BUFFER", b"\x98"),
        ("EMPTY_LIST", b"]"), ("LIST", b"(l"), ("EMPTY_SET", b"\x8f"), ("FROZENSET", b"(\x91"), ("DICT", b"(d"),
        ("DUP", b"2"), ("POP", b"N0"), ("POP_MARK", b"(1"), ("BINFLOAT", b"G" + bytes(8)), ("INT", b"I1\n"),
        ("LONG", b"L1L\n"), ("LONG4", b"\x8b\xff\xff\xff\x7f"), ("STRING", b"S'a'\n"), ("UNICODE", b"Va\n"),
        ("BINSTRING", b"T" + bytes(4)), ("SHORT_BINSTRING", b"U\0"), ("byte 0xff", b"\xff"), ("byte 0x00", b"\0"),
    )
]  # fmt: skip

CALLS: list[tuple[str, bytes, str]] = [
    ("call of a text", weights(call("os.system", "x")), "REDUCE calls a value of type str with"),
    ("call of an array", weights(call(array(), "x")), "REDUCE calls an array with"),
    ("call without a tuple", weights(Raw(push(RECONSTRUCT) + push("x") + b"R")), "REDUCE calls numpy._core"),
    ("call of ndarray", weights(call(NDARRAY, (1 << 40,))), "REDUCE calls numpy.ndarray"),
    ("array of another class", weights(call(RECONSTRUCT, DTYPE, (0,), b"b")), "_reconstruct with \\(numpy.dtype, a"),
    ("array of a shape", weights(call(RECONSTRUCT, NDARRAY, (1 << 40,), b"b")), "REDUCE calls numpy._core.multiarray"),
    ("array of objects", weights(call(RECONSTRUCT, NDARRAY, (0,), b"O")), "REDUCE calls numpy._core.multiarray"),
    *((f"dtype {code}", weights(dtype(code)), f"REDUCE calls numpy.dtype with \\('{code}'")
      for code in ("O8", "V8", "S4", "U4", "M8", "m8", "c8", "f16", "p", "object", "f4,O8", "i3", "numpy.dtype")),
    ("dtype of a dtype", weights(call(DTYPE, DTYPE, False, True)), "REDUCE calls numpy.dtype"),
    ("dtype aligned", weights(call(DTYPE, "f4", True, True)), "REDUCE calls numpy.dtype"),
    *((f"codec {codec}", weights(call(ENCODE, "text", codec)), "REDUCE calls _codecs.encode")
      for codec in ("zip", "hex", "rot13", "utf-8", "unicode_escape")),
    ("codec without a text", weights(call(ENCODE, b"text", "latin1")), "REDUCE calls _codecs.encode"),
    ("codec of what is not latin1", weights(call(ENCODE, "€", "latin1")), "not latin1"),
    ("codec of a long text that is not latin1", weights(call(ENCODE, "😀" * 5000, "latin1")), "not latin1"),
    ("codec of a text that is not UTF-8",
     weights(call(ENCODE, Raw(b"X" + struct.pack("<I", 5000) + b"\xff" * 5000), "latin1")), "not UTF-8"),
    ("a long text as value", weights("x" * 5000), "'w' is a long text"),
    ("codec again and again", weights(Raw(push(LONG) + b"q\0" + b"".join(
        push(ENCODE) + b"h\0" + push("latin1") + b"\x86R" for _ in range(9)))), "more data than the file has"),
    ("a long text as a name", weights(Name("numpy" * 1000, "ndarray")), "STACK_GLOBAL of a long text and"),
]  # fmt: skip

BUILDS: list[tuple[str, bytes, str]] = [
    ("build of a dict", weights(Raw(b"}" + push((1, 2)) + b"b")), "BUILD of a dict"),
    ("build of a text", weights(Raw(push("x") + push((1, 2)) + b"b")), "BUILD of a value of type str"),
    ("build of a global", weights(Raw(push(NDARRAY) + b"}b")), "BUILD of a name with a dict"),
    ("build with a dict", weights(Raw(EMPTY + b"}" + b"b")), "BUILD of an array with a dict"),
    ("build twice", weights(Raw(array() + push((1, (2,), F4, False, bytes(8))) + b"b")), "a second time"),
    ("big-endian", weights(array(kind=dtype(order=">"))), "BUILD of an element type with \\(3, '>'"),
    ("dtype with metadata", weights(array(kind=dtype(state=(4, "<", None, None, None, -1, -1, 0, "x")))), "an element"),
    ("dtype with fields", weights(array(kind=dtype(state=(3, "<", None, ("a",), ("b",), -1, -1, 0)))), "element type"),
    ("dtype without build", weights(array(kind=call(DTYPE, "f4", False, True))), "BUILD of an array with"),
    ("a text as dtype", weights(array(kind="f4")), "BUILD of an array with"),
    ("version 2", weights(built(2, (2,), F4, False, bytes(8))), "BUILD of an array with \\(2,"),
    ("order as a number", weights(built(1, (2,), F4, 1, bytes(8))), "BUILD of an array with"),
    ("data as text", weights(array(data="12345678")), "BUILD of an array with"),
    ("data as an array", weights(array(data=array())), "BUILD of an array with"),
    ("a short state", weights(built(1, (2,))), "BUILD of an array with"),
    ("a huge array", weights(array((1 << 38,))), "BUILD of an array \\[274877906944\\] of f4 with 8 bytes"),
    ("a larger array", weights(array((1 << 62, 4))), "of the shape"),
    ("a huge array of nothing", weights(array((0, 1 << 31, 1 << 31), data=b"")), "of the shape"),
    ("a negative side", weights(array((-2,))), "of the shape"),
    ("two negative sides", weights(array((-1, -2))), "of the shape"),
    ("a boolean side", weights(array((True, 2))), "of the shape"),
    ("a text as side", weights(array(("2",))), "of the shape"),
    ("a tuple as side", weights(array(((2,),))), "nests tuples"),
    ("33 sides", weights(array((1,) * 32 + (2,))), "of the shape"),
    ("too few bytes", weights(array((3,))), "\\[3\\] of f4 with 8 bytes"),
    ("too many bytes", weights(array((1,))), "\\[1\\] of f4 with 8 bytes"),
    ("a long number", weights(Raw(b"\x8a\xff" + b"\x7f" * 255)), "LONG1 of 255 bytes"),
]  # fmt: skip

SIZES: list[tuple[str, bytes, str]] = [
    ("bytes beyond the end", weights(Raw(b"B\xff\xff\xff\xff")), "BINBYTES has 4294967295 bytes"),
    ("bytes beyond memory", weights(Raw(b"\x8e" + b"\xff" * 8)), "BINBYTES8 has 18446744073709551615 bytes"),
    ("a text beyond memory", weights(Raw(b"\x8d" + b"\xff" * 8)), "BINUNICODE8 has 18446744073709551615 bytes"),
    ("a frame beyond the end", raw(b"\x95" + struct.pack("<Q", 1 << 40) + b"}."), "FRAME has 1099511627776 bytes"),
    ("a memo entry that is not there", weights(Raw(b"h\x07")), "BINGET 7: the memo has no such entry"),
    ("a memo entry far away", weights(Raw(b"j\xff\xff\xff\xff")), "LONG_BINGET 4294967295"),
    ("a memo entry with a huge number", weights(Raw(push("x") + b"r\xff\xff\xff\xff")), "'w' is a value of type str"),
    ("memo entries without end", raw(b"}" + b"\x94" * 250_000 + b"."), "MEMOIZE is one of more than 200000"),
    ("dicts without end", raw(b"}" * 250_000 + b"."), "EMPTY_DICT is one of more than 200000"),
    ("marks without end", raw(b"(" * 250_000 + b"."), "MARK is one of more than 200000"),
    ("a wide tuple", weights(Raw(b"(" + b"N" * 100_000 + b"t")), "TUPLE of 100000 items"),
    ("a deep tuple", weights(Raw(b")" + b"\x85" * 100_000)), "TUPLE1 nests tuples"),
    ("a billion laughs", weights(Raw(LAUGHS)), "TUPLE nests tuples"),
    ("a dict in itself", raw(b"}\x94" + push("w") + b"h\0s."), "'w' is a dict"),
    ("a deep dict", raw(b"}" + (push("w") + b"}") * 5_000 + b"s" * 5_000 + b"."), "'w' is a dict"),
]  # fmt: skip

STRUCTURE: list[tuple[str, bytes, str]] = [
    ("only a protocol", raw(b""), "byte 2: the file ends without STOP"),
    ("no end", file("w", array(), end=b""), "the file ends without STOP"),
    ("bytes after the end", weights(array()) + b"x", "STOP with 0 values left on the stack and 1 bytes after it"),
    ("a second pickle", weights(array()) * 2, "STOP with 0 values left"),
    ("values left", raw(b"NN."), "STOP with 1 values left"),
    ("nothing left", raw(b"."), "STOP needs a value"),
    ("a mark left", raw(b"(."), "STOP needs a value"),
    ("not a dict", raw(push((1, 2)) + b"."), "Expected a dict of arrays"),
    ("a bare array", raw(array() + b"."), "Expected a dict of arrays"),
    ("an empty dict", raw(b"}."), "holds no array"),
    ("a number as value", weights(1), "'w' is a value of type int"),
    ("none as value", weights(None), "'w' is a value of type NoneType"),
    ("a dtype as value", weights(F4), "'w' is an element type"),
    ("an array that is not built", weights(EMPTY), "'w' is an array without content"),
    ("names that are no dict", file("w", array(), "StructuredToParameterName@@", "x"), "is a value of type str"),
    ("a number as key", file(1, array()), "SETITEMS with a value of type int as a key"),
    ("bytes as key", file(b"w", array()), "SETITEMS with bytes as a key"),
    ("a long text as key", file("w" * 5000, array()), "SETITEMS with a long text as a key"),
    ("a key twice", file("w", array(), "w", array()), "SETITEMS sets 'w' a second time"),
    ("an odd number of items", file("w", array(), "x"), "SETITEMS puts 3 values into a dict"),
    ("items without a dict", raw(b"N(u."), "SETITEMS puts 0 values into a value of type NoneType"),
    ("items without a mark", raw(b"}u."), "SETITEMS without a MARK"),
    ("a tuple across a mark", raw(b"N(N\x86."), "TUPLE2 needs a value"),
    ("protocol 1", file("w", array(), protocol=1), "PROTO 1"),
    ("protocol 255", file("w", array(), protocol=255), "PROTO 255"),
    ("global without lines", raw(b"cnumpy ndarray"), "GLOBAL without two lines"),
    ("global with a long line", raw(b"c" + b"x" * 5000 + b"\nndarray\n."), "GLOBAL without two lines"),
    ("global of numbers", raw(b"K\x01K\x02\x93."), "STACK_GLOBAL of a value of type int"),
    ("a key that is not UTF-8", raw(b"}" + b"\x8c\x02\xff\xfe" + array() + b"s."), "not UTF-8"),
    ("zip, as torch.save writes", b"PK\x03\x04" + bytes(60), "byte 0: PERSID is not"),
    ("a text file", b"hello world", "BINGET"),
]  # fmt: skip

HOSTILE = [*EXECUTING, *NAMES, *INSTRUCTIONS, *CALLS, *BUILDS, *SIZES, *STRUCTURE]
