"""Where an evaluation goes wrong, in charts: precision and recall, confusions, TIDE's error types, the worst images."""

from collections.abc import Mapping

import numpy as np

from eyas.data.sample import Dataset
from eyas.metrics.coco import Boxes
from eyas.metrics.confusion import Confusion
from eyas.metrics.curves import PrecisionRecall
from eyas.metrics.evaluation import Evaluation
from eyas.metrics.tide import ErrorSplit
from eyas.report.axes import Axis, from_zero
from eyas.report.charts import COLOURS, Line, Series, bars, lines
from eyas.report.figures import above, figure, used
from eyas.report.grids import matrix
from eyas.report.marks import legend
from eyas.report.page import Cell, Section, bullets, charts, folded, paragraph, pictures, table
from eyas.report.svg import Html
from eyas.report.worst import WORDS, draw_worst, judge

MOST_PAIRS = 20
WIDEST_MATRIX, WIDEST_TABLE = 24, 40  # classes

_TYPES = {
    "localization": "right class, IoU with its object of 0.1 to 0.5",
    "classification": "wrong class, IoU of 0.5 or more",
    "duplicate": "an object that a better detection has found",
    "background": "nothing there, IoU below 0.1",
    "both": "wrong class, IoU of 0.1 to 0.5",
    "missed": "objects without any detection to mend",
}


def curve_section(result: Evaluation) -> Section:
    """Precision against recall at IoU 0.5 and 0.75, and the best threshold."""
    objects = {name: group.objects for name, group in result.metrics.per_class.items()}
    drawn = [(_curves(curve, objects), _left_out(curve)) for curve in result.curves]
    rows: list[list[Cell]] = []
    for curve in result.curves:
        best = curve.best_overall
        rows.append(
            [f"{curve.iou:g}", *((above(best.threshold), best.precision, best.recall, best.F1) if best else ("–",) * 4)]
        )
    said = "The score threshold with the highest F1 over all classes, and what is right above it:"
    head = ["IoU", "Threshold", "Precision", "Recall", "F1"]
    return Section("Precision and recall", (charts(*drawn), paragraph(said, "muted"), table(head, rows)))


def _curves(curve: PrecisionRecall, objects: Mapping[str, int]) -> Html:
    """The mean and the classes with the most objects."""
    names = sorted(curve.precision, key=lambda name: -objects.get(name, 0))[: COLOURS - 1]
    drawn = [Line("mean of the classes", list(zip(curve.recalls, curve.mean, strict=False)))]
    if len(curve.precision) > 1:
        drawn += [Line(name, list(zip(curve.recalls, curve.precision[name], strict=True))) for name in names]
    at = (
        ", ".join(f"{curve.mean[place]:.3f} at {curve.recalls[place]:g}" for place in range(0, 101, 25))
        if curve.mean
        else "none"
    )
    axes = Axis("recall", 0.0, 1.0), Axis("precision", 0.0, 1.0)
    return lines(f"Precision against recall, IoU {curve.iou:g}", f"mean precision by recall: {at}", drawn, *axes)


def _left_out(curve: PrecisionRecall) -> str:
    more = len(curve.precision) - (COLOURS - 1)
    return f"The {COLOURS - 1} classes with the most objects; {more} more are not drawn." if more > 0 else ""


def confusion_section(confusion: Confusion) -> Section:
    """The confusion matrix, and the pairs that are confused most."""
    labels, counts = [*confusion.names, "background"], confusion.matrix
    said = (
        f"{used(confusion.threshold)}, IoU of {confusion.iou:g} or more. Rows are "
        "annotated classes, columns what they were taken for; the last column are missed objects, the last row false "
        "alarms. "
        f"{confusion.ignored:,} detections in ignored regions are not counted."
    )
    keep = _frequent(confusion)
    names = [labels[place] for place in keep]
    shown = np.asarray(counts[np.ix_(keep, keep)])
    chart = matrix("Confusion matrix", "the table of pairs below holds its numbers", shown, names, names)
    some = f"The {WIDEST_MATRIX} classes with the most objects." if len(keep) < len(labels) else ""
    parts = [paragraph(said, "muted"), charts((chart, f"Colour: share of the row. {some}".strip()))]
    parts.append(table(["Annotated", "Detected as", "Count", "Share of the annotated"], _pairs(confusion)))
    if len(confusion.names) <= WIDEST_TABLE:
        rows: list[list[Cell]] = [[label, *row] for label, row in zip(labels, counts.tolist(), strict=True)]
        parts.append(folded("The whole matrix in numbers", table(["Annotated \\ detected", *labels], rows)))
    return Section("Confusions", tuple(parts))


