"""An ONNX graph under construction: nodes are added one by one, what is known becomes a constant."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eyas.errors import ModelError
from eyas.paddle.onnx_file import DTYPES, MOST_BYTES, Array, Attribute, Node, OnnxGraph, Port
from eyas.paddle.onnx_fold import Known, fold

Shape = tuple[int | None, ...]
"""None where a side is not known before the network runs."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the graph; `shape` None where not even the number of sides is known."""

    name: str
    dtype: str
    shape: Shape | None = None
    known: Known | None = None

    @property
    def constant(self) -> Array | None:
        """The value, where all of it is known."""
        return None if self.known is None or self.known.dtype == object else self.known


class GraphBuilder:
    """Collects inputs and nodes; `finish` gives the graph without what its outputs do not need."""

    def __init__(self) -> None:
        self._inputs: list[Port] = []
        self._nodes: list[Node] = []
        self._constants: dict[str, Array] = {}

    def input(self, name: str, sides: Sequence[int | str], dtype: str = "float32") -> Tensor:
        """An input; a side given by name may have any length."""
        self._inputs.append(Port(name, tuple(sides), dtype))
        return Tensor(name, dtype, tuple(side if isinstance(side, int) else None for side in sides))

    def constant(self, array: Array, label: str = "constant") -> Tensor:
        """A constant, which is not copied.  Raises ModelError for a type or a size that ONNX does not have."""
        if array.dtype.name not in DTYPES:
            raise ModelError(f"{label} has the type {array.dtype}. Expected one of {', '.join(DTYPES)}.")
        if array.nbytes > MOST_BYTES:
            raise ModelError(f"{label} has {array.nbytes / 1e9:.1f} GB, and an ONNX file holds at most 2 GB.")
        name = f"{label}/{len(self._constants)}"
        self._constants[name] = array
        return Tensor(name, array.dtype.name, array.shape, array)

    def shape_of(self, x: Tensor, label: str) -> Tensor:
        """The shape of `x` as int64 [n]; sides that are known are known in it too."""
        if x.shape is not None and None not in x.shape:
            return self.constant(np.array(x.shape, dtype=np.int64), label)
        name = self._add("Shape", [x], {}, label)
        if x.shape is None:
            return Tensor(name, "int64", (None,))
        return Tensor(name, "int64", (len(x.shape),), np.array(x.shape, dtype=object))

    def node(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        attrs: Mapping[str, Attribute] | None = None,
        dtype: str | None = None,
        label: str = "node",
    ) -> Tensor:
        """The output of a new operator, of type `dtype` (that of the first input where None).

        An input None is one that is not given.  `label` begins the name of the output, by which the runtimes name the
        operator in their errors.
        """
        attrs = attrs or {}
        if dtype is None:
            first = inputs[0]
            assert first is not None
            dtype = first.dtype
        known = fold(kind, [None if item is None else item.known for item in inputs], attrs, dtype)
        if known is not None and known.dtype != object:
            return self.constant(known, label)
        name = self._add(kind, inputs, attrs, label)
        return Tensor(name, dtype, None if known is None else known.shape, known)

    def _add(self, kind: str, inputs: Sequence[Tensor | None], attrs: Mapping[str, Attribute], label: str) -> str:
        name = f"{label}/{kind}_{len(self._nodes)}"
        names = ["" if item is None else item.name for item in inputs]
        while not names[-1]:
            names.pop()
        self._nodes.append(Node(kind, tuple(names), name, attrs))
        return name

    def finish(self, outputs: Mapping[str, Tensor], sides: Mapping[str, Sequence[int | str]]) -> OnnxGraph:
        """The graph that gives `outputs` by their new names; `sides` are their shapes."""
        for name, tensor in outputs.items():
            self._nodes.append(Node("Identity", (tensor.name,), name))
        nodes = self._needed(outputs)
        used = {name for node in nodes for name in node.inputs}
        return OnnxGraph(
            nodes,
            self._inputs,
            [Port(name, tuple(sides[name]), tensor.dtype) for name, tensor in outputs.items()],
            {name: array for name, array in self._constants.items() if name in used},
        )

    def _needed(self, outputs: Iterable[str]) -> list[Node]:
        wanted = set(outputs)
        kept = []
        for node in reversed(self._nodes):
            if node.output in wanted:
                wanted.update(node.inputs)
                kept.append(node)
        return kept[::-1]
