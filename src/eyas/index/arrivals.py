"""What is put into a gallery, checked: labels, metadata, pictures that are there twice."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyas.errors import ConfigError, GalleryError
from eyas.index.records import Ids, NewItem

MAX_LABEL_CHARACTERS = 256
MAX_LABEL_BYTES = 1024
MAX_DEPTH = 32
"""How deep objects and lists may lie in one another in metadata."""
NO_METADATA = "{}"


class Arrival(NamedTuple):
    """One item to store: its row in the vectors beside it, and its values as the tables hold them."""

    row: int
    label: str
    hash: str
    source: str | bytes | None
    metadata: str
    thumbnail: bytes | None


def checked_arrivals(items: Sequence[NewItem]) -> list[Arrival]:
    """All of `items`, but of those with one content hash only the first.

    Raises GalleryError with the place and the source of an item: a label, content hash, source or metadata that cannot
    be stored, or one picture with two labels.
    """
    first: dict[str, Arrival] = {}
    for row, item in enumerate(items):
        where = item_name(row, item)
        check_label(item.label, where)
        if not isinstance(item.content_hash, str) or not item.content_hash or not is_text(item.content_hash):
            raise GalleryError(f"{where}: content hash {item.content_hash!r}. Expected a text.")
        earlier = first.get(item.content_hash)
        if earlier is None:
            metadata = metadata_text(item.metadata, where)
            source = stored_source(item.source, where)
            if not isinstance(item.thumbnail, bytes | None):
                raise GalleryError(f"{where}: a thumbnail of type {type(item.thumbnail).__name__}. Expected bytes.")
            first[item.content_hash] = Arrival(row, item.label, item.content_hash, source, metadata, item.thumbnail)
        elif earlier.label != item.label:
            raise GalleryError(
                f"one picture has two labels: {earlier.label!r} at {item_name(earlier.row, items[earlier.row])} and "
                f"{item.label!r} at {where}. Expected one: remove the wrong one."
            )
    return list(first.values())


def check_label(label: object, where: str) -> None:
    """Raise GalleryError unless `label` is a text of 1 to 256 characters without control characters."""
    if not isinstance(label, str) or not label:
        raise GalleryError(f"{where}: label {label!r}. Expected a text of 1 to {MAX_LABEL_CHARACTERS} characters.")
    if not is_text(label):
        raise GalleryError(f"{where}: label {label!r} is not valid Unicode: it holds half of a surrogate pair.")
    if len(label) > MAX_LABEL_CHARACTERS or len(label.encode()) > MAX_LABEL_BYTES:
        raise GalleryError(
            f"{where}: a label of {len(label)} characters, {len(label.encode())} bytes. Expected no more than "
            f"{MAX_LABEL_CHARACTERS} characters, {MAX_LABEL_BYTES} bytes: {label[:40]!r}…"
        )
    bad = next((sign for sign in label if sign < " " or "\x7f" <= sign <= "\x9f"), None)
    if bad is not None:
        raise GalleryError(f"{where}: label {label!r} holds the control character U+{ord(bad):04X}. Remove it.")


def metadata_text(metadata: Mapping[str, Any], where: str) -> str:
    """`metadata` as JSON, its keys in order, so that equal metadata give equal texts.

    Raises GalleryError for anything that JSON cannot hold: NaN, infinity, objects, keys that are no texts.
    """
    if not isinstance(metadata, Mapping):
        raise GalleryError(f"{where}: metadata {metadata!r}. Expected a dict.")
    if not metadata:
        return NO_METADATA
    plain = dict(metadata)
    _check_value(plain, where, "metadata", MAX_DEPTH)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    if not is_text(text):
        raise GalleryError(f"{where}: metadata hold half of a surrogate pair. Expected valid Unicode.")
    return text


def _check_value(value: object, where: str, name: str, depth: int) -> None:
    if depth == 0:
        raise GalleryError(f"{where}: {name[:80]} lies too deep. Expected no more than {MAX_DEPTH} levels of metadata.")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise GalleryError(f"{where}: {name} has the key {key!r}. Expected texts as keys.")
            _check_value(inner, where, f"{name}.{key}", depth - 1)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            _check_value(inner, where, f"{name}[{place}]", depth - 1)
    elif isinstance(value, float) and not abs(value) < float("inf"):
        raise GalleryError(f"{where}: {name} is {value}. Expected a finite number: JSON has no other.")
    elif value is not None and not isinstance(value, str | int | float):
        raise GalleryError(
            f"{where}: {name} is a {type(value).__name__}. Expected what JSON can hold: texts, numbers, true, false, "
            "null, lists and objects."
        )


def checked_ids(ids: ArrayLike | Iterable[int]) -> Ids:
    """`ids` as int64 [N].  Raises ConfigError unless they are integers in a row."""
    array: NDArray[Any] = np.asarray(
        list(ids) if isinstance(ids, Iterable) and not isinstance(ids, np.ndarray) else ids
    )
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.max() > np.iinfo(np.int64).max:
        raise ConfigError(
            f"ids: expected whole numbers, a list of integers, got {array.dtype} {list(array.shape)}: {str(ids)[:60]}."
        )
    return array.astype(np.int64, copy=False)


def item_name(row: int, item: NewItem) -> str:
    """How errors name one item: its place, and its source where it has one."""
    return f"item {row} ({item.source})" if item.source else f"item {row}"


def is_text(text: str) -> bool:
    """Whether `text` is valid Unicode, without halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def stored_source(source: str | None, where: str) -> str | bytes | None:
    """`source` as SQLite holds it: a path that is not valid Unicode as its bytes."""
    if not isinstance(source, str | None):
        raise GalleryError(f"{where}: source {source!r}. Expected a text or None.")
    if source is None or is_text(source):
        return source
    try:
        return source.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise GalleryError(f"{where}: source {source!r} is not valid Unicode. Expected a path or a name.") from None


def source_text(stored: str | bytes | None) -> str | None:
    """The inverse of `stored_source`."""
    return stored.decode("utf-8", "surrogateescape") if isinstance(stored, bytes) else stored
