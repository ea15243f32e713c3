"""The report of an evaluation: one page with every figure, and the worst images."""

from collections.abc import Mapping
from pathlib import Path

from eyas.data.sample import Dataset
from eyas.metrics.coco import Boxes
from eyas.metrics.evaluation import Evaluation
from eyas.report.comparison import Comparison, comparison_section
from eyas.report.figures import class_section, protocol_section, size_section
from eyas.report.mistakes import confusion_section, curve_section, tide_section, worst_section
from eyas.report.page import Cell, page, paragraph, table, tiles, write_page
from eyas.report.svg import Html
from eyas.saving import PathLike

MOST_PICTURES = 24


def write_evaluation_report(
    path: PathLike,
    evaluation: Evaluation,
    dataset: Dataset,
    detections: Mapping[int, Boxes],
    *,
    facts: Mapping[str, str] | None = None,
    comparison: Comparison | None = None,
    pictures: int = 12,
) -> Path:
    """Write everything in `evaluation` as one HTML file that loads nothing, and return its path.

    `detections`, by image id, are those that were evaluated on `dataset`: the images with the most errors are drawn, as
    `pictures` pictures of at most 900 px (0 for none, at most 24). `facts` (model, weights, date …) stand at the head.
    `comparison` adds another run on the same images. The same input gives the same bytes.

    Raises ValueError for a number of pictures that is out of range, and DatasetError for an image or class id that the
    dataset does not have. An image that cannot be read is named on the page.
    """
    if not 0 <= pictures <= MOST_PICTURES:
        raise ValueError(f"pictures must lie in 0…{MOST_PICTURES}, got {pictures}")
    sections = [
        *([comparison_section(evaluation, comparison)] if comparison else []),
        protocol_section(evaluation),
        class_section(evaluation),
        size_section(evaluation),
        curve_section(evaluation),
        confusion_section(evaluation.confusion),
        tide_section(evaluation.errors),
    ]
    if pictures:
        sections.append(worst_section(dataset, detections, evaluation.confusion.threshold, pictures))
    return write_page(
        path, page("Evaluation", _lead(evaluation, dataset, facts or {}), sections, "Made by eyas evaluate")
    )


def _lead(evaluation: Evaluation, dataset: Dataset, facts: Mapping[str, str]) -> list[Html]:
    """The facts, the figures that are asked for first, and what to beware of."""
    metrics = evaluation.metrics
    rows: list[list[Cell]] = [["Dataset", str(dataset.source)]]
    rows += [[name, said] for name, said in facts.items()]
    first: dict[str, Cell] = {
        "AP": metrics.AP,
        "AP50": metrics.AP50,
        "AP at 500": metrics.AP_500,
        "AP ≤ 16 px": metrics.AP_under16,
        "VisDrone AP": evaluation.visdrone.AP,
        "images": metrics.images,
        "objects": metrics.objects,
        "detections": metrics.detections,
    }
    notes = [paragraph(f"{warning}.", "note") for warning in metrics.warnings()]
    return [table(["What", "Value"], rows), tiles(first), *notes]
