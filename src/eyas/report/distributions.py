"""The numbers of a dataset as charts and tables: splits, classes, sizes, counts, positions, advice on tiles."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eyas.metrics.sizes import SIZE_BINS
from eyas.report.axes import Axis, from_zero, sizes_axis
from eyas.report.charts import COLOURS, Band, Series, bars, histogram
from eyas.report.grids import heat_map
from eyas.report.page import Cell, Section, bullets, charts, folded, heading, paragraph, table
from eyas.report.svg import Html

if TYPE_CHECKING:
    from eyas.check.statistics import Statistics

MOST_BARS = 30
MOST_ROWS = 1000
_QUANTILES = {"least": 0.0, "1 %": 0.01, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "99 %": 0.99, "most": 1.0}


def split_section(statistics: "Statistics") -> Section:
    """How much there is in each split."""
    if statistics.kind == "recognition":
        counts: list[list[Cell]] = [
            [one.name, one.images, int((one.class_images > 0).sum())] for one in statistics.splits
        ]
        return Section("Splits", (table(["Split", "Images", "Labels with images"], counts),))
    head = ["Split", "Images", "Boxes", "Boxes an image", "Images without boxes", "Ignored regions"]
    rows: list[list[Cell]] = [
        [
            one.name,
            one.images,
            one.boxes,
            f"{one.boxes / max(one.images, 1):.1f}",
            one.images_without_boxes,
            one.ignored,
        ]
        for one in statistics.splits
    ]
    sizes: Counter[tuple[int, int]] = Counter()
    for one in statistics.splits:
        sizes.update((width, height) for width, height in one.image_sizes.tolist())
    common: list[list[Cell]] = [[f"{width} x {height}", count] for (width, height), count in sizes.most_common(10)]
    said = f"{len(sizes):,} different image sizes, the most frequent first" if len(sizes) > 10 else ""
    parts = (table(head, rows), heading("Image sizes"), table(["Width x height, px", "Images"], common, said))
    return Section("Splits", parts)


def class_section(statistics: "Statistics") -> Section:
    """A histogram of the classes, and how often each occurs in each split."""
    total = statistics.class_boxes.sum(axis=0)
    order = np.argsort(-total, kind="stable").tolist()
    what = "boxes" if statistics.kind == "detection" else "images"
    drawn = [(_class_bars(statistics, order[:MOST_BARS], what), _only(len(order), MOST_BARS, "chart"))]
    if len(order) > MOST_BARS:
        drawn.append((_frequencies(total, what), ""))
    names = [one.name for one in statistics.splits]
    rows: list[list[Cell]] = [
        [statistics.classes[place], *statistics.class_boxes[:, place].tolist(), int(total[place])]
        for place in order[:MOST_ROWS]
    ]
    shown = table(["Class", *names, "All"], rows, _only(len(order), MOST_ROWS, "table"))
    empty = [statistics.classes[place] for place in order if not total[place]]
    warned = [paragraph(f"{len(empty)} classes have no {what}: {_listed(empty)}.", "note")] if empty else []
    whole = folded(f"All {len(rows)} classes in numbers", shown) if len(rows) > MOST_BARS else shown
    return Section("Classes" if what == "boxes" else "Labels", (*warned, charts(*drawn), whole))


def _class_bars(statistics: "Statistics", places: Sequence[int], what: str) -> Html:
    noun = "class" if statistics.kind == "detection" else "label"
    counts = statistics.class_boxes[:, places]
    labels = [statistics.classes[place] for place in places]
    series = [
        Series(one.name, row, [f"{count:,}" for count in row])
        for one, row in zip(statistics.splits[:COLOURS], counts.tolist(), strict=False)
    ]
    return bars(f"{what.capitalize()} of each {noun}", labels, series, from_zero(what, int(counts.max(initial=0))))


def _frequencies(total: NDArray[np.int64], what: str) -> Html:
    """How many classes have how many boxes or images."""
    edges, counts = _whole_bins(total)
    x, y = Axis(f"{what} of a class", edges[0], edges[-1], whole=True), from_zero("classes", max(counts))
    return histogram(f"Classes by number of {what}", f"{len(total)} classes", (edges, counts), x, y)


def size_section(statistics: "Statistics") -> Section:
    """Box sizes in pixels and as share of the image."""
    sides = np.concatenate([one.sides for one in statistics.splits]).astype(np.float64)
    relative = np.concatenate([one.relative for one in statistics.splits]).astype(np.float64)
    roots, shares = np.sqrt(sides.prod(axis=1)), np.sqrt(relative.prod(axis=1))
    parts = [_bin_table(statistics), _quantile_table(sides, relative)]
    if roots.any():
        said = "Named parts: AI-TOD's sizes, 2 to 64 px. The table counts its outer two without end."
        parts.insert(0, charts((pixel_histogram(roots), said), (share_histogram(shares), "")))
    return Section("Box sizes", tuple(parts))


def _bin_table(statistics: "Statistics") -> Html:
    """How many boxes of each split are in each of AI-TOD's and COCO's bins."""
    splits = statistics.splits
    total = max(sum(one.boxes for one in splits), 1)
    rows: list[list[Cell]] = []
    for protocol, counted in (
        ("AI-TOD", [one.aitod_sizes for one in splits]),
        ("COCO", [one.coco_sizes for one in splits]),
    ):
        for size in counted[0]:
            counts = [one[size] for one in counted]
            share = f"{100 * sum(counts) / total:.1f} %"
            rows.append([f"{protocol} {size.replace('_', ' ')}", *counts, sum(counts), share])
    said = "COCO: small up to 32², medium to 96². A box on an edge counts above."
    return table(["Size", *(one.name for one in splits), "All", "Share"], rows, said)


def _quantile_table(sides: NDArray[np.float64], relative: NDArray[np.float64]) -> Html:
    """Quantiles of the sizes of all boxes, in pixels and per cent."""
    rows: list[list[Cell]] = []
    for unit, values, factor in (("px", sides, 1), ("% of the image", relative, 100)):
        spans = {"√area": np.sqrt(values.prod(axis=1)), "width": values[:, 0], "height": values[:, 1]}
        for name, span in spans.items():
            quantiles = np.quantile(span, list(_QUANTILES.values())).tolist()
            rows.append([f"{name}, {unit}", *(f"{factor * value:.4g}" for value in quantiles)])
    return table(["Of all boxes", *_QUANTILES], rows)


def pixel_histogram(roots: NDArray[np.float64]) -> Html:
    """How many boxes have which size (square root of the area, px), on a logarithmic axis with AI-TOD's bins."""
    roots = roots[roots > 0]
    x = sizes_axis("box size (square root of the area), px", min(roots.min(), 2.0), max(roots.max(), 64.0))
    edges = 2.0 ** np.arange(math.log2(x.low), math.log2(x.high) + 0.125, 0.25)
    bands = [
        Band(name.replace("_", " "), max(math.sqrt(low), x.low), min(math.sqrt(high), x.high))
        for name, (low, high) in SIZE_BINS.items()
        if name != "under16"
    ]
    return _size_histogram("Box sizes in pixels", roots, edges, x, bands)


