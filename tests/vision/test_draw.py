"""Drawing: objects keep their pixels, plates stay off neighbours, colours belong to class ids."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyas.errors import ConfigError
from eyas.vision import fonts
from eyas.vision.draw import PALETTE, draw_detections
from eyas.vision.fonts import load_font

NAMES = ("Person", "Car", "Bicycle")


def grey(height: int = 512, width: int = 640, value: int = 90) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def draw(image: np.ndarray, boxes: list[list[float]], ids: list[int], names=NAMES, **options) -> np.ndarray:
    scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
    return draw_detections(image, np.array(boxes, np.float32).reshape(-1, 4), np.array(ids), scores, names, **options)


def has_colour(area: np.ndarray, class_id: int) -> bool:
    return bool((area == PALETTE[class_id]).all(axis=-1).any())


def test_the_palette_has_20_different_bright_colours() -> None:
    assert len(set(PALETTE)) == 20
    assert all(max(colour) >= 175 for colour in PALETTE)


def test_the_input_is_not_changed_and_no_box_changes_nothing() -> None:
    image = grey()
    got = draw(image, [[10, 10, 50, 50]], [0])
    assert (image == 90).all() and got is not image and (got != 90).any()
    np.testing.assert_array_equal(draw(image, [], []), image)


def test_a_tiny_object_keeps_all_its_pixels_inside_a_line_of_one() -> None:
    got = draw(grey(1080, 1920), [[100.4, 200.2, 105.6, 206.9]], [1], labels="never")
    assert (got[200:207, 100:106] == 90).all()
    ring = got[199:208, 99:107].copy()
    ring[1:-1, 1:-1] = PALETTE[1]
    assert (ring == PALETTE[1]).all()
    assert (got[198:209, 98:108].sum() - got[199:208, 99:107].sum()) == 90 * 3 * (11 * 10 - 9 * 8)


def test_a_big_box_has_paddlex_line_width() -> None:
    got = draw(grey(1080, 1920), [[500, 500, 900, 900]], [0], labels="never")
    column = (got[700, 480:520] == PALETTE[0]).all(axis=-1)
    assert column.sum() == int(0.002 * 1920) and column[19] and not column[20]  # 3 px, outside the box


def test_bright_ground_beside_a_line_is_dimmed_dark_ground_is_not() -> None:
    assert draw(grey(value=250), [[100, 100, 110, 110]], [1], labels="never")[105, 98].tolist() == [110] * 3
    assert draw(grey(value=40), [[100, 100, 110, 110]], [1], labels="never")[105, 98].tolist() == [40] * 3


def test_auto_labels_a_big_box_above_it_and_needs_no_legend() -> None:
    got = draw(grey(), [[200, 200, 400, 400]], [1])
    assert (got[190, 202:210] == PALETTE[1]).all(axis=-1).any()
    outside = np.ones((512, 640), bool)
    outside[170:405, 195:405] = False
    assert (got[outside] == 90).all()


def test_auto_puts_the_label_inside_or_below_when_there_is_no_room_above() -> None:
    got = draw(grey(), [[200, 0, 400, 300]], [1])
    assert has_colour(got[302:330, 200:300], 1)
    filling = draw(grey(), [[0, 0, 640, 512]], [1])
    assert (filling[3:12, 3:8] == PALETTE[1]).any()


def test_auto_leaves_tiny_objects_unlabelled_and_adds_a_legend() -> None:
    boxes = [[300 + 12 * i, 300, 308 + 12 * i, 308] for i in range(5)]
    got = draw(grey(), boxes, [0, 0, 0, 2, 2])
    assert (got[310:, :] == 90).all() and (got[250:298] == 90).all()
    corner = got[:60, :120]
    assert has_colour(corner, 0) and has_colour(corner, 2) and not has_colour(corner, 1)


def test_the_legend_takes_the_emptiest_corner() -> None:
    boxes = [[5, 5, 12, 12], [600, 8, 606, 14], [10, 490, 16, 496]]
    got = draw(grey(), boxes, [0, 0, 0])
    assert (got[460:, 540:] != 90).any() and (got[20:40, 20:100] == 90).all()


def test_a_legend_that_would_hide_a_small_picture_is_left_out() -> None:
    got = draw(grey(60, 80), [[10, 10, 16, 16]], [0])
    assert (got[20:, 20:] == 90).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_auto_plates_never_lie_on_another_box(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(6, 120, (count, 2))
    corners = rng.integers(0, [520, 392], (count, 2))
    boxes = np.hstack((corners, corners + sizes)).astype(np.float32)
    ids = np.arange(count) % 3
    scores = np.sort(rng.uniform(size=count))[::-1].astype(np.float32)
    plain = draw_detections(grey(), boxes, ids, scores, NAMES, labels="never")
    auto = draw_detections(grey(), boxes, ids, scores, NAMES, labels="auto")
    # A plate may lie on its own box; on the pixels of two or more boxes nothing may be added but a legend's dimming.
    cover = np.zeros((512, 640), int)
    for left, top, right, bottom in boxes.astype(int):
        cover[top:bottom, left:right] += 1
    changed = (plain != auto).any(axis=-1) & (cover >= 2)
    plates = np.isin(auto, PALETTE).all(axis=-1)
    in_legend = np.zeros((512, 640), bool)
    in_legend[:80, :130] = in_legend[:80, -130:] = in_legend[-80:, :130] = in_legend[-80:, -130:] = True
    assert not (changed & plates & ~in_legend).any()


def test_always_writes_every_label_and_keeps_it_in_the_picture() -> None:
    got = draw(grey(), [[600, 300, 608, 308], [100, 2, 108, 10]], [1, 0], labels="always")
    assert has_colour(got[280:298, 540:640], 1)
    assert has_colour(got[2:18, 112:150], 0)


def test_colours_follow_the_class_id_not_the_order() -> None:
    alone = draw(grey(), [[300, 300, 308, 308]], [2], labels="never")
    second = draw(grey(), [[10, 10, 20, 20], [300, 300, 308, 308]], [0, 2], labels="never")
    np.testing.assert_array_equal(alone[290:320, 290:320], second[290:320, 290:320])
    repeat = draw(grey(), [[300, 300, 308, 308]], [22], names=[f"c{i}" for i in range(23)], labels="never")
    np.testing.assert_array_equal(repeat, alone)


@pytest.mark.parametrize("label", ["行人", "🚗", "a\nb\x1b[31m", "\udc80", "", "x" * 500, "مرحبا"])
def test_no_label_crashes(label: str) -> None:
    for labels in ("auto", "always"):
        got = draw(grey(), [[100, 100, 500, 400], [20, 20, 24, 24]], [0, 0], names=[label], labels=labels)
        assert (got != 90).any()


@pytest.mark.parametrize("box", [[-5, -5, 3, 3], [630, 500, 700, 600], [0, 0, 640, 512], [10, 10, 10, 10]])
def test_boxes_at_the_edge_are_drawn(box: list[float]) -> None:
    got = draw(grey(), [box], [0])
    assert got.shape == (512, 640, 3) and has_colour(got, 0)


def test_an_image_of_one_pixel() -> None:
    assert draw(grey(1, 1), [[0, 0, 1, 1]], [0]).shape == (1, 1, 3)


def test_a_font_of_the_user_is_used_and_a_wrong_one_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = tmp_path / "font.ttf"
    wrong.write_text("no font")
    load_font.cache_clear()
    monkeypatch.setenv("EYAS_FONT", str(wrong))
    with pytest.raises(ConfigError, match=r"EYAS_FONT is .*font\.ttf"):
        load_font(12)
    load_font.cache_clear()


def test_without_any_system_font_pillows_own_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    load_font.cache_clear()
    monkeypatch.delenv("EYAS_FONT", raising=False)
    monkeypatch.setattr(fonts, "_system_font", lambda: None)
    got = draw(grey(), [[100, 100, 500, 400], [20, 20, 24, 24]], [0, 1], names=("行人", "Car"))
    assert has_colour(got, 0)
    load_font.cache_clear()


def test_fonts_that_hold_chinese_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DejaVuSans.ttf", "wqy-zenhei.ttc"):
        (tmp_path / name).touch()
    monkeypatch.setattr(fonts, "_folders", lambda: iter([tmp_path]))
    fonts._system_font.cache_clear()
    assert fonts._system_font() == tmp_path / "wqy-zenhei.ttc"
    fonts._system_font.cache_clear()
