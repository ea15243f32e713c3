"""Drawn scenes: repeatable, tight boxes, every class, the grey levels of a thermal camera, quick."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from eyas.data import load_dataset
from eyas.data.sample import check_images
from eyas.data.synthetic import SCENE_CLASSES, scene, write_dataset
from eyas.data.synthetic_objects import paint_bicycle, paint_car, paint_large_vehicle, paint_person
from eyas.data.synthetic_paint import Camera, Canvas, Pose
from eyas.data.synthetic_plan import PAINTERS, Painter


def test_a_seed_gives_the_same_scene_and_another_seed_another_one() -> None:
    first, again, other = scene(5), scene(5), scene(6)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.boxes_xyxy, again.boxes_xyxy)
    assert np.array_equal(first.class_ids, again.class_ids)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("size_hw", [(512, 640), (256, 320), (100, 300)])
def test_arrays_and_boxes_fit_the_image(size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    for seed in range(4):
        drawn = scene(seed, size_hw)
        assert drawn.image.shape == (height, width, 3) and drawn.image.dtype == np.uint8
        assert drawn.boxes_xyxy.dtype == np.float32 and drawn.class_ids.dtype == np.int64
        assert drawn.boxes_xyxy.shape == (len(drawn.class_ids), 4)
        assert (drawn.image[..., 0] == drawn.image[..., 2]).all()
        assert (drawn.boxes_xyxy >= 0).all()
        assert (drawn.boxes_xyxy[:, 2] <= width).all() and (drawn.boxes_xyxy[:, 3] <= height).all()
        assert (drawn.boxes_xyxy[:, 2:] - drawn.boxes_xyxy[:, :2] >= 4).all()


def test_scenes_hold_every_class_at_the_sizes_of_drone_pictures() -> None:
    scenes = [scene(seed) for seed in range(40)]
    class_ids = np.concatenate([drawn.class_ids for drawn in scenes])
    boxes = np.concatenate([drawn.boxes_xyxy for drawn in scenes])
    counts = np.bincount(class_ids, minlength=4)
    assert (counts > [150, 60, 60, 2]).all()
    side = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    assert 8 < np.median(side[class_ids == SCENE_CLASSES.index("Person")]) < 20
    assert 25 < np.median(side[class_ids == SCENE_CLASSES.index("Car")]) < 60


def test_levels_are_like_those_of_the_real_set() -> None:
    """HIT-UAV, 5th to 95th percentile over its images: mean 96 to 150, deviation 21 to 61."""
    images = [scene(seed).image for seed in range(30)]
    means = [float(image.mean()) for image in images]
    deviations = [float(image.std()) for image in images]
    assert 105 < np.median(means) < 140
    assert 15 < np.median(deviations) < 50


@pytest.mark.parametrize("paint", [paint_person, paint_car, paint_bicycle, paint_large_vehicle])
@pytest.mark.parametrize("pitch", [0.6, 1.5])
def test_an_object_owns_the_pixels_that_it_changed(paint: Painter, pitch: float) -> None:
    camera = Camera(60.0, pitch, (256, 320))
    canvas = Canvas(camera, np.full((256, 320), 120, np.uint8))
    paint(canvas, Pose(1.0, -1.0, 0.7), 9, 120.0, np.random.default_rng(3))
    change = np.abs(canvas.grey.astype(int) - 120)
    changed = (change > 0.3 * np.percentile(change[change > 0], 80)).astype(
        np.uint8
    )  # not the faint rim of smooth lines
    owned = cv2.boundingRect((canvas.owner == 9).astype(np.uint8))
    x, y, width, height = cv2.boundingRect(changed)
    corners = np.array([x, y, x + width, y + height])
    np.testing.assert_allclose([*owned[:2], owned[0] + owned[2], owned[1] + owned[3]], corners, atol=1)
    assert set(np.unique(canvas.owner)) == {0, 9}
    assert canvas.count(9) > 20


def test_what_hides_an_object_takes_its_pixels() -> None:
    camera = Camera(60.0, 1.2, (256, 320))
    canvas = Canvas(camera, np.full((256, 320), 120, np.uint8))
    rng = np.random.default_rng(0)
    paint_car(canvas, Pose(0, 0, 0), 1, 120.0, rng)
    before = canvas.count(1)
    paint_large_vehicle(canvas, Pose(1.5, -0.5, 0.2), 2, 120.0, rng)
    assert 0 <= canvas.count(1) < 0.7 * before
    PAINTERS["building"](canvas, Pose(0, 0, 0), 0, 120.0, rng)
    assert canvas.count(1) == canvas.count(2) == 0


def test_the_camera_looks_at_the_origin_and_inverts() -> None:
    camera = Camera(80.0, 0.7, (200, 300))
    np.testing.assert_allclose(camera.project(np.zeros(3)), [150, 100], atol=1e-9)
    pixels = np.random.default_rng(0).uniform(0, 200, (50, 2))
    np.testing.assert_allclose(camera.project(camera.ground(pixels)), pixels, atol=1e-9)
    x, y, scale = camera.ground_maps()
    point = np.array([x[40, 70], y[40, 0], 0])
    np.testing.assert_allclose(camera.project(point), [70.5, 40.5], atol=1e-3)
    assert float(scale[40, 0]) == pytest.approx(camera.scale(point), rel=1e-5)
    assert camera.project(np.array([0, 0, 2.0]))[1] < 100  # up is up


def test_write_dataset_reads_back_in_the_coco_layout(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", train=3, val=2, seed=4, size_hw=(128, 160))
    train, val = load_dataset(root, "train"), load_dataset(root, "val")
    assert (len(train), len(val)) == (3, 2)
    assert train.classes.names == SCENE_CLASSES and train.classes.source_ids == (1, 2, 3, 4)
    check_images(train)
    check_images(val)
    seeds = (4_000_000, 4_000_001, 4_000_002, 4_500_000, 4_500_001)
    for sample, seed in zip((*train.samples, *val.samples), seeds, strict=True):
        drawn = scene(seed, (128, 160))
        assert np.array_equal(cv2.imread(str(sample.path))[..., ::-1], drawn.image)
        assert np.array_equal(sample.boxes_xyxy, drawn.boxes_xyxy)
        assert np.array_equal(sample.class_ids, drawn.class_ids)
