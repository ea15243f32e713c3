"""Two runs on the same images, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

from eyas.metrics.bootstrap import Difference
from eyas.metrics.evaluation import Evaluation
from eyas.report.charts import Series, bars
from eyas.report.figures import MOST_BARS, SHARE, figure, recall_chart
from eyas.report.page import Cell, Section, bullets, charts, heading, paragraph, table
from eyas.report.svg import Html


@dataclass(frozen=True, eq=False)
class Comparison:
    """The run that a report's run is compared with.

    `first` is the other run and `first_name` its name, `second_name` that of the report's own. `differences` are
    `eyas.metrics.bootstrap.compare(first, second)`: second - first.
    """

    first_name: str
    second_name: str
    first: Evaluation
    differences: Mapping[str, Difference]


def comparison_section(second: Evaluation, comparison: Comparison) -> Section:
    """Figures, classes and recall by size of both runs."""
    first, names = comparison.first, (comparison.first_name, comparison.second_name)
    head = ["Figure", *names, "Difference", "95 % interval", "p value"]
    rows: list[list[Cell]] = [
        [
            key,
            one.first,
            one.second,
            f"{one.difference:+.4f}",
            f"{one.low:+.4f} … {one.high:+.4f}",
            f"{one.p_value:.4f}",
        ]
        for key, one in comparison.differences.items()
    ]
    said = (
        f"Differences are {names[1]} minus {names[0]}. The interval is that of a paired bootstrap over images; the p "
        "value is how often a difference as large comes out when each image's detections go to either run by chance."
    )
    classes = sorted(second.metrics.per_class, key=lambda name: -second.metrics.per_class[name].objects)
    drawn = [
        (_bars("Both runs", list(comparison.differences), names, comparison), ""),
        (recall_chart({names[0]: first.metrics, names[1]: second.metrics}), "Faint bars: 95 % interval (Wilson)."),
    ]
    return Section(
        "Comparison",
        (
            paragraph(said, "muted"),
            table(head, rows),
            bullets([verdict(key, names[1], one) for key, one in comparison.differences.items()]),
            charts(*drawn),
            heading("AP of each class"),
            table(["Class", "Objects", *names, "Difference"], _class_rows(classes, first, second)),
        ),
    )


def verdict(key: str, second_name: str, one: Difference) -> str:
    """What a difference says, in words."""
    if one.low <= 0 <= one.high:
        return f"{key}: {one.difference:+.4f} could as well come from the choice of images."
    word = "better" if one.difference > 0 else "worse"
    return f"{key}: {second_name} is {word} by {abs(one.difference):.4f}, more than other images would explain."


def _bars(title: str, keys: list[str], names: tuple[str, str], comparison: Comparison) -> Html:
    values = [[getattr(comparison.differences[key], place) for key in keys] for place in ("first", "second")]
    series = [
        Series(name, [max(value, 0.0) for value in row], [figure(value) for value in row])
        for name, row in zip(names, values, strict=True)
    ]
    return bars(title, keys[:MOST_BARS], series, SHARE)


def _class_rows(classes: list[str], first: Evaluation, second: Evaluation) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for name in classes:
        new, old = second.metrics.per_class[name], first.metrics.per_class.get(name)
        before = old.AP if old else -1.0
        known = before != -1 and new.AP != -1
        rows.append([name, new.objects, before, new.AP, f"{new.AP - before:+.4f}" if known else "–"])
    return rows
