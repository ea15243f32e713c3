""".pdparams, the weights that Paddle trains: a pickle of a dict from name to numpy array, read without pickle.

A pickle is a program.  This is a machine for the few of its instructions that such a file needs (protocols 2, 3 and 4;
Python's pickletools documents them).  It imports and calls nothing that the file names; pickle_arrays.py says what the
calls mean.  Everything else is refused by its name.
"""

import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from eyas.errors import ModelError
from eyas.paddle.files import mapped
from eyas.paddle.pickle_arrays import GLOBALS, Array, Global, Nested, Refused, Text, build, decoded, kind, reduce

STRUCTURED_NAMES = "StructuredToParameterName@@"
"""The key of a dict from a tensor's name in the network to its automatic one; it is left out of what is returned."""

_MOST_STEPS = 200_000  # a file of 1000 tensors has 25 000; a hostile step can cost 250 bytes of memory
_MOST_ITEMS = 64  # of a tuple: the most sides of an array
_LONG_TEXT = 4096  # bytes; a longer text can only be data, which protocol 2 writes as text


def read_pdparams(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors in a .pdparams file by name, in the order of the file.

    The arrays are read-only views of the mapped file, at any byte (`flags.aligned` may be false): copy one to change
    it.  Raises ModelError, with the byte and the instruction or name that was met, where the file is something else.
    """
    try:
        result = Machine(mapped(path)).run()
    except Refused as problem:
        raise ModelError(
            f"{path}: {problem}. Expected numpy arrays, as paddle.save writes the weights of a network. "
            "Nothing in the file was run."
        ) from problem
    if not isinstance(result, dict):
        raise ModelError(f"{path}: it holds {kind(result)}. Expected a dict of arrays.")
    arrays = {}
    for name, value in result.items():
        if name == STRUCTURED_NAMES and isinstance(value, dict):
            continue
        if not isinstance(value, Array) or value.data is None:
            raise ModelError(f"{path}: {name!r:.80} is {kind(value)}. Expected an array with its content.")
        arrays[name] = value.data
    if not arrays:
        raise ModelError(f"{path}: it holds no array. Expected the weights of a network.")
    return arrays


class _Mark:
    """Where a tuple or a group of dict items starts on the stack."""


class Machine:
    """One run over one file: a stack, a memo, and an instruction at a time.

    A subclass reads a pickle of something else than weights: `WHAT` it is, in the plural, which `GLOBALS` it may name,
    and what `is_key` and `made_by` allow.
    """

    WHAT: ClassVar[str] = "weights"
    GLOBALS: ClassVar[tuple[str, ...]] = GLOBALS

    def __init__(self, data: memoryview) -> None:
        self.most_steps = _MOST_STEPS
        self._data = data
        self._at = 0
        self._now = ""  # the name of the current instruction
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._made = 0  # bytes that were made of texts: the only data that is copied

    def run(self) -> object:
        """What the pickle describes.  Raises Refused, which names the byte and the instruction."""
        start = steps = 0
        try:
            while steps < self.most_steps:
                steps += 1
                start = self._at
                if start == len(self._data):
                    raise Refused("the file ends without STOP")
                code = self.number("<B")
                self._now = _NAMES.get(code, f"byte 0x{code:02x}")
                if self._now == "STOP":
                    return self._stop()
                if code not in _INSTRUCTIONS:
                    raise Refused(f"{self._now} is not an instruction that {self.WHAT} need")
                _INSTRUCTIONS[code](self)
            raise Refused(f"{self._now} is one of more than {self.most_steps} instructions")
        except Refused as problem:
            raise Refused(f"byte {start}: {problem}") from problem

    def _stop(self) -> object:
        result = self.pop()
        if self._stack or self._at != len(self._data):
            left = len(self._data) - self._at
            raise Refused(f"STOP with {len(self._stack)} values left on the stack and {left} bytes after it")
        return result

    def take(self, size: int) -> memoryview:
        """The next bytes of the file."""
        self.check_left(size)
        self._at += size
        return self._data[self._at - size : self._at]

    def check_left(self, size: int) -> None:
        left = len(self._data) - self._at
        if size > left:
            raise Refused(f"{self._now} has {size} bytes, {left} are left in the file")

    def number(self, code: str) -> int:
        """The next whole number of the file."""
        return int(struct.unpack(code, self.take(struct.calcsize(code)))[0])

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        if not self._stack or isinstance(self._stack[-1], _Mark):
            raise Refused(f"{self._now} needs a value, the stack has none")
        return self._stack.pop()

    def pop_to_mark(self) -> list[Any]:
        for index in range(len(self._stack) - 1, -1, -1):
            if isinstance(self._stack[index], _Mark):
                items = self._stack[index + 1 :]
                del self._stack[index:]
                return items
        raise Refused(f"{self._now} without a MARK before it")

    def protocol(self) -> None:
        version = self.number("<B")
        if version not in (2, 3, 4):
            raise Refused(f"PROTO {version}: the protocols 2, 3 and 4 are known")

    def text(self, size_code: str) -> None:
        raw = self.take(self.number(size_code))
        self.push(decoded(raw) if len(raw) <= _LONG_TEXT else Text(raw))

    def long(self) -> None:
        size = self.number("<B")
        if size > 8:
            raise Refused(f"LONG1 of {size} bytes: up to 8 are known")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def group(self, items: list[Any]) -> None:
        """Push a tuple."""
        if len(items) > _MOST_ITEMS:
            raise Refused(f"{self._now} of {len(items)} items: up to {_MOST_ITEMS} are known")
        if any(isinstance(item, Nested) for item in items):
            raise Refused(f"{self._now} nests tuples more than two deep")
        self.push((Nested if any(isinstance(item, tuple) for item in items) else tuple)(items))

    def set_items(self, items: list[Any]) -> None:
        """Put keys and values, in turn, into the dict on the stack."""
        target = self.pop()
        if not isinstance(target, dict) or len(items) % 2:
            raise Refused(f"{self._now} puts {len(items)} values into {kind(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not self.is_key(key):
                raise Refused(f"{self._now} with {kind(key)} as a key")
            if key in target:
                raise Refused(f"{self._now} sets {key!r:.80} a second time")
            target[key] = value
        self.push(target)

    def remember(self, key: int | None = None) -> None:
        """Keep the top of the stack under a number, the next one for None."""
        top = self.pop()
        self.push(top)
        self._memo[len(self._memo) if key is None else key] = top

    def recall(self, key: int) -> None:
        if key not in self._memo:
            raise Refused(f"{self._now} {key}: the memo has no such entry")
        self.push(self._memo[key])

    def global_line(self) -> None:
        """GLOBAL: a module and a name, each up to the end of a line."""
        lines = bytes(self._data[self._at : self._at + 512]).split(b"\n", 2)
        if len(lines) < 3:
            raise Refused("GLOBAL without two lines of text")
        self.take(len(lines[0]) + len(lines[1]) + 2)
        self.find_global(str(lines[0], "utf-8", "replace"), str(lines[1], "utf-8", "replace"))

    def find_global(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused(f"{self._now} of {kind(module)} and {kind(name)}")
        if f"{module}.{name}" not in self.GLOBALS:
            raise Refused(f"{self._now} asks for {f'{module}.{name}'!r:.200}, which {self.WHAT} do not need")
        self.push(Global(f"{module}.{name}"))

    def reduce(self) -> None:
        args = self.pop()
        result = self.made_by(self.pop(), args)
        self._made += len(result) if isinstance(result, bytes) else 0
        if self._made > len(self._data):
            raise Refused("REDUCE makes more data than the file has")
        self.push(result)

    def build(self) -> None:
        state = self.pop()
        target = self.pop()
        build(target, state)
        self.push(target)

    def is_key(self, key: object) -> bool:
        """Whether a dict may have that key."""
        return isinstance(key, str)

    def made_by(self, function: object, args: object) -> object:
        """What REDUCE makes.  Raises Refused for every call that is not known."""
        return reduce(function, args)


_INSTRUCTIONS: dict[int, Callable[[Machine], None]] = {
    0x80: Machine.protocol,
    0x95: lambda m: m.check_left(m.number("<Q")),  # FRAME
    ord("}"): lambda m: m.push({}),
    ord(")"): lambda m: m.push(()),
    ord("("): lambda m: m.push(_Mark()),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("J"): lambda m: m.push(m.number("<i")),
    0x8A: Machine.long,
    0x8C: lambda m: m.text("<B"),
    ord("X"): lambda m: m.text("<I"),
    0x8D: lambda m: m.text("<Q"),
    ord("C"): lambda m: m.push(m.take(m.number("<B"))),
    ord("B"): lambda m: m.push(m.take(m.number("<I"))),
    0x8E: lambda m: m.push(m.take(m.number("<Q"))),
    0x85: lambda m: m.group([m.pop()]),
    0x86: lambda m: m.group([m.pop(), m.pop()][::-1]),
    0x87: lambda m: m.group([m.pop(), m.pop(), m.pop()][::-1]),
    ord("t"): lambda m: m.group(m.pop_to_mark()),
    0x94: Machine.remember,
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    ord("s"): lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    ord("u"): lambda m: m.set_items(m.pop_to_mark()),
    ord("c"): Machine.global_line,
    0x93: lambda m: m.find_global(*[m.pop(), m.pop()][::-1]),  # STACK_GLOBAL
    ord("R"): Machine.reduce,
    ord("b"): Machine.build,
}
_NAMES = {ord(op.code): op.name for op in pickletools.opcodes}
