"""Paths a user typed: say what is wrong with one, and list the pictures under a folder."""

import difflib
import os
from itertools import islice
from pathlib import Path

from eyas.errors import InputError
from eyas.vision.image import SUFFIXES

INPUT_SUFFIXES = (*SUFFIXES, ".pdf")


def existing(path: Path) -> Path:
    """`path`, when it is there; else raises InputError with its name and that of a file called nearly so."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"there is no file or folder {str(path)!r}. {_nearest(path)}".strip()) from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot use {str(path)!r}: {error}") from error
    return path


def listed(folder: Path) -> list[str]:
    """The pictures and PDFs under `folder`, at any depth, as sorted relative paths with `/`.

    Hidden files and folders are skipped, links to folders are not followed.
    Raises InputError when there are none or a folder cannot be read.
    """
    found: list[str] = []
    for root, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inner = Path(root).relative_to(folder)
        wanted = (name for name in files if name.lower().endswith(INPUT_SUFFIXES) and not name.startswith("."))
        found.extend((inner / name).as_posix() for name in wanted)
    if not found:
        raise InputError(f"there is no image under the folder {str(folder)!r}. Looked for {' '.join(INPUT_SUFFIXES)}.")
    return sorted(found)


def _unreadable(error: OSError) -> None:
    raise InputError(f"cannot read the folder {error.filename!r}: {error.strerror}") from error


def _nearest(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        missing = next((p for p in reversed(path.parents) if not p.is_dir()), parent)
        return f"The folder {str(missing)!r} is missing."
    try:
        names = [entry.name for entry in islice(parent.iterdir(), 20_000)]
    except OSError:
        return ""  # the folder may be entered but not listed: no suggestion
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"Did you mean {str(parent / near[0])!r}?" if near else ""
