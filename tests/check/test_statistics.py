"""The numbers of a dataset, and the advice on tiles."""

from pathlib import Path

import numpy as np
import pytest
from tests.check.sets import coco

from eyas.check.statistics import detection_statistics
from eyas.check.tiling import Tiling, advise_tiling
from eyas.data.sample import ClassMap, Dataset, Sample


def sample(number: int, size_wh: tuple[int, int], boxes: list[list[float]], ids: list[int], crowd: int = 0) -> Sample:
    ignore = np.arange(len(boxes)) >= len(boxes) - crowd
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return Sample(number, Path(f"{number}.jpg"), *size_wh, xyxy, np.array(ids, np.int64), ignore)


def dataset(*samples: Sample, names: tuple[str, ...] = ("a", "b", "c")) -> Dataset:
    return Dataset(samples, ClassMap(names, tuple(range(len(names)))), Path("x.json"))


def test_numbers_of_splits() -> None:
    train = dataset(
        sample(1, (100, 50), [[0, 0, 10, 10], [90, 40, 100, 50], [0, 0, 50, 50]], [0, 1, 1], crowd=1),
        sample(2, (64, 64), [[30, 30, 34, 34]], [0]),
        sample(3, (64, 32), [], []),
    )
    val = dataset(sample(1, (64, 64), [[0, 32, 64, 64]], [0]), names=("c", "d"))
    found = detection_statistics("set", "COCO", {"train": train, "val": val}, (640, 640), False)
    assert found.classes == ("a", "b", "c", "d")
    assert found.class_boxes.tolist() == [[2, 1, 0, 0], [0, 0, 1, 0]]
    first, second = found.splits
    assert (first.images, first.boxes, first.ignored, first.images_without_boxes) == (3, 3, 1, 1)
    assert first.class_images.tolist() == [2, 1, 0, 0]
    assert first.objects.tolist() == [2, 1, 0]
    assert first.image_sizes.tolist() == [[100, 50], [64, 64], [64, 32]]
    assert first.sides.tolist() == [[10, 10], [10, 10], [4, 4]]
    assert np.allclose(first.relative, [[0.1, 0.2], [0.1, 0.2], [0.0625, 0.0625]])
    assert first.box_classes.tolist() == [0, 1, 0] and second.box_classes.tolist() == [2]
    assert np.argwhere(first.heat).tolist() == [[3, 1], [16, 16], [28, 30]]
    assert found.heat.sum() == 4 and found.heat[24, 16] == 1
    assert first.aitod_sizes == {"very_tiny": 1, "tiny": 2, "small": 0, "medium": 0}
    assert second.coco_sizes == {"small": 0, "medium": 1, "large": 0}


def test_every_box_is_in_one_bin() -> None:
    boxes = [[0.0, 0.0, side, side] for side in (1, 8, 16, 32, 96, 300)]
    found = detection_statistics("", "", {"all": dataset(sample(1, (400, 400), boxes, [0] * 6))}, (640, 640), False)
    assert sum(found.splits[0].aitod_sizes.values()) == sum(found.splits[0].coco_sizes.values()) == 6


def test_a_dataset_without_boxes_has_numbers_too() -> None:
    for names in ((), ("a",)):
        found = detection_statistics("", "", {"all": dataset(names=names)}, (640, 640), False)
        assert found.tiling is None and found.class_boxes.shape == (1, len(names)) and found.heat.sum() == 0


def test_real_numbers(shared_data: Path) -> None:
    from eyas.check.checks import check_detection

    found = check_detection(shared_data / "hit_uav", (640, 640), False, decode=False).statistics
    assert [(split.images, split.boxes, split.ignored) for split in found.splits] == [
        (1283, 11463, 212),
        (218, 2652, 12),
    ]
    assert found.class_boxes[0].tolist() == [5500, 3597, 2323, 43]
    assert found.heat.sum() == 14115
    sides = np.sqrt(found.splits[0].sides.prod(axis=1))
    assert np.median(sides) == pytest.approx(22, abs=1) and (sides < 32).mean() == pytest.approx(0.66, abs=0.01)


def advice(
    size: tuple[int, int], side: float, input_hw: tuple[int, int] = (640, 640), keep_ratio: bool = False
) -> Tiling:
    boxes = np.full((10, 2), side, np.float32)
    return advise_tiling(np.array([size] * 3), boxes, (boxes / size).astype(np.float32), input_hw, keep_ratio)


def test_large_images_with_small_boxes_are_cut() -> None:
    found = advice((2000, 1500), 60)  # 0.03 and 0.04 of the sides: median 0.035
    assert (found.mean_side, found.advised, found.tile_side) == (1750, True, 640)
    assert found.median_ratio == pytest.approx(0.035)
    assert found.reasons[0] == (
        "Cut into tiles: the images are 1750 px on average and the median box is 3.5 % of its image's side; "
        "above 1500 px and under 4 % tiles are advised."
    )
    assert not advice((1400, 1400), 40).advised  # small images
    assert not advice((2000, 2000), 100).advised  # large boxes


def test_boxes_that_shrink_away_are_kept_by_tiles() -> None:
    found = advice((1200, 1200), 14)  # 7.5 px at 640
    assert (found.lost_share, found.kept_share, found.advised) == (1, 0, True)
    assert found.reasons[1] == (
        "Cut into tiles: 100 % of the boxes are under 8 px at the network's input of 640 x 640, in tiles at the "
        "images' own scale 0 % would be."
    )
    assert not advice((600, 600), 6).advised  # they are as small in tiles


def test_a_kept_ratio_shrinks_more() -> None:
    size, side = (1280, 320), 14
    assert advice(size, side, keep_ratio=False).lost_share == 0  # stretched: 7 x 28 px
    assert advice(size, side, keep_ratio=True).lost_share == 1  # 7 x 7 px


def test_a_written_dataset_has_the_numbers_it_was_written_with(tmp_path: Path) -> None:
    from eyas.check.checks import check_detection

    found = check_detection(coco(tmp_path / "set"), (640, 640), False).statistics
    assert found.class_boxes.tolist() == [[6, 6], [3, 3]] and found.name == "set"
