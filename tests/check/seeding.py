"""Small clean datasets in every format, and what a seeded fault is: tests/check/seeded_*.py damage them."""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from eyas.data import WRITERS
from eyas.data.sample import ClassMap, Dataset, Sample
from eyas.data.synthetic import scene
from eyas.vision.image import RGB, encode_image

Boxes = NDArray[np.float32]

SIZE_HW = (120, 160)
CLASSES = ("person", "car", "bicycle")
LABELS = ("boot", "lamp", "jar", "cup")
FORMATS = ("coco", "voc", "labelme", "yolo", "lists")
DETECTION = FORMATS[:4]
PARTS = {"train": 8, "val": 8}
LISTS = {"train": 8, "gallery": 8, "query": 4}


@dataclass(frozen=True)
class Expected:
    """What the checker has to say about a seeded fault: a line of its report has all these values.

    `file` is relative to the dataset. `also` are the codes of alarms that the same damage may raise beside it; any
    other alarm is one too many.
    """

    severity: str
    code: str
    file: str
    record: str = ""
    field: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A copy of a clean dataset that is about to be damaged; files in it may be hard links to the clean ones.

    `rng` chooses what is damaged, `split` is where.
    """

    root: Path
    format: str
    rng: random.Random
    split: str

    @classmethod
    def of(cls, root: Path, format: str, seed: int) -> "Case":
        """The case of a seed."""
        rng = random.Random(seed)
        return cls(root, format, rng, rng.choice(list(LISTS if format == "lists" else PARTS)))

    @property
    def rows(self) -> list[Path]:
        """The images of the split in the order in which its annotations name them."""
        return self.rows_of(self.split)

    def rows_of(self, split: str) -> list[Path]:
        """The images of any split in that order."""
        folder = self.root / IMAGES[self.format].format(split=split)
        names = sorted(path.name for path in folder.iterdir())
        return [folder / name for name in names if self.format == "yolo" or name.startswith(f"{split}_")]

    def picture(self) -> Path:
        """An image of the split."""
        return self.rng.choice(self.rows)

    def annotation(self, path: Path, split: str = "") -> Path:
        """The annotation file of an image, its own or that of its split."""
        return self.root / ANNOTATIONS[self.format].format(split=split or self.split, stem=path.stem)

    def spot(self, path: Path, split: str = "") -> tuple[str, str]:
        """(file, record) by which the report names an image."""
        place = self.rows_of(split or self.split).index(path) + 1
        record = {"coco": f"image id {place}", "lists": f"line {place}"}.get(self.format, path.name)
        return self.name(self.annotation(path, split)), record

    def name(self, path: Path) -> str:
        """`path` as the report names it: relative to the dataset."""
        return path.relative_to(self.root).as_posix()


Kind = Callable[[Case], Expected]

IMAGES = {
    "coco": "images",
    "voc": "JPEGImages",
    "labelme": "images",
    "yolo": "images/{split}",
    "lists": "images",
}
ANNOTATIONS = {
    "coco": "annotations/instance_{split}.json",
    "voc": "Annotations/{stem}.xml",
    "labelme": "annotations/{stem}.json",
    "yolo": "labels/{split}/{stem}.txt",
    "lists": "{split}.txt",
}


def put(path: Path, content: bytes | str) -> None:
    """Write a file anew; never through a hard link."""
    path.unlink(missing_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def link_tree(clean: Path, target: Path) -> Path:
    """A copy of a folder whose files are hard links."""
    shutil.copytree(clean, target, copy_function=os.link)
    return target


def write_clean(folder: Path, format: str, seed: int) -> Path:
    """The clean dataset of a format in `folder`: 8 images a split (lists: 8, 8 and 4), all of them different."""
    if format == "lists":
        return _write_lists(folder, seed)
    for number, (split, count) in enumerate(PARTS.items()):
        drawn = drawings(seed * 100 + number * 50, count)
        prefix = "" if format == "yolo" else f"{split}_"  # YOLO has a folder for each split, which may share names
        pool = folder.parent / f"pool_{folder.name}_{split}"
        samples = tuple(
            _sample(place, pool / f"{prefix}{place:04d}.jpg", picture, boxes)
            for place, (picture, boxes) in enumerate(drawn, start=1)
        )
        dataset = Dataset(samples, ClassMap(CLASSES, (1, 2, 3)), pool)
        WRITERS[format](dataset, folder, split, "copy")
        shutil.rmtree(pool)
    return folder


@cache
def drawings(seed: int, count: int) -> tuple[tuple[bytes, Boxes], ...]:
    """`count` JPEG files with 4 to 8 boxes each, float32 [N, 4] in their pixels; no box is there twice."""
    found: list[tuple[bytes, Boxes]] = []
    number = seed * 1000
    while len(found) < count:
        drawn = scene(number, SIZE_HW)
        number += 1
        boxes = np.unique(drawn.boxes_xyxy, axis=0)
        if len(boxes) >= 4:
            found.append((encode_image(drawn.image, ".jpg"), boxes[:8]))
    return tuple(found)


def _sample(place: int, path: Path, picture: bytes, boxes: Boxes) -> Sample:
    """Classes come in turn, not as drawn, so that every split has about as many boxes of each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)
    class_ids = (np.arange(len(boxes)) + place) % len(CLASSES)
    height, width = SIZE_HW
    return Sample(place, path, width, height, boxes, class_ids.astype(np.int64), np.zeros(len(boxes), np.bool_))


def _write_lists(folder: Path, seed: int) -> Path:
    (folder / "images").mkdir(parents=True)
    for number, (part, count) in enumerate(LISTS.items()):
        lines = []
        for place, (picture, _) in enumerate(drawings(seed * 100 + number * 30, count)):
            name = f"images/{part}_{place:04d}.jpg"
            put(folder / name, picture)
            lines.append(f"{name} {place % len(LABELS)}\n")
        put(folder / f"{part}.txt", "".join(lines))
    put(folder / "label.txt", "".join(f"{number} {name}\n" for number, name in enumerate(LABELS)))
    return folder


def brighter(picture: bytes, by: int) -> bytes:
    """The same picture, every level raised."""
    return encode_image(np.clip(_decoded(picture).astype(np.int16) + by, 0, 255).astype(np.uint8), ".jpg")


def encoded_again(picture: bytes, quality: int) -> bytes:
    """The same picture, compressed more strongly."""
    return cv2.imencode(".jpg", _decoded(picture), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def moved(picture: bytes, by: int) -> bytes:
    """The next frame of a video: the picture `by` pixels to the left, its last columns repeated."""
    pixels = _decoded(picture)
    return encode_image(np.concatenate([pixels[:, by:], pixels[:, -by:][:, ::-1]], axis=1), ".jpg")


def _decoded(picture: bytes) -> RGB:
    return np.asarray(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR))[..., ::-1]
