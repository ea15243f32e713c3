"""Charts as inline SVG: bars, lines, histograms. Series differ by dash or order too, never by colour alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from eyas.report.axes import Axis
from eyas.report.svg import (
    WIDTH,
    Html,
    chart,
    dot,
    joined,
    line,
    polyline,
    rect,
    shortened,
    text,
    text_width,
)

COLOURS = 8  # classes s0 … s7 of the style sheet
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4", "1 2", "6 2 1 2 1 2")
TOP, RIGHT, BOTTOM = 34, 22, 46
_ROW, _THIN_ROW, _GAP = 17, 14, 6


@dataclass(frozen=True)
class Series:
    """Bars of one colour: `values`, one for each label; `texts` are written beside them; `ranges` drawn as whiskers."""

    name: str
    values: Sequence[float]
    texts: Sequence[str]
    ranges: Sequence[tuple[float, float] | None] = ()


@dataclass(frozen=True)
class Line:
    """Points (x, y) that are joined; `bands` (low, high) for each point are drawn as whiskers."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False
    bands: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Band:
    """A part of the x axis with a name, from `low` to `high`."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Plot:
    """The place of a chart between its two axes."""

    x: Axis
    y: Axis
    left: float
    top: float
    width: float
    height: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point stands in the picture."""
        return self.left + self.x.place(x) * self.width, self.top + (1 - self.y.place(y)) * self.height

    def axes(self) -> Html:
        """Grid, ticks and labels of both axes."""
        foot, end = self.top + self.height, self.left + self.width
        parts = []
        for value, label in self.y.ticks():
            y = self.at(self.x.low, value)[1]
            parts += [line(self.left, y, end, y, "grid"), text(self.left - 6, y + 4, label, anchor="end")]
        for value, label in self.x.ticks():
            x = self.at(value, self.y.low)[0]
            parts += [line(x, self.top, x, foot, "grid"), text(x, foot + 17, label, anchor="middle")]
        parts += [line(self.left, foot, end, foot, "axis"), line(self.left, self.top, self.left, foot, "axis")]
        parts.append(text((self.left + end) / 2, foot + 37, self.x.label, anchor="middle", style="label"))
        middle = (self.top + foot) / 2
        parts.append(text(14, middle, self.y.label, anchor="middle", style="label", turned=True))
        return joined(*parts)


def bars(title: str, labels: Sequence[str], series: Sequence[Series], axis: Axis) -> Html:
    """A horizontal bar for each label and series, as long as its value on `axis`; a legend where there are several."""
    thick = _ROW if len(series) == 1 else _THIN_ROW
    step = thick * len(series) + _GAP
    left = min(max((text_width(label) for label in labels), default=0), 160) + 14
    room = max((text_width(words, 12) for one in series for words in one.texts), default=0) + 8
    width, foot = WIDTH - left - room - 8, TOP + step * len(labels) + _GAP
    parts = [_columns(axis, left, width, foot)]
    for row, label in enumerate(labels):
        top = TOP + _GAP + row * step
        middle = top + (step - _GAP) / 2 + 4.5
        parts.append(text(left - 6, middle, shortened(label, left - 12), anchor="end"))
        for place, one in enumerate(series):
            parts.append(_bar(one, row, place, axis, (left, top + place * thick, width, thick - 2), label))
    legend, more = _legend([one.name for one in series], foot + BOTTOM) if len(series) > 1 else (Html(""), 0)
    said = "; ".join(
        f"{label}: " + ", ".join(f"{one.name} {one.texts[row]}" for one in series) for row, label in enumerate(labels)
    )
    return chart(title, said, foot + BOTTOM + more, *parts, legend)


def _columns(axis: Axis, left: float, width: float, foot: float) -> Html:
    """Grid, ticks and label of an axis of values that lies below horizontal bars."""
    parts = []
    for value, label in axis.ticks():
        x = left + axis.place(value) * width
        parts += [line(x, TOP, x, foot, "grid"), text(x, foot + 17, label, anchor="middle")]
    parts.append(line(left, TOP, left, foot, "axis"))
    return joined(*parts, text(left + width / 2, foot + 37, axis.label, anchor="middle", style="label"))


