"""Everything that is checked in a dataset, in one pass over it; nothing is written."""

from collections.abc import Callable, Mapping, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from eyas.check.boxes import check_boxes, tell_empty
from eyas.check.classes import check_annotated, check_classes, check_labels, check_same_classes, check_splits
from eyas.check.duplicates import check_duplicates, content_keys
from eyas.check.images import Advance, ImageList, check_headers, check_listed_once, tell_unannotated
from eyas.check.leakage import check_leakage
from eyas.check.pictures import look_at
from eyas.check.statistics import Statistics, detection_statistics, recognition_statistics
from eyas.data import find_layout, read_part
from eyas.data.faults import Fault, FaultList
from eyas.data.labelled import LabelledImages
from eyas.data.labelled_layout import find_labelled
from eyas.data.lists import read_labelled
from eyas.data.parts import Layout
from eyas.data.sample import Dataset
from eyas.errors import DatasetError

_SHOWN = 5

Progress = Callable[[int, str], AbstractContextManager[Advance]]
"""(number of images, title) -> a context whose value is called with the images just done."""


@dataclass(frozen=True, eq=False)
class CheckResult:
    """What a check found. `layout` is the dataset as it was recognised, `splits` what was read of it.

    The dataset passes where no fault is an error; `str` of the result is the line that PaddleX prints then.
    """

    layout: Layout
    splits: Mapping[str, Dataset] | Mapping[str, LabelledImages]
    faults: FaultList
    statistics: Statistics

    @property
    def check_pass(self) -> bool:
        """Whether the dataset can be trained on."""
        return self.faults.count("error") == 0

    def __str__(self) -> str:
        return "Check dataset passed !" if self.check_pass else "Check dataset failed !"


def no_progress(_: int, __: str) -> AbstractContextManager[Advance]:
    """A `Progress` that shows nothing."""
    return nullcontext(lambda _: None)


def check_detection(
    root: Path, input_hw: tuple[int, int], keep_ratio: bool, decode: bool = True, progress: Progress = no_progress
) -> CheckResult:
    """All faults of the annotated dataset in `root`, and its numbers.

    `input_hw` and `keep_ratio` say how a network will see the images; the advice on tiles needs it. Without `decode`,
    only the headers of the images are read: broken files, copies and leakage are not found. Raises DatasetError where
    no dataset is recognised.
    """
    layout, faults = find_layout(root), FaultList()
    splits = {name: read_part(layout, name, faults) for name in layout.splits}
    readable = not faults.count("error")  # a file that cannot be read has no images and boxes; that is told already
    check_splits(layout, _sizes(layout, splits, faults), False, faults)
    check_same_classes(splits, faults)
    for dataset in splits.values():
        check_boxes(dataset, faults)
    lists = [ImageList.of_dataset(name, dataset) for name, dataset in splits.items()]
    _check_files(lists, faults, decode, progress)
    if ("info", "image-without-annotation") not in faults.counts:
        tell_unannotated(list(layout.splits.values()), lists, layout.root, faults)
    for name, dataset in splits.items():
        tell_empty(name, dataset, faults)
    statistics = detection_statistics(root.resolve().name, layout.description, splits, input_hw, keep_ratio)
    if readable:
        check_annotated(layout, statistics, faults)
    if ("error", "classes-differ") not in faults.counts:  # else every class that differs would be told again
        check_classes(statistics, layout.root, faults)
    return CheckResult(layout, splits, faults, statistics)


def check_recognition(root: Path, decode: bool = True, progress: Progress = no_progress) -> CheckResult:
    """As `check_detection`, for a dataset of images with one label each."""
    layout, faults = find_labelled(root), FaultList()
    parts = read_labelled(root, faults)
    check_splits(layout, _sizes(layout, parts, faults), True, faults)
    check_labels(parts, faults)
    lists = [ImageList.of_labelled(name, images) for name, images in parts.items()]
    _check_files(lists, faults, decode, progress)
    statistics = recognition_statistics(root.resolve().name, layout.description, parts)
    check_classes(statistics, layout.root, faults)
    return CheckResult(layout, parts, faults, statistics)


def quick_errors(splits: Mapping[str, Dataset | LabelledImages]) -> list[Fault]:
    """The errors that training would stumble over, from the headers of the images alone; [] where there are none.

    Images that are missing, empty, unreadable or of another size than annotated, or that a split names twice.
    """
    faults = FaultList()
    for name, split in splits.items():
        images = ImageList.of_dataset(name, split) if isinstance(split, Dataset) else ImageList.of_labelled(name, split)
        check_listed_once(images, faults)
        check_headers(images, faults)
    return [fault for fault in faults.kept if fault.severity == "error"]


def require_usable(splits: Mapping[str, Dataset | LabelledImages]) -> None:
    """Raises DatasetError where `quick_errors` finds any: their number, the first of them, and what to do."""
    errors = quick_errors(splits)
    if errors:
        first = "\n".join(f"  {fault}" for fault in errors[:_SHOWN])
        more = f"\n  … and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        raise DatasetError(
            f"the images of the dataset have {len(errors)} faults:\n{first}{more}\n"
            "`eyas check_dataset` lists all of them; CheckDataset.allow_faulty=True trains all the same"
        )


def _sizes(layout: Layout, splits: Mapping[str, Sized], faults: FaultList) -> dict[str, int]:
    """Images of each split; a split without any is left out where its file has errors, which say why."""
    lost = {fault.file for fault in faults.kept if fault.severity == "error"}
    return {
        name: len(split) for name, split in splits.items() if len(split) or layout.splits[name].annotations not in lost
    }


def _check_files(lists: list[ImageList], faults: FaultList, decode: bool, progress: Progress) -> None:
    """Every check of the image files themselves."""
    for images in lists:
        check_listed_once(images, faults)
    total = sum(len(images.paths) for images in lists)
    with progress(total, "image headers") as advance:
        pixels = [check_headers(images, faults, advance) for images in lists]
    if not decode:
        return
    with progress(total, "pictures") as advance:
        looks = [look_at(images, counts, faults, advance) for images, counts in zip(lists, pixels, strict=True)]
    keys = content_keys(
        [path for images in lists for path in images.paths], [count for counts in pixels for count in counts]
    )
    by_split, start = [], 0
    for images in lists:
        by_split.append(keys[start : start + len(images.paths)])
        start += len(images.paths)
    check_leakage(lists, by_split, looks, faults)
    for images, own, seen in zip(lists, by_split, looks, strict=True):
        check_duplicates(images, own, seen, faults)
