"""Reading plain values (parsed JSON) strictly: every key is known, present and of its type, or the error names it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eyas.errors import ModelError, did_you_mean


class Fields:
    """The values of one JSON object, handed out by type.

    `where` is the object's dotted place ("" for the top).  Raises ModelError, which holds the dotted key, when `values`
    is not an object, lacks one of `keys` or has another one; and from each method when a value is of another type.
    """

    def __init__(self, values: object, where: str, keys: Sequence[str]) -> None:
        self._where = where
        if not isinstance(values, Mapping):
            raise ModelError(f"{where or 'manifest'}: expected an object with named values, got {values!r}.")
        for key in values:
            if key not in keys:
                raise ModelError(f"{self._name(key)}: unknown key. {did_you_mean(key, keys)}")
        for key in keys:
            if key not in values:
                raise ModelError(f"{self._name(key)}: missing. Expected the keys {', '.join(keys)}.")
        self._values = values

    def _name(self, key: object) -> str:
        return f"{self._where}.{key}" if self._where else str(key)

    def _wrong(self, key: str, expected: str) -> ModelError:
        return ModelError(f"{self._name(key)}: expected {expected}, got {self._values[key]!r}.")

    def any(self, key: str) -> Any:
        """The value as it is."""
        return self._values[key]

    def text(self, key: str) -> str:
        """A text."""
        value = self._values[key]
        if not isinstance(value, str):
            raise self._wrong(key, "a text")
        return value

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self._values[key]
        if not _is_whole(value):
            raise self._wrong(key, "a whole number")
        return int(value)

    def number(self, key: str) -> float:
        """A number."""
        value = self._values[key]
        if not _is_number(value):
            raise self._wrong(key, "a number")
        return float(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(self._list(key, lambda item: isinstance(item, str), "a list of texts"))

    def wholes(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        return tuple(self._list(key, _is_whole, "a list of whole numbers"))

    def pair(self, key: str) -> tuple[int, int]:
        """A list of two whole numbers."""
        values = self.wholes(key)
        if len(values) != 2:
            raise self._wrong(key, "a list of two whole numbers")
        return values[0], values[1]

    def triple(self, key: str) -> tuple[float, float, float]:
        """A list of three numbers."""
        values = self._list(key, _is_number, "a list of three numbers")
        if len(values) != 3:
            raise self._wrong(key, "a list of three numbers")
        return float(values[0]), float(values[1]), float(values[2])

    def object(self, key: str) -> dict[str, Any]:
        """An object with named values."""
        value = self._values[key]
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise self._wrong(key, "an object with named values")
        return dict(value)

    def _list(self, key: str, fits: Callable[[Any], bool], expected: str) -> Sequence[Any]:
        value = self._values[key]
        if not isinstance(value, (list, tuple)) or not all(fits(item) for item in value):
            raise self._wrong(key, expected)
        return value


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
