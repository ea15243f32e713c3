"""Recognition datasets written as lists: from LabelMe flags or folders, and divided anew into train, gallery, query."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eyas.data.backups import originals_kept
from eyas.data.faults import Fault, FaultList, Report, silent
from eyas.data.labelled import LabelledImages
from eyas.data.labelled_layout import PARTS, TITLES, find_labelled
from eyas.data.labelnames import label_names_file, read_label_names
from eyas.data.lists import read_labelled
from eyas.data.partition import check_percentages, partition
from eyas.data.sample import ClassMap
from eyas.data.summary import Summary, below, summarise
from eyas.errors import DatasetError
from eyas.saving import write_text

SHARES = {"train": 50.0, "gallery": 30.0, "query": 20.0}
"""How PaddleX divides images that come without parts, in percent."""


def convert_labelled(root: str | Path, format: str | None = None, seed: int = 0) -> Summary:
    """Write `train.txt`, `gallery.txt` and `query.txt` for images whose labels are LabelMe flags or their folders.

    Lines are `path number`, with paths from `root` on. Numbers are those of the dataset's file of names; where there is
    none, `label.txt` is written, a name a line, numbered from 0. Parts that are there stay, else images are divided
    50/30/20, every label alike. Lists that are replaced are kept once as `.bak`; a second run writes the same.

    Raises DatasetError where no such dataset is found, or where it has too few images.
    """
    layout = find_labelled(root, format or _source(Path(root)))
    told = FaultList()
    parts = read_labelled(layout.root, told, layout.format)
    labels = next(iter(parts.values())).labels
    numbers, names_text = _numbers(layout.root, labels, told)
    if list(parts) == ["all"]:
        parts = _divided(parts["all"], SHARES, seed)
    if names_text is not None:
        write_text(layout.root / "label.txt", names_text)
    files = {name: layout.root / f"{name}.txt" for name in parts}
    _write(layout.root, files, parts, numbers)
    title = f"Wrote {', '.join(file.name for file in files.values())} in {layout.root} from {TITLES[layout.format]}"
    _tell_queries(parts, layout.root, told)
    return summarise(title, _counts(parts), told)


def split_labelled(
    root: str | Path,
    train_percent: float,
    gallery_percent: float,
    query_percent: float,
    *,
    seed: int = 0,
    disjoint: bool = False,
) -> Summary:
    """Divide the images of a dataset's lists, taken together, and write train.txt, gallery.txt and query.txt anew.

    Each image goes into exactly one list, every label alike. With `disjoint`, the labels of train are others than
    those of gallery and query, which measures how new things are recognised. Lists val and test stay as they are.
    Numbers of labels are taken to mean the same in all lists. The lists as they first were are kept as `.bak`.

    Raises ConfigError for wrong percentages, DatasetError where there are no lists, or too few images or labels.
    """
    percent = {"train": train_percent, "gallery": gallery_percent, "query": query_percent}
    check_percentages(percent)
    told = FaultList()
    layout = find_labelled(root, "lists")
    parts = read_labelled(layout.root, told, "lists")
    used = {name: part for name, part in parts.items() if name not in ("val", "test")}
    if not used:
        raise DatasetError(f"{layout.root} has no list to divide: expected train.txt, gallery.txt or query.txt")
    _tell_shared(used, layout.root, told)
    whole = _together(used, told)
    divided = _disjoint(whole, percent, seed) if disjoint else _divided(whole, percent, seed)
    ending = "_list.txt" if next(iter(used.values())).source.name.endswith("_list.txt") else ".txt"
    files = {name: used[name].source if name in used else layout.root / f"{name}{ending}" for name in percent}
    _write(layout.root, files, divided, _as_written(layout.root, whole.labels))
    _tell_queries(divided, layout.root, told)
    title = f"Divided the images of {', '.join(used)} in {layout.root} into {', '.join(percent)}"
    return summarise(title, _counts(divided), told)


def _source(root: Path) -> str:
    """The format of what lists are made from: lists that are there, of an earlier run, do not count."""
    for name in ("flags", "folders"):
        try:
            return find_labelled(root, name).format
        except DatasetError:
            continue
    raise DatasetError(f"{root} has neither {TITLES['flags']} nor {TITLES['folders']}: there is nothing to convert")


def _divided(whole: LabelledImages, percent: Mapping[str, float], seed: int) -> dict[str, LabelledImages]:
    order = _order(whole)
    part = partition([[label] for label in whole.label_ids[order].tolist()], order, [*percent.values()], seed)
    return {name: whole.take(sorted(np.array(order)[part == place])) for place, name in enumerate(percent)}


def _disjoint(whole: LabelledImages, percent: Mapping[str, float], seed: int) -> dict[str, LabelledImages]:
    """Labels to train or not, then the images of the others to gallery and query."""
    order = _order(whole)
    train, gallery, query = percent.values()
    labels = whole.label_ids[order].tolist()
    try:
        part = partition([()] * len(order), labels, [train, gallery + query], seed)
    except DatasetError as error:
        raise DatasetError(f"{whole.source}: {error}. With disjoint labels, these are the groups") from None
    places = np.array(order)
    rest = whole.take(sorted(places[part == 1]))
    shares = {"gallery": 100 * gallery / (gallery + query), "query": 100 * query / (gallery + query)}
    return {"train": whole.take(sorted(places[part == 0]))} | _divided(rest, shares, seed)


def _order(whole: LabelledImages) -> list[int]:
    """Places sorted by path, so that parts do not depend on the order of the lists."""
    return sorted(range(len(whole)), key=lambda place: whole.paths[place].as_posix())


def _together(parts: Mapping[str, LabelledImages], report: Report) -> LabelledImages:
    """All images, in the order of the lists; the second mention of one is told and left out."""
    labels = next(iter(parts.values())).labels
    known: dict[Path, int] = {}
    for part in parts.values():
        for path, label in zip(part.paths, part.label_ids.tolist(), strict=True):
            other = known.setdefault(path, label)
            if other != label:
                message = f"{path} has the labels {labels.names[other]!r} and {labels.names[label]!r}; the first counts"
                report(Fault("error", "label-differs", part.source, message, value=str(path), fix="Mend the lists."))
    lines = sum(map(len, parts.values()))
    source = next(iter(parts.values())).source
    if lines > len(known):
        message = f"{lines - len(known)} lines name an image that is in the lists already; each image is used once"
        report(Fault("warning", "image-twice", source.parent, message, value=lines - len(known)))
    return LabelledImages(tuple(known), np.array([*known.values()], np.int64), labels, source)


def _numbers(root: Path, labels: ClassMap, report: Report) -> tuple[dict[str, str], str | None]:
    """(label name -> number in lists, the text of label.txt where it must be written)."""
    file = label_names_file(root)
    if file is None:
        return {name: str(place) for place, name in enumerate(labels.names)}, "".join(
            f"{name}\n" for name in labels.names
        )
    numbers = {name: str(number) for number, name in read_label_names(file, report).items()}
    unknown = [name for name in labels.names if name not in numbers]
    if unknown:
        listed = ", ".join(map(repr, unknown[:5])) + (", …" if len(unknown) > 5 else "")
        raise DatasetError(f"{file} lacks the labels {listed}, which images have. Add them, a line each")
    return numbers, None


def _as_written(root: Path, labels: ClassMap) -> dict[str, str]:
    """Label name -> what lists say for it: its number, or, where they say words, the name."""
    file = label_names_file(root)
    names = read_label_names(file, silent) if file else {}
    numbers = dict(zip(labels.names, labels.source_ids, strict=True))
    # the reader adds the number to a name that is there already
    if all(name.removesuffix(f" ({number})") == names.get(number, str(number)) for name, number in numbers.items()):
        return {name: str(number) for name, number in numbers.items()}
    return {name: name for name in labels.names}


def _write(
    root: Path, files: Mapping[str, Path], parts: Mapping[str, LabelledImages], written: Mapping[str, str]
) -> None:
    with originals_kept(files.values()):
        for name, part in parts.items():
            lines = zip((below(root, path) for path in part.paths), part.names, strict=True)
            write_text(files[name], "".join(_line(path, written[label]) for path, label in lines))


def _line(path: str, label: str) -> str:
    """PaddleX takes a line apart at its space; where there are more, a tab tells where the path ends."""
    return f"{path}\t{label}\n" if " " in path + label else f"{path} {label}\n"


def _tell_shared(parts: Mapping[str, LabelledImages], root: Path, report: Report) -> None:
    """Lists of one dataset may number their labels apart; nothing in them says so."""
    searched = {name for key in ("gallery", "query") if key in parts for name in parts[key].names}
    shared = searched & set(parts["train"].names) if "train" in parts else set()
    if shared and len(shared) < len(searched | set(parts["train"].names)):
        message = f"train shares {len(shared)} of its labels with gallery and query; equal ones are taken for one thing"
        fix = "Do not divide anew where the lists number their labels apart."
        report(Fault("warning", "labels-shared", root, message, value=len(shared), fix=fix))


def _tell_queries(parts: Mapping[str, LabelledImages], root: Path, report: Report) -> None:
    if "gallery" in parts and "query" in parts:
        lost = Counter(parts["query"].names)
        for name in parts["gallery"].names:
            lost.pop(name, None)
        if lost:
            message = (
                f"{lost.total()} images of query have a label that is not in gallery, such as {next(iter(lost))!r}"
            )
            fix = "Add images of these labels, or divide with another seed."
            report(Fault("warning", "query-without-gallery", root, message, value=lost.total(), fix=fix))


def _counts(parts: Mapping[str, LabelledImages]) -> dict[str, int]:
    counts = {f"images in {name}": len(parts[name]) for name in (*PARTS, *parts) if name in parts}
    return counts | {"labels": len({name for part in parts.values() for name in part.names})}
