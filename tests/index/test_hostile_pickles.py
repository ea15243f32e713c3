"""An id_map.pkl is read without unpickling: of the hostile ones, none runs and each is refused in words."""

import builtins
import pickle
import struct
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.paddle import hostile
from tests.paddle.hostile import DTYPE, F4, NDARRAY, RECONSTRUCT, Name, Raw, State, Touch, call, dtype, file, push, raw

from eyas.errors import GalleryError
from eyas.index import id_map_pickle
from eyas.index.id_map import read_id_map
from eyas.index.id_map_pickle import read_pickled
from eyas.paddle import pickles

SCALAR = Name("numpy._core.multiarray", "scalar")
I8 = dtype("i8")


def key(number: int, kind: object = I8, data: object = None) -> Raw:
    """The instructions of numpy's int64."""
    return call(SCALAR, kind, number.to_bytes(8, "little", signed=True) if data is None else data)


def labels(*items: object) -> bytes:
    return file(key(0), "milk", *items)


def touching(number: int) -> Any:
    return {np.int64(0): "milk", np.int64(number): Touch()}


LAUGHS = push("ha" * 100) + b"".join(b"\x94" + b"(" + b"h%c" % i * 10 + b"t" for i in range(30))

EXECUTING: list[tuple[str, bytes, str]] = [
    *((f"object, protocol {p}", pickle.dumps(touching(1), p), "GLOBAL asks for 'tests.paddle.hostile.touch'")
      for p in (2, 3, 4)),
    *((f"object, protocol {p}", pickle.dumps(touching(1), p), "is not an instruction that labels need|PROTO 5|GLOBAL")
      for p in (0, 1, 5)),
    *((f"setstate, protocol {p}", pickle.dumps({0: State()}, p), "asks for 'tests.paddle.hostile.State'")
      for p in (2, 3, 4)),
    ("object as key", pickle.dumps({Touch(): "milk"}, 4), "GLOBAL asks for 'tests.paddle.hostile.touch'"),
    ("reduce of a function", labels(1, call(hostile.OURS, 1)), "asks for 'tests.paddle.hostile.touch'"),
    ("global of protocol 2", labels(1, Raw(b"ctests.paddle.hostile\ntouch\n)R")), "GLOBAL asks for 'tests.paddle"),
    ("inst", labels(1, Raw(b"(itests.paddle.hostile\ntouch\n")), "INST is not an instruction that labels need"),
    ("obj", labels(1, Raw(b"(ctests.paddle.hostile\ntouch\no")), "GLOBAL asks for"),
    ("eval", labels(1, call(Name("builtins", "eval"), "__import__('tests.paddle.hostile').paddle.hostile.touch()")),
     "asks for 'builtins.eval'"),
    ("exec", labels(1, call(Name("builtins", "exec"), "from tests.paddle.hostile import touch; touch()")),
     "asks for 'builtins.exec'"),
    ("in a dict in the dict", labels("id_map", Raw(b"}" + push(1) + call(hostile.OURS) + b"s")), "asks for 'tests"),
]  # fmt: skip

NAMES: list[tuple[str, bytes, str]] = [
    (name, labels(1, call(Name(*name.rsplit(".", 1)), "x")), f"asks for '{name}', which labels do not need")
    for name in (
        "os.system", "posix.system", "subprocess.Popen", "builtins.getattr", "builtins.__import__", "builtins.open",
        "builtins.print", "builtins.bytearray", "__builtin__.str", "importlib.import_module", "pickle.loads",
        "numpy.load", "numpy.ndarray", "numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct",
        "numpy._core.numeric._frombuffer", "numpy.int64", "_codecs.decode", "collections.OrderedDict",
        "yaml.unsafe_load", "faiss.read_index", "eyas.index.unpack.main",
    )
]  # fmt: skip

INSTRUCTIONS: list[tuple[str, bytes, str]] = [
    (word, labels(1, Raw(code)), f"{word} is not an instruction that labels need")
    for word, code in (
        ("PERSID", b"Pabc\n"), ("BINPERSID", b"NQ"), ("EXT1", b"\x82\x01"), ("EXT4", b"\x84\x01\0\0\0"),
        ("NEWOBJ", push("x") + b")\x81"), ("NEWOBJ_EX", b")}\x92"), ("OBJ", b"(o"), ("EMPTY_LIST", b"]"),
        ("EMPTY_SET", b"\x8f"), ("DICT", b"(d"), ("DUP", b"2"), ("POP", b"N0"), ("BINFLOAT", b"G" + bytes(8)),
        ("LONG4", b"\x8b\xff\xff\xff\x7f"), ("STRING", b"S'a'\n"), ("UNICODE", b"Va\n"),
        ("BYTEARRAY8", b"\x96" + bytes(8)), ("NEXT_BUFFER", b"\x97"), ("byte 0xff", b"\xff"),
    )
]  # fmt: skip

