"""What may be given as an index, and the gallery that it means; one that was opened stays open."""

import threading
from os import PathLike, fspath
from pathlib import Path

from eyas.errors import ConfigError
from eyas.index.gallery import Gallery
from eyas.pipelines.index_data import IndexData, private_gallery
from eyas.pipelines.index_files import is_gallery, signature

AnyIndex = str | PathLike[str] | IndexData | Gallery
"""The folder of a gallery or of an index of PaddleX, or what is open already."""


class _Place:
    """What is open of one folder: its files when it was opened, and the gallery."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.seen: object = None
        self.gallery: Gallery | None = None


class Galleries:
    """Open galleries by folder.  Safe to share between threads: one that is being opened makes no other one wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[Path, _Place] = {}

    def get(self, index: AnyIndex) -> Gallery:
        """The gallery that `index` means, as it is on disk now.

        An index of PaddleX is read once, into a private gallery, and again when its files have changed; a gallery is
        opened again when its folder holds another one by now.  Raises GalleryError where there is none, ConfigError
        for something that is no index.
        """
        if isinstance(index, IndexData):
            return index.gallery
        if isinstance(index, Gallery):
            return index
        folder = folder_of(index)
        with self._lock:
            place = self._places.setdefault(folder, _Place())
        with place.lock:
            seen = signature(folder)
            if place.gallery is None or place.seen != seen:
                place.gallery = Gallery.open(folder) if is_gallery(folder) or seen == () else private_gallery(folder)
                place.seen = seen
            gallery = place.gallery
        gallery.refresh()
        return gallery


def folder_of(index: object) -> Path:
    """The folder, as an absolute path, that a text or a path names.  Raises ConfigError for anything else."""
    if not isinstance(index, (str, PathLike)) or not fspath(index):
        raise ConfigError(
            f"index: expected the folder of a gallery or of an index of PaddleX, an IndexData or a Gallery, "
            f"got {index!r:.80}."
        )
    return Path(fspath(index)).expanduser().absolute()
