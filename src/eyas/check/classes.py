"""The splits and classes of a dataset: are the splits there that training needs, and what has how many examples."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from eyas.check.statistics import Statistics
from eyas.data.faults import Fault, Report, Severity
from eyas.data.labelled import LabelledImages
from eyas.data.parts import Layout
from eyas.data.sample import Dataset

IMBALANCE = 20  # times as many examples as the rarest class has
RARE, PLENTY = 10, 1000  # examples: a class with fewer than RARE beside one with PLENTY will not be learnt


def check_splits(layout: Layout, sizes: Mapping[str, int], recognition: bool, report: Report) -> None:
    """Tell missing and empty splits. `sizes`: images of each split, but of those that could not be read whole."""
    for name, size in sizes.items():
        if size == 0:
            file = layout.splits[name].annotations
            fix = "Add images, or remove the split."
            report(Fault("error", "split-empty", file, f"the split {name} has no image", fix=fix))
    needed = ("train", "gallery", "query") if recognition else ("train", "val")
    absent = [name for name in needed if name not in layout.splits]
    if recognition and "train" in layout.splits and {"val", "test"} & set(layout.splits) and len(absent) == 2:
        absent = []  # training and evaluation search for the pictures of that part among those of train
    if absent:
        message = f"there is no {' and no '.join(absent)}; training needs {', '.join(needed)}. Found: "
        fix = "Split the dataset before training with it."
        severity = _missing(set(layout.splits), recognition)
        report(Fault(severity, "split-missing", layout.root, message + layout.description, value=absent, fix=fix))


def _missing(names: Collection[str], recognition: bool) -> Severity:
    """A dataset without splits is no fault, nor is one to measure with; half of a pair is."""
    half = ("gallery" in names) != ("query" in names) if recognition else "train" in names
    return "error" if half else "info"


def check_annotated(layout: Layout, statistics: Statistics, report: Report) -> None:
    """Tell a dataset, or a training part, without any box: there is nothing to learn."""
    if layout.format == "images":
        message = f"there are no annotations. Found: {layout.description}"
        fix = "Name the folder that holds images and annotations."
        report(Fault("error", "no-annotations", layout.root, message, fix=fix))
        return
    for split in statistics.splits:
        if split.images and not split.boxes and split.name in ("train", "all"):
            file = layout.splits[split.name].annotations
            message = f"none of the {split.images} images of {split.name} has a box"
            report(Fault("error", "no-boxes", file, message, fix="Annotate the objects."))


def check_same_classes(splits: Mapping[str, Dataset], report: Report) -> None:
    """Tell a split whose classes are not those of the first one, in the same order."""
    first = next(iter(splits.values()), None)
    for dataset in splits.values():
        if first is not None and dataset.classes.names != first.classes.names and len(dataset):
            message = (
                f"the classes are {', '.join(dataset.classes.names) or 'none'}; "
                f"those of {first.source} are {', '.join(first.classes.names) or 'none'}"
            )
            fix = "Give all splits the same classes in the same order."
            report(Fault("error", "classes-differ", dataset.source, message, field="categories", fix=fix))


def check_classes(statistics: Statistics, file: Path, report: Report) -> None:
    """Tell classes without examples, classes that one split alone has, and how uneven the classes are.

    `file` is what the faults name.
    """
    if not statistics.classes:
        return
    by_split = {split.name: split.class_boxes for split in statistics.splits}
    total = statistics.class_boxes.sum(axis=0)
    train = by_split.get("train", total)
    _tell(statistics, total == 0, "info", "class-without-boxes", "have no example in any split", file, report)
    for name, counts in by_split.items() if "train" in by_split else ():
        if name != "train" and statistics.kind == "detection":
            what = f"are in {name} alone, so they cannot be learnt"
            _tell(statistics, (train == 0) & (counts > 0), "warning", "class-not-in-train", what, file, report)
            what = f"are not in {name}, so nothing is measured of them"
            _tell(statistics, (train > 0) & (counts == 0), "info", "class-not-measured", what, file, report)
    most = int(train.max())
    lost = (train > 0) & (train < RARE) & (most >= PLENTY) & (statistics.kind == "detection")
    _tell(statistics, lost, "warning", "class-rare", f"have fewer than {RARE} examples to learn from", file, report)
    there = train[train > 0]
    if len(there) and most >= IMBALANCE * int(there.min()):
        rarest, largest = int(np.where(train > 0, train, most + 1).argmin()), int(train.argmax())
        message = (
            f"the classes are uneven: {most} examples of {statistics.classes[largest]}, "
            f"{int(there.min())} of {statistics.classes[rarest]}"
        )
        fix = "Train.augment.rare_classes shows images of rare classes more often."
        report(Fault("info", "class-imbalance", file, message, value=most / int(there.min()), fix=fix))


def _tell(
    statistics: Statistics, which: np.ndarray, severity: Severity, code: str, what: str, file: Path, report: Report
) -> None:  # fmt: skip
    """One fault for the classes of the mask `which`, bool [C]."""
    names = [name for name, told in zip(statistics.classes, which.tolist(), strict=True) if told]
    if names:
        listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        message = f"{len(names)} of {len(statistics.classes)} classes {what}: {listed}"
        report(Fault(severity, code, file, message, field="classes", value=names[:8]))


def check_labels(parts: Mapping[str, LabelledImages], report: Report) -> None:
    """Tell an image that one part names with two labels, and labels of the query that are not in the gallery."""
    for part in parts.values():
        label_of: dict[Path, str] = {}
        records = part.records or ("",) * len(part)
        for path, name, record in zip(part.paths, part.names, records, strict=True):
            other = label_of.setdefault(path, name)
            if other != name:
                message = f"{path} has the label {name}; it had {other} before"
                fix = "Keep the right label."
                report(Fault("error", "label-conflict", part.source, message, record, "label", name, fix))
    if "gallery" not in parts or "query" not in parts:
        return
    known = set(parts["gallery"].label_ids.tolist())
    strange = [label for label in dict.fromkeys(parts["query"].label_ids.tolist()) if label not in known]
    if strange:
        names = [parts["query"].labels.names[label] for label in strange[:8]]
        message = f"{len(strange)} labels are not in the gallery, so they are never found: {', '.join(names)}"
        fix = "Add an image of each to the gallery, or remove them from the query."
        report(Fault("warning", "label-not-in-gallery", parts["query"].source, message, field="label", value=names,
                     fix=fix))  # fmt: skip
