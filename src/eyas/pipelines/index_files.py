"""The files of a gallery in a folder: which ones they are, and how all of them are replaced by others."""

import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from eyas.cache import sync_folder
from eyas.index.database import FILE, disk_errors

PADDLEX = ("vector.index", "id_map.yaml", "index_info.yaml", "id_map.pkl")
"""PaddleX's files: vectors, and labels as its versions keep them."""
_OURS = (FILE, f"{FILE}-wal", f"{FILE}-shm", "segments")


def is_gallery(folder: Path) -> bool:
    """Whether a gallery lies in `folder`."""
    return (folder / FILE).is_file()


def is_for_paddlex(folder: Path) -> bool:
    """Whether PaddleX can read `folder`."""
    return (folder / PADDLEX[0]).is_file()


def drop_gallery(folder: Path, *, keep_folder: bool) -> None:
    """Take the files of a gallery out of `folder`, and the folder where it is empty then (not with `keep_folder`)."""
    for name in _OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if not keep_folder:
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def signature(folder: Path) -> object:
    """Another value once other files have taken the place of those in `folder`.

    Changes inside a gallery leave its file in place and do not count; a file of PaddleX is only ever written anew.
    """
    if is_gallery(folder):
        database = (folder / FILE).stat()
        return FILE, database.st_dev, database.st_ino
    files = [folder, *(folder / name for name in (*PADDLEX, "vectors.npy", "items.csv"))]
    found = [(file.name, file.stat()) for file in files if file.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)


def replace_files(folder: Path, write: Callable[[Path], None], *, keep_gallery: bool = False) -> None:
    """Let `write` fill a draft folder, and put what is in it into `folder`, for the index that lies there.

    Other files in `folder` stay; with `keep_gallery` the gallery does too.  `gallery.sqlite`, which decides what there
    is, comes last.  When anything fails the old files are put back; when the process is killed in between they lie
    whole in `.eyas-old-…`.  Raises GalleryError where the disk fails.
    """
    names = PADDLEX if keep_gallery else (*_OURS, *PADDLEX)
    with disk_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft, old = (folder / f".eyas-{what}-{secrets.token_hex(4)}" for what in ("new", "old"))
        try:
            draft.mkdir(mode=0o700)
            write(draft)
            made = sorted((path.name for path in draft.iterdir()), key=lambda name: name == FILE)
            old.mkdir(mode=0o700)
            try:
                _move(names, folder, old)
                _move(made, draft, folder)
            except BaseException:
                _move(names, old, folder)
                raise
            sync_folder(folder)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _move(names: Sequence[str], source: Path, target: Path) -> None:
    for name in names:
        if (source / name).exists():
            (source / name).replace(target / name)
