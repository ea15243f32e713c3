"""Galleries of other programs, in and out: PaddleX's index folder, plain NumPy and CSV files, Parquet."""

import logging
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from eyas.errors import ConfigError, GalleryError, did_you_mean
from eyas.index import id_map, plain_files
from eyas.index.faiss_files import paddlex_index, read_faiss, write_faiss
from eyas.index.imported import Imported, import_hash, in_order
from eyas.index.parquet_files import read_parquet, write_parquet
from eyas.index.pictures import is_file
from eyas.index.records import Floats, GalleryInfo, Ids, Item, NewItem, State
from eyas.index.staging import staged

__all__ = ["FORMS", "Form", "Imported", "export_index", "import_index", "is_paddlex_index"]

log = logging.getLogger(__name__)

Form = Literal["paddlex", "npy", "parquet"]
FORMS: tuple[Form, ...] = ("paddlex", "npy", "parquet")
VECTOR_FILE = "vector.index"
_PADDLEX = (VECTOR_FILE, "id_map.yaml", "index_info.yaml")


class Exportable(Protocol):
    """What an export needs of a gallery."""

    @property
    def info(self) -> GalleryInfo:
        """What the gallery is."""

    def state(self) -> State:
        """Its items."""

    def vectors(self, ids: Ids) -> Floats:
        """The vectors of those ids."""

    def get(self, ids: Ids) -> list[Item]:
        """Those items."""


def is_paddlex_index(folder: Path) -> bool:
    """Whether a folder holds a gallery as PaddleX saves it."""
    return is_file(folder / VECTOR_FILE) and any(is_file(folder / name) for name in id_map.FILES)


def import_index(source: Path) -> Imported:
    """The vectors and labels of a gallery in another format; nothing in it is run.

    A folder with `vector.index` and labels (`id_map.yaml`, `index_info.yaml`, `id_map.pkl`) is PaddleX's; its ids stand
    in the metadata as `paddlex_id`. A folder with `vectors.npy` and `items.csv`, a .npy file with labels beside it, and
    a .parquet file are read too.  Raises GalleryError for anything else, or where it is damaged.
    """
    source = Path(source)
    folder = source.parent if source.name == VECTOR_FILE else source
    if is_file(folder / VECTOR_FILE):
        found, form = _from_paddlex(folder), "PaddleX index"
    elif is_file(source) and source.suffix.lower() == ".parquet":
        found, form = read_parquet(source), "Parquet file"
    elif is_file(source / plain_files.FILES[0]) or (is_file(source) and source.suffix.lower() == ".npy"):
        found, form = plain_files.read_plain(source), "NumPy file"
    else:
        raise _unknown(source)
    log.info("%d vectors of %d labels from the %s %s", len(found), len(set(found.labels)), form, source)
    return found


def export_index(gallery: Exportable, target: Path, form: Form, *, overwrite: bool = False) -> list[Path]:
    """Write the gallery into the new folder `target` ("parquet": the new file), whole or not at all.

    "paddlex" is what PaddleX 3.7.2 reads: `vector.index` with the index type and metric of the gallery, `id_map.yaml`,
    and the same as `index_info.yaml`. "npy" and "parquet" keep everything but thumbnails and history.
    Returns the files. Raises GalleryError where `target` is there (`overwrite` replaces an earlier export), or for
    what PaddleX cannot hold: no items, the metric hamming. ConfigError for an unknown form.
    """
    target = Path(target)
    if form not in FORMS:
        raise ConfigError(f"unknown form {form!r} of an export. {did_you_mean(form, FORMS)}")
    names = {"paddlex": _PADDLEX, "npy": plain_files.FILES, "parquet": ()}[form]
    with staged(target, names, overwrite) as place:
        if form == "paddlex":
            _to_paddlex(gallery, place)
        elif form == "npy":
            plain_files.write_plain(gallery, place)
        else:
            write_parquet(gallery, place)
    files = [target / name for name in names] or [target]
    log.info("the gallery is in %s", ", ".join(map(str, files)))
    return files


def _from_paddlex(folder: Path) -> Imported:
    labels = id_map.read_id_map(folder)
    file = folder / VECTOR_FILE
    found = read_faiss(file)
    if len(found.ids) != len(labels.labels):
        raise GalleryError(
            f"{file} holds {len(found.ids)} vectors, {labels.file.name} {len(labels.labels)} labels. "
            "Expected one for each; PaddleX leaves such an index after a removal: build it anew."
        )
    nameless = [number for number in found.ids.tolist() if number not in labels.labels]
    if nameless:
        raise GalleryError(f"{labels.file} has no label for the ids {nameless[:5]} of {VECTOR_FILE}. Expected all.")
    if labels.metric not in (found.metric, None):
        log.warning("%s says %s, but the index compares by %s", labels.file, labels.metric, found.metric)
    items = [
        NewItem(labels.labels[number], import_hash(vector, number), None, {"paddlex_id": number})
        for number, vector in zip(found.ids.tolist(), found.vectors, strict=True)
    ]
    ids, vectors, ordered = in_order(found.ids, found.vectors, items, str(file))
    return Imported(vectors, ordered, ids, labels.kind or found.kind, found.metric)


def _to_paddlex(gallery: Exportable, folder: Path) -> None:
    state, info = gallery.state(), gallery.info
    if not len(state.ids):
        raise GalleryError("the gallery is empty. Expected an item at least: PaddleX cannot load an index without any.")
    names = np.array(state.labels, dtype=object)[state.label_ids]
    write_faiss(paddlex_index(gallery.vectors(state.ids), state.ids, info.kind, info.metric), folder / VECTOR_FILE)
    text = id_map.write_id_map(dict(zip(state.ids.tolist(), names.tolist(), strict=True)), info.metric, info.kind)
    for name in _PADDLEX[1:]:
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _unknown(source: Path) -> GalleryError:
    expected = (
        f"Expected a PaddleX index ({VECTOR_FILE} with {', '.join(id_map.FILES[:-1])} or {id_map.FILES[-1]}), "
        "vectors.npy with items.csv, or a .parquet file."
    )
    if is_file(source / "gallery.sqlite"):
        return GalleryError(f"{source} is a gallery of eyas already. Expected one of another program; open it instead.")
    if not source.exists():
        return GalleryError(f"there is no file or folder {str(source)!r}. {expected}")
    names = sorted(path.name for path in source.iterdir())[:8] if source.is_dir() else [source.name]
    return GalleryError(
        f"{source} is no gallery that can be imported; found {', '.join(names) or 'nothing'}. {expected}"
    )
