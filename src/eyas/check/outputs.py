"""The files of a check: PaddleX's check_dataset_result.json with its pictures, and the list of faults."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eyas.check.histogram import draw_histogram
from eyas.check.statistics import Statistics
from eyas.data.faults import FaultList, Severity
from eyas.saving import write_atomically, write_text

FOLDER, DEMO, HISTOGRAM = "check_dataset", "demo_img", "histogram.png"
RESULT = "check_dataset_result.json"
FAULT_LINES, FAULT_TEXT = "faults.jsonl", "faults.txt"
DATASET_TYPES = {"detection": "COCODetDataset", "recognition": "ShiTuRecDataset"}
PARTS = {"detection": ("train", "val"), "recognition": ("train", "gallery", "query")}

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


def clear_demo(output: Path) -> Path:
    """The folder of the demo pictures, without those of an earlier check."""
    folder = output / FOLDER / DEMO
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.is_file():
            file.unlink()
    return folder


def write_faults(output: Path, faults: FaultList) -> None:
    """Write faults.jsonl, one object a line, and faults.txt for people, the worst first."""
    folder = output / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    kept = sorted(faults.kept, key=lambda fault: _SEVERITIES.index(fault.severity))
    lines = [json.dumps(fault.to_dict(), ensure_ascii=False) for fault in kept]
    write_text(folder / FAULT_LINES, "".join(line + "\n" for line in lines))
    text = [counted(faults), ""]
    text += [f"{kind:8} {code:26} {number}" for (kind, code), number in sorted(faults.counts.items(), key=_order)]
    for severity in _SEVERITIES:
        own = [f"{severity} {fault.code}: {fault}" for fault in kept if fault.severity == severity]
        text += ["", *own] if own else []
    more = faults.counts.total() - len(kept)
    text += ["", f"{more} more are not listed; mend these first."] if more else []
    write_text(folder / FAULT_TEXT, "\n".join(_one_line(line) for line in text) + "\n")


def counted(faults: FaultList) -> str:
    """`2 errors, 1 warning, 0 infos`."""
    numbers = [(faults.count(severity), severity) for severity in _SEVERITIES]
    return ", ".join(f"{number} {severity}{'' if number == 1 else 's'}" for number, severity in numbers)


def _order(item: tuple[tuple[Severity, str], int]) -> tuple[int, int]:
    (severity, _), number = item
    return _SEVERITIES.index(severity), -number


def _one_line(text: str) -> str:
    """`text` without control characters, which terminals obey."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def write_histogram(output: Path, statistics: Statistics) -> None:
    """Write histogram.png."""
    (output / FOLDER).mkdir(parents=True, exist_ok=True)
    write_atomically(output / FOLDER / HISTOGRAM, draw_histogram(statistics))


def write_result(output: Path, statistics: Statistics, dataset: Path, demo: Mapping[str, Sequence[str]]) -> None:
    """Write check_dataset_result.json of a dataset that passed, with PaddleX's keys.

    `demo` holds the names of the pictures of each split. A dataset without splits counts as its training part.
    """
    sizes = {split.name: split.images for split in statistics.splits}
    attributes: dict[str, Any] = {}
    if statistics.kind == "detection":
        attributes["num_classes"] = len(statistics.classes)
    for part in PARTS[statistics.kind]:
        own = "all" if part == "train" and list(sizes) == ["all"] else part
        attributes[f"{part}_samples"] = sizes.get(own, 0)
        attributes[f"{part}_sample_paths"] = [f"{FOLDER}/{DEMO}/{name}" for name in demo.get(own, ())]
    result = {
        "done_flag": True,
        "check_pass": True,
        "attributes": attributes,
        "analysis": {"histogram": f"{FOLDER}/{HISTOGRAM}"},
        "dataset_path": dataset.resolve().name,
        "show_type": "image",
        "dataset_type": DATASET_TYPES[statistics.kind],
    }
    write_text(output / RESULT, json.dumps(result, indent=4, ensure_ascii=False) + "\n")