def share_histogram(shares: NDArray[np.float64]) -> Html:
    """How many boxes have which size as share of their image's side, on a logarithmic axis."""
    shares = np.minimum(shares[shares > 0], 1.0)
    x = sizes_axis(
        "box size (square root of the area), share of the image's", min(shares.min(), 0.01), 1.0, 10, percent=True
    )
    edges = 10.0 ** np.arange(math.log10(x.low), 0.0625, 0.125)
    return _size_histogram("Box sizes relative to the image", shares, edges, x, [])


def _size_histogram(
    title: str, values: NDArray[np.float64], edges: NDArray[np.float64], x: Axis, bands: list[Band]
) -> Html:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    said = f"{len(values):,} boxes, the median is {np.median(values):.4g}"
    return histogram(title, said, (edges.tolist(), counts.tolist()), x, from_zero("boxes", int(counts.max())), bands)


def place_section(statistics: "Statistics") -> Section:
    """How many objects an image has, and where they lie."""
    objects = np.concatenate([one.objects for one in statistics.splits])
    edges, counts = _whole_bins(objects)
    x, y = Axis("boxes in an image", edges[0], edges[-1], whole=True), from_zero("images", max(counts))
    without, most = int((objects == 0).sum()), int(objects.max(initial=0))
    said = f"{len(objects):,} images, {without:,} without boxes, at most {most:,} boxes"
    many = histogram("Boxes in an image", said, (edges, counts), x, y)
    heat = heat_map(
        "Where the boxes lie",
        "number of box centres in each part of the image",
        statistics.heat,
        "x, of the width",
        "y, of the height",
    )
    caption = "Centres of all boxes, as share of their image's width and height. The scale counts boxes in a cell."
    return Section("Counts and positions", (charts((many, said + "."), (heat, caption)),))


def _whole_bins(values: NDArray[np.int64]) -> tuple[list[float], list[int]]:
    """At most 40 equal bins (edges, counts) of whole numbers from 0 on; each number stands in the middle of its own."""
    step = max(1, math.ceil((int(values.max(initial=0)) + 1) / 40))
    bins = int(values.max(initial=0)) // step + 1
    counts = np.bincount(values // step, minlength=bins)
    shift = 0.5 if step == 1 else 0.0
    return [place * step - shift for place in range(bins + 1)], counts.tolist()


def tiling_section(statistics: "Statistics") -> Section:
    """Whether to cut the images into tiles, and why."""
    tiling = statistics.tiling
    if tiling is None:
        return Section("Tiles", (paragraph("There are no boxes, so there is no advice on tiles."),))
    side = tiling.tile_side
    advice = f"Cut the images into tiles of {side} x {side} px." if tiling.advised else "Tiles are not needed."
    return Section("Tiles", (paragraph(advice, "note" if tiling.advised else ""), bullets(tiling.reasons)))


def _only(there: int, most: int, what: str) -> str:
    return f"The {what} shows the {most:,} most frequent of {there:,} classes." if there > most else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
