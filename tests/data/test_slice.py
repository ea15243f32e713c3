"""Tiles: they cover the image, show boxes as the arithmetic of areas says, and lead back to the source."""

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.data.trees import tree

from eyas.data import load_dataset, read_dataset
from eyas.data.sample import Sample
from eyas.data.slice import slice_dataset
from eyas.data.tiles import Tile, cut, join_tiles, read_origins, starts, tiles_of
from eyas.errors import ConfigError, DatasetError
from eyas.vision.image import read_image

SIDE, TILE, OVERLAP = st.integers(1, 3000), st.integers(1, 900), st.floats(0, 0.95)


@given(SIDE, TILE, OVERLAP)
def test_tiles_cover_a_side_with_the_overlap_and_stay_inside(side: int, tile: int, overlap: float) -> None:
    first = starts(side, tile, overlap)
    if side <= tile:
        assert first == [0]
        return
    assert first[0] == 0 and first[-1] == side - tile and first == sorted(set(first))
    for before, after in zip(first, first[1:], strict=False):
        assert before + tile - after >= min(tile * overlap - 1e-6, tile - 1)


def test_tiles_of_known_sizes() -> None:
    assert starts(2000, 640, 0.25) == [0, 480, 960, 1360]
    assert tiles_of((100, 50), (640, 640), 0.25) == [Tile(0, 0, 50, 100)]
    assert tiles_of((640, 1120), (640, 640), 0.25) == [Tile(0, 0, 640, 640), Tile(480, 0, 640, 640)]
    assert tiles_of((700, 50), (640, 640), 0.0) == [Tile(0, 0, 50, 640), Tile(0, 60, 50, 640)]


def sample_of(rows: list[Any], size: tuple[int, int], areas: Any = None) -> Sample:
    table = np.array(rows, np.float32).reshape(-1, 4)
    count = len(table)
    return Sample(7, Path("a.png"), *size, table, np.arange(count), np.zeros(count, np.bool_), areas)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[Sample, tuple[int, int], float, float]:
    width, height = draw(st.integers(1, 200)), draw(st.integers(1, 200))
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        x, y = draw(st.floats(-20, width - 0.25, width=32)), draw(st.floats(-20, height - 0.25, width=32))
        far = draw(st.floats(0.25, 150, width=32)), draw(st.floats(0.25, 150, width=32))
        rows.append((x, y, max(x + far[0], 0.125), max(y + far[1], 0.125)))
    tile = draw(st.integers(30, 120)), draw(st.integers(30, 120))
    return sample_of(rows, (width, height)), tile, draw(st.floats(0, 0.8)), draw(st.floats(0.05, 1))


@settings(max_examples=150, deadline=None)
@given(boxes())
def test_a_box_is_an_object_where_enough_of_it_is_seen(drawn: tuple[Sample, tuple[int, int], float, float]) -> None:
    sample, tile_hw, overlap, least = drawn
    for tile in tiles_of((sample.height, sample.width), tile_hw, overlap):
        shown = cut(sample, tile, least)
        seen = dict(zip(shown.rows.tolist(), range(len(shown.rows)), strict=True))
        for place, row in enumerate(sample.boxes_xyxy.tolist()):
            x1, y1, x2, y2 = map(Fraction, row)
            whole = (min(x2, sample.width) - max(x1, 0)) * (min(y2, sample.height) - max(y1, 0))
            left, top = max(x1, tile.x), max(y1, tile.y)
            right, bottom = min(x2, tile.x + tile.width), min(y2, tile.y + tile.height)
            if right <= left or bottom <= top:
                assert place not in seen
                continue
            number = seen[place]
            expected = [left - tile.x, top - tile.y, right - tile.x, bottom - tile.y]
            assert shown.boxes_xyxy[number].tolist() == [float(np.float32(float(value))) for value in expected]
            share = float((right - left) * (bottom - top) / whole)
            if abs(share - least) > 1e-9:
                assert shown.ignore[number] == (share < least)
            assert shown.areas[number] == pytest.approx(float((right - left) * (bottom - top)), rel=1e-9)
            assert shown.clipped[number] == ([left, top, right, bottom] != [x1, y1, x2, y2])


@settings(max_examples=100, deadline=None)
@given(boxes())
def test_a_box_that_fits_into_the_overlap_is_whole_somewhere(
    drawn: tuple[Sample, tuple[int, int], float, float],
) -> None:
    sample, tile_hw, overlap, _ = drawn
    tiles = [cut(sample, tile, 1.0) for tile in tiles_of((sample.height, sample.width), tile_hw, overlap)]
    shown = {row for found in tiles for row in found.rows[~found.ignore].tolist()}
    for place, (x1, y1, x2, y2) in enumerate(sample.boxes_xyxy.tolist()):
        sides = (min(x2, sample.width) - max(x1, 0), min(y2, sample.height) - max(y1, 0))
        if all(side <= tile * overlap - 1 for side, tile in zip(sides, reversed(tile_hw), strict=True)):
            assert place in shown


