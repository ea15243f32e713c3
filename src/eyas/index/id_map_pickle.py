"""Reads the `id_map.pkl` of older PaddleX galleries without unpickling: a dict from whole numbers to texts.

Keys are numpy's int64, which a pickle makes by the call scalar(dtype("i8"), eight bytes). That call is compared, never
made; a file that asks for anything else is refused.
"""

from pathlib import Path
from typing import Any

from eyas.errors import GalleryError
from eyas.paddle.pickle_arrays import DTYPE, ENCODE, Dtype, Global, Refused, kind, reduce
from eyas.paddle.pickles import Machine

MOST_BYTES = 256 << 20
_SCALAR = ("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")
_STEPS_OF_AN_ENTRY = 16  # a key and its label take 9 to 13 instructions


def read_pickled(path: Path) -> dict[Any, Any]:
    """The dict in the file: of whole numbers, texts and further such dicts.

    Raises GalleryError, with the byte and the instruction or name that was met, where the file is something else.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise GalleryError(f"{path} has {size:,} bytes. Expected at most {MOST_BYTES:,}: it holds only labels.")
        data = path.read_bytes()
    except OSError as error:
        raise GalleryError(f"{path} cannot be read: {error.strerror}. Expected the labels of a gallery.") from error
    try:
        result = _LabelMachine(memoryview(data)).run()
        if not isinstance(result, dict):
            raise Refused(f"it holds {kind(result)}")
    except Refused as problem:
        raise GalleryError(
            f"{path}: {problem}. Expected a dict from ids to labels, as PaddleX wrote it. Nothing in the file was run."
        ) from problem
    return result


class _LabelMachine(Machine):
    WHAT = "labels"
    GLOBALS = (*_SCALAR, DTYPE, ENCODE)

    def is_key(self, key: object) -> bool:
        return isinstance(key, str | int) and not isinstance(key, bool)

    def made_by(self, function: object, args: object) -> object:
        match function, args:
            case Global(name=name), (Dtype(ready=True, code="i8"), memoryview() | bytes() as data) if name in _SCALAR:
                if len(data) != 8:
                    raise Refused(f"REDUCE calls {name} with {len(data)} bytes of an i8")
                return int.from_bytes(data, "little", signed=True)
        return reduce(function, args)

    def set_items(self, items: list[Any]) -> None:
        # The more labels a file holds, the more instructions it may have: a bound for those that hold none.
        self.most_steps += len(items) // 2 * _STEPS_OF_AN_ENTRY
        super().set_items(items)
