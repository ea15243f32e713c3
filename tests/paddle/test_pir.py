"""inference.json becomes a graph: hand-made programs, the real ones of two versions, and what is refused."""

import copy
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.paddle.test_params import record

from eyas.errors import ModelError
from eyas.paddle import read_graph
from eyas.paddle.graph import Graph, Value
from eyas.paddle.pir import read_pir

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def tensor(shape: list[int], dtype: str = "0.t_f32") -> dict[str, Any]:
    return {"#": "0.t_dtensor", "D": [{"#": dtype}, shape, "NCHW", [], 0]}


def attr(name: str, kind: str, value: object) -> dict[str, Any]:
    return {"N": name, "AT": {"#": kind, "D": value}}


def op(kind: str, inputs: list[int], outputs: dict[int, object], *attrs: object) -> dict[str, Any]:
    results = [{"%": number, "TT": kind} for number, kind in outputs.items()]
    return {"#": kind, "A": list(attrs), "I": [{"%": number} for number in inputs], "O": results, "OA": []}


def program(version: object = 4, ops: list[Any] | None = None) -> dict[str, Any]:
    """x -> split along 1 -> [a, b], concat [b, a, w] -> y, and an operator with an optional tensor left out."""
    pair = {"#": "0.t_vec", "D": [tensor([-1, 1]), tensor([-1, 1])]}
    triple = {"#": "0.t_vec", "D": [tensor([-1, 1])] * 2 + [tensor([2, 3])]}
    ints = [{"#": "0.a_i64", "D": value} for value in (1, -1)]
    default = [
        {"#": "p", "A": [0, 1, 1, "w.0"], "DA": [], "O": {"%": 1, "TT": tensor([2, 3])}, "OA": [1, 0, 1], "QA": []},
        op("1.data", [], {2: tensor([-1, 2])}, attr("name", "0.a_str", "x")),
        op("1.full", [], {3: tensor([1], "0.t_i32")}, attr("value", "0.a_f64", 1), attr("dtype", "1.a_dtype", "int32")),
        op("1.split_with_num", [2, 3], {4: pair}, attr("num", "0.a_i32", 2)),
        op("0.split", [4], {5: tensor([-1, 1]), 6: tensor([-1, 1])}),
        op("0.combine", [6, 5, 1], {7: triple}),
        op("1.concat", [7, 3], {8: tensor([-1, 5])}, attr("names", "0.a_array", [{"#": "0.a_str", "D": "é"}])),
        op("1.nms", [8, 0], {9: tensor([-1], "0.t_i64"), 10: {"#": "NULL"}},
           attr("top", "0.a_array", ints), attr("on", "0.a_bool", True), attr("shape", "1.a_intarray", [1, -1]),
           attr("limit", "1.a_scalar", ["float32", 0.5]), {"N": "inf", "AT": {"#": "0.a_f32", "VD": "-INF"}}),
        op("1.fetch", [9], {11: tensor([-1])}, attr("name", "0.a_str", "fetch_1"), attr("col", "0.a_i32", 1)),
        op("1.fetch", [8], {12: tensor([-1])}, attr("name", "0.a_str", "fetch_0"), attr("col", "0.a_i32", 0)),
    ]  # fmt: skip
    blocks = [{"#": "block_0", "args": [], "ops": default if ops is None else ops}]
    return {
        "base_code": {"magic": "pir", "trainable": True, "version": version},
        "program": {"regions": [{"#": "region_0", "blocks": blocks}]},
    }


def read(tmp_path: Path, value: object, weights: bytes | None = None) -> Graph:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    for name, data in (
        ("inference.json", text),
        ("inference.pdiparams", record(WEIGHT) if weights is None else weights),
    ):
        (tmp_path / name).unlink(missing_ok=True)  # a mapped file must not change
        (tmp_path / name).write_bytes(data)
    return read_pir(tmp_path / "inference.json", tmp_path / "inference.pdiparams")


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_program(tmp_path: Path, version: int) -> None:
    graph = read(tmp_path, program(version))
    assert graph.inputs == ("x",) and graph.outputs == ("%8", "%9")
    assert np.array_equal(graph.parameters["w.0"], WEIGHT)
    assert [op.kind for op in graph.ops] == ["full", "split_with_num", "concat", "nms"]
    full, split, concat, nms = graph.ops
    assert full.inputs == {} and full.outputs == {"0": ("%3",)} and full.attrs == {"value": 1.0, "dtype": "int32"}
    assert isinstance(full.attrs["value"], float)
    assert split.inputs == {"0": ("x",), "1": ("%3",)} and split.outputs == {"0": ("%4.0", "%4.1")}
    assert concat.inputs == {"0": ("%4.1", "%4.0", "w.0"), "1": ("%3",)} and concat.attrs == {"names": ["é"]}
    assert nms.inputs == {"0": ("%8",), "1": ()} and nms.outputs == {"0": ("%9",), "1": ()}
    limits = {"top": [1, -1], "on": True, "shape": [1, -1], "limit": 0.5, "inf": float("-inf")}
    assert nms.attrs == limits
    assert graph.values["%9"] == Value("%9", (-1,), "int64") and graph.values["w.0"] == Value("w.0", (2, 3), "float32")
    assert set(graph.values) == {"w.0", "x", "%3", "%4.0", "%4.1", "%8", "%9"}


