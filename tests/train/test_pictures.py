"""Which labelled pictures come when, and how they are seen."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.drawn import draw_lists, labelled

from eyas.data.lists import read_labelled
from eyas.errors import ConfigError
from eyas.schema import Features, Pictures, Train
from eyas.train.loader import Position, RunSampler, make_loader
from eyas.train.pictures import PictureSchedule, TrainPictures, collate, shrunk
from eyas.train.views import cutmix, erased, random_map, random_view, shrunk_first, warped


def config(batch_size: int, each: int | None, **more: object) -> Train:
    return Train(batch_size=batch_size, features=Features(samples_per_label=each), **more)  # type: ignore[arg-type]


@given(
    counts=st.lists(st.integers(1, 9), min_size=2, max_size=7),
    each=st.integers(2, 4),
    labels=st.integers(1, 7),
    ranks=st.integers(1, 3),
    epoch=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_a_batch_holds_so_many_pictures_of_each_label(
    counts: list[int], each: int, labels: int, ranks: int, epoch: int
) -> None:
    labels = min(labels, len(counts))
    images = labelled(counts)
    schedule = PictureSchedule(images, config(labels * each, each))
    steps = schedule.batches(ranks)
    assert steps == max(len(images) // (labels * each * ranks), 1)
    uses: Counter[int] = Counter()
    for rank in range(ranks):
        batches = [[draw.index for draw in batch] for batch in schedule.draws(epoch, 9, 0, rank, ranks)]
        assert len(batches) == steps
        for batch in batches:
            assert sorted(Counter(images.label_ids[batch].tolist()).values()) == [each] * labels
            uses.update(batch)
    for label in range(len(counts)):
        own = [uses[place] for place in np.flatnonzero(images.label_ids == label).tolist()]
        assert max(own) - min(own) <= 1, "a label's pictures come in turn"


@given(count=st.integers(1, 40), batch=st.integers(1, 9), ranks=st.integers(1, 3), step=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_shuffled_pictures_come_once_an_epoch(count: int, batch: int, ranks: int, step: int) -> None:
    schedule = PictureSchedule(labelled([count, 1]), config(batch, None))
    draws = [d for rank in range(ranks) for b in schedule.draws(2, 9, 0, rank, ranks) for d in b]
    if count + 1 >= batch * ranks:
        assert max(Counter(d.index for d in draws).values()) == 1
    assert len({d.key for d in draws}) == len(draws), "every view has a randomness of its own"
    whole = list(schedule.draws(2, 9, 0, 0, ranks))
    assert list(schedule.draws(2, 9, step, 0, ranks)) == whole[step:], "a restart continues"


def test_batches_that_cannot_be_made_say_what_to_change() -> None:
    with pytest.raises(ConfigError, match="do not fill batches of 10. Expected a divisor of Train.batch_size"):
        PictureSchedule(labelled([3, 3]), config(10, 4))
    with pytest.raises(ConfigError, match="make 4 labels a batch, and the data has 3. Set Train.batch_size to 12 or"):
        PictureSchedule(labelled([3, 3, 3]), config(16, 4))


def test_views_grow_in_equal_parts_of_the_run() -> None:
    schedule = PictureSchedule(labelled([4, 4]), config(4, None, pictures=Pictures(sides=(64, 96))))
    assert [schedule.size_hw(epoch, 5) for epoch in range(6)] == [(64, 64)] * 3 + [(96, 96)] * 3
    assert PictureSchedule(labelled([4]), config(4, None, input_size=(32, 64))).size_hw(0, 5) == (32, 64)


RECIPE = Pictures(area=(0.3, 1.0), shift=3, rotate=20.0, rotate_chance=0.5, colour=0.5, erase=0.5, cutmix=0.5)


def test_workers_and_restarts_change_no_pixel_and_labels_stay(tmp_path: Path) -> None:
    images = read_labelled(draw_lists(tmp_path, train=3))["train"]
    chosen = config(4, 2, input_size=(32, 64), pictures=RECIPE)
    schedule, pictures = PictureSchedule(images, chosen), TrainPictures(images, chosen)
    steps = schedule.batches(1)

    def batches(workers: int, start: Position) -> list[object]:
        return list(make_loader(pictures, RunSampler(schedule, 2, 0, 1, start), workers, collate))

    whole = batches(0, Position())
    assert len(whole) == 2 * steps
    for one, other in zip(
        [*whole, *whole[steps + 1 :]], [*batches(1, Position()), *batches(0, Position(1, 1))], strict=True
    ):
        for field in ("images", "labels", "others", "shares"):
            assert torch.equal(getattr(one, field), getattr(other, field))
    assert whole[0].images.shape == (4, 32, 64, 3) and whole[0].images.dtype == torch.uint8
    draws = [d for e in range(2) for b in schedule.draws(e, 2, 0, 0, 1) for d in b]
    assert torch.cat([b.labels for b in whole]).tolist() == [images.label_ids[d.index] for d in draws]


PLAIN = Pictures(flip=0.0)


@pytest.mark.parametrize("size_hw", [(32, 32), (64, 96), (20, 90)])
def test_the_plain_view_is_what_prediction_sees(size_hw: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    view = random_view(picture, size_hw, PLAIN, np.random.default_rng(1))
    wanted = cv2.resize(picture, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    difference = np.abs(view.astype(int) - wanted)[2:-2, 2:-2]
    assert difference.max() <= 8, "OpenCV's two functions round the place of a sample differently"
    assert difference.mean() < 1.0


def test_a_smooth_view_averages_the_pixels_that_prediction_averages() -> None:
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 256, (160, 192, 3), np.uint8)
    view = random_view(picture, (40, 48), Pictures(flip=0.0, smooth=True), rng)
    expected = cv2.resize(picture, (48, 40), interpolation=cv2.INTER_AREA)
    assert np.abs(view.astype(int) - expected).max() <= 1
    rough = random_view(picture, (40, 48), Pictures(flip=0.0), rng)
    assert rough.std() > 2 * view.std()


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_shrinking_first_moves_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    affine = random_map((150, 190), (48, 48), Pictures(area=(0.3, 1.0), rotate=20.0), rng)
    small, left = shrunk_first(np.zeros((150, 190, 3), np.uint8), affine)
    corners = rng.random((5, 2)) * (190, 150)
    scaled = corners * (small.shape[1] / 190, small.shape[0] / 150)
    np.testing.assert_allclose(corners @ affine[:, :2].T + affine[:, 2], scaled @ left[:, :2].T + left[:, 2], atol=1e-9)
    assert abs(np.linalg.det(left[:, :2])) == pytest.approx(1, abs=0.1)


def test_a_flipped_view_is_the_mirror_image() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    mirrored = warped(picture, random_map((48, 64), (48, 64), Pictures(flip=1.0), np.random.default_rng(0)), (48, 64))
    np.testing.assert_array_equal(mirrored, picture[:, ::-1])


@given(seed=st.integers(0, 999), height=st.integers(8, 200), width=st.integers(8, 200))
@settings(max_examples=60, deadline=None)
def test_a_view_shows_the_share_it_should_and_nothing_outside(seed: int, height: int, width: int) -> None:
    chosen = Pictures(area=(0.25, 0.5), ratio=(0.5, 2.0))
    affine = random_map((height, width), (32, 64), chosen, np.random.default_rng(seed))
    corners = np.array([[0, 0], [64, 0], [64, 32], [0, 32]], float)
    seen = np.linalg.solve(affine[:, :2], (corners - affine[:, 2]).T).T
    assert seen.min() > -1e-6 and (seen.max(0) < np.array([width, height]) + 1e-6).all()
    sides = np.ptp(seen, axis=0)
    assert sides.prod() / (height * width) <= 0.5 + 1e-9
    if (sides < np.array([width, height]) - 1e-6).all():
        assert sides.prod() / (height * width) >= 0.25 - 1e-9
        assert 0.5 - 1e-9 <= sides[0] / sides[1] <= 2.0 + 1e-9


def test_a_turn_keeps_the_middle_in_the_middle() -> None:
    turned = random_map((40, 40), (80, 80), Pictures(flip=0.0, rotate=90.0), np.random.default_rng(3))
    np.testing.assert_allclose(turned @ [20, 20, 1], [40, 40])
    np.testing.assert_allclose(np.linalg.det(turned[:, :2]), 4.0)
    assert abs(turned[0, 1]) > 0.1


def test_what_is_painted_over_has_one_colour() -> None:
    view = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    for seed in range(20):
        out = erased(view, np.random.default_rng(seed))
        changed = (out != view).any(-1)
        assert 0.01 < changed.mean() < 0.35
        assert len(np.unique(out[changed], axis=0)) == 1


def test_a_mixed_view_says_how_much_of_the_other_it_shows() -> None:
    view, other = np.zeros((40, 60, 3), np.uint8), np.full((40, 60, 3), 9, np.uint8)
    shares = []
    for seed in range(200):
        out, share = cutmix(view, other, np.random.default_rng(seed))
        assert (out == 9).all(-1).mean() == pytest.approx(share)
        shares.append(share)
    assert min(shares) < 0.02 and 0.25 < np.mean(shares) < 0.45


def test_large_pictures_are_kept_small() -> None:
    assert shrunk(np.zeros((300, 50, 3), np.uint8), 96).shape == (96, 50, 3)
    small = np.zeros((30, 50, 3), np.uint8)
    assert shrunk(small, 96) is small
