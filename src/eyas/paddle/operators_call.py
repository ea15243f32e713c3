"""What a translated operator sees: its inputs and attributes in either spelling, and the ONNX graph to add to."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from eyas.errors import ModelError
from eyas.paddle.graph import Op, Value
from eyas.paddle.onnx_file import DTYPES, Attribute
from eyas.paddle.onnx_graph import GraphBuilder, Shape, Tensor

OUTPUT_SLOTS = ("0", "Out", "Output", "Y")


class Call:
    """One operator of a Paddle graph.

    PIR numbers the inputs, a ProgramDesc names them; so an input is asked for by its number and by its names, and the
    first that is given counts.  Every method raises ModelError, which names the operator and the place, where what is
    asked for is missing or of another kind.
    """

    def __init__(
        self, op: Op, values: Mapping[str, Value], tensors: Mapping[str, Tensor], builder: GraphBuilder
    ) -> None:
        self._op = op
        self._tensors = tensors
        self._builder = builder
        names = next((op.outputs[slot] for slot in OUTPUT_SLOTS if op.outputs.get(slot)), ())
        if not names:
            raise ModelError(
                f"Operator {op.kind!r} has no output. Expected one of the slots {', '.join(OUTPUT_SLOTS)}."
            )
        self.outputs: list[Value] = [values[name] for name in names]
        """What the file says about the results; there are several where the operator gives a list."""

    @property
    def output(self) -> Value:
        """The first of `outputs`."""
        return self.outputs[0]

    def error(self, message: str) -> ModelError:
        """An error about this operator."""
        return ModelError(f"Operator {self._op.kind!r} (output {self.output.name!r}): {message}")

    # Inputs

    def inputs(self, position: int, *slots: str) -> list[Tensor]:
        """The tensors of an input that may hold any number of them."""
        for slot in (str(position), *slots):
            if names := self._op.inputs.get(slot):
                if missing := [name for name in names if name not in self._tensors]:
                    raise self.error(f"its input {missing[0]!r} is not computed before it.")
                return [self._tensors[name] for name in names]
        return []

    def optional(self, position: int, *slots: str) -> Tensor | None:
        """The tensor of an input, None where it is not given."""
        found = self.inputs(position, *slots)
        if len(found) > 1:
            raise self.error(f"input {position} ({', '.join(slots)}) must be one tensor, got {len(found)}.")
        return found[0] if found else None

    def input(self, position: int, *slots: str) -> Tensor:
        """The tensor of an input."""
        found = self.optional(position, *slots)
        if found is None:
            raise self.error(f"input {position} ({', '.join(slots)}) is missing; given: {', '.join(self._op.inputs)}.")
        return found

    def numbers(self, position: int, slots: Sequence[str], attr: str) -> Tensor:
        """Whole numbers as int64 [n], from an input (one tensor, or a list of single numbers) or from an attribute."""
        found = self.inputs(position, *slots)
        if not found:
            if self.attr(attr) is None:
                raise self.error(f"neither an input {position} nor an attribute {attr!r} is given. Expected numbers.")
            return self.wholes_tensor(self.wholes(attr))
        flat = [self.node("Reshape", [self.cast(item, "int64"), self.wholes_tensor([-1])]) for item in found]
        return flat[0] if len(flat) == 1 else self.node("Concat", flat, {"axis": 0})

    def fixed_numbers(self, position: int, slots: Sequence[str], attr: str) -> list[int]:
        """`numbers` where they must be known before the network runs; [] where none are given."""
        if not self.inputs(position, *slots):
            return self.wholes(attr)
        constant = self.numbers(position, slots, attr).constant
        if constant is None:
            raise self.error(f"{attr} is computed while the network runs. Expected numbers that are known before.")
        return [int(item) for item in constant.tolist()]

    # Attributes

    def attr(self, name: str, default: object = None) -> object:
        """An attribute as it is."""
        value = self._op.attrs.get(name)
        return default if value is None else value

    def whole(self, name: str, default: int) -> int:
        """A whole number."""
        value = self.attr(name, default)
        if not isinstance(value, int | float) or int(value) != value:
            raise self._wrong(name, "a whole number", value)
        return int(value)

    def real(self, name: str, default: float) -> float:
        """A number."""
        value = self.attr(name, default)
        if not isinstance(value, int | float):
            raise self._wrong(name, "a number", value)
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """A truth value."""
        value = self.attr(name, default)
        if not isinstance(value, int):
            raise self._wrong(name, "true or false", value)
        return bool(value)

    def text(self, name: str, default: str) -> str:
        """A text."""
        value = self.attr(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a text", value)
        return value

    def reals(self, name: str) -> list[float]:
        """A list of numbers, [] where it is not given; one number counts as a list of it."""
        return [float(item) for item in self._numbers(name)]

    def wholes(self, name: str) -> list[int]:
        """A list of whole numbers, [] where it is not given; one number counts as a list of it."""
        numbers = self._numbers(name)
        if any(item != int(item) for item in numbers):
            raise self._wrong(name, "a list of whole numbers", numbers)
        return [int(item) for item in numbers]

    def _numbers(self, name: str) -> list[int | float]:
        value = self.attr(name, [])
        items = value if isinstance(value, list | tuple) else [value]
        numbers = [item for item in items if isinstance(item, int | float)]
        if len(numbers) != len(items):
            raise self._wrong(name, "a list of numbers", value)
        return numbers

    def _wrong(self, name: str, expected: str, value: object) -> ModelError:
        return self.error(f"attribute {name!r}: expected {expected}, got {value!r}.")

    # Shapes

    def sides(self, x: Tensor) -> Shape:
        """The sides of `x`, whose number at least must be known."""
        if x.shape is None:
            raise self.error("the number of sides of an input is not known. Expected a model with shapes.")
        return x.shape

    def output_sides(self) -> Shape:
        """The sides of the first output, None where the file does not say."""
        return tuple(None if side < 0 else side for side in self.output.shape)

    def axis(self, axis: int, x: Tensor) -> int:
        """`axis` of `x`, counted from the front."""
        sides = len(self.sides(x))
        if not -max(sides, 1) <= axis < max(sides, 1):
            raise self.error(f"axis {axis} does not fit an input with {sides} sides.")
        return axis % max(sides, 1)

    # Building

    def node(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        attrs: Mapping[str, Attribute] | None = None,
        dtype: str | None = None,
    ) -> Tensor:
        """The output of a new ONNX operator, of type `dtype` (that of the first input where None)."""
        return self._builder.node(kind, inputs, attrs, dtype, self.output.name)

    def constant(self, values: object, dtype: str) -> Tensor:
        """A constant of a number, of nested lists of numbers, or of an array, which is not copied."""
        return self._builder.constant(np.asarray(values, dtype=dtype), self.output.name)

    def wholes_tensor(self, values: Sequence[int]) -> Tensor:
        """A constant int64 [n], as ONNX wants axes and shapes."""
        return self.constant(list(values), "int64")

    def shape_of(self, x: Tensor) -> Tensor:
        """The shape of `x` as int64 [n]."""
        return self._builder.shape_of(x, self.output.name)

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """`x` as `dtype`."""
        if x.dtype == dtype:
            return x
        if dtype not in DTYPES:
            raise self.error(f"the type {dtype!r} has no place in ONNX. Expected one of {', '.join(DTYPES)}.")
        return self.node("Cast", [x], {"to": DTYPES[dtype]}, dtype)

    def reshape(self, x: Tensor, sides: Sequence[int]) -> Tensor:
        """`x` with other sides: 0 keeps a side, -1 stands for what is left."""
        return self.node("Reshape", [x, self.wholes_tensor(sides)])

    def squeeze(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """`x` without the sides `axes`, which are 1."""
        return self.node("Squeeze", [x, self.wholes_tensor(axes)]) if axes else x

    def unsqueeze(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """`x` with new sides of 1, where `axes` count in the result."""
        return self.node("Unsqueeze", [x, self.wholes_tensor(axes)]) if axes else x

    def cut(self, x: Tensor, axis: int, start: int, end: int) -> Tensor:
        """`x` from `start` to before `end` along `axis`."""
        return self.node("Slice", [x, *(self.wholes_tensor([item]) for item in (start, end, axis, 1))])


Operator = Callable[[Call], Tensor | list[Tensor]]
"""Adds what one Paddle operator does to the ONNX graph and returns its result, or the list that is its result."""
