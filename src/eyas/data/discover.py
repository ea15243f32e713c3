"""What there is below a folder: the folders with one annotation file an image, told by what the files hold."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from eyas.data import dota, labelme, visdrone, voc, yolo
from eyas.data.faults import Report, silent
from eyas.data.images import is_image
from eyas.data.parts import Part, split_of
from eyas.data.perimage import describes_one
from eyas.data.textfiles import read_json, read_xml
from eyas.errors import DatasetError

MAX_DEPTH = 6
_TRIES = 8  # files of a folder that are opened to tell its format: some may be empty or broken

ANNOTATION_FOLDERS = (
    *("annotations", "annotation", "labels", "label", "labeltxt", "annfiles", "xml", "xmls", "json", "jsons"),
)
IMAGE_FOLDERS = ("jpegimages", "images", "image", "imgs", "img")

TOLD: dict[str, tuple[str, Callable[[Path, Report], bool]]] = {  # format -> suffix of its files, how they are told
    "voc": (".xml", voc.fits),
    "labelme": (".json", labelme.fits),
    "visdrone": (".txt", visdrone.fits),
    "dota": (".txt", dota.fits),
    "yolo": (".txt", yolo.fits),
}


@dataclass(frozen=True)
class Folder:
    """A folder below the root, with the names of its files and of its folders."""

    path: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]

    @property
    def has_images(self) -> bool:
        """Whether an image lies in it."""
        return any(map(is_image, self.files))

    def inner(self, words: Sequence[str]) -> list[Path]:
        """Its folders of those names, in the order of `words` and in any case."""
        named = {name.lower(): name for name in reversed(self.folders)}
        return [self.path / named[word] for word in words if word in named]


@dataclass(frozen=True)
class Place:
    """A folder of annotations taken apart: the dataset's folder, the split's raw name, the part."""

    home: Path
    split: str | None
    part: Part


def scan(root: Path) -> dict[Path, Folder]:
    """The folders from `root` on, to a limited depth, without hidden ones; a linked folder is entered once."""
    seen: set[tuple[int, int]] = set()
    found: dict[Path, Folder] = {}
    for here, inner, names in os.walk(root, followlinks=True, onerror=_unreadable):
        path = Path(here)
        status = path.stat()
        if (status.st_dev, status.st_ino) in seen:
            inner.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__MACOSX")))
        found[path] = Folder(path, tuple(sorted(name for name in names if not name.startswith("."))), tuple(inner))
        if len(path.relative_to(root).parts) >= MAX_DEPTH:
            inner.clear()
    return found


def _unreadable(error: OSError) -> NoReturn:
    raise DatasetError(f"cannot read the folder {error.filename!r}: {error.strerror}") from error


def told_format(folder: Folder) -> str | None:
    """The format of the annotation files in a folder, None where no format fits them.

    Files that cannot be read at all, and texts in a folder `labels`, count as what they are likely meant to be: reading
    them then says what is wrong.
    """
    for name, (suffix, fits) in TOLD.items():
        if any(fits(file, silent) for file in _files(folder, suffix)):
            return name
    if "labels" in (folder.path.name.lower(), folder.path.parent.name.lower()) and _files(folder, ".txt"):
        return "yolo"
    for name, suffix, read in (("voc", ".xml", read_xml), ("labelme", ".json", read_json)):
        files = _files(folder, suffix)
        if files and all(read(file, silent) is None for file in files):
            return name
    return None


def _files(folder: Folder, suffix: str) -> list[Path]:
    """The first files that may each describe an image."""
    names = [name for name in folder.files if name.lower().endswith(suffix) and describes_one(name)]
    return [folder.path / name for name in names[:_TRIES]]


def annotated_folders(root: Path, folders: dict[Path, Folder]) -> dict[tuple[str, Path], list[Place]]:
    """The parts of every dataset with one annotation file an image, by (format, the dataset's folder)."""
    groups: dict[tuple[str, Path], dict[Path, Place]] = {}
    for folder in folders.values():
        name = told_format(folder)
        if name is not None:
            place = _placed(root, folder, folders)
            groups.setdefault((name, place.home), {}).setdefault(place.part.annotations, place)
    tops = [(name, place) for (name, _), places in groups.items() for place in places]
    found: dict[tuple[str, Path], list[Place]] = {}
    for (name, home), places in groups.items():
        for place in places.values():
            # folders inside a part belong to it
            if not any(name == other and top in place.part.annotations.parents for other, top in tops):
                found.setdefault((name, home), []).append(place)
    return found


def _placed(root: Path, folder: Folder, folders: dict[Path, Folder]) -> Place:
    """Where a folder of annotations belongs: `set/labels/train`, `set/train/labels`, `set/Annotations`, `set/train`."""
    parts = folder.path.relative_to(root).parts
    words = (*ANNOTATION_FOLDERS, *IMAGE_FOLDERS)
    kind = next((place for place, part in enumerate(parts) if part.lower().partition("-")[0] in words), None)
    if kind is None:
        split = parts[-1] if parts and split_of(parts[-1]) else None
        beside = [] if folder.has_images else folder.inner(IMAGE_FOLDERS)
        return Place(folder.path.parent if split else folder.path, split, Part(folder.path, (*beside, folder.path)[:1]))
    after = parts[kind + 1] if len(parts) > kind + 1 and split_of(parts[kind + 1]) else None
    before = parts[kind - 1] if kind and after is None and split_of(parts[kind - 1]) else None
    home = root.joinpath(*parts[: kind - 1 if before else kind])
    annotations = root.joinpath(*parts[: kind + 2 if after else kind + 1])
    around = folders[root.joinpath(*parts[:kind])]
    choices = [path / after if after else path for path in around.inner(IMAGE_FOLDERS)]
    if folder.has_images:
        choices.insert(0, annotations)
    images = next((path for path in choices if path in folders), around.path)
    return Place(home, after or before, Part(annotations, (images,)))
