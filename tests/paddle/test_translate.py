"""A translated network computes what Paddle computed with the same files, in both runtimes."""

import contextlib
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.paddle.running import RUNTIMES, by_onnxruntime, network_of, networks
from tests.reference.weights import image as picture

from eyas.errors import ModelError
from eyas.paddle import read_graph
from eyas.paddle.graph import Graph, Op, Value
from eyas.paddle.translate import Translated, translate
from eyas.vision.nms import NmsRule, multiclass_nms

PROGRAMS = ("pir", "pir30", "pdmodel")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks of networks.zip, unpacked."""
    return networks(tmp_path_factory.mktemp("networks"))


def detections(outputs: Mapping[str, np.ndarray], rule: NmsRule) -> np.ndarray:
    """Rows (class, score, box) of the first image, as Paddle's operator gives them."""
    boxes, scores = outputs["boxes"][0], outputs["scores"][0]
    class_ids, anchors = multiclass_nms(boxes, scores, rule)
    return np.column_stack([class_ids, scores[class_ids, anchors], boxes[anchors]])


def in_pixels_of_the_input(rows: np.ndarray, scale_yx: np.ndarray) -> np.ndarray:
    """Paddle's rows, whose boxes it divided by the scale of the picture."""
    return np.column_stack([rows[:, :2], rows[:, 2:] * np.tile(scale_yx[::-1], 2)])


def assert_same_sets(found: np.ndarray, expected: np.ndarray, pixels: float) -> None:
    """Each row has a partner on the other side; near-tied rows may stand in another order."""
    assert len(found) == len(expected) > 0
    boxes = np.abs(found[None, :, 2:] - expected[:, None, 2:]).max(-1) <= pixels
    scores = np.abs(found[None, :, 1] - expected[:, None, 1]) <= 1e-4
    partners = boxes & scores & (found[None, :, 0] == expected[:, None, 0])
    assert partners.any(0).all() and partners.any(1).all()


def checked(graph: Graph, task: str, path: Path) -> Translated:
    translated = translate(graph, task, path)
    onnx.checker.check_model(str(path), full_check=True)
    return translated


