""".pdmodel, the program of an exported model before Paddle 3: a ProgramDesc message.

Field numbers, from Paddle's public framework.proto and checked against files of Paddle 2.6.2:
ProgramDesc 1 blocks; BlockDesc 3 vars, 4 ops; VarDesc 1 name, 2 type, 3 persistable; VarType 1 type, 3 lod_tensor;
LoDTensorDesc 1 tensor; TensorDesc 1 element type, 2 dims; OpDesc 1 inputs, 2 outputs, 3 type, 4 attrs; OpDesc.Var
1 slot, 2 names; OpDesc.Attr 1 name, 2 type, then the value in the field that `_ATTRS` gives.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from eyas.errors import ModelError
from eyas.paddle.files import PROGRAM_BYTES, mapped
from eyas.paddle.graph import Graph, Op, Value
from eyas.paddle.params import DTYPES, read_pdiparams
from eyas.paddle.wire import Message

_LOD_TENSOR = 7
_ABSENT = "@EMPTY@"  # Paddle's name for an optional tensor that is not given


def _bools(attr: Message, field: int) -> list[bool]:
    return [bool(value) for value in attr.wholes(field)]


def _scalars(attr: Message, field: int) -> list[object]:
    """Messages Scalar: 1 kind, then 2 bool, 3 int64 or 4 double."""
    values: list[object] = []
    for scalar in attr.messages(field, "scalar"):
        kinds: dict[int, Sequence[object]] = {1: _bools(scalar, 2), 2: scalar.wholes(3), 3: scalar.doubles(4)}
        found = kinds.get(scalar.whole(1) or 0)
        if not found:
            raise ModelError(f"{scalar.where}: a number of the kind {scalar.whole(1)} is not supported.")
        values.append(found[-1])
    return values


# AttrType -> the field of its value, how that is read, and whether it is a list.  8 (BLOCK) and 10 (BLOCKS) are control
# flow, 13 (VAR) and 14 (VARS) name variables.
_ATTRS: dict[int, tuple[int, Callable[[Message, int], Sequence[object]], bool]] = {
    0: (3, Message.wholes, False),
    1: (4, Message.reals, False),
    2: (5, Message.texts, False),
    3: (6, Message.wholes, True),
    4: (7, Message.reals, True),
    5: (8, Message.texts, True),
    6: (10, _bools, False),
    7: (11, _bools, True),
    9: (13, Message.wholes, False),
    11: (15, Message.wholes, True),
    12: (16, Message.doubles, True),
    15: (19, Message.doubles, False),
    16: (20, _scalars, False),
    17: (21, _scalars, True),
}


def read_pdmodel(path: Path, parameters: Path) -> Graph:
    """The graph of a .pdmodel file with the weights of its .pdiparams file.

    A variable that is written a second time (the running mean of batch_norm) becomes a value of its own, "name@1".
    Raises ModelError where a file is damaged, the two do not fit, or the program has control flow.
    """
    blocks = list(Message(mapped(path, PROGRAM_BYTES), str(path)).messages(1, "block"))
    if len(blocks) != 1:
        raise ModelError(
            f"{path}: the program has {len(blocks)} blocks. Expected 1: loops and branches are not supported."
        )
    return _Block(blocks[0]).graph(parameters)


class _Block:
    def __init__(self, block: Message) -> None:
        self._where = block.where
        self._values: dict[str, Value] = {}
        self._persistable: dict[str, Value] = {}
        self._newest: dict[str, str] = {}  # the file's name -> the value that it means now
        self._written: set[str] = set()
        self._inputs: list[tuple[int, str]] = []
        self._outputs: list[tuple[int, str]] = []
        for variable in block.messages(3, "variable"):
            self._declare(variable)
        self._written |= self._persistable.keys()
        self._ops = [op for message in block.messages(4, "operator") if (op := self._op(message))]

    def graph(self, parameters: Path) -> Graph:
        return Graph(
            ops=tuple(self._ops),
            values=self._values,
            inputs=tuple(name for _, name in sorted(self._inputs)),
            outputs=tuple(name for _, name in sorted(self._outputs)),
            parameters=read_pdiparams(parameters, self._persistable),
        )

    def _declare(self, variable: Message) -> None:
        name = _required(variable.text(1), variable, "name")
        kinds = list(variable.messages(2, "type"))
        if not kinds or kinds[-1].whole(1) != _LOD_TENSOR:
            return  # not a tensor: only feed and fetch may name it
        where = f"{self._where}, variable {name!r}"
        tensors = [tensor for holder in kinds[-1].messages(3, "tensor") for tensor in holder.messages(1, "tensor")]
        number = tensors[-1].whole(1) if tensors else None
        if number not in DTYPES:
            raise ModelError(f"{where}: the element type {number} is not supported. Known: {list(DTYPES.values())}.")
        shape = tuple(tensors[-1].wholes(2))
        if shape and min(shape) < -1:
            raise ModelError(f"{where}: the shape {list(shape)} is not one. The file is damaged.")
        if name in self._values:
            raise ModelError(f"{where}: it is declared twice. The file is damaged.")
        self._values[name] = Value(name, shape, DTYPES[number])
        self._newest[name] = name
        if variable.whole(3):
            self._persistable[name] = self._values[name]

    def _op(self, op: Message) -> Op | None:
        kind = _required(op.text(3), op, "type")
        where = f"{op.where} ({kind})"
        if kind in ("feed", "fetch"):
            self._boundary(op, kind, where)
            return None
        inputs = {slot: tuple(self._read(name, where) for name in names) for slot, names in _slots(op, 1)}
        attrs = dict(_attr(attr, where) for attr in op.messages(4, "attribute"))
        outputs = {slot: tuple(self._write(name, where) for name in names) for slot, names in _slots(op, 2)}
        # op_callstack and the like are notes of the exporter; the call stacks are most of the file.
        return Op(kind, inputs, outputs, {name: value for name, value in attrs.items() if not name.startswith("op_")})

    def _boundary(self, op: Message, kind: str, where: str) -> None:
        """feed: a variable becomes an input, number "col"; fetch: an output."""
        columns = [_attr(attr, where)[1] for attr in op.messages(4, "attribute") if attr.text(1) == "col"]
        names = dict(_slots(op, 2 if kind == "feed" else 1)).get("Out" if kind == "feed" else "X", ())
        if len(names) != 1 or len(columns) != 1 or not isinstance(columns[0], int):
            raise ModelError(f"{where}: expected one tensor and one column, got {list(names)} and {columns}.")
        if kind == "feed":
            self._inputs.append((columns[0], self._write(names[0], where)))
        else:
            self._outputs.append((columns[0], self._read(names[0], where)))

    def _read(self, name: str, where: str) -> str:
        if self._newest.get(name) not in self._written:
            raise ModelError(f"{where}: it reads {name!r}, which no operator before it has made and no weight is.")
        return self._newest[name]

    def _write(self, name: str, where: str) -> str:
        if name not in self._newest:
            raise ModelError(f"{where}: it makes {name!r}, which is not declared as a tensor.")
        fresh, count = name, 0
        while fresh in self._written or (count and fresh in self._values):
            count += 1
            fresh = f"{name}@{count}"
        self._values.setdefault(fresh, Value(fresh, self._values[name].shape, self._values[name].dtype))
        self._written.add(fresh)
        self._newest[name] = fresh
        return fresh


def _required(text: str | None, message: Message, what: str) -> str:
    if not text:
        raise ModelError(f"{message.where}: it has no {what}. The file is damaged or of another format.")
    return text


def _slots(op: Message, field: int) -> list[tuple[str, list[str]]]:
    return [
        (_required(slot.text(1), slot, "name"), [name for name in slot.texts(2) if name != _ABSENT])
        for slot in op.messages(field, "slot")
    ]


def _attr(attr: Message, where: str) -> tuple[str, object]:
    name = _required(attr.text(1), attr, "name")
    kind = attr.whole(2)
    if kind not in _ATTRS:
        raise ModelError(
            f"{where}: the attribute {name!r} is of kind {kind}. Expected a number, a text or a list of them: blocks "
            "(loops and branches) and variables as attributes are not supported."
        )
    field, reader, is_list = _ATTRS[kind]
    values = reader(attr, field)
    if is_list:
        return name, list(values)
    if not values:
        raise ModelError(f"{where}: the attribute {name!r} has no value. The file is damaged.")
    return name, values[-1]
