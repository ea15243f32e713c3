"""A gallery as plain files: `vectors.npy`, `items.csv` and `gallery.json`; and vectors of any origin with labels."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.errors import GalleryError
from eyas.index.imported import Imported, import_hash, in_order
from eyas.index.list_lines import numbered_lines
from eyas.index.pictures import is_file, text_of
from eyas.index.records import KINDS, METRICS, GalleryInfo, Item, ModelIdentity, NewItem

FILES = ("vectors.npy", "items.csv", "gallery.json")
COLUMNS = ("id", "label", "source", "content_hash", "metadata", "added")
_AT_ONCE = 10_000  # items
_MOST_FIELD = 64_000_000  # characters of a value: the csv module stops at 131,072, and metadata can be longer


def write_plain(gallery: Any, folder: Path) -> None:
    """Fill `folder` with the files of FILES."""
    ids = gallery.state().ids
    shape = (len(ids), gallery.info.width)
    with (
        (folder / FILES[0]).open("wb") as vectors,
        (folder / FILES[1]).open("w", encoding="utf-8", newline="") as items,
    ):
        # Written and not mapped: a full disk is an error then, and not the end of the process.
        head = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(vectors, head)
        rows = csv.writer(items)
        rows.writerow(COLUMNS)
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            vectors.write(np.ascontiguousarray(gallery.vectors(some), "<f4").tobytes())
            rows.writerows(tuple(row_of(item).values()) for item in gallery.get(some))
    (folder / FILES[2]).write_text(json.dumps(head_of(gallery.info, len(ids)), indent=2) + "\n", encoding="utf-8")


def row_of(item: Item) -> dict[str, Any]:
    """An item as a line of a table, in the order of COLUMNS; the metadata are JSON."""
    metadata = json.dumps(item.metadata, ensure_ascii=False)
    # A file name that is not UTF-8 is written with escapes.
    source = item.source and item.source.encode("utf-8", "backslashreplace").decode()
    return dict(zip(COLUMNS, (item.id, item.label, source, item.content_hash, metadata, item.added), strict=True))


def head_of(info: GalleryInfo, count: int) -> dict[str, Any]:
    """What an export says of the gallery that it came from."""
    model = vars(info.model) if info.model else None
    return {"eyas_gallery": 1, "kind": info.kind, "metric": info.metric, "width": info.width, "count": count,
            "model": model}  # fmt: skip


def read_plain(source: Path) -> Imported:
    """The gallery in a folder of FILES, or the vectors in a .npy file with the labels beside it.

    Labels of `shoes.npy` are in `items.csv` or `shoes.csv` with a column label, or, one a line, in `labels.txt` or
    `shoes.txt`.  Raises GalleryError.
    """
    file = source / FILES[0] if source.is_dir() else source
    vectors = _vectors(file)
    beside = [file.with_name(FILES[1]), file.with_suffix(".csv"), file.with_name("labels.txt"),
              file.with_suffix(".txt")]  # fmt: skip
    labels = next((path for path in beside if is_file(path)), None)
    if labels is None:
        raise GalleryError(f"{file} has no labels. Expected {', '.join(path.name for path in beside)} beside it.")
    head = file.with_name(FILES[2])
    if labels.suffix == ".txt":
        rows = [{"label": line} for _, line in numbered_lines(text_of(labels))]
    else:
        rows = _rows(labels)
    return imported_of(rows, vectors, _head(head) if is_file(head) else {}, labels)


def imported_of(rows: Sequence[dict[str, Any]], vectors: NDArray[Any], head: dict[str, Any], where: Path) -> Imported:
    """Rows like those of `row_of` (only the label must be there) with their vectors.  Raises GalleryError."""
    if len(rows) != len(vectors):
        raise GalleryError(f"{where} holds {len(rows)} labels for {len(vectors)} vectors. Expected one for each.")
    ids = np.empty(len(rows), np.int64)
    items = []
    for place, (row, vector) in enumerate(zip(rows, vectors, strict=True)):
        try:
            number = int(row["id"]) if row.get("id") not in (None, "") else place
            ids[place] = number
            items.append(_item(row, vector, number))
        except (ValueError, OverflowError, RecursionError) as problem:
            raise GalleryError(f"{where}, row {place + 1}: {problem}. Expected {', '.join(COLUMNS)}.") from problem
    rising, checked, ordered = in_order(ids, vectors, items, str(where))
    kind, metric = head.get("kind"), head.get("metric")
    return Imported(
        checked,
        ordered,
        rising,
        KINDS[KINDS.index(kind)] if kind in KINDS else None,
        METRICS[METRICS.index(metric)] if metric in METRICS else None,
        _model(head.get("model"), checked.shape[1]),
    )


def _item(row: dict[str, Any], vector: NDArray[Any], number: int) -> NewItem:
    text = row.get("metadata")
    metadata = json.loads(text) if text else {}
    if not isinstance(metadata, dict):
        raise ValueError("the metadata are no JSON object")
    if number < 0:
        raise ValueError(f"the id {number} is below 0")
    own = row.get("content_hash") or import_hash(vector.astype(np.float32), number)
    return NewItem(str(row.get("label") or ""), str(own), row.get("source") or None, metadata)


def _vectors(file: Path) -> NDArray[Any]:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, SyntaxError, TypeError, MemoryError, OverflowError) as error:
        raise GalleryError(f"{file} cannot be read: {error}. Expected a NumPy file of vectors.") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        found = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "several arrays"
        raise GalleryError(f"{file} holds {found}. Expected floating-point vectors [N, D].")
    return array


def _rows(file: Path) -> list[dict[str, Any]]:
    lines = csv.reader(io.StringIO(text_of(file), newline=""))
    usual = csv.field_size_limit(_MOST_FIELD)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        if "label" not in header:
            raise GalleryError(f"{file} has the columns {header[:12]}. Expected at least `label`.")
        return list(_filled(lines, header))
    except csv.Error as problem:
        raise GalleryError(f"{file}, line {lines.line_num}: it is not CSV: {problem}. Expected items.") from problem
    finally:
        csv.field_size_limit(usual)


def _filled(lines: Iterator[list[str]], header: list[str]) -> Iterator[dict[str, Any]]:
    for values in lines:
        if values:
            yield dict(zip(header, values, strict=False))


def _head(file: Path) -> dict[str, Any]:
    try:
        head = json.loads(text_of(file))
    except (ValueError, RecursionError) as error:
        raise GalleryError(f"{file} is not JSON: {error}. Expected what the gallery was.") from error
    if not isinstance(head, dict):
        raise GalleryError(f"{file} holds {type(head).__name__}. Expected a JSON object.")
    return head


def _model(said: object, width: int) -> ModelIdentity | None:
    match said:
        case {"name": str(name), "fingerprint": str(fingerprint), "width": int(stated)} if stated == width:
            return ModelIdentity(name, fingerprint, stated)
    return None
