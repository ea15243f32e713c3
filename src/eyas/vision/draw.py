"""Boxes and labels on a picture, made so that objects of a few pixels stay visible.

Big boxes look as PaddleX draws them: line width 0.2 % of the longer side, font 1.8 % of the width + 2, a filled plate
above the box. Lines run outside the box. A tiny box has a line of one pixel, and no plate where the plate would be
larger than the object or lie on a neighbour; a legend with colours and counts then names the classes.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from eyas.saving import Labels
from eyas.vision.fonts import load_font, warn_of_missing

RGB = NDArray[np.uint8]
Rect = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels, half-open
Plate = tuple[Rect, int]  # where a label goes and its font size
Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (  # bright and saturated: seen on thermal grey, asphalt and grass
    *((0, 205, 255), (255, 214, 0), (255, 90, 230), (60, 235, 80), (255, 64, 64)),
    *((255, 145, 0), (140, 130, 255), (0, 230, 190), (255, 165, 190), (180, 235, 0)),
    *((80, 155, 255), (215, 130, 70), (200, 115, 255), (0, 255, 140), (255, 205, 135)),
    *((140, 220, 255), (255, 60, 145), (205, 255, 140), (230, 195, 255), (0, 175, 175)),
)
_SMALLEST_FONT = 11
_LONGEST_LABEL = 40
_BRIGHTEST_BESIDE_LINE = 110
_LEGEND_ROWS = 12
_LEGEND_SHARE = 0.15  # of the picture; a larger legend is left out


def draw_detections(
    image_rgb: RGB,
    boxes_xyxy: NDArray[np.float32],
    class_ids: NDArray[np.int64],
    scores: NDArray[np.float32] | None,
    names: Sequence[str],
    *,
    labels: Labels = "auto",
) -> RGB:
    """A copy of `image_rgb` (uint8 RGB [H, W, 3]) with the boxes (pixels, half-open [N, 4]) and their labels drawn.

    A label is the class's name with the score, where there are `scores`, and where the score is not NaN.
    `labels`: "always" writes each label, as PaddleX does; "never" draws boxes alone; "auto" writes a label only where
    it hides no other box and is not larger than its object, and adds a legend when any is missing.
    """
    canvas = np.array(image_rgb, dtype=np.uint8)
    if len(boxes_xyxy) == 0:
        return canvas
    height, width = canvas.shape[:2]
    rects = _whole_pixels(boxes_xyxy, width, height)
    ids = class_ids.tolist()
    colours = [_colour(class_id) for class_id in ids]
    texts = [_clean(names[i]) for i in ids]
    if scores is not None:
        texts = [
            text if math.isnan(score) else f"{text} {score:.2f}"
            for text, score in zip(texts, scores.tolist(), strict=True)
        ]
    plates: list[Plate | None] = [None] * len(rects)
    if labels == "always":
        plates = [_paddlex_plate(rect, text, width) for rect, text in zip(rects.tolist(), texts, strict=True)]
    elif labels == "auto":
        plates = _fitting_plates(rects, texts, (width, height))
        if None in plates:
            _draw_legend(
                canvas, rects, [(_colour(i), f"{_clean(names[i])} ×{n}") for i, n in Counter(ids).most_common()]
            )
    _draw_outlines(canvas, rects, colours)
    for plate, text, colour in reversed(list(zip(plates, texts, colours, strict=True))):
        if plate is not None:
            _draw_plate(canvas, plate, text, colour)
    return canvas


def _colour(class_id: int) -> Colour:
    return PALETTE[class_id % len(PALETTE)]


def _whole_pixels(boxes: NDArray[np.float32], width: int, height: int) -> NDArray[np.int64]:
    """The pixels each box touches, [N, 4], at least one, inside the picture."""
    limits = np.array([width, height])
    low = np.clip(np.floor(boxes[:, :2]), 0, limits - 1)
    high = np.clip(np.ceil(boxes[:, 2:]), low + 1, limits)
    return np.hstack((low, high)).astype(np.int64)


def _draw_outlines(canvas: RGB, rects: NDArray[np.int64], colours: Sequence[Colour]) -> None:
    """A frame around each rect, outside it except at the picture's edge; thinner around small ones."""
    height, width = canvas.shape[:2]
    line = max(1, int(max(width, height) * 0.002))
    thick = np.clip(np.minimum(rects[:, 2] - rects[:, 0], rects[:, 3] - rects[:, 1]) // 16, 1, line)
    limits = np.array([width, height])
    frames = np.hstack(
        (np.maximum(rects[:, :2] - thick[:, None], 0), np.minimum(rects[:, 2:] + thick[:, None], limits))
    ).tolist()
    for x0, y0, x1, y1 in frames:
        _dim_around(canvas, x0, y0, x1, y1)
    for i in reversed(range(len(frames))):  # the best box last, on top
        (x0, y0, x1, y1), t = frames[i], int(thick[i])
        canvas[y0 : y0 + t, x0:x1] = colours[i]
        canvas[y1 - t : y1, x0:x1] = colours[i]
        canvas[y0:y1, x0 : x0 + t] = colours[i]
        canvas[y0:y1, x1 - t : x1] = colours[i]


def _dim_around(canvas: RGB, x0: int, y0: int, x1: int, y1: int) -> None:
    """Where the pixel beside a frame is bright, dim it: a thin yellow or pink line would be lost there."""
    left, top = max(x0 - 1, 0), max(y0 - 1, 0)
    strips = (canvas[top:y0, left : x1 + 1], canvas[y1 : y1 + 1, left : x1 + 1])
    for strip in (*strips, canvas[y0:y1, left:x0], canvas[y0:y1, x1 : x1 + 1]):
        np.minimum(strip, _BRIGHTEST_BESIDE_LINE, out=strip)


def _clean(label: str) -> str:
    """`label` on one line, without control characters or lone surrogates, cut at 40 characters."""
    kept = "".join(" " if unicodedata.category(c).startswith("C") else c for c in label)
    return kept if len(kept) <= _LONGEST_LABEL else kept[: _LONGEST_LABEL - 1] + "…"


def _plate_size(text: str, font_size: int) -> tuple[int, int]:
    font = load_font(font_size)
    left, _, right, _ = font.getbbox(text)
    _, top, _, bottom = font.getbbox("Ág|")  # one height for all words
    return int(right - left) + 5, int(bottom - top) + 3


def _paddlex_plate(rect: Sequence[int], text: str, image_width: int) -> Plate:
    """Above the box, or inside its top where there is no room above; moved left where the picture ends."""
    font_size = int(0.018 * image_width) + 2
    width, height = _plate_size(text, font_size)
    left, top = max(0, min(rect[0], image_width - width)), rect[1]
    top = top - height if top >= height else top
    return (left, top, left + width, top + height), font_size


def _fitting_plates(rects: NDArray[np.int64], texts: Sequence[str], size_wh: tuple[int, int]) -> list[Plate | None]:
    """Per box its plate and font size, or None where no plate fits; best boxes choose first."""
    full = max(_SMALLEST_FONT, int(0.018 * size_wh[0]) + 2)
    font_sizes = sorted({full, max(_SMALLEST_FONT, full * 2 // 3), _SMALLEST_FONT}, reverse=True)
    taken = rects.copy()  # boxes, then plates
    plates: list[Plate | None] = []
    for index, (rect, text) in enumerate(zip(rects.tolist(), texts, strict=True)):
        plate = None
        for font_size in font_sizes:
            width, height = _plate_size(text, font_size)
            if _too_large(width, height, rect):
                continue
            plate = _free_place(rect, width, height, np.delete(taken, index, axis=0), size_wh)
            if plate is not None:
                plates.append((plate, font_size))
                taken = np.vstack((taken, plate))
                break
        if plate is None:
            plates.append(None)
    return plates


def _too_large(width: int, height: int, rect: Sequence[int]) -> bool:
    box_width, box_height = rect[2] - rect[0], rect[3] - rect[1]
    return width > 2.5 * box_width or width * height > box_width * box_height


def _free_place(
    rect: Sequence[int], width: int, height: int, others: NDArray[np.int64], size_wh: tuple[int, int]
) -> Rect | None:
    """The first of above, below and inside the top that lies in the picture and on no other box or plate."""
    left, top, right, bottom = rect
    left = max(0, min(left, size_wh[0] - width))
    tops = [top - height, bottom]
    if right - left >= width and bottom - top >= 3 * height:
        tops.append(top)
    for y in tops:
        if y < 0 or y + height > size_wh[1]:
            continue
        overlap = np.minimum(others[:, 2:], (left + width, y + height)) - np.maximum(others[:, :2], (left, y))
        if not (overlap > 0).all(axis=1).any():
            return left, y, left + width, y + height
    return None


def _draw_plate(canvas: RGB, plate: Plate, text: str, colour: Colour) -> None:
    (left, top, right, bottom), font_size = plate
    area = canvas[max(top, 0) : bottom, max(left, 0) : right]
    picture = Image.new("RGB", (right - left, bottom - top), colour)
    # Rec. 601 luma: dark text on light plates, light text on dark ones.
    luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    _write(picture, (2, 1), text, font_size, (0, 0, 0) if luma > 120 else (255, 255, 255))
    area[:] = np.asarray(picture)[: area.shape[0], : area.shape[1]]


def _write(picture: Image.Image, at: tuple[int, int], text: str, font_size: int, colour: Colour) -> None:
    font = load_font(font_size)
    warn_of_missing(text, font)
    top = font.getbbox("Ág|")[1]
    left = font.getbbox(text)[0]
    ImageDraw.Draw(picture).text((at[0] - left, at[1] - top), text, fill=colour, font=font)


def _draw_legend(canvas: RGB, rects: NDArray[np.int64], rows: list[tuple[Colour, str]]) -> None:
    """Class colours and counts in the corner that hides the fewest boxes; the boxes are drawn over it later."""
    height, width = canvas.shape[:2]
    if len(rows) > _LEGEND_ROWS:
        rest = len(rows) - _LEGEND_ROWS + 1
        rows = [*rows[: _LEGEND_ROWS - 1], ((128, 128, 128), f"{rest} more classes")]
    font_size = min(max(_SMALLEST_FONT, int(0.012 * min(width, 1.6 * height)) + 2), 24)
    row_height = _plate_size("", font_size)[1] + 2
    wide = max(_plate_size(text, font_size)[0] for _, text in rows) + row_height + 8
    high = row_height * len(rows) + 6
    if wide * high > _LEGEND_SHARE * width * height or wide > width or high > height:
        return
    corners = [(x, y) for y in (0, height - high) for x in (0, width - wide)]
    left, top = min(corners, key=lambda at: _hidden(rects, (at[0], at[1], at[0] + wide, at[1] + high)))
    panel = Image.fromarray((canvas[top : top + high, left : left + wide] * 0.35).astype(np.uint8))
    pen = ImageDraw.Draw(panel)
    for number, (colour, text) in enumerate(rows):
        y = 3 + number * row_height
        pen.rectangle((5, y + 3, row_height - 2, y + row_height - 5), fill=colour)
        _write(panel, (row_height + 4, y + 1), text, font_size, (255, 255, 255))
    canvas[top : top + high, left : left + wide] = np.asarray(panel)


def _hidden(rects: NDArray[np.int64], area: Rect) -> int:
    overlap = np.minimum(rects[:, 2:], area[2:]) - np.maximum(rects[:, :2], area[:2])
    return int((overlap > 0).all(axis=1).sum())
