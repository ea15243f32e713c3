"""Faults of image files: missing, broken, of another size, there twice, in two splits."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image
from tests.check.seeding import FORMATS, SIZE_HW, Case, Expected, Kind, brighter, encoded_again, moved, put

Change = Callable[[bytes], bytes]

WITH_SIZE = ("coco", "voc", "labelme")  # formats that state the size of an image


def missing(case: Case) -> Expected:
    path = case.picture()
    expected = Expected("error", "image-missing", *case.spot(path), "file_name")
    if case.format == "yolo":  # an image that is not there is a label too many
        expected = Expected("warning", "label-without-image", case.name(case.annotation(path)))
    path.unlink()
    return expected


def truncated(case: Case) -> Expected:
    return _damaged(case, "image-broken", lambda data: data[: case.rng.randrange(len(data) // 2, len(data))])


def empty_file(case: Case) -> Expected:
    return _damaged(case, "image-empty", lambda _: b"")


def no_image(case: Case) -> Expected:
    return _damaged(case, "image-unreadable", lambda _: b"<html><body>404 Not Found</body></html>\n")


def _damaged(case: Case, code: str, change: Change) -> Expected:
    path = case.picture()
    expected = Expected("error", code, *case.spot(path), "file_name")
    put(path, change(path.read_bytes()))
    return expected


def wrong_size(case: Case) -> Expected:
    path = case.picture()
    height, width = SIZE_HW
    _state_size(case, path, width + case.rng.randrange(20, 60), height + case.rng.randrange(20, 60))
    return Expected("error", "size-mismatch", *case.spot(path), "width, height")


def turned(case: Case) -> Expected:
    """The file gets an EXIF orientation that its annotation does not know of."""
    path = case.picture()
    stream = io.BytesIO()
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = case.rng.choice([5, 6, 7, 8])
        image.save(stream, "JPEG", quality=95, exif=exif)
    put(path, stream.getvalue())
    return Expected("error", "size-before-turning", *case.spot(path), "width, height")


def _state_size(case: Case, path: Path, width: int, height: int) -> None:
    file = case.annotation(path)
    if case.format == "coco":
        content = json.loads(file.read_text())
        content["images"][case.rows.index(path)] |= {"width": width, "height": height}
        put(file, json.dumps(content))
    elif case.format == "labelme":
        put(file, json.dumps(json.loads(file.read_text()) | {"imageWidth": width, "imageHeight": height}))
    else:
        root = ElementTree.fromstring(file.read_text())
        for side, value in (("width", width), ("height", height)):
            root.find(f"size/{side}").text = str(value)  # type: ignore[union-attr]
        put(file, ElementTree.tostring(root))


def copy_in_split(case: Case) -> Expected:
    first, second = sorted(case.rng.sample(case.rows, 2))
    put(second, first.read_bytes())
    return Expected("warning", "duplicate-image", *case.spot(second), "file_name")


def alike_in_split(case: Case) -> Expected:
    first, second = sorted(case.rng.sample(case.rows, 2))
    put(second, encoded_again(first.read_bytes(), 60))
    return Expected("info", "near-duplicate", *case.spot(second), "file_name")


def copy_in_other_split(case: Case) -> Expected:
    return _leak(case, "leak-same", lambda data: data)


def encoded_in_other_split(case: Case) -> Expected:
    return _leak(case, "leak-alike", lambda data: encoded_again(data, case.rng.randrange(40, 80)))


def brighter_in_other_split(case: Case) -> Expected:
    return _leak(case, "leak-alike", lambda data: brighter(data, case.rng.choice([-12, 8, 15])))


def _leak(case: Case, code: str, change: Change) -> Expected:
    earlier, later = ("gallery", "query") if case.format == "lists" else ("train", "val")
    path = case.rng.choice(case.rows_of(later))
    put(path, change(case.rng.choice(case.rows_of(earlier)).read_bytes()))
    return Expected("warning", code, *case.spot(path, later), "file_name")


def neighbours_in_other_split(case: Case) -> Expected:
    """Two frames of a video, a little apart, one in each split."""
    earlier, later = ("gallery", "query") if case.format == "lists" else ("train", "val")
    first, second = case.rng.choice(case.rows_of(earlier)), case.rng.choice(case.rows_of(later))
    _, record = case.spot(second, later)
    put(second, moved(first.read_bytes(), 2))
    number = case.rng.randrange(1, 100_000)
    _rename(case, earlier, first, f"frame_{number:06d}")
    renamed = _rename(case, later, second, f"frame_{number + case.rng.choice([-1, 1]):06d}")
    if case.format == "yolo":
        record = renamed.name
    return Expected("warning", "leak-frames", case.name(case.annotation(renamed, later)), record, "file_name")


def _rename(case: Case, split: str, path: Path, stem: str) -> Path:
    file = case.annotation(path, split)
    if case.format == "yolo":
        file.rename(file.with_stem(stem))
    else:
        put(file, file.read_text().replace(path.name, f"{stem}.jpg"))
    return path.rename(path.with_stem(stem))


KINDS: dict[str, tuple[tuple[str, ...], Kind]] = {
    "image is missing": (FORMATS, missing),
    "image is cut off": (FORMATS, truncated),
    "image has no bytes": (FORMATS, empty_file),
    "file is no image": (FORMATS, no_image),
    "annotation states another size": (WITH_SIZE, wrong_size),
    "annotation states the size before EXIF turns the image": (WITH_SIZE, turned),
    "image is there twice in a split": (FORMATS, copy_in_split),
    "image is there twice in a split, compressed anew": (FORMATS, alike_in_split),
    "image is in two splits": (FORMATS, copy_in_other_split),
    "image is in two splits, compressed anew": (FORMATS, encoded_in_other_split),
    "image is in two splits, brighter or darker": (FORMATS, brighter_in_other_split),
    "neighbouring frames are in two splits": (("coco", "yolo", "lists"), neighbours_in_other_split),
}