# The files that three versions of Paddle wrote (reference/formats)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_embedding_of_the_reference(program: str, runtime: str, formats: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    translated = checked(read_graph(formats / "rec_tiny" / program), "embedding", path)
    assert translated == Translated(path, "embedding", "x", None, (224, 224), ("features",), 32, None)
    images = picture("rec_tiny/ref", (2, 3, 224, 224))
    found = RUNTIMES[runtime](path, {"x": images})["features"]
    assert np.abs(found - np.load(formats / "reference.npz")["rec_tiny.features"]).max() <= 1e-5


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_detections_of_the_reference(program: str, runtime: str, formats: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    translated = checked(read_graph(formats / "sod_tiny" / program), "detection", path)
    rule = translated.rule
    assert rule is not None
    assert translated == Translated(path, "detection", "image", None, (320, 320), ("boxes", "scores"), 10, rule)
    assert np.float32(rule.score_threshold) == np.float32(0.01) and np.float32(rule.iou_threshold) == np.float32(0.6)
    assert replace(rule, score_threshold=0.5, iou_threshold=0.5) == NmsRule(0.5, 0.5, 10000, 500, True, -1)
    noise = picture("sod_tiny/uint8", (1, 3, 320, 320))
    image = np.clip(np.round(noise * 55 + 115), 0, 255).astype(np.float32)
    outputs = RUNTIMES[runtime](path, {"image": image})
    assert outputs["boxes"].shape == (1, 2100, 4) and outputs["scores"].shape == (1, 10, 2100)
    stored = np.load(formats / "reference.npz")
    expected = in_pixels_of_the_input(stored["sod_tiny.boxes"], stored["sod_tiny.scale_factor"][0])
    assert_same_sets(detections(outputs, rule), expected, pixels=0.01)


def test_the_formats_give_the_same_network(formats: Path, tmp_path: Path) -> None:
    """Operator for operator, the three files of one network become one."""
    kinds = []
    for program in PROGRAMS:
        translate(read_graph(formats / "sod_tiny" / program), "detection", tmp_path / "a.onnx")
        kinds.append([node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node])
    assert kinds[0] == kinds[1] == kinds[2]
    # Nothing is left of shapes that were computed, of dropout, of the scale factor and of the suppression.
    assert not {"Shape", "Expand", "Cast", "NonMaxSuppression", "Gather"} & set(kinds[0])


# The networks of networks.zip


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("program", ["pir", "pdmodel"])
@pytest.mark.parametrize("name", ["tokens", "tokens_class", "medley"])
def test_features(name: str, program: str, runtime: str, exported: Path, tmp_path: Path) -> None:
    """Transformers as CLIP's, and a medley of about seventy operators whose results are all compared."""
    translated = checked(read_graph(exported / name / program), "embedding", tmp_path / "a.onnx")
    stored = np.load(exported / name / "reference.npz")
    found = RUNTIMES[runtime](tmp_path / "a.onnx", {"x": stored["x"]})["features"]
    assert translated.batch is None
    np.testing.assert_allclose(found, stored["result"], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("program", ["pir", "pdmodel"])
@pytest.mark.parametrize("name", ["detector", "detector_open"])
def test_boxes(name: str, program: str, runtime: str, exported: Path, tmp_path: Path) -> None:
    """A detector as PicoDet; in the second height and width are open, so its anchors are made when it runs."""
    translated = checked(read_graph(exported / name / program), "detection", tmp_path / "a.onnx")
    assert translated.size_hw == ((32, 48) if name == "detector" else (None, None))
    stored = np.load(exported / name / "reference.npz")
    outputs = RUNTIMES[runtime](tmp_path / "a.onnx", {"image": stored["image"]})
    expected = in_pixels_of_the_input(stored["result"], stored["scale_factor"][0])
    assert translated.rule is not None
    assert_same_sets(detections(outputs, translated.rule), expected, pixels=1e-3)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["tokens", "detector"])
def test_a_batch_gives_what_its_images_give(name: str, runtime: str, exported: Path, tmp_path: Path) -> None:
    graph = read_graph(exported / name / "pir")
    translated = translate(graph, "embedding" if name == "tokens" else "detection", tmp_path / "a.onnx")
    sides = graph.values[translated.input_name].shape[1:]
    images = np.random.default_rng(0).normal(size=(3, *sides)).astype(np.float32)
    together = RUNTIMES[runtime](tmp_path / "a.onnx", {translated.input_name: images})
    for index in range(3):
        alone = RUNTIMES[runtime](tmp_path / "a.onnx", {translated.input_name: images[index : index + 1]})
        for output in translated.outputs:
            np.testing.assert_allclose(together[output][index], alone[output][0], rtol=1e-5, atol=1e-4)


def test_an_open_size_is_open(exported: Path, tmp_path: Path) -> None:
    """The network of open size gives what the one of fixed size gives, and takes other sizes and batches too."""
    translate(read_graph(exported / "detector" / "pir"), "detection", tmp_path / "fixed.onnx")
    translate(read_graph(exported / "detector_open" / "pdmodel"), "detection", tmp_path / "open.onnx")
    image = np.random.default_rng(0).normal(size=(1, 3, 32, 48)).astype(np.float32)
    fixed = by_onnxruntime(tmp_path / "fixed.onnx", {"image": image})
    same = by_onnxruntime(tmp_path / "open.onnx", {"image": image})
    assert all(np.allclose(fixed[name], same[name], atol=1e-4) for name in fixed)
    other = by_onnxruntime(tmp_path / "open.onnx", {"image": np.zeros((2, 3, 64, 24), np.float32)})
    assert other["boxes"].shape == (2, 16 * 6 + 8 * 3, 4) and other["scores"].shape == (2, 3, 16 * 6 + 8 * 3)


# Small graphs of our own

IMAGE = Value("x", (-1, 3, -1, -1), "float32")


def embedding_of(kind: str, attrs: dict[str, Any], pooled: tuple[int, ...] = (-1, 3)) -> Graph:
    """One operator, then the mean over height and width."""
    ops = [
        Op(kind, {"X": ("x",)}, {"Out": ("h",)}, attrs),
        Op("reduce_mean", {"X": ("h",)}, {"Out": ("y",)}, {"dim": [2, 3]}),
    ]
    return network_of(ops, [IMAGE, replace(IMAGE, name="h"), Value("y", pooled, "float32")], ["x"], ["y"])


def detector_of(**attrs: float) -> Graph:
    """Boxes and scores that are cuts of the picture."""
    values = [
        Value("image", (1, 3, 4, 4), "float32"),
        Value("im_shape", (-1, 2), "float32"),
        Value("flat", (1, 3, 16), "float32"),
        Value("boxes", (1, 12, 4), "float32"),
        Value("scores", (1, 3, 16), "float32"),
        Value("moved", (1, 12, 4), "float32"),
        Value("size", (1, 4), "float32"),
        Value("found", (-1, 6), "float32"),
    ]
    ops = [
        Op("flatten_contiguous_range", {"X": ("image",)}, {"Out": ("flat",)}, {"start_axis": 2, "stop_axis": 3}),
        Op("reshape2", {"X": ("flat",)}, {"Out": ("boxes",)}, {"shape": [0, 12, 4]}),
        Op("concat", {"X": ("im_shape", "im_shape")}, {"Out": ("size",)}, {"axis": 1}),
        Op("elementwise_add", {"X": ("boxes",), "Y": ("size",)}, {"Out": ("moved",)}, {"axis": -1}),
        Op("sigmoid", {"X": ("flat",)}, {"Out": ("scores",)}, {}),
        Op("multiclass_nms3", {"BBoxes": ("moved",), "Scores": ("scores",)}, {"Out": ("found",)}, attrs),
    ]
    return network_of(ops, values, ["im_shape", "image"], ["found"])


def test_what_stands_behind_the_boxes_is_not_needed(tmp_path: Path) -> None:
    graph = detector_of(nms_threshold=0.5)
    graph = replace(graph, ops=(*graph.ops, Op("unheard_of", {"X": ("found",)}, {"Out": ("found",)}, {})))
    translated = checked(graph, "detection", tmp_path / "a.onnx")
    assert translated.batch == 1 and translated.count == 3
    assert translated.rule == NmsRule(0.0, 0.5, -1, -1, True, 0)
    image = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)
    outputs = by_onnxruntime(tmp_path / "a.onnx", {"image": image})
    assert np.array_equal(outputs["boxes"], image.reshape(1, 12, 4) + 4)  # im_shape is the size of the input


