"""Pictures of a page: their size, and the frames on them."""

import numpy as np
import pytest
from tests.report.reading import Page

from eyas.report.marks import LONGEST_SIDE, MOST_BYTES, Kind, draw_frames, encoded, fitted, legend
from eyas.vision.image import decode_image

RED = (255, 0, 0)


@pytest.mark.parametrize(
    ("size", "expected"), [((512, 640), (512, 640)), ((3000, 4000), (675, 900)), ((9000, 2), (900, 1))]
)
def test_pictures_are_made_small_enough(size: tuple[int, int], expected: tuple[int, int]) -> None:
    canvas, scale = fitted(np.zeros((*size, 3), np.uint8))
    assert canvas.shape[:2] == expected
    assert scale == pytest.approx(min(1, LONGEST_SIDE / max(size)))


def test_noise_is_encoded_within_the_limit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (675, 900, 3), dtype=np.uint8)
    smooth = np.full((300, 400, 3), (255, 128, 0), np.uint8)
    assert len(encoded(smooth)) < 10_000
    assert len(encoded(noise)) < 2 * MOST_BYTES  # the lowest quality of the hardest picture
    assert np.abs(decode_image(encoded(smooth), "smooth").astype(int) - smooth).max() <= 3
    assert encoded(noise) == encoded(noise)


@pytest.mark.parametrize("form", ["thin", "solid", "dashed", "double", "corners"])
def test_frames_leave_their_object_visible(form: str) -> None:
    canvas = np.full((60, 60, 3), 100, np.uint8)
    draw_frames(canvas, np.array([[20, 22, 40, 38]], np.float32), [Kind("a", RED, form)])  # type: ignore[arg-type]
    red = (canvas == RED).all(axis=2)
    assert red.any() and not red[23:37, 21:39].any()
    tiny = np.full((60, 60, 3), 100, np.uint8)
    draw_frames(tiny, np.array([[30, 30, 33, 33]], np.float32), [Kind("a", RED, form)])  # type: ignore[arg-type]
    assert (tiny == RED).all(axis=2).any()
    assert (tiny[30:33, 30:33] == 100).all()  # the frame stands off an object of three pixels


def test_forms_differ() -> None:
    drawn = []
    for form in ("thin", "solid", "dashed", "double", "corners"):
        canvas = np.full((60, 60, 3), 100, np.uint8)
        draw_frames(canvas, np.array([[20, 20, 40, 40]], np.float32), [Kind("a", RED, form)])
        drawn.append(canvas.tobytes())
    assert len(set(drawn)) == 5


def test_frames_over_the_edge_and_none() -> None:
    canvas = np.full((40, 40, 3), 100, np.uint8)
    draw_frames(canvas, np.zeros((0, 4), np.float32), [])
    assert (canvas == 100).all()
    far = np.array([[-20, -20, 90, 90], [-90, -90, -50, -50], [-1e30, 5, 1e30, 9]], np.float32)
    for form in ("thin", "solid", "dashed", "double", "corners"):
        draw_frames(canvas, far, [Kind("a", RED, form)] * 3)


def test_the_legend_shows_each_form() -> None:
    page = Page(legend([(Kind("a", RED, "thin"), "<b>"), (Kind("b", RED, "corners"), "two")]))
    assert page.wrong == [] and len(page.all("li")) == 2
    assert "<b>" in page.text and "two" in page.text
