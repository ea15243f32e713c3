"""Originals kept beside the files that take their place: `instance_train.json.bak`, as PaddleX names them."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from eyas.errors import DatasetError


def backup_of(file: Path) -> Path:
    """Where the original of `file` is kept."""
    return file.with_name(f"{file.name}.bak")


@contextmanager
def originals_kept(files: Iterable[Path]) -> Iterator[None]:
    """Copies those of `files` that are there to their backups, before they may be written.

    A backup that is there already stays as it is: it is the first original. Backups of files that then came out the
    same are taken away again. Raises DatasetError where a copy cannot be written.
    """
    copied = []
    for file in files:
        backup = backup_of(file)
        if file.is_file() and not backup.exists():
            try:
                shutil.copy2(file, backup)
            except OSError as error:
                message = f"cannot keep the original {file} as {backup.name}: {error.strerror or error}"
                raise DatasetError(f"{message}. Nothing was changed") from error
            copied.append((file, backup))
    yield
    for file, backup in copied:
        if file.is_file() and file.read_bytes() == backup.read_bytes():
            backup.unlink()
