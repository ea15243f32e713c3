"""The figures of an evaluation as tables and charts: the benchmarks' protocols, classes, object sizes."""

import math
from collections.abc import Mapping, Sequence

from eyas.metrics.bootstrap import HEADLINES, Interval
from eyas.metrics.coco import GroupFigures
from eyas.metrics.detection import DetectionMetrics, SizeRecall
from eyas.metrics.evaluation import Evaluation
from eyas.metrics.protocols import ProtocolFigures
from eyas.metrics.sizes import AITOD_BINS, SIZE_BINS, SODA_BINS
from eyas.report.axes import Axis
from eyas.report.charts import Line, Series, bars, lines
from eyas.report.page import Cell, Section, charts, heading, paragraph, table
from eyas.report.svg import Html

MOST_BARS = 30
SHARE = Axis("1 is perfect", 0.0, 1.0)

_COCO = (
    ("AP", "AP, IoU 0.50 to 0.95"),
    ("AP50", "AP, IoU 0.50"),
    ("AP75", "AP, IoU 0.75"),
    ("AP_small", "AP, areas up to 32²"),
    ("AP_medium", "AP, areas 32² to 96²"),
    ("AP_large", "AP, areas above 96²"),
    ("AR1", "AR, 1 detection"),
    ("AR10", "AR, 10 detections"),
    ("AR100", "AR, 100 detections"),
    ("AR_small", "AR, areas up to 32²"),
    ("AR_medium", "AR, areas 32² to 96²"),
    ("AR_large", "AR, areas above 96²"),
    ("AP_500", "AP, 500 detections"),
    ("AP50_500", "AP, IoU 0.50, 500 detections"),
    ("AP75_500", "AP, IoU 0.75, 500 detections"),
    ("AR_500", "AR, 500 detections"),
)
_INTERVAL_OF_BIN = {
    "very_tiny": "AP_2_8px",
    "tiny": "AP_8_16px",
    "small": "AP_16_32px",
    "medium": "AP_32_64px",
    "under16": "AP_under16",
}
_PROTOCOL_WORDS = {
    "aitod": ("AI-TOD", AITOD_BINS, "COCO's rules with 1500 detections; sizes of Wang et al., ICPR 2021."),
    "soda": (
        "SODA",
        SODA_BINS,
        "COCO's rules with 20000 detections; AP over areas up to 1024 px², Cheng et al., 2023.",
    ),
}


def protocol_section(result: Evaluation) -> Section:
    """COCO's, VisDrone's, AI-TOD's and SODA's figures."""
    return Section(
        "Figures",
        (
            paragraph(
                "Between 0 and 1, higher is better; – where there is no object to measure. COCO counts the best 100 "
                "detections of a class in an image, VisDrone 500 of all classes.",
                "muted",
            ),
            heading("COCO"),
            charts((_headlines(result), "Whiskers: 95 % bootstrap interval over images." if result.intervals else "")),
            table(["Figure", "Key", "Value", "95 % interval"], _coco_rows(result)),
            heading("VisDrone"),
            paragraph(
                "500 detections an image; what lies half or more in an ignored region is left out: "
                f"{result.visdrone.dropped_detections:,} detections and {result.visdrone.dropped_objects:,} objects.",
                "muted",
            ),
            table(*_columns(result.visdrone, ("AP", "AP50", "AP75", "AR1", "AR10", "AR100", "AR500"))),
            *(part for name in result.protocols for part in _protocol(name, result)),
        ),
    )


def _headlines(result: Evaluation) -> Html:
    names = [name for name, _ in _COCO if name in HEADLINES or name in ("AP_small", "AP_medium", "AP_large")]
    return interval_bars(
        "COCO AP, 100 detections", names, [getattr(result.metrics, n) for n in names], result.intervals
    )


def interval_bars(
    title: str,
    names: Sequence[str],
    values: Sequence[float],
    intervals: Mapping[str, Interval],
    keys: Sequence[str] = (),
) -> Html:
    """Bars of figures between 0 and 1 with their intervals, which are looked up by `keys`, else by `names`."""
    known = [intervals.get(key) for key in (keys or names)]
    ranges = [(one.low, one.high) if one and one.value >= 0 else None for one in known]
    series = Series(title, [max(value, 0.0) for value in values], [figure(value) for value in values], ranges)
    return bars(title, names, [series], SHARE)


def figure(value: float) -> str:
    """A figure to four places; a dash where nothing could be measured."""
    return "–" if value == -1 else f"{value:.4f}"


def above(threshold: float) -> str:
    """A score threshold for a table; a dash where none is needed, as every detection is used."""
    return f"{threshold:.4f}" if threshold >= 0 else "–"


def used(threshold: float) -> str:
    """Which detections count, as a sentence begins."""
    return f"Detections with a score above {threshold:.4f}" if threshold >= 0 else "All detections"


def spread(interval: Interval | None) -> str:
    """An interval in words."""
    return f"{interval.low:.4f} … {interval.high:.4f}" if interval and interval.value >= 0 else "–"


def _coco_rows(result: Evaluation) -> list[list[Cell]]:
    metrics, intervals = result.metrics, result.intervals
    return [[said, key, getattr(metrics, key), spread(intervals.get(key))] for key, said in _COCO]


def _columns(figures: object, names: Sequence[str]) -> tuple[list[str], list[list[Cell]]]:
    """A table of one row: `names` over their values."""
    return list(names), [[getattr(figures, name) for name in names]]


