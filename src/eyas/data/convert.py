"""Any dataset that can be read, written in another format; PaddleX's conversion in place."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from eyas.data import READERS, WRITERS, find_layout, read_part
from eyas.data.backups import originals_kept
from eyas.data.faults import Fault, FaultList, Report
from eyas.data.layout import TITLES
from eyas.data.merge import merge, union, with_classes
from eyas.data.parts import Layout, split_of
from eyas.data.perimage import Annotated, gather
from eyas.data.plain import UNLABELLED, read_unlabelled
from eyas.data.sample import ClassMap, Dataset
from eyas.data.split import divide_dataset
from eyas.data.summary import Once, Summary, summarise
from eyas.data.write_images import Images, place_images
from eyas.errors import ConfigError, DatasetError, did_you_mean
from eyas.saving import write_text

PADDLEX_TYPES = {  # CheckDataset.convert.src_dataset_type -> (format, whether unlabeled.txt belongs to it)
    "VOC": ("voc", False),
    "LabelMe": ("labelme", False),
    "VOCWithUnlabeled": ("voc", True),
    "LabelMeWithUnlabeled": ("labelme", True),
}


def convert_dataset(
    root: str | Path,
    target: str | Path,
    to: str = "coco",
    format: str | None = None,
    seed: int = 0,
    val_percent: float = 20,
    images: Images = "link",
) -> Summary:
    """Write the dataset in `root` into the empty or new folder `target`, in the format `to`, a key of WRITERS.

    All parts get the same classes, matched by name. Where there is no part val, or an empty one, `val_percent` of the
    images become it (0: none do). The images of `unlabeled.txt` go to `images/unlabeled` with a new list. `images` are
    linked or copied. What cannot be read or written is told in the summary and left out.

    Raises ConfigError for an unknown `to` and a wrong percentage, DatasetError where the dataset is not recognised,
    has no boxes, or `target` is not empty.
    """
    if to not in WRITERS:
        raise ConfigError(f"datasets cannot be written as {to!r}. {did_you_mean(to, WRITERS)}")
    target = Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DatasetError(f"{target} is there already and not empty; convert into a new folder")
    layout = find_layout(root, format)
    told = FaultList()
    parts = read_parts(layout, val_percent, seed, told)
    unlabelled = _unlabelled(layout, told)
    written: list[Fault] = []
    for name, dataset in parts.items():
        written += WRITERS[to](dataset, target, name, images)
    if len(unlabelled):
        names = place_images(unlabelled, target / "images" / "unlabeled", images, written.append)
        lines = "".join(f"images/unlabeled/{name}\n" for name in names)
        write_text((target / "annotations" if to == "coco" else target) / UNLABELLED, lines)
    counts = _counts(parts, written) | ({"unlabelled images": len(unlabelled)} if len(unlabelled) else {})
    title = f"Converted {TITLES[layout.format]} in {layout.root} to {TITLES[to]} in {target}"
    return summarise(title, counts, told, written)


def convert_in_place(root: str | Path, src_dataset_type: str, seed: int = 0, val_percent: float = 20) -> Summary:
    """Write `annotations/instance_train.json` and `instance_val.json` into the dataset folder itself.

    `src_dataset_type` is one of PADDLEX_TYPES, or a key of READERS in any case. The source stays as it is, its lists
    too; images outside the folder `images` are linked into it. With "…WithUnlabeled", `unlabeled.txt` moves to
    `annotations`. Files that are replaced are kept once as `.bak`; a second run writes the same.

    Raises ConfigError for an unknown type, DatasetError as `convert_dataset` does.
    """
    format, with_unlabelled = _source_type(src_dataset_type)
    layout = find_layout(root, format)
    home = layout.root
    told = FaultList()
    parts = read_parts(layout, val_percent, seed, told)
    files = [home / "annotations" / f"instance_{name}.json" for name in parts]
    unlabelled = {"unlabelled images": _move_unlabelled(home, told)} if with_unlabelled else {}
    written: list[Fault] = []
    with originals_kept(files):
        for name, dataset in parts.items():
            written += WRITERS["coco"](dataset, home, name, "link")
    names = " and ".join(file.name for file in files)
    title = f"Converted {TITLES[format]} in {home}: wrote {names} into annotations"
    return summarise(title, _counts(parts, written) | unlabelled, told, written)


def read_parts(layout: Layout, val_percent: float, seed: int, report: Report) -> dict[str, Dataset]:
    """The parts of a dataset that have images, with the same classes, a part val among them where that is possible.

    Raises ConfigError for a percentage that is none, DatasetError where there is no box in any part.
    """
    if not 0 <= val_percent < 100:
        raise ConfigError(f"val_percent must be a number from 0 to below 100, got {val_percent!r}")
    once = Once(report)
    found = {name: read_part(layout, name, once) for name in layout.splits}
    classes = union(dataset.classes for dataset in found.values())
    filled = {name: with_classes(dataset, classes) for name, dataset in found.items() if len(dataset)}
    if not filled or not len(classes):
        first = f". The first fault: {once.first}" if once.first else ""
        raise DatasetError(f"{layout.root} has no boxes to convert. Found: {layout.description}{first}")
    parts = _without_repeats(_in_usual_parts(filled, once), once)
    return _with_val(parts, val_percent, seed, once)


def _in_usual_parts(found: Mapping[str, Dataset], report: Report) -> dict[str, Dataset]:
    """The parts as they are called; where no name tells a part, all of them together."""
    if any(split_of(name) for name in found) or len(found) == 1:
        return dict(found)
    return {"all": merge(list(found.values()), report)}


def _without_repeats(parts: dict[str, Dataset], report: Report) -> dict[str, Dataset]:
    """Without trainval where all its images are in train and val too."""
    if "trainval" not in parts or "train" not in parts:
        return parts
    others = {sample.path for name, dataset in parts.items() if name != "trainval" for sample in dataset.samples}
    if not {sample.path for sample in parts["trainval"].samples} <= others:
        return parts
    message = "the part trainval holds only images of other parts and is not written"
    report(Fault("info", "split-repeated", parts["trainval"].source, message))
    return {name: dataset for name, dataset in parts.items() if name != "trainval"}


def _with_val(parts: dict[str, Dataset], val_percent: float, seed: int, report: Report) -> dict[str, Dataset]:
    source = next((name for name in ("train", "trainval", "all") if name in parts), None)
    if "val" in parts or source is None:
        return parts
    whole = parts[source]
    others = {name: dataset for name, dataset in parts.items() if name != source}
    if val_percent == 0 or len(whole) < 2:
        if val_percent:
            message = "a single image cannot be divided: there is no part val"
            report(Fault("warning", "share-missed", whole.source, message, fix="Add images."))
        return {"train": whole, **others}
    percent = {"train": 100 - val_percent, "val": val_percent}
    return {**divide_dataset(whole, percent, seed, report), **others}


def _unlabelled(layout: Layout, report: Report) -> Dataset:
    """The images of `unlabeled.txt`, without boxes."""
    paths = read_unlabelled(layout.root, report)
    return gather([Annotated(path, [], image=path) for path in paths], ClassMap((), ()), layout.root, report)


def _move_unlabelled(home: Path, report: Report) -> int:
    """How many images `unlabeled.txt` names; the list is moved to `annotations`, where a second run finds it."""
    here, there = home / UNLABELLED, home / "annotations" / UNLABELLED
    if not here.is_file() and not there.is_file():
        raise DatasetError(f"{home} has no {UNLABELLED}, which this type of dataset needs: a line for each image")
    images = read_unlabelled(home, report)
    if here.is_file():
        there.parent.mkdir(exist_ok=True)
        with originals_kept([there]):
            here.replace(there)
    return len(images)


def _source_type(name: str) -> tuple[str, bool]:
    """(format, whether there is an unlabeled.txt) of PaddleX's name or of a reader's."""
    known = {paddle.lower(): value for paddle, value in PADDLEX_TYPES.items()}
    known |= {format: (format, False) for format in READERS if format not in ("coco", "images")}
    if name.lower() not in known:
        names = [*PADDLEX_TYPES, *(format for format in READERS if format not in ("coco", "images", "voc", "labelme"))]
        raise ConfigError(f"src_dataset_type: unknown {name!r}. {did_you_mean(name, names)}")
    return known[name.lower()]


def _counts(parts: Mapping[str, Dataset], written: Iterable[Fault]) -> dict[str, int]:
    counts = {f"images in {name}": len(dataset) for name, dataset in parts.items()}
    samples = [sample for dataset in parts.values() for sample in dataset.samples]
    ignored = sum(int(sample.ignore.sum()) for sample in samples)
    counts["boxes"] = sum(len(sample.boxes_xyxy) for sample in samples) - ignored
    held = ignored - sum(fault.value for fault in written if fault.code == "ignore-left-out")
    counts |= {"ignored boxes": held} if held else {}
    return counts | {"classes": len(next(iter(parts.values())).classes)}
