"""Batches are a pure function of (seed, epoch, place): workers, ranks and restarts change nothing about them."""

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from eyas.data import load_dataset
from eyas.data.sample import Dataset
from eyas.data.synthetic import write_dataset
from eyas.errors import ConfigError
from eyas.schema import Augment, Train
from eyas.train.loader import (
    Batch,
    Position,
    RunSampler,
    Schedule,
    TrainImages,
    make_loader,
    repeat_factors,
    scene_classes,
)

CONFIG = Train(
    batch_size=4,
    epochs_iters=3,
    input_size=(128, 160),
    keep_ratio=True,
    augment=Augment(crop=1.0, crop_size=(96, 96), mosaic=0.3, copy_paste=0.5, rare_classes=0.5, close_epochs=1),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("scenes")
    write_dataset(root, train=14, val=2, seed=1, size_hw=(128, 160))
    return load_dataset(root, "train")


def batches(data: Dataset, start: Position, workers: int = 0, rank: int = 0, ranks: int = 1) -> list[Batch]:
    sampler = RunSampler(Schedule(data, CONFIG), CONFIG.epochs_iters, rank, ranks, start)
    return list(make_loader(TrainImages(data, CONFIG, cache=True), sampler, workers))


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for field in ("images", "boxes", "classes", "valid", "ignore"):
            assert torch.equal(getattr(a, field), getattr(b, field))


def test_a_restart_continues_with_the_same_batches(data: Dataset) -> None:
    whole = batches(data, Position())
    steps = Schedule(data, CONFIG).batches(1)
    assert len(whole) == steps * CONFIG.epochs_iters
    assert_same(whole[steps + 1 :], batches(data, Position(epoch=1, step=1)))


def test_workers_change_nothing(data: Dataset) -> None:
    assert_same(batches(data, Position()), batches(data, Position(), workers=2))


def test_ranks_share_no_image_of_an_epoch(data: Dataset) -> None:
    schedule = Schedule(data, CONFIG)
    places = [{p for step in range(schedule.batches(2)) for p in schedule.positions(step, rank, 2)} for rank in (0, 1)]
    assert not places[0] & places[1]
    assert len(places[0]) == len(places[1]) == schedule.batches(2) * 4


def test_epochs_differ_and_the_last_ones_see_whole_images(data: Dataset) -> None:
    schedule = Schedule(data, CONFIG)
    assert not np.array_equal(schedule.order(0), schedule.order(1))
    whole = batches(data, Position())
    assert {tuple(b.images.shape[1:3]) for b in whole[: -schedule.batches(1)]} == {(96, 96)}
    assert {tuple(b.images.shape[1:3]) for b in whole[-schedule.batches(1) :]} == {(128, 160)}


def test_multi_scale_draws_one_size_a_batch(data: Dataset) -> None:
    config = CONFIG.model_copy(update={"multi_scale": (96, 128, 160)})
    schedule = Schedule(data, config)
    sizes = {schedule.size_hw(epoch, step, whole=False) for epoch in range(20) for step in range(3)}
    assert sizes == {(96, 96), (128, 128), (160, 160)}
    assert schedule.size_hw(0, 0, whole=True) == (128, 160)


def test_images_of_rare_classes_come_more_often(data: Dataset) -> None:
    factors = repeat_factors(data, 0.5)
    counts = np.array([sum(c in s.class_ids[~s.ignore] for s in data.samples) for c in range(4)]) / len(data)
    for factor, sample in zip(factors, data.samples, strict=True):
        classes = np.unique(sample.class_ids[~sample.ignore])
        wanted = max((float(np.clip((0.1 / counts[c]) ** 0.5, 1, 5)) for c in classes), default=1.0)
        assert factor == pytest.approx(wanted)
    assert (repeat_factors(data, 0.0) == 1).all()


def test_synthetic_scenes_need_their_classes(data: Dataset) -> None:
    from dataclasses import replace

    from eyas.data.sample import ClassMap

    assert scene_classes(data).tolist() == [0, 1, 2, 3]
    other = replace(data, classes=ClassMap(("Person", "Boat", "Tree", "Bus"), (1, 2, 3, 4)))
    with pytest.raises(ConfigError, match="no class Car, Bicycle, OtherVehicle"):
        scene_classes(other)


def test_synthetic_share_is_drawn_into_the_batches(data: Path) -> None:
    config = CONFIG.model_copy(update={"augment": CONFIG.augment.model_copy(update={"synthetic": 1.0})})
    sampler = RunSampler(Schedule(data, config), 1, 0, 1, Position())
    images = TrainImages(data, config, cache=True)
    draws = next(iter(sampler))
    examples = [images[draw] for draw in draws]
    assert not images._cache, "only scenes were asked for"
    assert sum(len(e.boxes_xyxy) for e in examples) > 0


@pytest.mark.timeout(150)
def test_a_worker_starts_after_opencv_has_used_its_threads(data: Dataset) -> None:
    """The threads of OpenCV are asleep when the worker is forked and do not exist in it: it must not wait for them."""
    image, threads = np.zeros((512, 640), np.float32), cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        cv2.GaussianBlur(image, (0, 0), 3)
        cv2.warpAffine(image, np.eye(2, 3), (900, 900))
        time.sleep(1)  # until they sleep
        assert len(batches(data, Position(epoch=2), workers=1)) == 3
    finally:
        cv2.setNumThreads(threads)
