"""Whatever a user may pass to predict -> numbered samples, one picture each.

Arrays are BGR, as in PaddleX and OpenCV, and become RGB here, once.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyas.errors import InputError
from eyas.fetch import fetch, public_name
from eyas.paths import existing, listed
from eyas.saving import array_stem, safe_relative, safe_stem
from eyas.vision.image import Source, image_frames, on_white, read_frame, rgb_from_pil
from eyas.vision.pdf import page_count, read_page

RGB = NDArray[np.uint8]

_DICT_KEYS = ("img", "image", "input")  # PaddleX's old spelling: {"img": path or array}
_EXPECTED = (
    "a path, a folder, an http(s) URL, a BGR uint8 array, a PIL image, a list of these, or {'img': one of these}"
)


@dataclass(frozen=True)
class InputItem:
    """One picture to predict on.

    index: its number in the run, from 0. name: what messages call it. input_path: the file or URL, None for arrays.
    page_index: from 0 for a PDF page or a page of a multi-page TIFF, else None.
    output_name: relative name without suffix for saved files, unique in the run.
    load: gives the picture, upright uint8 RGB [H, W, 3], owned by the caller, or raises InputError.
    Different items may be loaded in different threads at once.
    """

    index: int
    name: str
    input_path: str | None
    page_index: int | None
    output_name: str
    load: Callable[[], RGB] = field(repr=False)


@dataclass(frozen=True)
class _Sample:
    """An InputItem before it has a number and a unique output name."""

    name: str
    stem: str
    suffix: str
    load: Callable[[], RGB]
    input_path: str | None = None
    page_index: int | None = None


def iter_inputs(input: object) -> Iterator[InputItem]:
    """The samples that `input` holds, one at a time; pictures are read only by `InputItem.load`.

    `input` is a path, a folder (searched through, sorted by name), an http(s) URL, an array (uint8, BGR or BGRA
    [H, W, C] or grey [H, W]), a PIL image, a dict {"img": one of these}, or a list, tuple or iterator of them.
    Raises InputError for a missing path, an empty folder or a wrong type at the top level. Inside a list or folder
    such an entry becomes an item whose `load` raises, so that the rest goes on.
    """
    taken: dict[str, str] = {}
    for index, sample in enumerate(_expand(input, "input")):
        output_name = _claim(taken, sample.stem, sample.suffix)
        yield InputItem(index, sample.name, sample.input_path, sample.page_index, output_name, sample.load)


def _claim(taken: dict[str, str], stem: str, suffix: str) -> str:
    """`stem`, or, when another sample has it, `stem_png` (same name, other suffix) or `stem_2`, `stem_3`, …

    Names that differ only in case count as one, because some file systems think so.
    """
    name, number = stem, 1
    if suffix and taken.get(stem.casefold(), suffix) != suffix:
        name = f"{stem}_{suffix.lstrip('.')}"
    while name.casefold() in taken:
        number += 1
        name = f"{stem}_{number}"
    taken[name.casefold()] = suffix
    return name


def _expand(value: object, where: str) -> Iterator[_Sample]:
    if isinstance(value, dict):
        yield from _expand(_unwrap(value, where), where)
    elif isinstance(value, str | os.PathLike):
        yield from _expand_text(os.fspath(value), where)
    elif isinstance(value, np.ndarray):
        name = f"{where} (array {list(value.shape)})"
        yield _Sample(name, array_stem(), "", partial(_from_array, value, where))
    elif isinstance(value, Image.Image):
        name = f"{where} (PIL image {value.width} x {value.height})"
        yield _Sample(name, array_stem(), "", partial(_from_pil, value, name))
    elif isinstance(value, list | tuple | Iterator):
        for position, part in enumerate(value):
            yield from _forgiving(_expand(part, f"{where}[{position}]"), part, f"{where}[{position}]")
    else:
        raise InputError(f"cannot predict on {where}: it is a {type(value).__name__}. Expected {_EXPECTED}.")


def _forgiving(samples: Iterator[_Sample], value: object, where: str) -> Iterator[_Sample]:
    """`samples`; where listing them fails, one more whose `load` raises that failure."""
    try:
        yield from samples
    except InputError as error:
        is_path = isinstance(value, str | os.PathLike)
        path = str(value) if is_path else None
        yield _Sample(path or where, safe_stem(Path(path).stem) if path else "input", "", partial(_fail, error), path)


def _fail(error: InputError) -> RGB:
    raise error


def _unwrap(value: dict[Any, Any], where: str) -> object:
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key in _DICT_KEYS:
            return inner
    keys = ", ".join(repr(key) for key in value) or "nothing"
    raise InputError(f"cannot predict on {where}: a dict must hold one of 'img', 'image' or 'input'; it holds {keys}.")


def _expand_text(text: str | bytes, where: str) -> Iterator[_Sample]:
    if isinstance(text, bytes) or not text.strip():
        raise InputError(f"cannot predict on {where}: the path is {text!r}. Expected {_EXPECTED}.")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        yield from _expand_url(text)
        return
    path = existing(Path(text).expanduser())
    if path.is_dir():
        for relative in listed(path):
            inner = path / relative
            stem = safe_relative(str(PurePosixPath(relative).with_suffix("")))
            yield from _forgiving(_expand_source(inner, str(inner), stem, inner.suffix.lower()), inner, str(inner))
    else:
        yield from _expand_source(path, str(path), safe_stem(path.stem), path.suffix.lower())


def _expand_url(url: str) -> Iterator[_Sample]:
    path = PurePosixPath(unquote(urlsplit(url).path))
    suffix, stem = path.suffix.lower(), safe_stem(path.stem)
    if suffix in (".pdf", ".tif", ".tiff"):  # the number of pages is inside
        yield from _expand_source(fetch(url), url, stem, suffix)
    else:
        yield _Sample(public_name(url), stem, suffix, lambda: read_frame(fetch(url), public_name(url), 0), url)


def _expand_source(source: Source, input_path: str, stem: str, suffix: str) -> Iterator[_Sample]:
    """One file's samples: its picture, or one for each page."""
    name = public_name(input_path) if isinstance(source, bytes) else input_path
    if suffix == ".pdf":
        for page in range(page_count(source, name)):
            load = partial(read_page, source, name, page)
            yield _Sample(f"{name} page {page}", f"{stem}_{page}", suffix, load, input_path, page)
        return
    frames = image_frames(source, name) if suffix in (".tif", ".tiff") else (0,)
    if len(frames) == 1:
        yield _Sample(name, stem, suffix, partial(read_frame, source, name, frames[0]), input_path)
        return
    for page, frame in enumerate(frames):
        load = partial(read_frame, source, name, frame)
        yield _Sample(f"{name} page {page}", f"{stem}_{page}", suffix, load, input_path, page)


