"""Pictures for a page: made small enough, with frames whose kinds differ by form as well as by colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from eyas.data.labelme import embedded_picture
from eyas.data.sample import Dataset, Sample
from eyas.report.svg import Html, escape, joined
from eyas.vision.image import decode_image, read_image

RGB = NDArray[np.uint8]
Colour = tuple[int, int, int]
Form = Literal["thin", "solid", "dashed", "double", "corners"]

LONGEST_SIDE = 900
MOST_BYTES = 160_000  # of one encoded picture
SMALLEST_FRAME = 9  # pixels: a smaller object gets a frame that stands off it
_QUALITIES = (85, 75, 62, 50, 35, 20)
_DASH = 4
_THICK: dict[Form, int] = {"thin": 1, "solid": 2, "dashed": 2, "double": 1, "corners": 2}
_DARK: Colour = (20, 20, 20)


@dataclass(frozen=True)
class Kind:
    """What a frame says, and how it looks."""

    name: str
    colour: Colour
    form: Form


def picture_of(dataset: Dataset, sample: Sample) -> RGB:
    """The image of a sample, from its own file or from inside its annotation file. Raises InputError."""
    holder = dataset.embedded.get(sample.path)
    return read_image(sample.path) if holder is None else decode_image(embedded_picture(holder) or b"", holder.name)


def fitted(image_rgb: RGB, longest: int = LONGEST_SIDE) -> tuple[RGB, float]:
    """(the picture with no side above `longest` pixels, its pixels for one of the original)."""
    height, width = image_rgb.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale == 1:
        return np.array(image_rgb), 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def encoded(image_rgb: RGB) -> bytes:
    """`image_rgb` as JPEG of at most `MOST_BYTES` where any quality reaches that; thin coloured lines stay sharp."""
    data = b""
    for quality in _QUALITIES:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        data = cv2.imencode(".jpg", image_rgb[..., ::-1], options)[1].tobytes()
        if len(data) <= MOST_BYTES:
            break
    return data


def draw_frames(canvas: RGB, boxes_xyxy: NDArray[np.float32], kinds: Sequence[Kind]) -> None:
    """Draw a frame around each box (pixels of `canvas`, [N, 4]) into `canvas`; the last ones lie on top."""
    height, width = canvas.shape[:2]
    beyond = 2.0 * SMALLEST_FRAME  # frames are cut where nobody sees it, and OpenCV can still count
    limits = np.array([width, height, width, height]) + beyond
    for box, kind in zip(np.clip(boxes_xyxy.astype(np.float64), -beyond, limits).tolist(), kinds, strict=True):
        rect = _frame(box)
        thick = _THICK[kind.form]
        if kind.form != "thin":
            _draw(canvas, rect, kind, thick + 2, _DARK)  # a dark edge, so that the colour is seen on bright ground too
        _draw(canvas, rect, kind, thick, kind.colour)


Rect = tuple[int, int, int, int]


def _frame(box: Sequence[float]) -> Rect:
    """The pixels of the frame's line: one outside the box, more around a tiny one."""
    sides = []
    for low, high in ((box[0], box[2]), (box[1], box[3])):
        more = max(0.0, SMALLEST_FRAME - (high - low)) / 2
        sides.append((int(np.floor(low - more)) - 1, int(np.ceil(high + more))))
    (x0, x1), (y0, y1) = sides
    return x0, y0, x1, y1


def _draw(canvas: RGB, rect: Rect, kind: Kind, thick: int, colour: Colour) -> None:
    x0, y0, x1, y1 = rect
    if kind.form == "dashed":
        _dashed(canvas, rect, thick, colour)
    elif kind.form == "corners":
        reach = max(3, min(x1 - x0, y1 - y0) // 3)
        for x, inward in ((x0, 1), (x1, -1)):
            for y, down in ((y0, 1), (y1, -1)):
                cv2.line(canvas, (x, y), (x + inward * reach, y), colour, thick)
                cv2.line(canvas, (x, y), (x, y + down * reach), colour, thick)
    else:
        cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, thick)
        if kind.form == "double":
            cv2.rectangle(canvas, (x0 - 4, y0 - 4), (x1 + 4, y1 + 4), colour, thick)


def _dashed(canvas: RGB, rect: Rect, thick: int, colour: Colour) -> None:
    x0, y0, x1, y1 = rect
    for start in range(x0, x1 + 1, 2 * _DASH):
        for y in (y0, y1):
            cv2.line(canvas, (start, y), (min(start + _DASH, x1), y), colour, thick)
    for start in range(y0, y1 + 1, 2 * _DASH):
        for x in (x0, x1):
            cv2.line(canvas, (x, start), (x, min(start + _DASH, y1)), colour, thick)


def legend(rows: Sequence[tuple[Kind, str]]) -> Html:
    """A list of what the frames mean: each drawn on the dark ground of a picture, with its words."""
    return Html(f'<ul class="legend">{joined(*(_entry(kind, words) for kind, words in rows))}</ul>')


def _entry(kind: Kind, words: str) -> Html:
    stroke = f'fill="none" stroke="rgb({kind.colour[0]},{kind.colour[1]},{kind.colour[2]})"'
    frame = f'<rect x="7" y="6" width="20" height="12" {stroke} '
    drawn = {
        "thin": frame + 'stroke-width="1"/>',
        "solid": frame + 'stroke-width="3"/>',
        "dashed": frame + 'stroke-width="2" stroke-dasharray="4 3"/>',
        "double": f'<path d="M7 6H27V18H7ZM3.5 2.5H30.5V21.5H3.5Z" {stroke} stroke-width="1.5"/>',
        "corners": f'<path d="M7 10V6h5M22 6h5v4M27 14v4h-5M12 18H7v-4" {stroke} stroke-width="2"/>',
    }
    ground = (
        '<svg width="34" height="24" viewBox="0 0 34 24" aria-hidden="true"><rect width="34" height="24" fill="#333"/>'
    )
    return Html(f"<li>{ground}{drawn[kind.form]}</svg><span>{escape(words)}</span></li>")
