"""inference.json, the program of an exported model since Paddle 3: the intermediate representation PIR as JSON.

The keys are single letters, found from files of Paddle 3.0.0 (version 1) and 3.3.1 (version 4).  An operator has "#"
its name with the number of its dialect (0 builtin, 1 pd_op), "I" operands, "O" results, "A" attributes.  A value has
"%" its number (0: none) and "TT" its type; an attribute "N" its name and "AT" its value; a type or value "#" its kind
and "D" its content.  A parameter is an operator "p" whose "A"[3] is its name.  The versions between 1 and 4 changed the
number types of some attributes (int32 -> int64, float -> double), which are one Python type here.
"""

import json
from pathlib import Path
from typing import Any

from eyas.errors import ModelError
from eyas.paddle.files import PROGRAM_BYTES, mapped
from eyas.paddle.graph import Graph, Op, Value
from eyas.paddle.params import read_pdiparams

VERSIONS = (1, 2, 3, 4)

_DTYPES = {
    "0.t_bool": "bool",
    "0.t_i8": "int8",
    "0.t_ui8": "uint8",
    "0.t_i16": "int16",
    "0.t_i32": "int32",
    "0.t_i64": "int64",
    "0.t_f16": "float16",
    "0.t_bf16": "bfloat16",
    "0.t_f32": "float32",
    "0.t_f64": "float64",
}
_PLAIN: dict[str, type] = {
    "0.a_bool": bool,
    "0.a_i32": int,
    "0.a_i64": int,
    "0.a_index": int,
    "0.a_str": str,
    "0.a_tensorname": str,
    "1.a_dtype": str,
    "1.a_layout": str,
    "1.a_intarray": list,
    "1.a_place": list,
}
_NOT_FINITE = {"NaN": float("nan"), "INF": float("inf"), "-INF": float("-inf")}