def _bar(one: Series, row: int, place: int, axis: Axis, box: tuple[float, float, float, float], label: str) -> Html:
    """One bar in `box` (left, top, the whole length of the axis, thickness), its text at the right end."""
    left, top, width, thick = box
    said, middle = one.texts[row], top + thick / 2
    length = axis.place(one.values[row]) * width
    parts = [rect(left, top, length, thick, f"s{place % COLOURS}", hint=f"{label}, {one.name}: {said}")]
    whisker = one.ranges[row] if one.ranges else None
    if whisker:
        low, high = (left + axis.place(end) * width for end in whisker)
        parts += [line(low, middle, high, middle, "whisker")]
        parts += [line(x, middle - 4, x, middle + 4, "whisker") for x in (low, high)]
    parts.append(text(WIDTH - 8, middle + 4.5, said, anchor="end", style="small"))
    return joined(*parts)


def lines(title: str, described: str, drawn: Sequence[Line], x: Axis, y: Axis, height: float = 230) -> Html:
    """Lines over an x and a y axis, with a legend where there are several."""
    plot = _plot(x, y, height)
    parts = [plot.axes()]
    for place, one in reversed(list(enumerate(drawn))):  # the first one lies on top
        points, style = [plot.at(*point) for point in one.points], f"l{place % COLOURS}"
        for (at, _), band in zip(one.points, one.bands, strict=False):
            (across, low), (_, high) = plot.at(at, band[0]), plot.at(at, band[1])
            parts.append(line(across, low, across, high, f"band {style}"))
        parts.append(polyline(points, f"line {style}", DASHES[place % len(DASHES)]))
        if one.dots:
            marks = zip(points, one.points, strict=True)
            parts += [dot(*at, f"s{place % COLOURS}", f"{one.name}: {v[0]:.4g}, {v[1]:.4g}") for at, v in marks]
    foot = plot.top + plot.height + BOTTOM
    legend, more = _legend([one.name for one in drawn], foot, dashed=True) if len(drawn) > 1 else (Html(""), 0)
    return chart(title, described, foot + more, *parts, legend)


def histogram(
    title: str,
    described: str,
    counted: tuple[Sequence[float], Sequence[int]],
    x: Axis,
    y: Axis,
    bands: Sequence[Band] = (),
) -> Html:
    """Of `counted` (edges, counts) a bar of `counts[i]` from `edges[i]` to `edges[i + 1]`.

    `bands` shade parts of the x axis and name them.
    """
    plot = _plot(x, y, 200, above=18 if bands else 0)
    parts = [_shade(plot, band, place % 2 == 0) for place, band in enumerate(bands)]
    parts.append(plot.axes())
    edges, counts = counted
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        (left, top), (right, foot) = plot.at(low, count), plot.at(high, y.low)
        if count and right > left:
            gap = min(1.0, (right - left) / 8)
            hint = f"{low:.4g}–{high:.4g}: {count:,}"
            parts.append(rect(left + gap / 2, top, right - left - gap, foot - top, "s0", hint=hint))
    return chart(title, described, plot.top + plot.height + BOTTOM, *parts)


def _shade(plot: Plot, band: Band, dark: bool) -> Html:
    left, right = (plot.at(end, plot.y.low)[0] for end in (band.low, band.high))
    name = shortened(band.name, right - left - 2, 11)
    return joined(
        rect(left, plot.top - 16, right - left, plot.height + 16, "shade" if dark else "noshade"),
        text((left + right) / 2, plot.top - 4, name if len(name) > 2 else "", anchor="middle", style="tiny"),
    )


def _plot(x: Axis, y: Axis, height: float, above: float = 0) -> Plot:
    """The plot of a chart of the usual width, with room for the y ticks."""
    left = 34 + max(text_width(label) for _, label in y.ticks())
    return Plot(x, y, left, TOP + above, WIDTH - left - RIGHT, height)


def _legend(names: Sequence[str], top: float, *, dashed: bool = False) -> tuple[Html, float]:
    """Names beside their colours, in as many rows as they need, and the height of it."""
    parts, x, y = [], 14.0, top + 12
    for place, name in enumerate(names):
        words = shortened(name, WIDTH - 70)
        wide = 34 + text_width(words)
        if x + wide > WIDTH and x > 14:
            x, y = 14.0, y + 20
        if dashed:
            points = [(x, y - 4), (x + 24, y - 4)]
            parts.append(polyline(points, f"line l{place % COLOURS}", DASHES[place % len(DASHES)]))
        else:
            parts.append(rect(x + 6, y - 10, 12, 12, f"s{place % COLOURS}"))
        parts.append(text(x + 29, y, words))
        x += wide + 10
    return joined(*parts), y + 10 - top
