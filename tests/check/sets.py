"""A small COCO dataset with pictures that differ, to be damaged one way at a time."""

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 80
Content = dict[str, Any]
Change = Callable[[Path, Content, Content], None]
"""Damages a dataset: (its folder, the content of train, of val)."""


@cache
def picture(seed: int, size_wh: tuple[int, int] = (WIDTH, HEIGHT), kind: str = "JPEG", quality: int = 90) -> bytes:
    """A picture of soft blobs, another one for every seed."""
    blobs = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    stream = io.BytesIO()
    pixels = cv2.resize(blobs, size_wh, interpolation=cv2.INTER_CUBIC)
    options = {"quality": quality} if kind == "JPEG" else {}
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def turned(seed: int, orientation: int) -> bytes:
    """The same picture with an EXIF orientation."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(picture(seed))) as image:
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def content(first: int, count: int, names: tuple[str, ...] = ("car", "bus")) -> Content:
    """COCO's lists: `count` images with two boxes each, a class in turn."""
    images = [
        {"id": n, "file_name": f"{n:03}x.jpg", "width": WIDTH, "height": HEIGHT} for n in range(first, first + count)
    ]
    annotations = [
        {"id": 10 * image["id"] + k, "image_id": image["id"], "category_id": k % len(names) + 1, "iscrowd": 0,
         "bbox": [10 + 30 * k, 20, 12, 9], "area": 108}
        for image in images
        for k in range(2)
    ]  # fmt: skip
    categories = [{"id": place, "name": name} for place, name in enumerate(names, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco(root: Path, change: Change | None = None, names: tuple[str, ...] = ("car", "bus")) -> Path:
    """Write the dataset: 6 images in train, ids 1 to 6, and 3 in val, ids 101 to 103; then damage it."""
    train, val = content(1, 6, names), content(101, 3, names)
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for image in (*train["images"], *val["images"]):
        (root / "images" / image["file_name"]).write_bytes(picture(image["id"]))
    if change is not None:
        change(root, train, val)
    for name, part in (("train", train), ("val", val)):
        (root / "annotations" / f"instance_{name}.json").write_text(json.dumps(part))
    return root


def lists(root: Path, parts: dict[str, list[tuple[str, int]]]) -> Path:
    """A recognition dataset: part -> (file name, label) of its images; a name is always the same picture."""
    (root / "images").mkdir(parents=True)
    for seed, name in enumerate(sorted({name for rows in parts.values() for name, _ in rows})):
        (root / "images" / name).write_bytes(picture(1000 + seed))
    for part, rows in parts.items():
        (root / f"{part}.txt").write_text("".join(f"images/{name} {label}\n" for name, label in rows))
    return root
