"""inference.pdmodel becomes a graph: hand-made programs, the real ones, and what is refused."""

import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.paddle.test_params import CODES, record

from eyas.errors import ModelError
from eyas.paddle import read_graph, read_inference
from eyas.paddle.graph import Graph, Value
from eyas.paddle.pdmodel import read_pdmodel
from eyas.paddle.wire import FIXED64, Chunks, blob, float32, floats, integer, integers, message, varint

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def variable(name: str, shape: tuple[int, ...], dtype: str = "float32", persistable: bool = False) -> Chunks:
    description = [integer(1, CODES[dtype]), *(integer(2, side) for side in shape)]
    kind = message(2, integer(1, 7), message(3, message(1, *description)))
    return message(3, blob(1, name), kind, integer(3, persistable))


def attr(name: str, kind: int, *values: Chunks) -> Chunks:
    return message(4, blob(1, name), integer(2, kind), *values)


def op(kind: str, inputs: dict[str, list[str]], outputs: dict[str, list[str]], *attrs: Chunks) -> Chunks:
    slots = [
        message(number, blob(1, slot), *(blob(2, name) for name in names))
        for number, side in ((1, inputs), (2, outputs))
        for slot, names in side.items()
    ]
    return message(4, *slots, blob(3, kind), *attrs)


def double(number: int, value: float) -> Chunks:
    return [varint(number << 3 | FIXED64) + struct.pack("<d", value)]


VARIABLES = [
    message(3, blob(1, "feed"), message(2, integer(1, 9))),
    message(3, blob(1, "fetch"), message(2, integer(1, 10))),
    variable("x", (-1, 2)),
    variable("size", (-1, 2), "int32"),
    variable("w.0", (2, 3), persistable=True),
    variable("y", (-1, 3)),
    variable("z", (), "int64"),
]
ATTRS = [
    attr("int", 0, integer(3, -1)),
    attr("float", 1, float32(4, 0.5)),
    attr("text", 2, blob(5, "é")),
    attr("ints", 3, integer(6, 1), integer(6, -2)),
    attr("packed", 3, integers(6, [3, -4])),
    attr("floats", 4, floats(7, [0.5, 2.0])),
    attr("texts", 5, blob(8, "a"), blob(8, "b")),
    attr("yes", 6, integer(10, 1)),
    attr("flags", 7, integer(11, 1), integer(11, 0)),
    attr("long", 9, integer(13, -(1 << 40))),
    attr("longs", 11, integer(15, 1 << 40)),
    attr("doubles", 12, double(16, 0.1)),
    attr("double", 15, double(19, 0.2)),
    attr("scalar", 16, message(20, integer(1, 2), integer(3, 7))),
    attr("scalars", 17, message(21, integer(1, 3), double(4, 0.3)), message(21, integer(1, 1), integer(2, 1))),
    attr("none", 3),
    attr("op_callstack", 5, blob(8, "File ...")),
]
OPS = [
    op("feed", {"X": ["feed"]}, {"Out": ["size"]}, attr("col", 0, integer(3, 1))),
    op("feed", {"X": ["feed"]}, {"Out": ["x"]}, attr("col", 0, integer(3, 0))),
    op("matmul_v2", {"X": ["x"], "Y": ["w.0"], "Bias": []}, {"Out": ["y"]}, *ATTRS),
    op("in_place", {"X": ["y", "x"], "W": ["w.0"], "Z": ["@EMPTY@"]}, {"Out": ["y"], "W": ["w.0"], "Z": ["z"]}),
    op("in_place", {"X": ["y"], "W": ["w.0"]}, {"Out": ["y"]}),
    op("fetch", {"X": ["z"]}, {"Out": ["fetch"]}, attr("col", 0, integer(3, 1))),
    op("fetch", {"X": ["y"]}, {"Out": ["fetch"]}, attr("col", 0, integer(3, 0))),
]


def program(variables: list[Chunks] = VARIABLES, ops: list[Chunks] = OPS, blocks: int = 1) -> bytes:
    block = message(1, integer(1, 0), integer(2, -1), *variables, *ops)
    return b"".join([*block * blocks, *message(4, integer(1, 2006002))])


def read(tmp_path: Path, data: bytes, weights: bytes | None = None) -> Graph:
    weights = record(WEIGHT) if weights is None else weights
    for name, content in (("inference.pdmodel", data), ("inference.pdiparams", weights)):
        (tmp_path / name).unlink(missing_ok=True)  # a mapped file must not change
        (tmp_path / name).write_bytes(content)
    return read_pdmodel(tmp_path / "inference.pdmodel", tmp_path / "inference.pdiparams")


