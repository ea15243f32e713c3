"""The outcome of a test of the whole pipeline as a page with the pictures of its errors."""

from pathlib import Path

from eyas.doctor.verdicts import Blame, Culprit, PipelineError
from eyas.index.gallery import Gallery
from eyas.report.gallery import Exhibit, Part, Scene, write_gallery_report
from eyas.report.marks import Kind, legend
from eyas.report.page import Cell, bullets, table, tiles
from eyas.saving import PathLike

SHOWN = 12
"""Errors of each kind that are shown."""
TRUE = Kind("true", (60, 200, 90), "solid")
DETECTED = Kind("detected", (255, 160, 30), "dashed")

TITLES: dict[Culprit, str] = {
    "detector": "The detector",
    "crop": "The crop of the detector",
    "threshold": "The threshold",
    "gallery": "The gallery",
    "features": "The feature model",
}


def write_blame(path: PathLike, gallery: Gallery, outcome: Blame) -> Path:
    """Write the outcome of a test against `gallery` as one HTML file that loads nothing; its path."""
    facts: dict[str, Cell] = {"objects": outcome.objects, "right": outcome.right, "errors": len(outcome.errors)}
    facts |= {f"recall_{k}": share for k, share in enumerate(outcome.recall, start=1) if k in (1, 5)}
    facts |= {"boxes on no object": outcome.extra_known + outcome.extra_unknown}
    ranks: list[list[Cell]] = [[f"recall_{k}", share] for k, share in enumerate(outcome.recall, start=1)]
    lead = [
        tiles(facts),
        bullets(outcome.advice()),
        legend([(TRUE, "where the object is"), (DETECTED, "what the detector found")]),
        table(["Figure", "Share"], ranks, "The right label is among the first k hits of an accepted box"),
    ]
    parts = [_part(culprit, outcome, count) for culprit, count in outcome.culprits().items()]
    return write_gallery_report(path, gallery, f"Whom to blame: {gallery.path.name}", lead, parts)


def _part(culprit: Culprit, outcome: Blame, count: int) -> Part:
    found = [one for one in outcome.errors if one.culprit == culprit]
    note = "Left the picture, then the gallery's nearest one of all, then its nearest one of the right label. "
    more = f"The first {SHOWN} of {count}." if count > SHOWN else ""
    return Part(f"{TITLES[culprit]}: {count}", note + more, tuple(_exhibit(one) for one in found[:SHOWN]))


def _exhibit(one: PipelineError) -> Exhibit:
    frames = [(box, kind) for box, kind in ((one.box, TRUE), (one.found_box, DETECTED)) if box is not None]
    ids = dict.fromkeys(number for number in (one.nearest, one.own) if number is not None)
    return Exhibit(one.line(), tuple(ids), Scene(one.picture, tuple(frames)))