VALUES: list[tuple[str, bytes, str]] = [
    ("an array", labels(1, Raw(call(RECONSTRUCT, NDARRAY, (0,), b"b"))), "_reconstruct', which labels do not need"),
    ("objects", pickle.dumps({0: np.array([Touch()], object)}, 4), "which labels do not need"),
    ("a scalar of another type", labels(key(1, F4, b"1234"), "x"), "REDUCE calls numpy._core.multiarray.scalar"),
    ("a scalar of an object", labels(key(1, call(DTYPE, "O8", False, True)), "x"), "REDUCE calls numpy.dtype with"),
    ("a scalar that is too short", labels(key(1, I8, b"1234"), "x"), "with 4 bytes of an i8"),
    ("a scalar that is too long", labels(key(1, I8, bytes(9)), "x"), "with 9 bytes of an i8"),
    ("a scalar without a type", labels(key(1, "i8"), "x"), "REDUCE calls numpy._core.multiarray.scalar"),
    ("a type without its order", labels(key(1, call(DTYPE, "i8", False, True)), "x"), "multiarray.scalar with"),
    ("big-endian", labels(key(1, dtype("i8", order=">")), "x"), "BUILD of an element type with"),
    ("build of a dict", labels(1, Raw(b"}" + push((1, 2)) + b"b")), "BUILD of a dict"),
    ("build of a text", labels(1, Raw(push("x") + b"}b")), "BUILD of a value of type str"),
    ("a tuple as key", labels((1, 2), "x"), "with a tuple as a key"),
    ("none as key", labels(None, "x"), "with a value of type NoneType as a key"),
    ("a boolean as key", labels(True, "x"), "with a value of type bool as a key"),
    ("bytes as key", labels(b"1", "x"), "with bytes as a key"),
    ("an id twice", labels(key(0), "x"), "sets 0 a second time"),
    ("an id as number and as text", labels("0", "x"), "names an id twice"),
    ("a negative id", labels(key(-1), "x"), "the id -1 is no whole number from 0"),
    ("a word as id", labels("x", "y"), "the id 'x' is no whole number"),
    ("none as label", labels(1, None), "the label of 1 is NoneType"),
    ("a boolean as label", labels(1, True), "the label of 1 is bool"),
    ("a tuple as label", labels(1, (1, 2)), "the label of 1 is tuple"),
    ("bytes as label", labels(1, b"x"), "the label of 1 is memoryview"),
    ("a dict as label", labels(1, Raw(b"}")), "the label of 1 is dict"),
    ("a name as label", labels(1, DTYPE), "the label of 1 is Global"),
    ("a type as label", labels(1, I8), "the label of 1 is Dtype"),
    ("a long text as label", labels(1, "x" * 5000), "the label of 1 is Text"),
    ("a metric", file("id_map", Raw(b"}"), "metric_type", "cosine"), "metric_type is 'cosine'"),
    ("no dict", raw(push("milk") + b"."), "it holds a value of type str. Expected a dict from ids to labels"),
    ("a map that is no dict", file("id_map", "x"), "has no key `id_map`"),
]  # fmt: skip