def test_a_program(tmp_path: Path) -> None:
    graph = read(tmp_path, program())
    check_values(graph)
    assert graph.inputs == ("x", "size") and graph.outputs == ("y@2", "z")
    assert np.array_equal(graph.parameters["w.0"], WEIGHT) and list(graph.parameters) == ["w.0"]
    first, second, third = graph.ops
    assert first.kind == "matmul_v2" and first.outputs == {"Out": ("y",)}
    assert first.inputs == {"X": ("x",), "Y": ("w.0",), "Bias": ()}
    assert second.inputs == {"X": ("y", "x"), "W": ("w.0",), "Z": ()}
    assert second.outputs == {"Out": ("y@1",), "W": ("w.0@1",), "Z": ("z",)}
    assert third.inputs == {"X": ("y@1",), "W": ("w.0@1",)} and third.outputs == {"Out": ("y@2",)}
    assert graph.values["size"] == Value("size", (-1, 2), "int32") and graph.values["z"] == Value("z", (), "int64")
    assert graph.values["y@2"] == Value("y@2", (-1, 3), "float32")


def test_attributes_of_every_kind(tmp_path: Path) -> None:
    assert read(tmp_path, program()).ops[0].attrs == {
        "int": -1, "float": 0.5, "text": "é", "ints": [1, -2], "packed": [3, -4], "floats": [0.5, 2.0],
        "texts": ["a", "b"], "yes": True, "flags": [True, False], "long": -(1 << 40), "longs": [1 << 40],
        "doubles": [0.1], "double": 0.2, "scalar": 7, "scalars": [0.3, True], "none": [],
    }  # fmt: skip


def check_values(graph: Graph) -> None:
    used = {name for op in graph.ops for side in (op.inputs, op.outputs) for names in side.values() for name in names}
    assert used | {*graph.inputs, *graph.outputs, *graph.parameters} <= set(graph.values)
    assert all(name == value.name for name, value in graph.values.items())


def test_the_real_detector(formats: Path) -> None:
    graph = read_graph(formats / "sod_tiny/pdmodel")
    check_values(graph)
    assert graph.inputs == ("image", "scale_factor")
    assert graph.outputs == ("save_infer_model/scale_0.tmp_0", "save_infer_model/scale_1.tmp_0")
    assert [graph.values[name].shape for name in graph.inputs] == [(-1, 3, 320, 320), (-1, 2)]
    kinds = Counter(op.kind for op in graph.ops)
    assert len(graph.ops) == 522 and kinds["conv2d"] == 86 and kinds["batch_norm"] == 56 and kinds["swish"] == 67
    assert {"feed", "fetch"}.isdisjoint(kinds)
    nms = next(op for op in graph.ops if op.kind == "multiclass_nms3")
    assert nms.inputs == {"BBoxes": ("tmp_37",), "RoisNum": (), "Scores": ("concat_14.tmp_0",)}
    assert {name: value for name, value in nms.attrs.items() if name != "with_quant_attr"} == {
        "score_threshold": float(np.float32(0.01)), "nms_top_k": 10000, "keep_top_k": 500, "normalized": True,
        "nms_threshold": float(np.float32(0.6)), "nms_eta": 1.0, "background_label": -1,
    }  # fmt: skip
    norm = next(op for op in graph.ops if op.kind == "batch_norm")
    assert norm.inputs["Mean"] == ("batch_norm2d_0.w_1",) and norm.outputs["MeanOut"] == ("batch_norm2d_0.w_1@1",)
    assert norm.attrs["epsilon"] == float(np.float32(1e-5))


@pytest.mark.parametrize("model", ["sod_tiny", "rec_tiny"])
def test_convolutions_are_those_of_the_newer_program(formats: Path, model: str) -> None:
    """Both programs run the same convolutions, in the same order, over the same weights."""
    old, new = read_graph(formats / model / "pdmodel"), read_graph(formats / model / "pir")
    for graph in (old, new):
        check_values(graph)
    kinds = ("conv2d", "depthwise_conv2d")
    ours = [op for op in old.ops if op.kind in kinds]
    theirs = [op for op in new.ops if op.kind in kinds]
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.kind, a.inputs["Filter"]) == (b.kind, b.inputs["1"])
        for name in ("strides", "paddings", "dilations", "groups", "padding_algorithm", "data_format"):
            assert a.attrs[name] == b.attrs[name]
        assert old.values[a.outputs["Output"][0]].shape == new.values[b.outputs["0"][0]].shape