@settings(max_examples=20, deadline=None)
@given(slope=st.floats(0.01, 1), offset=st.floats(0, 1), seed=st.integers(0, 99))
def test_numbers_of_an_operator_reach_the_file(
    slope: float, offset: float, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("numbers") / "a.onnx"
    translate(embedding_of("hard_sigmoid", {"slope": slope, "offset": offset}), "embedding", path)
    x = np.random.default_rng(seed).normal(size=(2, 3, 4, 5)).astype(np.float32)
    found = by_onnxruntime(path, {"x": x})["features"]
    np.testing.assert_allclose(found, np.clip(slope * x + offset, 0, 1).mean((2, 3)), atol=1e-6)


def test_weights_are_not_copied(tmp_path: Path) -> None:
    """Neither as a whole nor turned: peak memory stays far below the weights."""
    weight = np.ones((2500, 1000), np.float32)
    ops = [
        Op("reduce_mean", {"X": ("x",)}, {"Out": ("mean",)}, {"dim": [2, 3]}),
        *(
            Op("matmul_v2", {"X": (before,), "Y": (f"w{i}",)}, {"Out": (after,)}, {"trans_y": bool(i % 2)})
            for i, (before, after) in enumerate([("mean", "a"), ("a", "b"), ("b", "c"), ("c", "y")])
        ),
    ]
    shapes = {"x": IMAGE.shape, "mean": (-1, 2500), "a": (-1, 1000), "b": (-1, 2500), "c": (-1, 1000), "y": (-1, 2500)}
    values = [Value(name, shape, "float32") for name, shape in shapes.items()]
    parameters = {f"w{i}": weight for i in range(4)}
    values += [Value(name, weight.shape, "float32") for name in parameters]
    graph = network_of(ops, values, ["x"], ["y"], parameters)
    tracemalloc.start()
    translate(graph, "embedding", tmp_path / "a.onnx")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "a.onnx").stat().st_size > 4 * weight.nbytes
    assert peak < 1.2 * weight.nbytes  # one turned matrix at a time