def test_areas_of_outlines_shrink_with_their_boxes() -> None:
    sample = sample_of([(0, 0, 10, 10), (5, 0, 15, 10)], (20, 10), np.array([50.0, 100.0]))
    shown = cut(sample, Tile(0, 0, 10, 10), 0.5)
    assert shown.areas.tolist() == [50, 50] and shown.ignore.tolist() == [False, False]
    assert cut(sample, Tile(0, 0, 10, 10), 0.51).ignore.tolist() == [False, True]


def scenes(root: Path) -> Path:
    """Three noisy pictures: with boxes at the seams of tiles, without any, and a small one."""
    rng = np.random.default_rng(0)
    sizes = {"a.b.png": (150, 90), "empty.png": (150, 90), "sub/small.png": (30, 20)}
    for name, (width, height) in sizes.items():
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(root / "images" / name)
    images = [
        {"id": n, "file_name": name, "width": w, "height": h} for n, (name, (w, h)) in enumerate(sizes.items(), 5)
    ]
    rows = [(5, [10, 10, 8, 6], 0), (5, [60, 40, 12, 9], 0), (5, [120.5, 70.25, 50, 40], 0), (5, [0, 0, 150, 90], 0),
            (5, [30, 30, 20, 20], 1), (7, [1, 2, 3, 4], 0)]  # fmt: skip
    annotations = [{"id": n, "image_id": i, "category_id": 3, "bbox": box, "iscrowd": crowd}
                   for n, (i, box, crowd) in enumerate(rows)]  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "car"}]}
    return tree(root, {"annotations/instance_train.json": json.dumps(content)})


def test_tiles_hold_the_pixels_and_boxes_of_their_source(tmp_path: Path) -> None:
    root, target = scenes(tmp_path / "s"), tmp_path / "t"
    summary = slice_dataset(root, target, (64, 64), 0.25, 0.4, math.inf)
    source = {sample.image_id: sample for sample in load_dataset(root, "train").samples}
    origins = read_origins(target / "annotations" / "instance_train.json")
    tiles = load_dataset(target, "train")
    assert len(tiles) == len(origins) == 13 == summary.kept["tiles in train"]
    assert (tiles.classes.names, tiles.classes.source_ids) == (("car",), (3,))
    for sample in tiles.samples:
        origin = origins[sample.image_id]
        whole = source[origin.image_id]
        assert (origin.file, origin.width, origin.height) == (
            whole.path.relative_to(root).as_posix(), whole.width, whole.height)  # fmt: skip
        pixels = read_image(whole.path)[origin.y : origin.y + sample.height, origin.x : origin.x + sample.width]
        np.testing.assert_array_equal(read_image(sample.path), pixels)
        assert sample.path.name == f"{whole.path.stem}_{origin.x}_{origin.y}.png"
        expected = cut(whole, Tile(origin.x, origin.y, sample.width, sample.height), 0.4)
        np.testing.assert_array_equal(sample.boxes_xyxy, expected.boxes_xyxy)
        assert sample.ignore.tolist() == expected.ignore.tolist()
    assert summary.dropped == {"boxes-hidden": 1}
    assert summary.kept["images of train"] == 3
    assert summary.lines()[0] == f"Cut {root} into tiles of 64 x 64 pixels in {target}."
    with pytest.raises(DatasetError, match="slice into a new folder"):
        slice_dataset(root, target)


def test_tiles_without_objects_are_drawn_by_their_ratio(tmp_path: Path) -> None:
    root = scenes(tmp_path / "s")
    every = slice_dataset(root, tmp_path / "all", (64, 64), negatives=math.inf)
    none = slice_dataset(root, tmp_path / "none", (64, 64), negatives=0)
    full = none.kept["tiles in train"]
    assert (full, none.dropped["tiles-empty"]) == (5, every.kept["tiles in train"] - 5)
    half = slice_dataset(root, tmp_path / "half", (64, 64), negatives=0.5, seed=1)
    assert half.kept["tiles in train"] == full + 2
    again = slice_dataset(root, tmp_path / "again", (64, 64), negatives=0.5, seed=1)
    names = [
        [sample.path.name for sample in load_dataset(tmp_path / name, "train").samples] for name in ("half", "again")
    ]
    assert names[0] == names[1] and again.kept == half.kept


