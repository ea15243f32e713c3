"""PDF pages as pictures."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.errors import InputError
from eyas.vision.image import MAX_PIXELS, MAX_SIDE, Source

SCALE = 2.0  # 144 dots an inch, as PaddleX renders pages

_PDFIUM = threading.Lock()  # the pdfium library may be used by one thread at a time


def page_count(source: Source, name: str) -> int:
    """The number of pages of the PDF `source` (a file or bytes). Raises InputError."""
    with _document(source, name) as document:
        return len(document)


def read_page(source: Source, name: str, page_index: int) -> NDArray[np.uint8]:
    """Page `page_index` (from 0) at 144 dots an inch, uint8 RGB [H, W, 3]. Raises InputError."""
    with _document(source, name) as document:
        page = document[page_index]
        width, height = (int(side * SCALE) + 1 for side in page.get_size())
        if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
            raise InputError(
                f"cannot use {name}: page {page_index} would be {width:,} x {height:,} pixels. "
                f"The limits are {MAX_SIDE:,} a side and {MAX_PIXELS:,} in all."
            )
        bitmap = page.render(scale=SCALE, rev_byteorder=True)  # RGB, not pdfium's BGR
        return np.array(bitmap.to_numpy()[..., :3])


@contextmanager
def _document(source: Source, name: str) -> Iterator[Any]:
    import pypdfium2

    with _PDFIUM:
        try:
            document = pypdfium2.PdfDocument(source)
            try:
                yield document
            finally:
                document.close()
        except (pypdfium2.PdfiumError, OSError) as error:
            raise InputError(
                f"cannot read {name}: not a PDF that can be opened, or one locked by a password ({error})"
            ) from error
