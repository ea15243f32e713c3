"""An exported Paddle network -> an ONNX file that gives what eyas needs.

What a detector does behind its boxes and scores, the suppression of boxes, is left out: eyas has its own, whose results
are Paddle's, while the ONNX operator for it has other rules.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eyas.errors import ModelError
from eyas.paddle.graph import Graph, Op, Value
from eyas.paddle.onnx_file import Array, OnnxGraph, write_onnx
from eyas.paddle.onnx_graph import GraphBuilder
from eyas.paddle.operators import check_known, results_of
from eyas.paddle.operators_call import Call
from eyas.vision.nms import NmsRule

SUPPRESSION = "multiclass_nms3"
SCALE_INPUTS = ("scale_factor", "im_shape")
SIDES = {
    "boxes": ("batch", "anchors", "corners"),
    "scores": ("batch", "classes", "anchors"),
    "features": ("batch", "length"),
}
"""The names of the outputs' sides, which stand in the file where a side is open."""


@dataclass(frozen=True)
class Translated:
    """What was written.

    The input is float32 [B, 3, H, W].  Outputs: of a detector "boxes" float32 [B, L, 4], corners in pixels of the
    input, and "scores" float32 [B, C, L]; of an embedding "features" float32 [B, D].
    """

    path: Path
    task: str
    input_name: str
    batch: int | None
    """B where the model has a fixed one, None for any."""
    size_hw: tuple[int | None, int | None]
    """Height and width of the input; None for any."""
    outputs: tuple[str, ...]
    count: int | None
    """C of a detector, D of an embedding; None where the file does not say."""
    rule: NmsRule | None
    """How the model suppresses boxes; None for an embedding."""


def translate(graph: Graph, task: str, target: Path) -> Translated:
    """Write the network of `graph` to `target` as ONNX; `task` is "detection" or "embedding".

    Raises ModelError where the graph is of another task or has operators that are not known, with the names of all.
    """
    image = _image_input(graph)
    if task == "detection":
        suppression = _suppression(graph)
        wanted = {"boxes": _slot(suppression, "0", "BBoxes"), "scores": _slot(suppression, "1", "Scores")}
        rule = _rule(suppression)
    else:
        wanted, rule = {"features": _only_output(graph)}, None
    _check_sides(graph, wanted)
    write_onnx(_network(graph, image, wanted), target)
    batch, _, height, width = (None if side < 0 else side for side in image.shape)
    count = graph.values[wanted["scores" if task == "detection" else "features"]].shape[1]
    size_hw, outputs = (height, width), tuple(wanted)
    return Translated(target, task, image.name, batch, size_hw, outputs, None if count < 0 else count, rule)


def _image_input(graph: Graph) -> Value:
    images = [graph.values[name] for name in graph.inputs if name not in SCALE_INPUTS]
    if len(images) != 1:
        raise ModelError(f"The model has the inputs {', '.join(graph.inputs)}. Expected one for the picture.")
    image = images[0]
    if len(image.shape) != 4 or image.shape[1] != 3 or image.dtype != "float32":
        raise ModelError(
            f"The model's input {image.name!r} is {image.dtype} {list(image.shape)}. Expected float32 [B, 3, H, W]."
        )
    return image


def _suppression(graph: Graph) -> Op:
    found = [op for op in graph.ops if op.kind == SUPPRESSION]
    if len(found) != 1:
        others = ", ".join(sorted({op.kind for op in graph.ops if "nms" in op.kind} - {SUPPRESSION})) or "none"
        raise ModelError(
            f"The model has {len(found)} operators {SUPPRESSION!r} (suppression of boxes), expected one. Others of the "
            f"kind: {others}. Export the detector with its post-processing: without exclude_nms."
        )
    if found[0].inputs.get("2") or found[0].inputs.get("RoisNum"):
        raise ModelError(
            f"Operator {SUPPRESSION!r} gets boxes of several regions (RoisNum), as two-stage detectors do. "
            "Expected a detector whose boxes come straight from the picture."
        )
    return found[0]


def _slot(op: Op, position: str, name: str) -> str:
    given = op.inputs.get(position) or op.inputs.get(name)
    if not given:
        raise ModelError(f"Operator {op.kind!r} lacks its input {name!r}.")
    return given[0]