SIZES: list[tuple[str, bytes, str]] = [
    ("bytes beyond the end", labels(1, Raw(b"B\xff\xff\xff\xff")), "BINBYTES has 4294967295 bytes"),
    ("a text beyond memory", labels(1, Raw(b"\x8d" + b"\xff" * 8)), "BINUNICODE8 has 18446744073709551615 bytes"),
    ("a frame beyond the end", raw(b"\x95" + struct.pack("<Q", 1 << 40) + b"}."), "FRAME has 1099511627776 bytes"),
    ("memo entries without end", raw(b"}" + b"\x94" * 250_000 + b"."), "MEMOIZE is one of more than 200000"),
    ("dicts without end", raw(b"}" * 250_000 + b"."), "EMPTY_DICT is one of more than 200000"),
    ("empty groups without end", raw(b"}" + b"(u" * 250_000 + b"."), "is one of more than 200000"),
    ("a billion laughs", labels(1, Raw(LAUGHS)), "TUPLE nests tuples"),
    ("a wide tuple", labels(1, Raw(b"(" + b"N" * 100_000 + b"t")), "TUPLE of 100000 items"),
    ("a memo entry that is not there", labels(1, Raw(b"h\x07")), "BINGET 7: the memo has no such entry"),
    ("a dict in itself", raw(b"}\x94" + push("id_map") + b"h\0s."), "the id 'id_map' is no whole number"),
    ("no end", file(key(0), "x", end=b""), "the file ends without STOP"),
    ("a second pickle", labels() * 2, "STOP with 0 values left on the stack and"),
    ("an empty file", b"", "byte 0: the file ends without STOP"),
    ("a text that is not UTF-8", labels(1, Raw(b"\x8c\x02\xff\xfe")), "not UTF-8"),
    ("protocol 255", file(1, "x", protocol=255), "PROTO 255"),
    ("a zip file", b"PK\x03\x04" + bytes(60), "byte 0: PERSID is not an instruction"),
]  # fmt: skip

HOSTILE = [*EXECUTING, *NAMES, *INSTRUCTIONS, *VALUES, *SIZES]


def read(tmp_path: Path, data: bytes) -> dict[int, str]:
    (tmp_path / "id_map.pkl").write_bytes(data)
    return read_id_map(tmp_path).labels


def test_there_are_enough() -> None:
    assert len(HOSTILE) >= 100 and len({data for _, data, _ in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize(("data", "problem"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_pickles_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, problem: str
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    hostile.TOUCHED.clear()
    for name in ("eval", "exec"):
        monkeypatch.setattr(builtins, name, hostile.touch)
    found: list[str] = []
    armed = [True]
    sys.addaudithook(lambda event, args: found.append(event) if armed[0] and event.startswith("pickle.") else None)
    imported = set(sys.modules)
    with pytest.raises(GalleryError, match=problem) as raised:
        read(tmp_path, data)
    armed[0] = False
    assert hostile.TOUCHED == found == [] and set(sys.modules) == imported and list(folder.iterdir()) == []
    assert len(str(raised.value)) < 1000 + len(str(tmp_path))


@pytest.mark.parametrize("data", [case[1] for case in EXECUTING], ids=[case[0] for case in EXECUTING])
def test_the_payloads_work_with_pickle_itself(data: bytes) -> None:
    hostile.TOUCHED.clear()
    pickle.loads(data)
    assert hostile.TOUCHED


@pytest.mark.parametrize("step", [b"}", b"(", b"N", b"}\x94", b"B\0\0\0\0\x94", b"cnumpy\ndtype\n", b")\x85"])
def test_a_step_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: bytes) -> None:
    monkeypatch.setattr(pickles, "_MOST_STEPS", 5000)
    (tmp_path / "id_map.pkl").write_bytes(raw(step * 5000))
    tracemalloc.start()
    with pytest.raises(GalleryError, match="more than 5000 instructions"):
        read_pickled(tmp_path / "id_map.pkl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250 * 5000 + 100_000


def test_more_labels_may_have_more_instructions(tmp_path: Path) -> None:
    expected = {number: f"label {number}" for number in range(25_000)}
    assert read(tmp_path, pickle.dumps({np.int64(number): label for number, label in expected.items()})) == expected


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert id_map_pickle.MOST_BYTES == 256 << 20
    monkeypatch.setattr(id_map_pickle, "MOST_BYTES", 10)
    with pytest.raises(GalleryError, match="bytes. Expected at most 10: it holds only labels"):
        read(tmp_path, labels())


SMALL = pickle.dumps({np.int64(number): f"label {number}" for number in range(20)}, 4)
OLD = pickle.dumps({np.int64(number): f"label {number}" for number in range(20)}, 2)


def test_every_prefix_is_refused(tmp_path: Path) -> None:
    for data in (SMALL, OLD):
        for end in range(0, len(data), 3):
            with pytest.raises(GalleryError):
                read(tmp_path, data[:end])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([SMALL, OLD]), st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1))
def test_changed_bytes_give_labels_or_a_refusal(tmp_path: Path, data: bytes, changes: list[tuple[int, int]]) -> None:
    changed = bytearray(data)
    for at, value in changes:
        changed[at % len(data)] = value
    try:
        found = read(tmp_path, bytes(changed))
    except GalleryError:
        return
    assert all(isinstance(number, int) and isinstance(label, str) for number, label in found.items())
