"""Weights of Paddle are read exactly; a pickle that asks for anything else is refused and never run."""

import builtins
import importlib.util
import json
import pickle
import sys
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.paddle import hostile

from eyas.errors import ModelError
from eyas.paddle import pickles
from eyas.paddle.pickles import STRUCTURED_NAMES, read_pdparams

IDS = [name for name, _, _ in hostile.HOSTILE]


def recipe(reference: Path) -> ModuleType:
    """The module that makes weights from names alone."""
    spec = importlib.util.spec_from_file_location("reference_weights", reference / "weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(tmp_path: Path, data: bytes) -> dict[str, Any]:
    path = tmp_path / "model.pdparams"
    path.unlink(missing_ok=True)  # a mapped file must not change
    path.write_bytes(data)
    return read_pdparams(path)


@pytest.mark.parametrize("model", ["sod_tiny", "rec_tiny"])
def test_every_array_of_a_real_file(formats: Path, reference: Path, model: str) -> None:
    params = json.loads((formats / model / "params.json").read_text())["params"]
    expected = recipe(reference).state_dict(params)
    arrays = read_pdparams(formats / model / f"{model}.pdparams")
    assert list(arrays) == list(expected)
    for name, array in arrays.items():
        assert array.dtype == np.float32 and array.shape == expected[name].shape
        assert np.array_equal(array, expected[name]), name
        assert not array.flags.writeable


ARRAYS = {
    "scalar": np.array(1.5, np.float32),
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "steps": np.array([1 << 40], np.int64),
    "mask": np.array([True, False]),
    "half": np.array([0.5, -0.25], np.float16),
    "bytes": np.arange(256, dtype=np.uint8),
    "none": np.zeros((0, 3), np.float32),
    "large": np.random.default_rng(0).normal(size=(100, 301)).astype(np.float32),
}


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_round_trip_of_what_numpy_writes(tmp_path: Path, protocol: int) -> None:
    # Protocol 2 writes empty bytes as a call of bytes(), which stays refused.
    arrays = {name: array for name, array in ARRAYS.items() if protocol > 2 or array.size}
    names = {STRUCTURED_NAMES: {name: f"param_{index}" for index, name in enumerate(arrays)}}
    found = read(tmp_path, pickle.dumps({**arrays, **names}, protocol))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert np.array_equal(found[name], array)


def test_the_spelling_of_older_numpy(tmp_path: Path) -> None:
    data = pickle.dumps({"w": ARRAYS["large"]}, 2)
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert np.array_equal(read(tmp_path, old)["w"], ARRAYS["large"])
    numbers = hostile.weights(hostile.array(kind=hostile.dtype("f4", 0, 1)))  # False, True before numpy 1.20
    assert read(tmp_path, numbers)["w"].tolist() == [0, 0]


def test_arrays_are_views_of_the_file(tmp_path: Path) -> None:
    data = pickle.dumps({"w": np.ones(1_000_000, np.float32)}, 4)
    (tmp_path / "w.pdparams").write_bytes(data)
    tracemalloc.start()
    array = read_pdparams(tmp_path / "w.pdparams")["w"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert array.sum() == 1_000_000
    assert peak < 100_000


@pytest.mark.parametrize(("data", "problem"), [case[1:] for case in hostile.HOSTILE], ids=IDS)
def test_hostile_pickles_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, problem: str
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    hostile.TOUCHED.clear()
    for name in ("eval", "exec"):
        monkeypatch.setattr(builtins, name, hostile.touch)
    imported = set(sys.modules)
    with pytest.raises(ModelError, match=problem) as raised:
        read(tmp_path, data)
    assert hostile.TOUCHED == [] and set(sys.modules) == imported and list(folder.iterdir()) == []
    assert len(str(raised.value)) < 1000 + len(str(tmp_path))


@pytest.mark.parametrize("step", [b"}", b"(", b"N", b")", b"}\x94", b"B\0\0\0\0\x94", b"cnumpy\nndarray\n", b")\x85"])
def test_a_step_costs_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: bytes) -> None:
    monkeypatch.setattr(pickles, "_MOST_STEPS", 5000)
    tracemalloc.start()
    with pytest.raises(ModelError, match="more than 5000 instructions"):
        read(tmp_path, hostile.raw(step * 5000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250 * 5000 + 100_000


@pytest.mark.parametrize("data", [case[1] for case in hostile.EXECUTING], ids=[case[0] for case in hostile.EXECUTING])
def test_the_payloads_work_with_pickle_itself(data: bytes) -> None:
    hostile.TOUCHED.clear()
    try:
        pickle.loads(data)
    finally:
        assert hostile.TOUCHED


def test_absent_empty_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        read_pdparams(tmp_path / "none.pdparams")
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        read_pdparams(tmp_path)
    with pytest.raises(ModelError, match="is empty"):
        read(tmp_path, b"")


SMALL = pickle.dumps({**ARRAYS, STRUCTURED_NAMES: {"a": "b"}}, 4)
OLD = pickle.dumps({name: array for name, array in ARRAYS.items() if 0 < array.size < 1000}, 2)
fuzz = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_every_prefix_is_refused(tmp_path: Path) -> None:
    for end in range(1, 1200):
        with pytest.raises(ModelError):
            read(tmp_path, SMALL[:end])


@fuzz
@given(st.sampled_from([SMALL, OLD]), st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1))
def test_changed_bytes_give_arrays_or_a_refusal(tmp_path: Path, data: bytes, changes: list[tuple[int, int]]) -> None:
    changed = bytearray(data)
    for at, value in changes:
        changed[at % min(len(data), 3000)] = value
    try:
        arrays = read(tmp_path, bytes(changed))
    except ModelError:
        return
    assert sum(array.nbytes for array in arrays.values()) <= len(data)


PARTS = [
    *(bytes([code]) for code in b".(t}usbRN\x94\x85\x86\x88"), b"h\0", b"h\1", b"q\0", b"\x95" + bytes(8),
    *map(hostile.push, ("w", b"b", 3, (0,), hostile.NDARRAY, hostile.RECONSTRUCT, hostile.DTYPE)),
    hostile.F4, hostile.EMPTY, hostile.array(),
]  # fmt: skip


@fuzz
@given(st.lists(st.sampled_from(PARTS), max_size=40))
def test_any_order_of_instructions_gives_arrays_or_a_refusal(tmp_path: Path, parts: list[bytes]) -> None:
    try:
        arrays = read(tmp_path, hostile.raw(b"}" + b"".join(parts)))
    except ModelError:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