def _rule(op: Op) -> NmsRule:
    def number(name: str, default: float) -> float:
        value = op.attrs.get(name, default)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ModelError(f"Operator {op.kind!r}: attribute {name!r} must be a number, got {value!r}.")
        return value

    if number("nms_eta", 1.0) != 1:
        raise ModelError(
            f"Operator {op.kind!r} lowers its threshold from box to box (nms_eta {op.attrs['nms_eta']}), which eyas "
            "does not. Expected 1."
        )
    if not 0 < number("nms_threshold", 0.3) <= 1:
        raise ModelError(
            f"Operator {op.kind!r}: nms_threshold must be above 0 and at most 1, got {op.attrs['nms_threshold']}."
        )
    return NmsRule(
        score_threshold=number("score_threshold", 0.0),
        iou_threshold=number("nms_threshold", 0.3),
        nms_top_k=int(number("nms_top_k", -1)),
        keep_top_k=int(number("keep_top_k", -1)),
        normalized=bool(number("normalized", True)),
        background_label=int(number("background_label", 0)),
    )


def _only_output(graph: Graph) -> str:
    if len(graph.outputs) != 1:
        raise ModelError(f"The model gives {len(graph.outputs)} outputs. Expected one, the features of a picture.")
    return graph.outputs[0]


def _check_sides(graph: Graph, wanted: dict[str, str]) -> None:
    for name, value in ((name, graph.values[given]) for name, given in wanted.items()):
        fits = len(value.shape) == len(SIDES[name]) and (name != "boxes" or value.shape[-1] == 4)
        if not fits or value.dtype != "float32":
            raise ModelError(
                f"The model's {name} ({value.name!r}) are {value.dtype} {list(value.shape)}. "
                f"Expected float32 [{', '.join(SIDES[name])}]{', corners being 4' if name == 'boxes' else ''}."
            )


def _network(graph: Graph, image: Value, wanted: dict[str, str]) -> OnnxGraph:
    """The ONNX graph that computes the values `wanted` (name of an output -> name of a value)."""
    ops = _needed(graph.ops, wanted.values())
    check_known(ops)
    builder = GraphBuilder()
    tensors = {image.name: builder.input(image.name, _sides(image, ("batch", "channels", "height", "width")))}
    for name in graph.inputs:
        if name in SCALE_INPUTS:
            tensors[name] = builder.constant(_scale_input(graph.values[name], image), name)
    for op in ops:
        for name in (name for names in op.inputs.values() for name in names):
            if name not in tensors and name in graph.parameters:
                tensors[name] = builder.constant(graph.parameters[name], name)
        tensors |= results_of(op, Call(op, graph.values, tensors, builder))
    if missing := [new for new, name in wanted.items() if name not in tensors]:
        raise ModelError(f"Nothing computes the model's {missing[0]}. The file is damaged.")
    sides = {new: _sides(graph.values[name], SIDES[new]) for new, name in wanted.items()}
    return builder.finish({new: tensors[name] for new, name in wanted.items()}, sides)


def _needed(ops: Sequence[Op], wanted: Iterable[str]) -> list[Op]:
    """Those of `ops` that the values `wanted` depend on, in their order."""
    names = set(wanted)
    kept = []
    for op in reversed(ops):
        if any(name in names for outputs in op.outputs.values() for name in outputs):
            names.update(name for inputs in op.inputs.values() for name in inputs)
            kept.append(op)
    return kept[::-1]


def _sides(value: Value, names: Sequence[str]) -> list[int | str]:
    return [name if side < 0 else side for side, name in zip(value.shape, names, strict=True)]


def _scale_input(value: Value, image: Value) -> Array:
    """What is fed beside the picture so that boxes come out in pixels of the network's input.

    `scale_factor` is by how much the picture was scaled, `im_shape` the size that it has now.
    """
    if value.name == "scale_factor":
        return np.ones((1, 2), dtype=value.dtype)
    if min(image.shape[2:]) < 0:
        raise ModelError("The model has the input 'im_shape' and no fixed size. Export it with a fixed input size.")
    return np.array([image.shape[2:]], dtype=value.dtype)
