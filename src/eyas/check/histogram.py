"""histogram.png: how many examples of each class every split has."""

import io
import unicodedata

import numpy as np
from PIL import Image, ImageDraw

from eyas.check.statistics import Statistics
from eyas.vision.draw import PALETTE
from eyas.vision.fonts import load_font

_ROWS = 60  # classes drawn; the rest is one row
_BAR, _WIDTH, _NAME_WIDTH, _FONT = 14, 560, 190, 13


def draw_histogram(statistics: Statistics) -> bytes:
    """A PNG: a row for each class, a bar for each split, most examples in training first.

    Detection counts boxes. A recognition dataset has a row of images and one of labels, as it can have thousands.
    """
    rows = _rows(statistics)
    splits = [split.name for split in statistics.splits]
    row_height = _BAR * max(len(splits), 1) + 10
    picture = Image.new("RGB", (_NAME_WIDTH + _WIDTH + 90, 44 + row_height * len(rows) + 10), "white")
    pen, font = ImageDraw.Draw(picture), load_font(_FONT)
    left = 10.0
    for place, name in enumerate(splits):
        pen.rectangle((left, 14, left + 12, 26), fill=PALETTE[place % len(PALETTE)])
        pen.text((left + 18, 11), _clean(name, 24), fill="black", font=font)
        left += 40 + pen.textlength(_clean(name, 24), font=font)
    most = max([1, *(count for _, counts in rows for count in counts)])
    for row, (name, counts) in enumerate(rows):
        top = 44 + row * row_height
        pen.text((10, top + (row_height - 10 - _FONT) // 2 - 2), _clean(name, 24), fill="black", font=font)
        for place, count in enumerate(counts):
            y, end = top + place * _BAR, _NAME_WIDTH + round(_WIDTH * count / most)
            pen.rectangle((_NAME_WIDTH, y, end, y + _BAR - 2), fill=PALETTE[place % len(PALETTE)])
            pen.text((end + 5, y - 2), str(count), fill="black", font=font)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _rows(statistics: Statistics) -> list[tuple[str, list[int]]]:
    counts = statistics.class_boxes
    if statistics.kind == "recognition":
        labels = [int((split.class_boxes > 0).sum()) for split in statistics.splits]
        return [("images", [split.images for split in statistics.splits]), ("labels", labels)]
    # the first split is the training part where there is one
    order = np.lexsort((np.arange(counts.shape[1]), *(-row for row in counts[::-1])))
    rows = [(statistics.classes[place], counts[:, place].tolist()) for place in order.tolist()]
    if len(rows) > _ROWS:
        rest = np.sum([row for _, row in rows[_ROWS - 1 :]], axis=0).tolist()
        rows = [*rows[: _ROWS - 1], (f"{len(rows) - _ROWS + 1} more classes", rest)]
    return rows


def _clean(text: str, longest: int) -> str:
    kept = "".join(" " if unicodedata.category(letter).startswith("C") else letter for letter in text)
    return kept if len(kept) <= longest else kept[: longest - 1] + "…"
