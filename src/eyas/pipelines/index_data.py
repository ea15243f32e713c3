"""What PaddleX calls an index: vectors, ids and labels in one object.  Here a gallery is behind it."""

import logging
import shutil
import tempfile
import weakref
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.errors import missing_extra
from eyas.index.database import FILE
from eyas.index.exchange import Imported, export_index, import_index
from eyas.index.gallery import Gallery
from eyas.index.records import NewItem
from eyas.index.store import Store
from eyas.pipelines.index_files import PADDLEX, is_gallery, replace_files

log = logging.getLogger(__name__)

_MOST_GAPS = 100_000
"""Ids of removed pictures that an index may have among its own; with more it is numbered anew."""


class IndexData:
    """An index as PaddleX has it: what `build_index` returns, and what `predict` and the others take.

    It shows its gallery as that is now; `append_index` and `remove_index` change that.
    """

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery

    @staticmethod
    def load(index: "str | PathLike[str] | IndexData") -> "IndexData":
        """A copy of the gallery, or of PaddleX's index, in that folder, which is not touched.  An IndexData is itself.

        Raises GalleryError where there is none, or it is damaged.
        """
        return index if isinstance(index, IndexData) else IndexData(private_gallery(Path(index).expanduser()))

    @staticmethod
    def from_bytes(data: bytes) -> "IndexData":
        """The index that `to_bytes` gave.  Nothing in `data` is run.  Raises GalleryError for anything else."""
        folder = Path(tempfile.mkdtemp(prefix="eyas-gallery-"))
        (folder / FILE).write_bytes(data)
        return IndexData(_opened(folder, folder))

    def to_bytes(self) -> bytes:
        """The whole gallery, an SQLite database, as bytes: no pickle."""
        with tempfile.TemporaryDirectory(prefix="eyas-") as folder:
            self.gallery.snapshot(Path(folder) / "copy")
            return (Path(folder) / "copy" / FILE).read_bytes()

    def save(self, save_dir: str | PathLike[str], *, paddlex: bool = True) -> None:
        """Write the index into `save_dir`: the gallery and, with `paddlex`, what PaddleX reads, as that is now.

        PaddleX's files are `vector.index`, `id_map.yaml` and `index_info.yaml`; there are none for the metric hamming
        and for an empty index, which it cannot use.  They hold every vector once more, and their search structure is
        built each time.  An index that lies there is replaced, other files stay.
        Raises GalleryError where that fails.
        """
        folder = Path(save_dir).expanduser()
        lies_there = is_gallery(folder) and folder.resolve() == self.gallery.path.resolve()

        def write(draft: Path) -> None:
            if not lies_there:
                self.gallery.snapshot(draft / "copy")
                _lift(draft / "copy")
            if paddlex and self.gallery.metric != "hamming" and len(self.gallery):
                export_index(self.gallery, draft / "pair", "paddlex")
                _lift(draft / "pair")

        replace_files(folder, write, keep_gallery=lies_there)

    @property
    def id_map(self) -> dict[int, str]:
        """The label of each id."""
        state = self.gallery.state()
        labels = [state.labels[place] for place in state.label_ids.tolist()]
        return dict(zip(state.ids.tolist(), labels, strict=True))

    @property
    def metric_type(self) -> str:
        """IP, L2 or hamming."""
        return self.gallery.metric

    @property
    def index_type(self) -> str:
        """HNSW32, IVF or Flat."""
        return self.gallery.kind

    @property
    def index_info(self) -> dict[str, Any]:
        """What stands in `id_map.yaml`: id_map, metric_type, index_type."""
        return {"id_map": self.id_map, "metric_type": self.metric_type, "index_type": self.index_type}

    @property
    def index_bytes(self) -> NDArray[np.uint8]:
        """The content of `vector.index`, made for this call: uint8 [N]."""
        with tempfile.TemporaryDirectory(prefix="eyas-") as folder:
            export_index(self.gallery, Path(folder) / "pair", "paddlex")
            return np.fromfile(Path(folder) / "pair" / PADDLEX[0], np.uint8)

    @property
    def index(self) -> Any:
        """A Faiss index with these vectors and ids, made for this call; changing it changes nothing here."""
        try:
            import faiss
        except ModuleNotFoundError as error:
            raise missing_extra("faiss", "recognition") from error
        return faiss.deserialize_index(self.index_bytes)

    def __len__(self) -> int:
        return len(self.gallery)

    def __repr__(self) -> str:
        return f"IndexData({len(self)} pictures, {self.index_type}, {self.metric_type})"


def private_gallery(source: Path) -> Gallery:
    """A gallery of its own with what the gallery, or the index of PaddleX, in the folder `source` holds.

    Ids stay as they are.  Raises GalleryError where there is neither.
    """
    if is_gallery(source):
        folder = Path(tempfile.mkdtemp(prefix="eyas-gallery-"))
        with Store.open(source) as store:
            store.snapshot(folder / "gallery")
        return _opened(folder / "gallery", folder)
    found = import_index(source)
    gallery = Gallery.create(
        None, width=found.vectors.shape[1], kind=found.kind or "HNSW32", metric=found.metric or "IP"
    )
    _fill(gallery, found, source)
    return gallery


def _opened(folder: Path, private: Path) -> Gallery:
    """The gallery in `folder`; the folder `private` goes with it, or at once where it cannot be opened."""
    try:
        gallery = Gallery.open(folder)
    except BaseException:
        shutil.rmtree(private, ignore_errors=True)
        raise
    weakref.finalize(gallery, shutil.rmtree, private, ignore_errors=True)
    return gallery


def _fill(gallery: Gallery, found: Imported, source: Path) -> None:
    """Put in what was imported, each item under its id: the ids between them are taken, and given up again."""
    count = len(found.ids)
    room = int(found.ids.max(initial=-1)) + 1
    if room > count + _MOST_GAPS:
        log.warning("%s: ids up to %d for %d pictures; they are numbered anew, from 0", source, room - 1, count)
        gallery.append(found.vectors, found.items)
        return
    vectors = np.zeros((room, gallery.width), np.float32)
    vectors[found.ids] = found.vectors
    items = [NewItem("-", f"nothing {number}") for number in range(room)]
    for number, item in zip(found.ids.tolist(), found.items, strict=True):
        items[number] = item
    gallery.append(vectors, items)
    gaps = np.setdiff1d(np.arange(room), found.ids)
    if len(gaps):
        gallery.remove(gaps)


def _lift(folder: Path) -> None:
    """Move what is in `folder` beside it; the folder goes."""
    for path in folder.iterdir():
        path.rename(folder.parent / path.name)
    folder.rmdir()
