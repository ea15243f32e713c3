"""demo_img: a few pictures of each split with their boxes drawn."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from eyas.data.sample import Sample
from eyas.errors import InputError
from eyas.saving import WRITABLE_IMAGES, safe_stem, write_atomically
from eyas.vision.draw import draw_detections
from eyas.vision.image import RGB, encode_image, read_image

MOST = 10  # pictures of a split
_LARGEST = 2000  # px of the longer side; larger ones are made smaller


def spread(count: int, most: int = MOST) -> list[int]:
    """At most `most` places out of `count`, evenly spread."""
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist())) if count else []


def write_demo(
    paths: Sequence[Path], samples: Sequence[Sample] | None, names: Sequence[str], folder: Path
) -> list[str]:
    """Write pictures of `paths` into `folder`; their file names, each used once in it. Unreadable ones are left out.

    `samples` are the annotations of the same images, None where they have no boxes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for place, path in enumerate(paths):
        try:
            picture = _drawn(read_image(path), samples[place] if samples else None, names)
        except InputError:
            continue  # the fault is told where every image is read
        target = _free_name(folder, path)
        write_atomically(target, encode_image(picture, target.suffix))
        written.append(target.name)
    return written


def _drawn(image: RGB, sample: Sample | None, names: Sequence[str]) -> RGB:
    scale = min(1.0, _LARGEST / max(image.shape[:2]))
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    if sample is None:
        return image
    boxes, ids = sample.boxes_xyxy[~sample.ignore] * np.float32(scale), sample.class_ids[~sample.ignore]
    return draw_detections(image, boxes, ids, None, names)


def _free_name(folder: Path, path: Path) -> Path:
    suffix = path.suffix.lower() if path.suffix.lower() in WRITABLE_IMAGES else ".png"
    stem, number = safe_stem(path.stem), 1
    target = folder / f"{stem}{suffix}"
    while target.exists():
        number += 1
        target = folder / f"{stem}_{number}{suffix}"
    return target