def test_joining_is_the_exact_inverse(tmp_path: Path) -> None:
    root, target = scenes(tmp_path / "s"), tmp_path / "t"
    slice_dataset(root, target, (64, 64), 0.25, 1.0, math.inf)
    file = target / "annotations" / "instance_train.json"
    whole = {(s.image_id, *row) for s in load_dataset(root, "train").samples for row in s.boxes_xyxy.tolist()}
    found = [one for one in json.loads(file.read_text())["annotations"] if not one["iscrowd"]]
    joined = join_tiles([{**one, "score": 0.5} for one in found], file)
    assert len(joined) == len(found) == 5
    for record, before in zip(joined, found, strict=True):
        x, y, width, height = record["bbox"]
        clipped = (record["image_id"], x, y, min(x + width, 150), min(y + height, 90))
        assert any(np.allclose(np.minimum(row[1:], [150, 90, 150, 90]), clipped[1:], rtol=0, atol=0)
                   for row in whole if row[0] == record["image_id"])  # fmt: skip
        assert record["score"] == 0.5 and record["id"] == before["id"]
    origins = read_origins(file)
    for sample in load_dataset(target, "train").samples:
        objects = sample.boxes_xyxy[~sample.ignore]
        for row in origins[sample.image_id].restore(objects).tolist():
            assert (origins[sample.image_id].image_id, *row) in {
                (i, x1, y1, min(x2, 150), min(y2, 90)) for i, x1, y1, x2, y2 in whole}  # fmt: skip


def test_what_is_no_tile_is_refused(tmp_path: Path) -> None:
    root = scenes(tmp_path / "s")
    with pytest.raises(DatasetError, match="expected images with 'eyas_tile', as slicing writes them"):
        read_origins(root / "annotations" / "instance_train.json")
    slice_dataset(root, tmp_path / "t", (64, 64))
    file = tmp_path / "t" / "annotations" / "instance_train.json"
    box = [1, 2, 3, 4]
    wrong: list[dict[str, Any]] = [{"image_id": [1], "bbox": box}, {"image_id": 1, "bbox": [1, 2, 3, "4"]}, {}]
    for record in ({"image_id": 99, "bbox": box}, {"image_id": 1, "bbox": [1, 2]}, *wrong):
        with pytest.raises(ConfigError, match="prediction 0: expected the image_id of a tile of"):
            join_tiles([record], file)
    assert join_tiles([{"image_id": np.int64(1), "bbox": (np.float32(1), 2, 3, 4)}], file)[0]["image_id"] == 5
    for text in ('{"images": [3]}', '{"images": []}', "[]", '{"images": [{"id": 1, "eyas_tile": {"image_id": 1}}]}'):
        with pytest.raises(DatasetError):
            read_origins(tree(tmp_path, {"x.json": text}) / "x.json")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tile": (0, 64)}, "tile must be"),
        ({"overlap": 1.0}, "overlap must be a number from 0 to below 1"),
        ({"min_visible": 1.5}, "min_visible must be a number from 0 to 1"),
        ({"negatives": math.nan}, "negatives must be a number from 0 on"),
    ],
)
def test_wrong_numbers(tmp_path: Path, more: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        slice_dataset(tmp_path, tmp_path / "t", **more)


def test_images_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    root = scenes(tmp_path / "s")
    (root / "images" / "a.b.png").write_bytes(b"no picture")
    Image.new("RGB", (31, 20)).save(root / "images" / "sub" / "small.png")
    summary = slice_dataset(root, tmp_path / "t", (64, 64), negatives=math.inf)
    assert summary.dropped["image-unreadable"] == 1 and summary.dropped["size-differs"] == 1
    assert summary.kept["images of train"] == 1
    assert len(read_dataset(tmp_path / "t", "train")) == 6


def test_real_large_images(shared_data: Path, tmp_path: Path) -> None:
    summary = slice_dataset(shared_data / "aerial_cars", tmp_path / "t", (640, 640), negatives=0)
    tiles = load_dataset(tmp_path / "t", "train")
    origins = read_origins(tmp_path / "t" / "annotations" / "instance_train.json")
    assert summary.kept["images of train"] == 3 and len(tiles) == len(origins) == summary.kept["tiles in train"]
    assert all(sample.width <= 640 and sample.height <= 640 for sample in tiles.samples)
    seen = {
        (origins[sample.image_id].image_id, *np.round(row, 2).tolist())
        for sample in tiles.samples for row in origins[sample.image_id].restore(sample.boxes_xyxy[~sample.ignore])
    }  # fmt: skip
    assert len(seen) >= 111
