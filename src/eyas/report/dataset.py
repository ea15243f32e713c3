"""The report of a dataset check: what is wrong with it, what is in it, and how it looks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eyas.data.faults import Fault, FaultList, Severity, shown
from eyas.report.distributions import class_section, place_section, size_section, split_section, tiling_section
from eyas.report.evaluation import MOST_PICTURES
from eyas.report.page import Cell, Section, folded, page, paragraph, table, tiles, write_page
from eyas.report.samples import Splits, sample_section
from eyas.report.svg import Html
from eyas.saving import PathLike

if TYPE_CHECKING:
    from eyas.check.statistics import Statistics

MOST_FAULTS = 50
"""Faults of a kind that are shown one by one."""

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


def write_check_report(
    path: PathLike,
    statistics: "Statistics",
    faults: FaultList,
    splits: Splits,
    *,
    facts: Mapping[str, str] | None = None,
    pictures: int = 12,
) -> Path:
    """Write `statistics` and `faults` as one HTML file that loads nothing, and return its path.

    `splits` are what the statistics were made of: some of their images are drawn, as `pictures` pictures of at most 900
    px (0 for none, at most 24). `facts` stand at the head. The same input gives the same bytes.

    Raises ValueError for a number of pictures that is out of range. An image that cannot be read is named on the page.
    """
    if not 0 <= pictures <= MOST_PICTURES:
        raise ValueError(f"pictures must lie in 0…{MOST_PICTURES}, got {pictures}")
    sections = [fault_section(faults), split_section(statistics)]
    if statistics.classes:
        sections.append(class_section(statistics))
    if any(one.boxes for one in statistics.splits):
        sections += [size_section(statistics), place_section(statistics)]
    if statistics.kind == "detection":
        sections.append(tiling_section(statistics))
    if pictures:
        sections.append(sample_section(splits, statistics.classes, pictures))
    title = f"Dataset check: {statistics.name}"
    return write_page(path, page(title, _lead(statistics, faults, facts or {}), sections, "Made by eyas check"))


def _lead(statistics: "Statistics", faults: FaultList, facts: Mapping[str, str]) -> list[Html]:
    errors, warnings = faults.count("error"), faults.count("warning")
    found: dict[str, Cell] = {
        "images": sum(one.images for one in statistics.splits),
        "classes" if statistics.kind == "detection" else "labels": len(statistics.classes),
        "errors": errors,
        "warnings": warnings,
    }
    if statistics.kind == "detection":
        found = {"boxes": sum(one.boxes for one in statistics.splits), **found}
    verdict = paragraph(
        f"{errors:,} {_plural('error', errors)} must be mended before this dataset can be trusted." if errors
        else f"No errors; {warnings:,} {_plural('warning', warnings)}.",
        "note" if errors else "",
    )  # fmt: skip
    rows: list[list[Cell]] = [["Layout", statistics.description]]
    rows += [[name, said] for name, said in facts.items()]
    return [table(["What", "Value"], rows), tiles(found), verdict]


def _plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"


def fault_section(faults: FaultList) -> Section:
    """The kinds of faults, errors first, and the first ones of each kind."""
    kinds = sorted(faults.counts, key=lambda kind: (_SEVERITIES.index(kind[0]), -faults.counts[kind], kind[1]))
    if not kinds:
        return Section("Faults", (paragraph("None were found."),))
    kept: dict[tuple[Severity, str], list[Fault]] = {kind: [] for kind in kinds}
    for fault in faults.kept:
        kept[(fault.severity, fault.code)].append(fault)
    rows: list[list[Cell]] = []
    for kind in kinds:
        first = kept[kind][0] if kept[kind] else None
        said = (_sentence(first.message), first.fix) if first else ("", "")
        rows.append([kind[1], kind[0], faults.counts[kind], *said])
    parts = [table(["Kind", "Severity", "Count", "The first of them", "How to mend it"], rows)]
    parts += [_one_by_one(kind, kept[kind], faults.counts[kind]) for kind in kinds if kept[kind]]
    return Section("Faults", tuple(parts))


def _one_by_one(kind: tuple[Severity, str], kept: Sequence[Fault], count: int) -> Html:
    """The first faults of a kind, with their places."""
    rows: list[list[Cell]] = [
        [
            str(fault.file),
            fault.record,
            fault.field,
            "" if fault.value is None else shown(fault.value),
            _sentence(fault.message),
        ]
        for fault in kept[:MOST_FAULTS]
    ]
    some = f", the first {len(rows)}" if len(rows) < count else ""
    listed = table(["File", "Record", "Field", "Value", "What is wrong"], rows)
    return folded(f"{kind[1]} ({kind[0]}): {count:,}{some}", listed)


def _sentence(message: str) -> str:
    return message if message.endswith(".") else f"{message}."
