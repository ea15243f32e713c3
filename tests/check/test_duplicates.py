"""The search for copies: against a plain search, and what it tells apart."""

from pathlib import Path

import numpy as np
import pytest
from tests.check.sets import picture

from eyas.check import duplicates
from eyas.check.duplicates import SAME_BITS, SAME_CORRELATION, content_keys, correlation, nearest
from eyas.check.frames import Frame, frame_of, neighbour, videos_of
from eyas.check.images import ImageList
from eyas.check.leakage import compared
from eyas.check.pictures import LARGEST, look_at, scene_likeness


def grids(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 17), dtype=np.uint8)


def plain_distances(ours: np.ndarray, others: np.ndarray) -> np.ndarray:
    bits = [(one[:, :, 1:] > one[:, :, :-1]).reshape(len(one), -1) for one in (ours, others)]
    return np.array([[(first != second).sum() for second in bits[1]] for first in bits[0]])


@pytest.mark.parametrize("block", [1, 7, 100])
def test_nearest_is_that_of_a_plain_search(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", block)
    ours, others = grids(20), grids(33, seed=1)
    expected = plain_distances(ours, others)
    places, bits = nearest(ours, others)
    assert bits.tolist() == expected.min(axis=1).tolist()
    assert expected[np.arange(20), places].tolist() == bits.tolist()
    earlier = plain_distances(ours, ours) + 1000 * np.triu(np.ones((20, 20), np.int64))
    places, bits = nearest(ours, ours, before=True)
    assert bits[0] == 256 and bits[1:].tolist() == earlier[1:].min(axis=1).tolist()
    assert (places[1:] < np.arange(1, 20)).all()


def test_nothing_is_near_nothing() -> None:
    assert nearest(grids(0), grids(3))[1].tolist() == []
    assert nearest(grids(2), grids(0))[1].tolist() == [256, 256]
    assert correlation(grids(0), grids(0)).tolist() == []


def test_correlation_ignores_brightness_and_contrast() -> None:
    ours = grids(3) // 2
    assert correlation(ours, ours + 40) == pytest.approx([1, 1, 1])
    assert correlation(ours, 255 - ours) == pytest.approx([-1, -1, -1])
    assert correlation(np.zeros_like(ours), ours).tolist() == [0, 0, 0]


def test_content_keys(tmp_path: Path) -> None:
    for name, data in {"a": b"same", "b": b"also", "c": b"same", "d": b"longer"}.items():
        (tmp_path / name).write_bytes(data)
    paths = [tmp_path / name for name in "abcde"]
    keys = content_keys(paths, [1, 1, 1, 1, 0])
    assert keys[0] == keys[2] >= 0 and keys[1] not in (keys[0], -1) and keys[3:] == [-1, -1]


def test_copies_look_alike_and_others_do_not(tmp_path: Path) -> None:
    files = {"a.jpg": picture(1, (300, 200)), "half.jpg": picture(1, (150, 100), quality=40), "b.jpg": picture(2)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    paths = tuple(tmp_path / name for name in files)
    looks = look_at(ImageList("all", tmp_path, paths, (tmp_path,) * 3, ("1", "2", "3"), None), [1] * 3, lambda _: None)
    assert looks.known.all()
    first, rest = looks.grids[:1], looks.grids[1:]
    assert plain_distances(first, rest)[0, 0] <= SAME_BITS < 60 < plain_distances(first, rest)[0, 1]
    assert correlation(first, rest[:1])[0] >= SAME_CORRELATION > correlation(first, rest[1:])[0]
    assert scene_likeness(paths[0], paths[1]) > 0.99 and scene_likeness(paths[0], paths[2]) < 0.85


def test_a_flat_picture_has_no_look(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (90, 70), "grey").save(tmp_path / "a.png")
    looks = look_at(ImageList("all", tmp_path, (tmp_path / "a.png",), (tmp_path,), ("1",), None), [1], lambda _: None)
    assert looks.known.tolist() == [False]


def test_huge_pictures_are_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(1)[:-300])
    images, told = ImageList("all", tmp_path, (tmp_path / "a.jpg",), (tmp_path,), ("1",), None), []
    for pixels in (100, LARGEST + 1, 0):
        looks = look_at(images, [pixels], told.append)
        assert looks.known.tolist() == [False]
    assert [one.code for one in told] == ["image-broken"]


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("street_00012.jpg", Frame(("street_", ""), 12)),
        ("1_70_60_0_01015.jpg", Frame(("1_70_60_0_", ""), 1015)),
        ("0000001_02999_d_0000005.jpg", Frame(("0000001_02999_d_", ""), 5)),
        ("12.5_left.png", Frame(("12.", "_left"), 5)),
        ("cat.jpg", None),
    ],
)
def test_frames_by_name(name: str, frame: Frame | None) -> None:
    assert frame_of(Path("somewhere") / name) == frame


def test_the_nearest_frame() -> None:
    videos = videos_of([Path(name) for name in ("v_10.jpg", "v_90.jpg", "w_50.jpg", "v_40.jpg", "x.jpg")])
    found = [
        neighbour(Path(name), videos)
        for name in ("v_12.jpg", "v_60.jpg", "v_71.jpg", "w_20.jpg", "w_19.jpg", "y_1.jpg")
    ]
    assert found == [0, 3, 1, 2, None, None]


def test_which_splits_share_nothing() -> None:
    assert compared("train", "val") and compared("trainval", "test") and compared("gallery", "query")
    assert not compared("train", "trainval") and not compared("train", "gallery")
    assert not compared("holidays", "birthdays")