def check_wiring(graph: Graph) -> None:
    """Every value is made once and before it is read."""
    made = {*graph.inputs, *graph.parameters}
    assert len(made) == len(graph.inputs) + len(graph.parameters)
    for op in graph.ops:
        assert {name for names in op.inputs.values() for name in names} <= made
        outputs = [name for names in op.outputs.values() for name in names]
        assert made.isdisjoint(outputs)
        made.update(outputs)
    assert set(graph.outputs) <= made == set(graph.values)
    for name, array in graph.parameters.items():
        assert graph.values[name] == Value(name, array.shape, str(array.dtype))


@pytest.mark.parametrize("kind", ["pir", "pir30"])
def test_the_real_detector(formats: Path, kind: str) -> None:
    graph = read_graph(formats / "sod_tiny" / kind)
    check_wiring(graph)
    assert graph.inputs == ("image", "scale_factor")
    assert [graph.values[name].shape for name in graph.inputs] == [(-1, 3, 320, 320), (-1, 2)]
    assert [graph.values[name] for name in graph.outputs] == [
        Value(graph.outputs[0], (-1, 6), "float32"), Value(graph.outputs[1], (-1,), "int32"),
    ]  # fmt: skip
    kinds = Counter(op.kind for op in graph.ops)
    assert len(graph.ops) == 675 and kinds["conv2d"] == 86 and kinds["batch_norm_"] == 56 and kinds["swish"] == 67
    assert {"combine", "split", "data", "fetch", "p"}.isdisjoint(kinds)
    nms = graph.ops[-1]
    assert nms.kind == "multiclass_nms3" and nms.inputs["2"] == () and len(nms.outputs) == 3
    assert nms.attrs == {
        "score_threshold": float(np.float32(0.01)), "nms_top_k": 10000, "keep_top_k": 500, "normalized": True,
        "nms_threshold": float(np.float32(0.6)), "nms_eta": 1.0, "background_label": -1,
    }  # fmt: skip
    assert [len(op.inputs["0"]) for op in graph.ops if op.kind == "concat"][:2] == [2, 2]
    assert [len(op.outputs["0"]) for op in graph.ops if op.kind == "split_with_num"] == [2, 2]


@pytest.mark.parametrize("model", ["sod_tiny", "rec_tiny"])
def test_versions_1_and_4_are_one_network(formats: Path, model: str) -> None:
    """The same operators with the same attributes between the same values, whatever these are called."""
    new, old = (read_graph(formats / model / kind) for kind in ("pir", "pir30"))
    renamed = dict(zip(new.inputs, old.inputs, strict=True)) | {name: name for name in new.parameters}
    for ours, theirs in zip(new.ops, old.ops, strict=True):
        assert (ours.kind, ours.attrs) == (theirs.kind, theirs.attrs)
        assert {slot: tuple(renamed[name] for name in names) for slot, names in ours.inputs.items()} == theirs.inputs
        for slot, names in ours.outputs.items():
            renamed |= dict(zip(names, theirs.outputs[slot], strict=True))
    assert tuple(renamed[name] for name in new.outputs) == old.outputs


def change(*place: str | int, to: object) -> dict[str, Any]:
    """The program with one place in its list of operators changed."""
    value = copy.deepcopy(program())
    holder: Any = value["program"]["regions"][0]["blocks"][0]["ops"]
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = to
    return value