def read_pir(path: Path, parameters: Path) -> Graph:
    """The graph of an inference.json file with the weights of its .pdiparams file.

    A value is called "%12", a parameter, input or output as the model calls it.  Raises ModelError where a file is
    damaged or of an unknown version, the two do not fit, or the program has control flow.
    """
    try:
        program = json.loads(bytes(mapped(path, PROGRAM_BYTES)))
        base = _get(program, "base_code", dict, str(path))
        version = base.get("version")
        if base.get("magic") != "pir" or version not in VERSIONS or isinstance(version, bool):
            raise ModelError(
                f"{path}: expected a PIR program of version {VERSIONS[0]} to {VERSIONS[-1]}, got magic "
                f"{base.get('magic')!r:.40} and version {version!r:.40}. Export the model with Paddle 3.0 to 3.3."
            )
        return _Block(_only_block(program, path), path).graph(parameters)
    except (ValueError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON that can be read: {str(error)[:200]}.") from error


def _only_block(program: object, path: Path) -> list[object]:
    regions = _get(_get(program, "program", dict, str(path)), "regions", list, str(path))
    blocks = [block for region in regions for block in _get(region, "blocks", list, str(path))]
    if len(blocks) != 1:
        raise ModelError(
            f"{path}: the program has {len(blocks)} blocks. Expected 1: loops and branches are not supported."
        )
    return list(_get(blocks[0], "ops", list, str(path)))


class _Block:
    def __init__(self, ops: list[object], path: Path) -> None:
        self._values: dict[str, Value] = {}
        self._names: dict[int, tuple[str, ...]] = {
            0: ()
        }  # a value's number -> a tensor, the tensors of a list, or none
        self._parameters: dict[str, Value] = {}
        self._inputs: list[str] = []
        self._outputs: list[tuple[int, str]] = []
        self._ops: list[Op] = []
        for index, op in enumerate(ops):
            kind = _get(op, "#", str, f"{path}: operator {index}")
            self._add(kind, op, f"{path}: operator {index} ({kind:.60})")

    def graph(self, parameters: Path) -> Graph:
        return Graph(
            ops=tuple(self._ops),
            values=self._values,
            inputs=tuple(self._inputs),
            outputs=tuple(name for _, name in sorted(self._outputs)),
            parameters=read_pdiparams(parameters, self._parameters),
        )

    def _add(self, kind: str, op: Any, where: str) -> None:
        if op.get("regions"):
            raise ModelError(f"{where}: it holds a program of its own. Loops and branches are not supported.")
        dialect, _, name = kind.partition(".")
        if kind == "p":
            attrs = _get(op, "A", list, where)
            parameter = _get(attrs, 3, str, where)
            self._define(_get(op, "O", dict, where), where, parameter)
            self._parameters[parameter] = self._values[parameter]
        elif kind in ("0.combine", "0.split"):
            self._pack(kind, op, where)
        elif dialect != "1":
            raise ModelError(f"{where}: only Paddle's own operators (1.…), combine and split are supported.")
        elif name in ("data", "feed"):
            fed = _get(_attrs(op, where), "name", str, where)
            self._define(_get(_get(op, "O", list, where), 0, dict, where), where, fed)
            self._inputs.append(fed)
        elif name == "fetch":
            fetched = self._operands(op, where)
            if len(fetched) != 1 or len(fetched[0]) != 1:
                raise ModelError(f"{where}: expected one tensor, got {fetched}.")
            self._outputs.append((_get(_attrs(op, where), "col", int, where), fetched[0][0]))
        else:
            inputs = {str(slot): names for slot, names in enumerate(self._operands(op, where))}
            results = [self._define(result, where) for result in _get(op, "O", list, where)]
            self._ops.append(Op(name, inputs, {str(i): names for i, names in enumerate(results)}, _attrs(op, where)))

    def _pack(self, kind: str, op: object, where: str) -> None:
        """combine: several tensors become one list; split: one list becomes its tensors.  Only names change."""
        tensors = [name for names in self._operands(op, where) for name in names]
        numbers = [_get(result, "%", int, where) for result in _get(op, "O", list, where)]
        if len(numbers) != (1 if kind == "0.combine" else len(tensors)):
            raise ModelError(f"{where}: it makes {len(numbers)} values of {len(tensors)}. The file is damaged.")
        groups = [tuple(tensors)] if kind == "0.combine" else [(name,) for name in tensors]
        for number, names in zip(numbers, groups, strict=True):
            self._number(number, names, where)

    def _operands(self, op: object, where: str) -> list[tuple[str, ...]]:
        numbers = [_get(operand, "%", int, where) for operand in _get(op, "I", list, where)]
        for number in numbers:
            if number not in self._names:
                raise ModelError(f"{where}: it reads value {number}, which no operator before it has made.")
        return [self._names[number] for number in numbers]

    def _define(self, result: object, where: str, name: str | None = None) -> tuple[str, ...]:
        """The names of a new value: `name` or one after its number; of a list one for each tensor in it."""
        number = _get(result, "%", int, where)
        kind = _get(result, "TT", dict, where)
        if kind.get("#") == "NULL":
            names: tuple[str, ...] = ()
        elif kind.get("#") == "0.t_vec":
            inner = _get(kind, "D", list, where)
            names = tuple(self._tensor(f"%{number}.{index}", item, where) for index, item in enumerate(inner))
        else:
            names = (self._tensor(f"%{number}" if name is None else name, kind, where),)
        if name is not None and names != (name,):
            raise ModelError(f"{where}: {name!r:.80} is not a tensor. The file is damaged.")
        self._number(number, names, where)
        return names

    def _number(self, number: int, names: tuple[str, ...], where: str) -> None:
        if number in self._names and (number or names):
            raise ModelError(f"{where}: it makes value {number} again. The file is damaged.")
        self._names[number] = names

    def _tensor(self, name: str, kind: object, where: str) -> str:
        tag = _get(kind, "#", str, where)
        content = _get(kind, "D", list, where)
        dtype = _get(_get(content, 0, dict, where), "#", str, where)
        shape = _get(content, 1, list, where)
        if tag != "0.t_dtensor" or dtype not in _DTYPES:
            raise ModelError(f"{where}: the type {tag:.40} of {dtype:.40} is not supported. Expected a dense tensor.")
        if not all(type(side) is int and side >= -1 for side in shape):
            raise ModelError(f"{where}: the shape {str(shape):.80} is not one. The file is damaged.")
        if name in self._values:
            raise ModelError(f"{where}: the name {name!r:.80} is already taken. The file is damaged.")
        self._values[name] = Value(name, tuple(shape), _DTYPES[dtype])
        return name


def _attrs(op: object, where: str) -> dict[str, object]:
    attrs = {}
    for item in _get(op, "A", list, where):
        name = _get(item, "N", str, where)
        attrs[name] = _plain(_get(item, "AT", dict, where), f"{where}, attribute {name!r:.80}")
    return attrs


def _plain(attr: Any, where: str) -> object:
    kind = _get(attr, "#", str, where)
    if kind == "0.a_array":
        return [_plain(item, where) for item in _get(attr, "D", list, where)]
    if kind == "1.a_scalar":  # its element type, then the number
        return _get(_get(attr, "D", list, where), 1, int | float, where)
    if kind in ("0.a_f32", "0.a_f64"):
        # JSON has no infinity: such a number stands as a text under another key.
        if "VD" in attr:
            word = _get(attr, "VD", str, where)
            if word not in _NOT_FINITE:
                raise ModelError(f"{where}: the number {word!r:.40} is unknown. Known: {', '.join(_NOT_FINITE)}.")
            return _NOT_FINITE[word]
        return float(_get(attr, "D", int | float, where))
    if kind not in _PLAIN:
        raise ModelError(
            f"{where}: its kind {kind!r:.40} is not supported. Expected a number, a text or a list of them."
        )
    return _get(attr, "D", _PLAIN[kind], where)


def _get(values: Any, key: str | int, expected: Any, where: str) -> Any:
    """The item of a JSON object or list, which is of the type `expected`; a boolean is not a number."""
    holder = dict if isinstance(key, str) else list
    found = isinstance(values, holder) and (key in values if isinstance(key, str) else key < len(values))
    value = values[key] if found else None
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        came = f"got {type(value).__name__}" if found else "it is missing"
        wanted = getattr(expected, "__name__", str(expected))
        raise ModelError(f"{where}: expected {wanted} at {key!r}, {came}. The file is damaged or of another format.")
    return value
