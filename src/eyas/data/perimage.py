"""What the formats with one annotation file an image share: find the files, match them to images, gather the boxes.

A format brings a `Parse` function; VOC, LabelMe, DOTA and VisDrone use `read_files`, YOLO and CSV `gather` alone.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from eyas.data.assemble import BoxTable, ImageRow, assemble
from eyas.data.classnames import NAME_FILES, found_classes, listed_classes
from eyas.data.faults import Fault, Report, Unusable, silent
from eyas.data.images import ImageFolder, leads_out, posix_name, read_sizes, tails, without_suffix
from eyas.data.parts import Layout, Part
from eyas.data.sample import ClassMap, Dataset
from eyas.data.textfiles import read_lines
from eyas.errors import InputError, did_you_mean

_WHOLE_SET = re.compile(
    r"\.|instances?_.+\.json$|_annotations\.|(?:train|val|valid|test|trainval|unlabeled)(?:_anno_list|_list)?\.(?:txt|json)$"
    r"|(?:readme|license|licence)\b.*\.txt$",
    re.IGNORECASE,
)


class Mark(NamedTuple):
    """One box: `label` is a class name, the id of a class in the source, or None for "every class"."""

    record: str
    label: str | int | None
    corners: tuple[float, float, float, float]
    ignore: bool = False


@dataclass(frozen=True)
class Annotated:
    """What one annotation file says about one image.

    `image_name` is as the file writes it (None: it gives none), `image` the file meant, once it was looked up.
    `size_wh` is the size that the file states. With `relative`, corners are fractions of width and height.
    `embedded`: the picture is in the annotation file.
    """

    file: Path
    marks: list[Mark]
    image_name: str | None = None
    size_wh: tuple[int, int] | None = None
    relative: bool = False
    embedded: bool = False
    image: Path = Path()


def parse_lines(
    file: Path, lines: Iterable[tuple[str, str]], mark: Callable[[str, str], Mark], report: Report
) -> Annotated:
    """A file with a box on each of its `lines` (record, text); one that `mark(text, record)` refuses is told."""
    marks = []
    for record, text in lines:
        try:
            marks.append(mark(text, record))
        except ValueError as problem:
            report(Unusable("wrong-value", str(problem), value=text, fix="Mend the line.").fault(file, record))
    return Annotated(file, marks)


Parse = Callable[[Path, Report], Annotated | None]
"""Annotation file -> what it says, or None after a report."""


def read_files(
    layout: Layout, part: Part, suffix: str, parse: Parse, report: Report, classes: ClassMap | None = None
) -> Dataset:
    """The dataset of the files `*suffix` of a part, each of which describes one image.

    Without `classes` they are those of the layout's class file, else the names found in all parts, so that every part
    has the same ones.
    """
    files = annotation_files(part.annotations, suffix)
    chosen = files if part.members is None else members(part.members, part.annotations, files, report)
    said = [one for file in chosen if (one := parse(file, report)) is not None]
    if classes is None:
        classes = listed_classes(layout.class_file, report) if layout.class_file else None
    if classes is None:
        names = {mark.label for one in said for mark in one.marks}
        others = {file for other in layout.splits.values() for file in annotation_files(other.annotations, suffix)}
        for file in sorted(others.difference(chosen)):
            unread = parse(file, silent)
            names |= {mark.label for mark in unread.marks} if unread else set()
        classes = found_classes(name for name in names if isinstance(name, str))
    folder = ImageFolder(part.images)
    placed = [found for one in said if (found := _with_image(layout, part, folder, one, report)) is not None]
    dataset = gather(placed, classes, part.annotations, report)
    if part.members is None:
        _tell_unannotated(folder, placed, part, report)
    return dataset


def annotation_files(folder: Path, suffix: str) -> list[Path]:
    """The files `*suffix` in `folder` at any depth that may each describe an image, sorted."""
    found = []
    for here, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [Path(here, name) for name in names if name.lower().endswith(suffix) and describes_one(name)]
    return sorted(found)


def describes_one(name: str) -> bool:
    """Whether a file of that name may describe one image: it is not hidden and no known list of names, of the members
    of a split, or of the annotations of a whole set.
    """
    return name.lower() not in NAME_FILES and not _WHOLE_SET.match(name)


def members(listing: Path, folder: Path, files: Sequence[Path], report: Report) -> list[Path]:
    """The annotation files below `folder` that the text file `listing` names, in its order.

    A line is the path, name or stem of one, or of its image; two columns may stand there, image and annotation file,
    or a name and a number.
    """
    known: dict[str, Path] = {}
    for file in reversed(files):
        for tail in tails(file.relative_to(folder).as_posix()):
            known[_stem(tail)] = file
    chosen: dict[Path, None] = {}
    for record, text in read_lines(listing, report):
        if text.startswith("#"):
            continue
        found = next((known[name] for name in _meant(text) if name in known), None)
        if found is None:
            message = f"names {text[:80]!r}, and there is no such annotation file in {folder}"
            report(Fault("error", "list-entry-missing", listing, message, record, value=text, fix="Mend the list."))
        else:
            chosen[found] = None
    return list(chosen)


def _meant(text: str) -> Iterator[str]:
    """What a line of a list may name, without suffix: the whole line, then its columns, those with a suffix first."""
    columns = text.split()
    for column in (text, *(word for word in reversed(columns) if _stem(word) != word), columns[0]):
        yield from map(_stem, tails(column.strip("\"'").replace("\\", "/")))


def _stem(name: str) -> str:
    """`name` without the suffix of an annotation file or image; other dots belong to the name."""
    return name.rpartition(".")[0] if name.lower().endswith((".xml", ".json", ".txt")) else without_suffix(name)


def _with_image(layout: Layout, part: Part, folder: ImageFolder, one: Annotated, report: Report) -> Annotated | None:
    """`one` with the path of its image; None after a report."""
    stem = one.file.relative_to(part.annotations).with_suffix("").as_posix()
    try:
        name = None if one.image_name is None else posix_name(one.image_name)
    except Unusable as problem:
        report(problem.fault(one.file, "image name"))
        return None
    found, differs = folder.find(name, stem)
    below = one.file.parent.relative_to(layout.root).as_posix() if one.file.is_relative_to(layout.root) else ""
    outside = name is not None and leads_out(name, below)
    if outside and found is None and not one.embedded:
        message = f"names the image {name!r}, which leads out of the dataset and is not in {part.images[0]} either"
        fix = f"Put the image into {part.images[0]}."
        report(Fault("error", "path-outside", one.file, message, "image name", value=name, fix=fix))
        return None
    if outside and found is not None:
        message = f"names the image {name!r}, which leads out of the dataset; {found} is used"
        report(Fault("info", "path-outside", one.file, message, "image name", value=name))
    elif differs and found is not None:
        message = f"names the image {name!r}; {found.name}, called like this file, is used"
        report(Fault("info", "image-name-differs", one.file, message, "image name", value=name))
    absent = part.images[0] / PurePosixPath(name or f"{stem}.jpg").name
    return replace(one, image=found or absent, embedded=one.embedded and found is None)


def _tell_unannotated(folder: ImageFolder, placed: list[Annotated], part: Part, report: Report) -> None:
    known = {one.image for one in placed}
    others = [path for path in folder.paths if path not in known]
    if others:
        message = f"{len(others)} images have no annotation file and are left out, the first is {others[0]}"
        report(Fault("info", "image-without-annotation", part.annotations, message, value=len(others)))


def gather(said: Sequence[Annotated], classes: ClassMap, source: Path, report: Report) -> Dataset:
    """The dataset of annotated images, numbered 1, 2, 3 …; sizes that no file states come from the image headers."""
    if not classes.names and any(one.marks for one in said):
        report(Fault("error", "no-classes", source, "no class names", fix="Add a file classes.txt, a name a line."))
    images, owners = _image_rows(said, report)
    ids: dict[str | int | None, list[int]] = {None: list(range(len(classes)))}
    ids |= {name: [place] for place, name in enumerate(classes.names)}
    ids |= {source_id: [place] for place, source_id in enumerate(classes.source_ids)}
    origin: list[tuple[Path, Mark]] = []
    owner: list[int] = []
    xyxy: list[Any] = []
    class_ids: list[int] = []
    for place, (one, image) in enumerate(zip(owners, images, strict=True)):
        scale = (image.width, image.height) * 2 if one.relative else (1, 1, 1, 1)
        for mark in one.marks:
            known = ids.get(mark.label)
            if known is None:
                report(_unknown_class(one.file, mark, classes))
                continue
            corners = [value * factor for value, factor in zip(mark.corners, scale, strict=True)]
            for class_id in known:
                owner.append(place)
                xyxy.append(corners)
                class_ids.append(class_id)
                origin.append((one.file, mark))
    table = BoxTable.of(owner, xyxy, class_ids, [mark.ignore for _, mark in origin])
    embedded = {image.path: one.file for one, image in zip(owners, images, strict=True) if one.embedded}
    dataset = assemble(images, table, classes, source, lambda row: _spot(*origin[row]), report, embedded)
    return replace(dataset, files={image.path: one.file for one, image in zip(owners, images, strict=True)})


def _spot(file: Path, mark: Mark) -> tuple[Path, str, Any]:
    return file, mark.record, list(mark.corners)


def _unknown_class(file: Path, mark: Mark, classes: ClassMap) -> Fault:
    known = classes.names if isinstance(mark.label, str) else classes.source_ids
    message = f"the class {mark.label!r} is not one of the dataset's"
    fix = f"{did_you_mean(mark.label, known)} Mend the class, or add it to the list of classes."
    return Fault("error", "unknown-class", file, message, mark.record, "class", mark.label, fix)


def _code(path: Path) -> str:
    """Why an image has no size."""
    if not path.is_file():
        return "image-unreadable" if path.exists() else "image-missing"
    return "image-unreadable" if path.stat().st_size else "image-empty"


def _image_rows(said: Sequence[Annotated], report: Report) -> tuple[list[ImageRow], list[Annotated]]:
    """The images whose size is known, and what is said about each."""
    unsized = [one.image for one in said if one.size_wh is None]
    sizes = dict(zip(unsized, read_sizes(unsized), strict=True))
    rows: list[ImageRow] = []
    owners: list[Annotated] = []
    first: dict[Path, Path] = {}
    for one in said:
        path, size = one.image, one.size_wh or sizes[one.image]
        if isinstance(size, InputError):
            message = f"the size of its image is not known: {str(size).rstrip('.')}"
            fix = "Put the image there, or mend it."
            report(Fault("error", _code(path), one.file, message, path.name, "file_name", str(path), fix))
        elif path in first:
            message = f"describes {path}, which {first[path].name} describes too"
            report(Fault("error", "image-twice", one.file, message, value=str(path), fix="Keep one of the two."))
        else:
            first[path] = one.file
            rows.append(ImageRow(len(rows) + 1, path, *size))
            owners.append(one)
    return rows, owners
