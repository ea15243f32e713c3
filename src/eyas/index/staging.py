"""Exports appear whole or not at all: they are made beside their target, and renamed."""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eyas.cache import put_in_place, sync_folder
from eyas.errors import GalleryError


@contextmanager
def staged(target: Path, names: Sequence[str], overwrite: bool) -> Iterator[Path]:
    """A new folder to fill, which becomes `target` when the block ends well; for one file (no `names`), its new path.

    A target that is there is refused; with `overwrite` an earlier export, which holds nothing but `names`, is replaced.
    A folder is replaced in two steps: for an instant, neither is there.  Raises GalleryError.
    """
    _check(target, names, overwrite)
    temporary = target.parent / f".eyas-{secrets.token_hex(8)}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if names:
            temporary.mkdir()
        yield temporary
        for path in [*temporary.iterdir(), temporary] if names else [temporary]:
            sync_folder(path)
        put_in_place(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise GalleryError(f"{target} cannot be written: {error.strerror or error}. Nothing was changed.") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _check(target: Path, names: Sequence[str], overwrite: bool) -> None:
    if not target.exists():
        return
    inside = [path.name for path in target.iterdir()] if target.is_dir() else []
    ours = target.is_dir() and set(inside) <= set(names) if names else target.is_file()
    if ours and (overwrite or (names and not inside)):
        return
    if ours:
        raise GalleryError(f"{target} is there already. Expected a new name, or `overwrite` to replace that export.")
    what = f"holds {', '.join(sorted(inside)[:5])}" if target.is_dir() else "is a file"
    raise GalleryError(f"{target} {what} and is no earlier export of this form. Expected a new name.")
