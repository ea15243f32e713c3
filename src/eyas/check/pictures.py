"""One look at the pixels of every image: is the file whole, and a small grey copy by which images are compared."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyas.check.images import Advance, ImageList, tidy_orientation
from eyas.data.faults import Fault, Report
from eyas.vision.image import rgb_from_pil

GRID_HW = (16, 17)  # 16 x 16 differences of neighbours: a hash of 256 bits
LARGEST = 80_000_000  # pixels; larger pictures take seconds each and are not decoded here, and Pillow warns of them
_DRAFT = (128, 128)  # JPEG is decoded at an eighth of its size where that is not smaller than this
_CONTRAST = 3.0  # grey levels; a flatter picture has no look of its own
_ORIENTATION = 0x0112
_SCENE = 64  # px, side of the copies that are moved over each other

Grids = NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """What was seen in one file. `grid` is None where it was not decoded, `problem` says why it cannot be."""

    grid: Grids | None = None
    orientation: int = 1
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Looks:
    """The looks of N images: grids uint8 [N, 16, 17]; known bool [N], whether there is a picture with any contrast."""

    grids: Grids
    known: NDArray[np.bool_]


def look_at(images: ImageList, pixels: Sequence[int], report: Report, advance: Advance = lambda _: None) -> Looks:
    """The looks of the images of a split; broken files are told, and pictures that EXIF turns.

    `pixels`, as `check_headers` counted them, says which are decoded: those from 1 to `LARGEST`.
    """
    grids = np.zeros((len(images.paths), *GRID_HW), np.uint8)
    known = np.zeros(len(images.paths), np.bool_)
    turned: list[Path] = []
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="eyas-look") as pool:
        for chunk in images.chunks():
            places = [place for place in range(chunk.start, chunk.stop) if 0 < pixels[place] <= LARGEST]
            for place, seen in zip(places, pool.map(_look, [images.paths[place] for place in places]), strict=True):
                if seen.problem:
                    message = f"{images.paths[place]} is broken or cut short: {seen.problem}"
                    fix = "Replace the image, or remove it with its annotations."
                    report(images.fault("error", place, "image-broken", message, fix))
                if seen.grid is not None:
                    grids[place], known[place] = seen.grid, seen.grid.std() >= _CONTRAST
                if seen.orientation > 1:
                    turned.append(images.paths[place])
            advance(chunk.stop - chunk.start)
    if turned:
        message = f"{len(turned)} images are turned upright by their EXIF orientation, the first is {turned[0]}"
        fix = "Look whether their boxes were drawn on the upright picture."
        report(Fault("info", "image-turned", images.source, message, value=len(turned), fix=fix))
    return Looks(grids, known)


def _look(path: Path) -> Look:
    try:
        with Image.open(path) as image:
            orientation = tidy_orientation(image.getexif().get(_ORIENTATION, 1))
            return Look(_grey(image, GRID_HW), orientation)
    except Exception as error:  # Pillow's decoders raise nearly every type on a broken file
        return Look(problem=str(error) or type(error).__name__)


def _grey(image: Image.Image, size_hw: tuple[int, int]) -> Grids:
    image.draft("L", _DRAFT)
    grey = cv2.cvtColor(rgb_from_pil(image, "it"), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, size_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def scene_likeness(ours: Path, other: Path) -> float:
    """How well the middle of one picture is found in the other, from -1 to 1, wherever it has moved to by an eighth.

    Both must have been decoded before. Frames of a moving camera reach 0.85; no two unrelated pictures of 1,500 did.
    """
    greys = []
    for path in (ours, other):
        with Image.open(path) as image:
            greys.append(_grey(image, (_SCENE, _SCENE)))
    edge = _SCENE // 8
    middle = greys[0][edge:-edge, edge:-edge]
    return float(cv2.matchTemplate(greys[1], middle, cv2.TM_CCOEFF_NORMED).max())
