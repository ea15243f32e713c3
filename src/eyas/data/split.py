"""Divides a detection dataset anew into a part to train with and one to measure with."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyas.data.backups import backup_of, originals_kept
from eyas.data.coco_records import merge_files
from eyas.data.faults import Fault, FaultList, Report
from eyas.data.groups import group_names
from eyas.data.images import posix_name
from eyas.data.layout import TITLES, find_layout
from eyas.data.merge import take
from eyas.data.partition import check_percentages, part_sizes, partition
from eyas.data.parts import Layout, split_of
from eyas.data.sample import Dataset
from eyas.data.summary import Summary, summarise
from eyas.errors import DatasetError
from eyas.saving import write_text

FAR_OFF = 5  # percentage points between a share that was asked for and one that groups allow


class Shown(NamedTuple):
    """What a split knows about an image: its name (relative, with `/`) and the names of the classes it shows."""

    name: str
    classes: Collection[str]


def split_dataset(
    root: str | Path, train_percent: float, val_percent: float, *, seed: int = 0, group: str | None = None
) -> Summary:
    """Divide the images of a COCO dataset's parts train and val, taken together, and write both files anew.

    Each image goes into exactly one part, every class into both as its number allows (see `partition`). Classes match
    by name; all keys of the records stay. The parts depend on names, boxes and `seed` alone, so a second run changes
    nothing. A part test stays as it is. `group` keeps images together, see `group_names`. The files as they first
    were are kept as `.bak`.

    Raises ConfigError for wrong percentages or groups, DatasetError where the dataset is not COCO or too small.
    """
    percent = {"train": train_percent, "val": val_percent}
    check_percentages(percent)
    layout = find_layout(root)
    sources, files = _files(layout)
    told = FaultList()
    records = merge_files(layout.root, [layout.splits[name] for name in sources], told)
    records.images.sort(key=lambda record: posix_name(record["file_name"]))
    class_of = {record["id"]: str(record["name"]) for record in records.categories}
    classes: dict[int, set[str]] = {record["id"]: set() for record in records.images}
    for record in records.annotations:
        if not record.get("iscrowd"):
            classes[record["image_id"]].add(class_of[record["category_id"]])
    images = [Shown(posix_name(record["file_name"]), classes[record["id"]]) for record in records.images]
    part = divide(images, percent, group, seed, files["train"], told)
    ids = np.array([record["id"] for record in records.images], np.int64)
    contents = {name: records.take(set(ids[part == place].tolist())) for place, name in enumerate(percent)}
    with originals_kept(files.values()):
        for name, content in contents.items():
            files[name].parent.mkdir(parents=True, exist_ok=True)
            write_text(files[name], json.dumps(content, ensure_ascii=False))
    return summarise(_title(layout, sources, files), _counts(contents, group, images), told)


def divide(
    images: Sequence[Shown], percent: Mapping[str, float], group: str | None, seed: int, source: Path, report: Report
) -> NDArray[np.int64]:
    """The place in `percent` of every image's part, int64 [N]; `images` must be in the same order at every call.

    Tells of classes that are in one part alone, of shares that groups could not meet, and of images without a group.
    """
    names = sorted({name for image in images for name in image.classes})
    number = {name: place for place, name in enumerate(names)}
    groups = group_names([image.name for image in images], group)
    part = partition([[number[name] for name in image.classes] for image in images], groups, [*percent.values()], seed)
    for name in names:
        there = {int(place) for place, image in zip(part, images, strict=True) if name in image.classes}
        if len(there) < len(percent):
            missing = ", ".join(title for place, title in enumerate(percent) if place not in there)
            message = f"no image with the class {name!r} is in {missing}"
            report(Fault("warning", "class-in-one-part", source, message, value=name, fix="Add images of it."))
    got = np.bincount(part, minlength=len(percent))
    for place, (title, share) in enumerate(percent.items()):
        wanted = part_sizes(len(images), [*percent.values()])[place]
        if abs(int(got[place]) - wanted) > FAR_OFF / 100 * len(images):
            message = f"{title} has {got[place]} images, {share:g} % are {wanted}; the groups allow no nearer share"
            report(Fault("warning", "share-missed", source, message, value=int(got[place])))
    if group is not None and len(set(groups)) == len(images):
        message = f"grouping by {group!r} leaves every image alone"
        report(Fault("warning", "ungrouped", source, message, fix="Group in another way."))
    return part


def divide_dataset(
    dataset: Dataset, percent: Mapping[str, float], seed: int, report: Report, group: str | None = None
) -> dict[str, Dataset]:
    """A dataset in parts of those sizes, each in the order of the dataset."""
    names = dataset.classes.names
    paths = [sample.path.as_posix() for sample in dataset.samples]
    order = sorted(range(len(paths)), key=paths.__getitem__)
    shown = [{names[place] for place in sample.class_ids[~sample.ignore].tolist()} for sample in dataset.samples]
    images = [Shown(paths[place], shown[place]) for place in order]
    part = divide(images, percent, group, seed, dataset.source, report)
    return {
        name: take(dataset, sorted(order[place] for place in np.flatnonzero(part == number).tolist()))
        for number, name in enumerate(percent)
    }


def _files(layout: Layout) -> tuple[list[str], dict[str, Path]]:
    """(the parts that are put together, where train and val are written)."""
    if layout.format != "coco":
        raise DatasetError(f"{layout.root} is {TITLES[layout.format]}; only COCO is split in place. Convert it first")
    sources = [name for name in ("train", "val") if name in layout.splits]
    sources = sources or [name for name in ("trainval", "all") if name in layout.splits][:1]
    if not sources:
        there = ", ".join(layout.splits)
        raise DatasetError(f"{layout.root} has no part train or val to divide, only {there}")
    files = {name: layout.splits[name].annotations for name in sources if name in ("train", "val")}
    if len(files) == 1:
        ((name, file),) = files.items()
        other = "val" if name == "train" else "train"
        beside = file.with_name(file.name.replace(name, other))
        if split_of(beside.stem) == other:
            files[other] = beside
    if len(files) < 2:
        files = {name: layout.root / "annotations" / f"instance_{name}.json" for name in ("train", "val")}
    return sources, {name: files[name] for name in ("train", "val")}


def _counts(contents: Mapping[str, Mapping[str, Any]], group: str | None, images: Sequence[Shown]) -> dict[str, int]:
    counts = {f"images in {name}": len(content["images"]) for name, content in contents.items()}
    counts |= {f"boxes in {name}": len(content["annotations"]) for name, content in contents.items()}
    if group is not None:
        counts["groups"] = len(set(group_names([image.name for image in images], group)))
    return counts


def _title(layout: Layout, sources: Sequence[str], files: Mapping[str, Path]) -> str:
    kept = [backup_of(file).name for file in files.values() if backup_of(file).exists()]
    originals = f"; the originals are kept as {', '.join(kept)}" if kept else ""
    return f"Divided the images of {' and '.join(sources)} in {layout.root} into {' and '.join(files)}{originals}"
