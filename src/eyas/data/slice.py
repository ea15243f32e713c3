"""Cuts the images of a dataset into tiles, so that small objects can be learnt at their native size."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from eyas.data import find_layout, read_part
from eyas.data.faults import Fault, FaultList, Report
from eyas.data.images import without_suffix
from eyas.data.labelme import embedded_picture
from eyas.data.sample import Dataset, Sample
from eyas.data.summary import Once, Summary, below, summarise
from eyas.data.tiles import Cut, Origin, Tile, cut, tiles_of, write_origins
from eyas.data.write_coco import write_coco
from eyas.errors import ConfigError, DatasetError, InputError
from eyas.saving import write_atomically
from eyas.vision.image import RGB, decode_image, encode_image, read_image


@dataclass(frozen=True)
class Slicing:
    """How images are cut: `tile_hw` in pixels; the others as in `slice_dataset`."""

    tile_hw: tuple[int, int]
    overlap: float
    min_visible: float
    negatives: float

    def __post_init__(self) -> None:
        if len(self.tile_hw) != 2 or not all(type(side) is int and side >= 1 for side in self.tile_hw):
            raise ConfigError(f"tile must be (height, width), two whole numbers from 1 on, got {self.tile_hw!r}")
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"overlap must be a number from 0 to below 1, got {self.overlap!r}")
        if not 0 <= self.min_visible <= 1:
            raise ConfigError(f"min_visible must be a number from 0 to 1, got {self.min_visible!r}")
        if not self.negatives >= 0:
            raise ConfigError(f"negatives must be a number from 0 on, got {self.negatives!r}")


@dataclass(frozen=True, eq=False)
class _Piece:
    """One tile of one image, with what it shows."""

    sample: Sample
    tile: Tile
    cut: Cut

    @property
    def has_objects(self) -> bool:
        return not self.cut.ignore.all()


def slice_dataset(
    root: str | Path,
    target: str | Path,
    tile: tuple[int, int] = (640, 640),
    overlap: float = 0.25,
    min_visible: float = 0.4,
    negatives: float = 0.1,
    seed: int = 0,
) -> Summary:
    """Write tiles of every image as a new COCO dataset into the empty or new folder `target`, part by part, as PNG.

    `tile` is (height, width) in pixels, `overlap` the least share of a tile that the next one shows again. Images are
    never enlarged or padded: the last tile is moved inside, an image smaller than a tile stays whole. Boxes are
    clipped; one of which less than `min_visible` is in a tile is ignored there (`iscrowd`). For each tile with objects,
    `negatives` tiles without any are kept, drawn with `seed`; infinity, or a part without objects, keeps them all.
    Every image record says where its tile comes from, see `eyas.data.tiles.Origin`.

    Raises ConfigError for a wrong number, DatasetError where the dataset is not recognised or `target` not empty.
    """
    slicing = Slicing(tile, overlap, min_visible, negatives)
    target = Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DatasetError(f"{target} is there already and not empty; slice into a new folder")
    layout = find_layout(root)
    told = FaultList()
    once = Once(told)
    counts: dict[str, int] = {}
    for name in layout.splits:
        part = "train" if name == "all" else name
        dataset = read_part(layout, name, once)
        every = list(_pieces(dataset, slicing))
        pieces = _chosen(every, negatives, np.random.Generator(np.random.PCG64(seed)))
        _tell(dataset, pieces, len(every), told)
        written = list(_write_tiles(dataset, pieces, target / "images" / part, told))
        _write_records(dataset, written, layout.root, target, part)
        counts[f"tiles in {part}"] = len(written)
        counts[f"objects in {part}"] = sum(int((~piece.cut.ignore).sum()) for _, piece in written)
        counts[f"images of {part}"] = len({piece.sample.image_id for _, piece in written})
    height, width = slicing.tile_hw
    return summarise(f"Cut {layout.root} into tiles of {width} x {height} pixels in {target}", counts, told)


def _pieces(dataset: Dataset, slicing: Slicing) -> Iterator[_Piece]:
    for sample in dataset.samples:
        for tile in tiles_of((sample.height, sample.width), slicing.tile_hw, slicing.overlap):
            yield _Piece(sample, tile, cut(sample, tile, slicing.min_visible))


def _chosen(every: list[_Piece], negatives: float, rng: np.random.Generator) -> list[_Piece]:
    """All pieces with objects and the wished number of others, in order."""
    empty = [place for place, piece in enumerate(every) if not piece.has_objects]
    full = len(every) - len(empty)
    number = len(empty) if not full or negatives == np.inf else min(len(empty), round(negatives * full))
    kept = set(rng.permutation(empty)[:number].tolist())
    return [piece for place, piece in enumerate(every) if piece.has_objects or place in kept]


def _tell(dataset: Dataset, pieces: list[_Piece], count: int, report: Report) -> None:
    """Tell what the chosen of `count` tiles do not show as it was."""
    source = dataset.source
    if count > len(pieces):
        message = f"{count - len(pieces)} of {count} tiles without objects are not written"
        report(Fault("info", "tiles-empty", source, message, value=count - len(pieces)))
    found = {sample.image_id: np.zeros(len(sample.ignore), np.bool_) for sample in dataset.samples}
    ignored = clipped = 0
    for piece in pieces:
        rows, sample = piece.cut.rows, piece.sample
        found[sample.image_id][rows[~piece.cut.ignore]] = True
        ignored += int((piece.cut.ignore & ~sample.ignore[rows]).sum())
        clipped += int((piece.cut.clipped & ~piece.cut.ignore).sum())
    hidden = sum(int((~sample.ignore & ~found[sample.image_id]).sum()) for sample in dataset.samples)
    for number, severity, code, what in (
        (clipped, "info", "boxes-cut", "boxes are cut at the edge of a tile"),
        (ignored, "info", "boxes-ignored", "pieces of boxes are too small a part of them and are ignored"),
        (hidden, "warning", "boxes-hidden", "objects are in no tile as far as min_visible asks for; they are ignored"),
    ):
        if number:
            fix = "Take larger tiles or more overlap." if code == "boxes-hidden" else ""
            report(Fault(severity, code, source, f"{number} {what}", value=number, fix=fix))  # type: ignore[arg-type]


def _write_tiles(dataset: Dataset, pieces: list[_Piece], folder: Path, report: Report) -> Iterator[tuple[Path, _Piece]]:
    """(file, piece) of every tile; an image that cannot be read, or is not as large as it is said to be, is told."""
    taken: set[str] = set()
    folder.mkdir(parents=True, exist_ok=True)
    for _, of_one in groupby(pieces, key=lambda piece: piece.sample.image_id):
        first, *others = of_one
        image = _read(dataset, first.sample, report)
        if image is None:
            continue
        stem = _stem(first.sample, taken)
        taken.add(stem)
        for piece in (first, *others):
            x, y, width, height = piece.tile
            file = folder / f"{stem}_{x}_{y}.png"
            write_atomically(file, encode_image(np.ascontiguousarray(image[y : y + height, x : x + width]), ".png"))
            yield file, piece


def _read(dataset: Dataset, sample: Sample, report: Report) -> RGB | None:
    try:
        holder = dataset.embedded.get(sample.path)
        image = (
            read_image(sample.path) if holder is None else decode_image(embedded_picture(holder) or b"", holder.name)
        )
    except InputError as error:
        report(Fault("error", "image-unreadable", sample.path, str(error).rstrip("."), fix="Mend the image file."))
        return None
    height, width = image.shape[:2]
    if (width, height) != (sample.width, sample.height):
        message = f"has {width} x {height} pixels, its annotation says {sample.width} x {sample.height}"
        report(Fault("error", "size-differs", sample.path, message, value=[width, height], fix="Mend the annotation."))
        return None
    return image


def _stem(sample: Sample, taken: set[str]) -> str:
    """The name of an image without suffix, made distinct."""
    stem = name = without_suffix(sample.path.name)
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


def _write_records(dataset: Dataset, written: list[tuple[Path, _Piece]], root: Path, target: Path, part: str) -> None:
    samples, origins = [], {}
    for number, (file, piece) in enumerate(written, start=1):
        source, (x, y, width, height), boxes = piece.sample, piece.tile, piece.cut
        samples.append(
            Sample(number, file, width, height, boxes.boxes_xyxy, boxes.class_ids, boxes.ignore, boxes.areas)
        )
        origins[number] = Origin(source.image_id, below(root, source.path), source.width, source.height, x, y)
    write_coco(Dataset(tuple(samples), dataset.classes, dataset.source), target, part, "none")
    write_origins(target / "annotations" / f"instance_{part}.json", origins)