ODD: list[Any] = [None, True, -1, 0, 7, 2**70, 0.5, float("nan"), "text", [], [0], [-1, 5], [2**40] * 4, [1.5], ["a"]]


@pytest.fixture(scope="module")
def medleys(exported: Path) -> list[Graph]:
    return [read_graph(exported / "medley" / program) for program in ("pir", "pdmodel")]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_operator_is_a_model_error_or_nothing(
    data: st.DataObject, medleys: list[Graph], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No other exception leaves the translation, whatever stands in an attribute or is said of a shape."""
    graph = data.draw(st.sampled_from(medleys))
    place = data.draw(st.integers(0, len(graph.ops) - 1))
    op = graph.ops[place]
    values = dict(graph.values)
    if op.attrs and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(op.attrs)))
        op = replace(op, attrs={**op.attrs, name: data.draw(st.sampled_from(ODD))})
    else:
        name = data.draw(st.sampled_from(sorted(name for names in op.outputs.values() for name in names)))
        shape = data.draw(st.lists(st.sampled_from([-1, 0, 1, 3, 2**40]), max_size=5))
        values[name] = replace(values[name], shape=tuple(shape))
    damaged = replace(graph, ops=(*graph.ops[:place], op, *graph.ops[place + 1 :]), values=values)
    with contextlib.suppress(ModelError):
        translate(damaged, "embedding", tmp_path_factory.mktemp("damaged") / "a.onnx")


def without_suppression() -> Graph:
    graph = detector_of()
    return replace(graph, ops=graph.ops[:-1], outputs=("boxes", "scores"))


def with_regions() -> Graph:
    graph = detector_of()
    inputs = {**graph.ops[-1].inputs, "RoisNum": ("scores",)}
    return replace(graph, ops=(*graph.ops[:-1], replace(graph.ops[-1], inputs=inputs)))


@pytest.mark.parametrize(
    ("graph", "task", "message"),
    [
        (embedding_of("lstm", {}), "embedding", "operators that eyas cannot translate: 'lstm' (output 'h')"),
        (without_suppression(), "detection", "has 0 operators 'multiclass_nms3'"),
        (without_suppression(), "detection", "without exclude_nms"),
        (embedding_of("matrix_nms", {}), "detection", "Others of the kind: matrix_nms."),
        (with_regions(), "detection", "boxes of several regions (RoisNum)"),
        (detector_of(nms_eta=0.9), "detection", "nms_eta 0.9"),
        (detector_of(nms_threshold=0.0), "detection", "nms_threshold must be above 0 and at most 1, got 0.0"),
        (without_suppression(), "embedding", "gives 2 outputs. Expected one"),
        (
            embedding_of("relu", {}, (-1, 3, 1)),
            "embedding",
            "features ('y') are float32 [-1, 3, 1]. Expected float32 [batch,",
        ),
        (replace(detector_of(), inputs=("image",)), "detection", "its input 'im_shape' is not computed before it"),
        (
            replace(without_suppression(), outputs=("size",), ops=()),
            "embedding",
            "Nothing computes the model's features",
        ),
        (replace(embedding_of("relu", {}), inputs=("x", "h")), "embedding", "has the inputs x, h. Expected one"),
        (
            network_of([], [replace(IMAGE, shape=(-1, 1, 8, 8))], ["x"], ["x"]),
            "embedding",
            "Expected float32 [B, 3, H, W]",
        ),
    ],
)
def test_what_cannot_be_translated_is_explained(graph: Graph, task: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        translate(graph, task, tmp_path / "a.onnx")
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_size_of_the_picture_must_be_known_where_it_is_an_input(tmp_path: Path) -> None:
    graph = detector_of()
    image = replace(graph.values["image"], shape=(-1, 3, -1, -1))
    with pytest.raises(ModelError, match=r"'im_shape' and no fixed size"):
        translate(replace(graph, values={**graph.values, "image": image}), "detection", tmp_path / "a.onnx")