def _frequent(confusion: Confusion) -> list[int]:
    """The places of the classes with the most objects, in their order, and the background's."""
    total = confusion.matrix[:-1].sum(axis=1)
    return [*sorted(np.argsort(-total, kind="stable")[:WIDEST_MATRIX].tolist()), len(total)]


def _pairs(confusion: Confusion) -> list[list[Cell]]:
    """What is confused most, the most frequent first."""
    labels = [*confusion.names, "background"]
    counts, totals = confusion.matrix, confusion.matrix.sum(axis=1)
    wrong = [
        (int(counts[row, column]), int(row), int(column)) for row, column in np.argwhere(counts > 0) if row != column
    ]
    rows: list[list[Cell]] = []
    for count, row, column in sorted(wrong, key=lambda pair: (-pair[0], pair[1:]))[:MOST_PAIRS]:
        missed, alarm = column == len(labels) - 1, row == len(labels) - 1
        share: Cell = "–" if alarm else count / int(totals[row])
        taken = "nothing (missed)" if missed else labels[column]
        rows.append(["nothing (false alarm)" if alarm else labels[row], taken, count, share])
    return rows


def tide_section(split: ErrorSplit) -> Section:
    """TIDE's error types: how many, and what mending them would gain."""
    names = list(_TYPES)
    gains, counts = [split.dAP[name] for name in names], [split.counts[name] for name in names]
    gained = Series("gain", [max(gain, 0.0) for gain in gains], [f"{gain:.4f}" for gain in gains])
    counted = Series("count", counts, [f"{count:,}" for count in counts])
    rows: list[list[Cell]] = [
        [name, _TYPES[name], count, f"{gain:.4f}"] for name, count, gain in zip(names, counts, gains, strict=True)
    ]
    rows.append(["false positives", "all wrong detections", split.false_positives, f"{split.dAP_false_positives:.4f}"])
    rows.append(["false negatives", "all objects not found", split.false_negatives, f"{split.dAP_false_negatives:.4f}"])
    said = (
        f"What AP50 ({figure(split.AP50)}) would gain if all errors of one type were mended (TIDE, Bolya et al., ECCV "
        f"2020). Each type is mended alone, so gains do not add up. The best {split.max_dets} detections of a class in "
        "an image count, whatever their score."
    )
    drawn = charts(
        (bars("Gain in AP50 by mending", names, [gained], from_zero("AP50", max([*gains, 0.01]))), ""),
        (bars("Errors of each type", names, [counted], from_zero("errors", max([*counts, 1]))), ""),
    )
    return Section("Why AP is lost", (paragraph(said, "muted"), drawn, table(["Type", "What", "Count", "Gain"], rows)))


def worst_section(dataset: Dataset, detections: Mapping[int, Boxes], threshold: float, most: int) -> Section:
    """The images with the most errors above `threshold`, at most `most` pictures."""
    judged = judge(dataset, detections, threshold)
    shown, unread = draw_worst(dataset, judged, most)
    wrong = sum(one.errors > 0 for one in judged)
    said = (
        f"{used(threshold)}. {wrong:,} of {len(judged):,} images have errors; those with "
        "the most come first. A tiny object's frame stands off it."
    )
    rows: list[list[Cell]] = [
        [one.sample.path.name, one.sample.image_id, one.errors, *(one.count(kind) for kind in WORDS)]
        for one in judged[:MOST_PAIRS]
    ]
    head = ["Image", "Id", "Errors", *(kind.name.capitalize() for kind in WORDS)]
    return Section(
        "Worst images",
        (
            paragraph(said, "muted"),
            legend(list(WORDS.items())),
            bullets(unread),
            pictures(shown),
            folded(f"Counts of the {len(rows)} worst images", table(head, rows)),
        ),
    )
