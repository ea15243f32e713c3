"""The findings as a page with the pictures that they are about."""

from pathlib import Path

from eyas.doctor.findings import (
    Findings,
    say_confusable,
    say_duplicates,
    say_mislabel,
    say_outlier,
)
from eyas.index.gallery import Gallery
from eyas.report.gallery import Exhibit, Part, write_gallery_report
from eyas.report.page import Cell, tiles
from eyas.saving import PathLike

SHOWN = 24
"""Exhibits of each kind; tables have 200 rows at most, the JSON has everything."""
ROWS = 200


def write_findings(path: PathLike, gallery: Gallery, findings: Findings) -> Path:
    """Write `findings` about `gallery` as one HTML file that loads nothing; its path."""
    facts: dict[str, Cell] = {"pictures": findings.pictures, "labels": findings.labels}
    if findings.right >= 0:
        facts["nearest picture is right"] = f"{findings.right:.1%}"
    facts |= findings.counts()
    parts = [_wishes(findings), _mislabels(findings), *_duplicates(findings), _outliers(findings)]
    title = f"Gallery examination: {gallery.path.name}"
    return write_gallery_report(path, gallery, title, [tiles(facts)], [*parts, _confusable(findings), _thin(findings)])


def _wishes(findings: Findings) -> Part:
    rows = tuple((one.label, one.reason, one.need) for one in findings.wishes[:ROWS])
    note = (
        "The need of a label is the share of its pictures that the others would recognise wrongly, and what it lacks "
        "of the views that a label should have."
    )
    return Part("What to photograph next", note, head=("Label", "Why", "Need"), rows=rows)


def _mislabels(findings: Findings) -> Part:
    shown = tuple(Exhibit(say_mislabel(one), (one.id, one.nearest)) for one in findings.mislabels[:SHOWN])
    note = "Left the picture, right its nearest one of the label that it probably has. " + _of(len(findings.mislabels))
    return Part("Probably wrong labels", note, shown)


def _duplicates(findings: Findings) -> list[Part]:
    kinds = (("Duplicates across labels", True, "Nearly the same pictures with different labels: one label is wrong. "),
             ("Duplicates", False, "Copies make a gallery larger, not better. "))  # fmt: skip
    parts = []
    for title, clash, note in kinds:
        found = [one for one in findings.duplicates if (len(one.labels) > 1) == clash]
        shown = tuple(Exhibit(say_duplicates(one), one.ids) for one in found[:SHOWN])
        parts.append(Part(title, note + _of(len(found)), shown))
    return parts


def _outliers(findings: Findings) -> Part:
    shown = tuple(Exhibit(say_outlier(one), (one.id, one.nearest)) for one in findings.outliers[:SHOWN])
    return Part("Outliers", "Left the picture, right the nearest one of all. " + _of(len(findings.outliers)), shown)


def _confusable(findings: Findings) -> Part:
    shown = tuple(Exhibit(say_confusable(one), one.examples[0]) for one in findings.confusable[:SHOWN] if one.examples)
    rows = tuple((*one.labels, one.confused, one.pictures, one.separation) for one in findings.confusable[:ROWS])
    note = "Left a picture, right what it is taken for. Below a separation of 1 the two labels overlap."
    return Part("Confusable pairs", note, shown, ("Label", "Label", "Confused", "Pictures", "Separation"), rows)


def _thin(findings: Findings) -> Part:
    rows = tuple((one.label, one.views, one.pictures) for one in findings.thin[:ROWS])
    note = "Near duplicates and pictures from one file count as one view. " + _of(len(findings.thin), ROWS)
    return Part("Labels with few views", note, head=("Label", "Different views", "Pictures"), rows=rows)


def _of(count: int, most: int = SHOWN) -> str:
    return f"The first {most} of {count}." if count > most else ""
