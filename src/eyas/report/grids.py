"""Charts of cells: a map of positions and a matrix of counts. The fuller the colour, the larger the number."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyas.report.svg import WIDTH, Html, chart, joined, line, rect, shortened, text, text_width

TOP = 34
STRONGEST = 0.6  # of a matrix cell's colour: its number must stay readable on it


def heat_map(title: str, described: str, counts: NDArray[np.int64], x_label: str, y_label: str) -> Html:
    """`counts` [H, W] as cells over a whole image: 0 to 100 % of its width and height, y from the top."""
    rows, columns = counts.shape
    left, side, most = 64.0, 300.0, max(int(counts.max(initial=0)), 1)
    wide, high = side / columns, side / rows
    parts = [rect(left, TOP, side, side, "noshade")]
    for row, column in np.argwhere(counts > 0).tolist():
        share = int(counts[row, column]) / most
        hint = f"{counts[row, column]:,}"
        parts.append(rect(left + column * wide, TOP + row * high, wide, high, "heat", hint=hint, opacity=share))
    foot, end = TOP + side, left + side
    for part in range(5):
        at, words = side * part / 4, f"{25 * part} %"
        parts += [text(left + at, foot + 17, words, anchor="middle"), text(left - 6, TOP + at + 4, words, anchor="end")]
    corners = [(left, TOP), (end, TOP), (end, foot), (left, foot), (left, TOP)]
    parts += [line(*one, *other, "axis") for one, other in zip(corners, corners[1:], strict=False)]
    parts.append(text(left + side / 2, foot + 37, x_label, anchor="middle", style="label"))
    parts.append(text(14, TOP + side / 2, y_label, anchor="middle", style="label", turned=True))
    return chart(title, described, foot + 46, *parts, _scale(end + 14, TOP, side, most))


def _scale(left: float, top: float, height: float, most: int) -> Html:
    """Which colour stands for which number, from 0 at the foot to `most`."""
    steps = 20
    high = height / steps
    cells = [
        rect(left, top + height - (step + 1) * high, 12, high, "heat", opacity=(step + 0.5) / steps)
        for step in range(steps)
    ]
    said = [(0, top + height), (most / 2, top + height / 2 + 4), (most, top + 10)]
    return joined(
        *cells, *(text(left + 16, y, f"{value:,.4g}" if value < 1e4 else f"{value:.1e}") for value, y in said)
    )


def matrix(title: str, described: str, counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]) -> Html:
    """`counts` [H, W], the colour of a cell its share of the row; numbers stand in the cells where they have room."""
    left = min(max(map(text_width, rows)), 120) + 34
    side = (WIDTH - left - 10) / max(len(columns), 1)
    head = min(max(map(text_width, columns)), 120) + 30
    high = max(min(side, 34.0), 11.0)
    top = TOP + head
    parts = [text(14, top + high * len(rows) / 2, "annotated", anchor="middle", style="label", turned=True)]
    parts.append(text(left + side * len(columns) / 2, TOP + 10, "detected", anchor="middle", style="label"))
    totals = np.maximum(counts.sum(axis=1), 1)
    for column, name in enumerate(columns):
        words = shortened(name, head - 24, 12)
        parts.append(text(left + (column + 0.5) * side + 4, top - 6, words, style="small", turned=True))
    for row, name in enumerate(rows):
        y = top + row * high
        parts.append(text(left - 6, y + high / 2 + 4, shortened(name, left - 34, 12), anchor="end", style="small"))
        for column, other in enumerate(columns):
            count, x = int(counts[row, column]), left + column * side
            share = STRONGEST * count / int(totals[row])
            hint = f"{name} taken for {other}: {count:,}"
            parts.append(rect(x + 0.5, y + 0.5, side - 1, high - 1, "noshade"))
            if count:
                parts.append(rect(x + 0.5, y + 0.5, side - 1, high - 1, "heat", hint=hint, opacity=share))
            if text_width(f"{count:,}", 12) < side - 2:
                parts.append(text(x + side / 2, y + high / 2 + 4, f"{count:,}", anchor="middle", style="small"))
    return chart(title, described, top + high * len(rows) + 12, *parts)