def _from_pil(image: Image.Image, name: str) -> RGB:
    try:
        return rgb_from_pil(image, name)
    except (OSError, ValueError, SyntaxError) as error:  # an image opened but not yet loaded may prove to be broken
        raise InputError(f"cannot use {name}: {error}") from error


def _from_array(array: NDArray[Any], where: str) -> RGB:
    shape = list(array.shape)
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not fits or array.dtype != np.uint8 or array.size == 0:
        hint = ""
        if array.ndim == 4:
            hint = " Pass a batch as a list of arrays."
        elif array.ndim == 3 and array.shape[0] in (1, 3):
            hint = " Channels come last: array.transpose(1, 2, 0)."
        elif array.dtype != np.uint8:
            hint = " Scale the values to 0…255 and call .astype('uint8')."
        raise InputError(
            f"cannot use {where}: an array of {array.dtype} {shape}. "
            f"Expected uint8, [H, W, 3] in BGR order, [H, W, 4] in BGRA, or grey [H, W].{hint}"
        )
    planes = array[..., None] if array.ndim == 2 else array
    if planes.shape[2] == 1:
        return np.repeat(planes, 3, axis=2)
    if planes.shape[2] == 4:
        return on_white(planes[..., [2, 1, 0, 3]])
    return np.ascontiguousarray(planes[..., ::-1])
