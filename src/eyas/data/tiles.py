"""Geometry of tiles: where they lie in an image, which boxes they show, and the way back to the image."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from eyas.data.faults import shown, strictly
from eyas.data.sample import Sample
from eyas.data.textfiles import read_json
from eyas.errors import ConfigError, DatasetError
from eyas.saving import write_text

TILE_KEY = "eyas_tile"
"""Key of an image record in the COCO file of a sliced dataset: the fields of `Origin`."""


class Tile(NamedTuple):
    """A piece of an image: its top left pixel and its size."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Origin:
    """Where a tile comes from: id, file (from the dataset's folder on) and size of the image, its top left pixel."""

    image_id: int
    file: str
    width: int
    height: int
    x: int
    y: int

    def restore(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes of the tile, float32 [N, 4], in pixels of the image."""
        return boxes_xyxy + np.array([self.x, self.y, self.x, self.y], np.float32)


class Cut(NamedTuple):
    """The boxes that a tile shows, in its pixels; columns as in Sample.

    `rows` int64 [N] are their places in the sample, `clipped` bool [N] says which are not shown whole.
    """

    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    areas: NDArray[np.float64]
    rows: NDArray[np.int64]
    clipped: NDArray[np.bool_]


def starts(side: int, tile: int, overlap: float) -> list[int]:
    """First pixels of the tiles along a side: steps of at most `tile * (1 - overlap)`, the last tile at the end."""
    if side <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    return [*range(0, side - tile, step), side - tile]


def tiles_of(size_hw: tuple[int, int], tile_hw: tuple[int, int], overlap: float) -> list[Tile]:
    """The tiles of an image, by rows; none is larger than the image, none reaches over its edge.

    `overlap`, 0 to below 1, is the least share of a tile that the next one shows again.
    """
    (height, width), (tile_height, tile_width) = size_hw, tile_hw
    return [
        Tile(x, y, min(tile_width, width), min(tile_height, height))
        for y in starts(height, tile_height, overlap)
        for x in starts(width, tile_width, overlap)
    ]


def cut(sample: Sample, tile: Tile, min_visible: float) -> Cut:
    """What `tile` shows of the boxes of `sample`, clipped to it.

    An object stays one where at least `min_visible` of its area (of the part inside the image) is in the tile, else it
    is ignored, for it is neither whole nor background. The `areas` of the source shrink as their boxes do.
    """
    boxes = sample.boxes_xyxy.astype(np.float64)
    picture = np.array([sample.width, sample.height] * 2, np.float64)
    first, last = (tile.x, tile.y), (tile.x + tile.width, tile.y + tile.height)
    inside = np.clip(boxes, (*first, *first), (*last, *last))
    area, whole = _areas(inside), _areas(np.clip(boxes, 0, picture))
    rows = np.flatnonzero(area > 0)
    ignore = sample.ignore | (area < min_visible * whole)
    source = np.ones(len(boxes)) if sample.areas is None else sample.areas / _areas(boxes)
    return Cut(
        (inside[rows] - (*first, *first)).astype(np.float32),
        sample.class_ids[rows],
        ignore[rows],
        (area * source)[rows],
        rows,
        (inside != boxes).any(axis=1)[rows],
    )


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    sizes: NDArray[np.float64] = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sizes[:, 0] * sizes[:, 1]


def write_origins(file: Path, origins: Mapping[int, Origin]) -> None:
    """Add the origin of every image to the records of a COCO file."""
    content = json.loads(file.read_text(encoding="utf-8"))
    for record in content["images"]:
        record[TILE_KEY] = vars(origins[record["id"]])
    write_text(file, json.dumps(content, ensure_ascii=False))


def read_origins(file: str | Path) -> dict[int, Origin]:
    """Id of a tile -> its origin, from the COCO file of a sliced dataset. Raises DatasetError where it is none."""
    path = Path(file)
    content = strictly(lambda told: read_json(path, told))
    records = content.get("images") if isinstance(content, dict) else None
    origins = {}
    for record in records if isinstance(records, list) else ():
        origin = _origin(record)
        if origin is None:
            raise DatasetError(
                f"{path}: expected images with {TILE_KEY!r}, as slicing writes them, got {shown(record)}"
            )
        origins[record["id"]] = origin
    if not origins:
        raise DatasetError(f"{path} holds no tiles: expected the COCO file of a sliced dataset")
    return origins


def _origin(record: Any) -> Origin | None:
    """The origin in an image record; None where it is not as `write_origins` writes it."""
    fields = record.get(TILE_KEY) if isinstance(record, dict) and type(record.get("id")) is int else None
    if not isinstance(fields, dict) or {name: type(value) for name, value in fields.items()} != Origin.__annotations__:
        return None
    return Origin(**fields)


def join_tiles(predictions: Iterable[Mapping[str, Any]], dataset: str | Path) -> list[dict[str, Any]]:
    """Detections of tiles as detections of the images that they were cut from, in the same order.

    `predictions` are COCO results: mappings with `image_id` (of a tile), `bbox` (x, y, width, height) and any other
    keys, which stay. `dataset` is the COCO file of the tiles. An object that two tiles show comes twice: merging is
    left to the caller. Raises ConfigError for a record that is no result or of another dataset.
    """
    origins = read_origins(dataset)
    joined = []
    for place, record in enumerate(predictions):
        image_id, box = record.get("image_id"), record.get("bbox")
        origin = origins.get(int(image_id)) if isinstance(image_id, Integral) else None
        if origin is None or not _is_box(box):
            expected = f"expected the image_id of a tile of {dataset} and a bbox of four numbers"
            raise ConfigError(f"prediction {place}: {expected}, got {shown(dict(record))}")
        x, y, width, height = box
        joined.append({**record, "image_id": origin.image_id, "bbox": [x + origin.x, y + origin.y, width, height]})
    return joined


def _is_box(value: object) -> TypeGuard[Sequence[float]]:
    return isinstance(value, list | tuple) and len(value) == 4 and all(isinstance(one, Real) for one in value)