def _protocol(name: str, result: Evaluation) -> list[Html]:
    figures: ProtocolFigures = result.protocols[name]
    title, bins, said = _PROTOCOL_WORDS.get(name, ("Own sizes", {}, "500 detections."))
    sides = {
        key: f"{math.sqrt(low):.3g}" + (f"–{math.sqrt(high):.3g}" if high < 1e9 else "+")
        for key, (low, high) in bins.items()
    }
    rows: list[list[Cell]] = [["all", "", figures.AP, figures.AP50, figures.AR, ""]]
    rows += [
        [key, sides.get(key, key), group.AP, group.AP50, group.AR, group.objects]
        for key, group in figures.by_size.items()
    ]
    head = ["Size", "√area, px", "AP", "AP50", "AR", "Objects"]
    return [heading(title), paragraph(f"{said} AP75 is {figure(figures.AP75)}.", "muted"), table(head, rows)]


def class_section(result: Evaluation) -> Section:
    """A bar and a row for each class."""
    metrics, best = result.metrics, result.curves[0].best
    names = sorted(metrics.per_class, key=lambda name: -metrics.per_class[name].objects)
    shown = names[:MOST_BARS]
    left_out = f"The {len(shown)} classes with the most objects; the table has all {len(names)}."
    chart = bars(
        "AP of each class",
        shown,
        [_class_series("AP", metrics.per_class, shown), _class_series("AP50", metrics.per_class, shown)],
        SHARE,
    )
    head = ["Class", "Objects", "AP", "AP50", "AR", "VisDrone AP", "Best threshold", "Precision", "Recall", "F1"]
    rows: list[list[Cell]] = []
    for name in names:
        group, at = metrics.per_class[name], best.get(name)
        row: list[Cell] = [name, group.objects, group.AP, group.AP50, group.AR, result.visdrone.per_class.get(name, -1)]
        rows.append([*row, *((above(at.threshold), at.precision, at.recall, at.F1) if at else ("–",) * 4)])
    said = "AP, AP50 and AR at 100 detections. The best threshold is the score with the highest F1 at IoU 0.5."
    parts = (charts((chart, left_out if len(shown) < len(names) else "")), paragraph(said, "muted"), table(head, rows))
    return Section("Classes", parts)


def _class_series(key: str, per_class: Mapping[str, GroupFigures], names: Sequence[str]) -> Series:
    values = [getattr(per_class[name], key) for name in names]
    return Series(key, [max(value, 0.0) for value in values], [figure(value) for value in values])


def size_section(result: Evaluation) -> Section:
    """Recall against object size, and AP by size."""
    metrics = result.metrics
    names = list(SIZE_BINS)
    said = {name: f"{name} {math.sqrt(low):g}–{math.sqrt(high):g} px" for name, (low, high) in SIZE_BINS.items()}
    by_size = interval_bars(
        "AP by object size, 500 detections",
        list(said.values()),
        [metrics.by_size[name].AP for name in names],
        result.intervals,
        [_INTERVAL_OF_BIN[name] for name in names],
    )
    recall_rows: list[list[Cell]] = [
        [_span(one), one.objects, one.found, one.found / one.objects if one.objects else -1, _wilson_words(one)]
        for one in metrics.recall_by_size
    ]
    ap_rows: list[list[Cell]] = [
        [said[name], g.objects, g.AP, g.AP50, g.AR, spread(result.intervals.get(_INTERVAL_OF_BIN[name]))]
        for name, g in metrics.by_size.items()
    ]
    return Section(
        "Object sizes",
        (
            charts(
                (recall_chart({"recall": metrics}), "Faint bars: 95 % interval of the share (Wilson)."),
                (by_size, "Whiskers: 95 % bootstrap interval over images." if result.intervals else ""),
            ),
            heading("Recall by size, IoU 0.5, 500 detections"),
            table(["√area, px", "Objects", "Found", "Recall", "95 % interval"], recall_rows),
            heading("AP by size, 500 detections"),
            table(["Size", "Objects", "AP", "AP50", "AR", "95 % interval of AP"], ap_rows),
        ),
    )


def recall_chart(runs: Mapping[str, DetectionMetrics]) -> Html:
    """Recall at IoU 0.5 against object size, a line for each run."""
    drawn = []
    for name, metrics in runs.items():
        known = [one for one in metrics.recall_by_size if one.objects]
        points = [(_middle(one), one.found / one.objects) for one in known]
        drawn.append(Line(name, points, dots=True, bands=[wilson(one.found, one.objects) for one in known]))
    x = Axis("object size (square root of the area), px", 2.0, 256.0, base=2)
    said = "; ".join(
        f"{name}: " + ", ".join(f"{_span(one)} px {one.found} of {one.objects}" for one in metrics.recall_by_size)
        for name, metrics in runs.items()
    )
    return lines("Recall against object size, IoU 0.5", said, drawn, x, Axis("recall", 0.0, 1.0))


def wilson(hits: int, tried: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927); objects are taken as independent."""
    z = 1.959964
    share, spare = hits / tried, z * z / tried
    middle = (share + spare / 2) / (1 + spare)
    half = z * math.sqrt(share * (1 - share) / tried + spare / (4 * tried)) / (1 + spare)
    return max(0.0, middle - half), min(1.0, middle + half)


def _wilson_words(one: SizeRecall) -> str:
    if not one.objects:
        return "–"
    low, high = wilson(one.found, one.objects)
    return f"{low:.4f} … {high:.4f}"


def _middle(one: SizeRecall) -> float:
    """Where a bin is drawn: at its geometric middle; the open ones half an octave inside."""
    low = one.low_px or one.high_px / 2
    high = one.high_px if one.high_px < 1e4 else 2 * low
    return math.sqrt(low * high)


def _span(one: SizeRecall) -> str:
    return f"{one.low_px:g}–{one.high_px:g}" if one.high_px < 1e4 else f"{one.low_px:g}+"
