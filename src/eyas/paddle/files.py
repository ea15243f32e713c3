"""The bytes of a model's files: mapped from the disk, not copied."""

import mmap
from pathlib import Path

from eyas.errors import ModelError

PROGRAM_BYTES = 16 << 20
"""The largest program that is read.  A program holds no weights: that of a network with 700 operators has 0.4 MB.  JSON
can take twenty times its size in memory."""


def mapped(path: Path, most: int | None = None) -> memoryview:
    """The bytes of a file, read-only, which come from the disk when they are touched.

    Raises ModelError where the file cannot be read, is empty or has more than `most` bytes.
    """
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except ValueError as error:
        raise ModelError(f"{path} is empty. The download or the copy of the model was not complete.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
    if most is not None and len(data) > most:
        raise ModelError(f"{path} has {len(data)} bytes. Expected at most {most}: it holds no weights.")
    return data