BLOCK = attr("sub_block", 8, integer(12, 1))
NAMELESS = message(4, integer(2, 0), integer(3, 1))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x0a", "the whole number at byte 1 does not end"),
        (program(blocks=2), "has 2 blocks. Expected 1: loops and branches are not supported"),
        (program(blocks=0), "has 0 blocks"),
        (program(ops=[*OPS, op("while", {}, {}, BLOCK)]), r"\(while\): the attribute 'sub_block' is of kind 8"),
        (program(ops=[op("x", {}, {}, attr("a", 99))]), "'a' is of kind 99"),
        (program(ops=[op("x", {}, {}, attr("a", 0))]), "'a' has no value"),
        (program(ops=[op("x", {}, {}, attr("a", 16, message(20, integer(1, 4))))]), "a number of the kind 4"),
        (program(ops=[op("x", {}, {}, attr("a", 0, blob(3, b"\x80")))]), "does not end"),
        (program(ops=[op("x", {}, {}, attr("a", 0, float32(3, 1.0)))]), "field 3 must hold a whole number"),
        (program(ops=[op("x", {}, {}, NAMELESS)]), r"attribute\[0\]: it has no name"),
        (program(ops=[op("", {}, {})]), r"operator\[0\]: it has no type"),
        (program(ops=[op("x", {"": ["x"]}, {})]), r"slot\[0\]: it has no name"),
        (program(ops=[op("x", {"X": ["x"]}, {})]), "reads 'x', which no operator before it has made"),
        (program(ops=[op("x", {"X": ["nothing"]}, {})]), "reads 'nothing', which no operator"),
        (program(ops=[op("x", {"X": ["feed"]}, {})]), "reads 'feed', which no operator"),
        (program(ops=[op("x", {}, {"Out": ["nothing"]})]), "makes 'nothing', which is not declared as a tensor"),
        (program(ops=[op("feed", {}, {"Out": ["x"]})]), r"expected one tensor and one column, got \['x'\] and \[\]"),
        (program(ops=[op("fetch", {"X": []}, {}, attr("col", 0, integer(3, 0)))]), "expected one tensor and one"),
        (program([variable("", (1,))]), r"variable\[0\]: it has no name"),
        (program([*VARIABLES, variable("x", (1,))]), "variable 'x': it is declared twice"),
        (program([*VARIABLES, variable("v", (-2,))]), r"variable 'v': the shape \[-2\] is not one"),
        (program([message(3, blob(1, "v"), message(2, integer(1, 7)))]), "element type None is not supported"),
        (program([message(3, blob(1, "v"), message(2, integer(1, 7), message(3, message(1, integer(1, 23)))))]),
         "variable 'v': the element type 23 is not supported"),
        (program([*VARIABLES[:4], variable("w.0", (3, 2), persistable=True), *VARIABLES[5:]]),
         r"tensor 'w.0' at byte 0: the program declares float32 \[3, 2\], the file holds float32 \[2, 3\]"),
        (program([*VARIABLES, variable("w.1", (1,), persistable=True)]), "tensor 'w.1' at byte 50: the file ends"),
    ],
)  # fmt: skip
def test_programs_that_are_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    with pytest.raises(ModelError, match=problem) as raised:
        read(tmp_path, data)
    assert str(tmp_path) in str(raised.value)


DATA = program()


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_give_a_graph_or_a_refusal(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(DATA)
    for place, value in changes:
        data[place] = value
    try:
        graph = read(tmp_path, bytes(data))
    except ModelError:
        return
    check_values(graph)


def test_every_prefix_is_refused(tmp_path: Path) -> None:
    whole = len(DATA) - len(b"".join(message(4, integer(1, 2006002))))  # the version at the end is not needed
    for end in range(1, whole):
        with pytest.raises(ModelError):
            read(tmp_path, DATA[:end])


@pytest.fixture
def folder(formats: Path, tmp_path: Path) -> Path:
    for kind in ("pir", "pdmodel"):
        for file in (formats / "rec_tiny" / kind).iterdir():
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_an_exported_folder(folder: Path) -> None:
    for kind, name in (("pir", "inference.json"), ("pdmodel", "inference.pdmodel")):
        found = read_inference(folder / kind)
        assert found.files == tuple(folder / kind / file for file in (name, "inference.pdiparams", "inference.yml"))
        assert found.settings.model_name == "PP-ShiTuV2_rec" and found.settings.preprocess.size_hw == (224, 224)
        assert found.graph.inputs == ("x",) and found.graph.values["x"].shape == (-1, 3, 224, 224)
        assert found.graph.values[found.graph.outputs[0]].shape == (-1, 32)


def test_folders_that_do_not_fit(folder: Path) -> None:
    def problem(kind: str) -> Any:
        with pytest.raises(ModelError) as raised:
            read_inference(folder / kind)
        return str(raised.value)

    text = (folder / "pir/inference.yml").read_text()
    (folder / "pir/inference.yml").write_text(text.replace("- 224\n      - 224", "- 256\n      - 256"))
    assert "become [N, 3, 256, 256], the network's input 'x' is [-1, 3, 224, 224]" in problem("pir")
    (folder / "pir/inference.yml").unlink()
    assert "inference.yml cannot be read: No such file" in problem("pir")
    (folder / "pdmodel/inference.pdiparams").unlink()
    assert "inference.pdiparams cannot be read: No such file" in problem("pdmodel")
    (folder / "pdmodel/inference.pdmodel").unlink()
    assert "There is no exported Paddle model in" in problem("pdmodel")
    assert "Expected inference.json or inference.pdmodel" in problem("absent")
