"""A gallery as one Parquet file; and tables of vectors and labels of any origin."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.errors import GalleryError, missing_extra
from eyas.index.imported import Imported
from eyas.index.plain_files import head_of, imported_of, row_of

_VECTOR = ("vector", "embedding", "feature", "features")  # spellings of the column
_ROWS = 16_384  # of a group, which is what is in memory at once
_KEY = b"eyas"


def load_pyarrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet.  Raises BackendError where they are not installed."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise missing_extra("pyarrow", "parquet") from error


def write_parquet(gallery: Any, file: Path) -> None:
    """Write the items with the columns id, label, source, content_hash, metadata, added and vector."""
    arrow, parquet = load_pyarrow()
    ids = gallery.state().ids
    text = {name: arrow.string() for name in ("label", "source", "content_hash", "metadata", "added")}
    schema = arrow.schema(
        {"id": arrow.int64(), **text, "vector": arrow.list_(arrow.float32(), gallery.info.width)},
        {_KEY: json.dumps(head_of(gallery.info, len(ids))).encode()},
    )
    # Dictionaries and compression gain nothing on the digits of vectors.
    with parquet.ParquetWriter(file, schema, use_dictionary=["label"], compression="zstd") as writer:
        for start in range(0, len(ids), _ROWS):
            some = ids[start : start + _ROWS]
            rows = [row_of(item) for item in gallery.get(some)]
            columns = {name: [row[name] for row in rows] for name in ("id", *text)}
            flat = arrow.array(np.ascontiguousarray(gallery.vectors(some)).reshape(-1))
            columns["vector"] = arrow.FixedSizeListArray.from_arrays(flat, gallery.info.width)
            writer.write_table(arrow.table(columns, schema=schema))


def read_parquet(file: Path) -> Imported:
    """The gallery in a Parquet file: a column vector (or embedding), a column label, and what `write_parquet` adds.

    Raises GalleryError where they are not there or do not fit.
    """
    arrow, parquet = load_pyarrow()
    try:
        with parquet.ParquetFile(file) as source:
            names = source.schema_arrow.names
            vector = next((name for name in _VECTOR if name in names), None)
            if vector is None or "label" not in names:
                raise GalleryError(f"{file} has the columns {names[:12]}. Expected `vector` and `label`.")
            known = [name for name in ("id", "label", "source", "content_hash", "metadata") if name in names]
            head = json.loads((source.schema_arrow.metadata or {}).get(_KEY, b"{}"))
            table = source.read(columns=[vector, *known])
        vectors = _vectors(arrow, table.column(vector), file)
        rows = table.select(known).to_pylist()
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise GalleryError(f"{file} cannot be read: {str(error)[:300]}. Expected a sound Parquet file.") from error
    return imported_of(rows, vectors, head if isinstance(head, dict) else {}, file)


def _vectors(arrow: Any, column: Any, file: Path) -> NDArray[np.float32]:
    """A column of lists of one length as float32 [N, D]."""
    whole = column.combine_chunks()
    if isinstance(whole, arrow.ChunkedArray):
        whole = arrow.concat_arrays(whole.chunks) if whole.num_chunks else arrow.array([], column.type)
    kinds = (arrow.types.is_list, arrow.types.is_large_list, arrow.types.is_fixed_size_list)
    if not any(check(whole.type) for check in kinds) or not arrow.types.is_floating(whole.type.value_type):
        raise GalleryError(f"{file}: a vector is {whole.type}. Expected lists of floating-point numbers.")
    flat = whole.flatten()
    width = whole.type.list_size if arrow.types.is_fixed_size_list(whole.type) else len(flat) // max(len(whole), 1)
    lengths = set(arrow.compute.list_value_length(whole).unique().to_pylist())
    if whole.null_count or flat.null_count or lengths - {width}:
        raise GalleryError(
            f"{file}: its vectors have different lengths, or gaps. Expected one length, as of one model."
        )
    return np.asarray(flat.to_numpy(zero_copy_only=False), np.float32).reshape(len(whole), width)
