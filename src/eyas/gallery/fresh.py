"""A new gallery that leaves nothing behind where filling it fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eyas.errors import GalleryError
from eyas.index import Gallery, Kind, Metric, ModelIdentity
from eyas.pipelines.index_files import drop_gallery


@contextmanager
def fresh_gallery(
    index: Path, *, width: int, kind: Kind, metric: Metric, model: ModelIdentity | None
) -> Iterator[Gallery]:
    """An empty gallery at `index`, to be filled.

    Where that fails and nothing is in it, its files go, and its folder, if it was made here; what else lay in the
    folder stays. Raises GalleryError where `index` is a file or a gallery.
    """
    if index.exists() and not index.is_dir():
        raise GalleryError(f"{index} is a file. Expected a new folder for the gallery, or that of a gallery.")
    there = index.is_dir()
    try:
        gallery = Gallery.create(index, width=width, kind=kind, metric=metric, model=model)
    except GalleryError:
        if not there and index.is_dir() and not any(index.iterdir()):
            index.rmdir()
        raise
    with gallery:
        try:
            yield gallery
        except BaseException:
            if not len(gallery):
                gallery.close()
                drop_gallery(index, keep_folder=there)
            raise