def with_block(edit: Callable[[list[Any]], object]) -> dict[str, Any]:
    value = program()
    edit(value["program"]["regions"][0]["blocks"])
    return value


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"not JSON", "is not JSON that can be read"),
        (b"\xff\xfe\xfd", "is not JSON that can be read"),
        (b"[" * 100_000, "is not JSON that can be read"),
        (b'{"base_code": ' + b"9" * 5000 + b"}", "is not JSON that can be read"),
        (b"[]", "expected dict at 'base_code', it is missing"),
        ({"base_code": {}}, "expected a PIR program of version 1 to 4, got magic None and version None"),
        (program(5), "expected a PIR program of version 1 to 4, got magic 'pir' and version 5"),
        (program(0), "version 0"),
        (program(True), "version True"),
        (program([4]), r"version \[4\]"),
        ({"base_code": {"magic": "pir", "version": 4}}, "expected dict at 'program', it is missing"),
        (with_block(lambda blocks: blocks.append(blocks[0])), "has 2 blocks. Expected 1: loops and branches"),
        (with_block(lambda blocks: blocks.clear()), "has 0 blocks"),
        (change(3, "regions", to=[{}]), r"operator 3 \(1.split_with_num\): it holds a program of its own"),
        (change(3, "#", to="2.yield"), r"operator 3 \(2.yield\): only Paddle's own operators"),
        (change(3, "#", to="0.constant"), "only Paddle's own operators"),
        (change(3, "#", to="custom"), "only Paddle's own operators"),
        (change(3, to="text"), "operator 3: expected str at '#', it is missing"),
        (change(3, "I", 0, "%", to=77), "it reads value 77, which no operator before it has made"),
        (change(3, "I", 0, "%", to=8), "it reads value 8, which no operator before it has made"),
        (change(3, "I", 0, "%", to="2"), "expected int at '%', got str"),
        (change(3, "I", 0, "%", to=True), "expected int at '%', got bool"),
        (change(3, "O", 0, "%", to=2), "it makes value 2 again"),
        (change(3, "O", 0, "TT", to={"#": "1.t_dt_arr", "D": [{"#": "0.t_f32"}, []]}), "1.t_dt_arr .*is not supported"),
        (change(6, "O", 0, "TT", "D", 0, "#", to="0.t_c64"), "0.t_dtensor of 0.t_c64 is not supported"),
        (change(6, "O", 0, "TT", "D", 1, to=[-2]), r"the shape \[-2\] is not one"),
        (change(6, "O", 0, "TT", "D", 1, to=[1.5]), r"the shape \[1.5\] is not one"),
        (change(6, "A", 0, "AT", "#", to="0.a_pointer"), "attribute 'names': its kind '0.a_pointer' is not supported"),
        (change(6, "A", 0, "AT", "D", 0, "D", to=1), "attribute 'names': expected str at 'D', got int"),
        (change(7, "A", 1, "AT", "D", to=1), "attribute 'on': expected bool at 'D', got int"),
        (change(7, "A", 4, "AT", "VD", to=1), "attribute 'inf': expected str at 'VD', got int"),
        (change(7, "A", 4, "AT", "VD", to="huge"), "attribute 'inf': the number 'huge' is unknown"),
        (change(2, "A", 0, "AT", "D", to=10**400), "is not JSON that can be read: int too large"),
        (change(7, "A", 4, "AT", to={"#": "0.a_f32"}), "attribute 'inf': expected int .* float at 'D', it is missing"),
        (change(4, "O", to=[]), "it makes 0 values of 2"),
        (change(5, "O", to=[]), "it makes 0 values of 3"),
        (change(8, "I", 0, "%", to=4), "expected one tensor, got"),
        (change(8, "A", to=[]), "expected int at 'col', it is missing"),
        (change(1, "A", 0, "AT", "D", to="w.0"), "the name 'w.0' is already taken"),
        (change(0, "A", to=[0, 1, 1]), "expected str at 3, it is missing"),
        (change(0, "O", "TT", to={"#": "NULL"}), "'w.0' is not a tensor"),
        (change(0, "O", "TT", "D", 1, to=[3, 2]), r"tensor 'w.0' at byte 0: the program declares float32 \[3, 2\]"),
    ],
)  # fmt: skip
def test_programs_that_are_refused(tmp_path: Path, value: object, problem: str) -> None:
    with pytest.raises(ModelError, match=problem) as raised:
        read(tmp_path, value)
    assert str(tmp_path) in str(raised.value)
    assert len(str(raised.value)) < 700


def test_a_program_is_not_of_any_size(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has 20000000 bytes. Expected at most 16777216: it holds no weights"):
        read(tmp_path, b" " * 20_000_000)


fuzz = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = json.dumps(program()).encode()


@fuzz
@given(st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.sampled_from(b'0129-"[]{},.:#%a_ \xff')), max_size=4))
def test_changed_bytes_give_a_graph_or_a_refusal(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(TEXT)
    for place, value in changes:
        data[place] = value
    try:
        graph = read(tmp_path, bytes(data))
    except ModelError:
        return
    check_wiring(graph)


leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
keys = st.sampled_from(["#", "%", "A", "D", "I", "N", "O", "AT", "TT", "VD", "regions"])
junk = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner), max_leaves=6)


def places(value: object, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, item in items for place in places(item, (*here, key)))]


PLACES = places(program())[1:]


@fuzz
@given(st.sampled_from(PLACES), junk)
def test_any_value_at_any_place_gives_a_graph_or_a_refusal(
    tmp_path: Path, place: tuple[str | int, ...], to: object
) -> None:
    value: Any = program()
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = to
    try:
        graph = read(tmp_path, value)
    except ModelError:
        return
    check_wiring(graph)


def test_prefixes_of_a_real_program_are_refused(formats: Path, tmp_path: Path) -> None:
    data = (formats / "rec_tiny/pir/inference.json").read_bytes()
    weights = (formats / "rec_tiny/pir/inference.pdiparams").read_bytes()
    for end in range(1, len(data), 5003):
        with pytest.raises(ModelError):
            read(tmp_path, data[:end], weights)
