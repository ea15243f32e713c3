"""Where the images of a written dataset go: linked or copied, under names that do not collide."""

import filecmp
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from eyas.data.faults import Fault, Report
from eyas.data.images import without_suffix
from eyas.data.labelme import embedded_picture
from eyas.data.sample import Dataset
from eyas.errors import DatasetError
from eyas.saving import write_atomically

Images = Literal["link", "copy", "none"]
"""How images get into a written dataset: as symbolic links, as copies, or not at all."""


def place_images(
    dataset: Dataset, folder: Path, images: Images, report: Report, taken: Collection[str] | None = None
) -> list[str]:
    """The file name, relative to `folder` and with `/`, of every sample's image, which is linked or copied there.

    Names below the folder that all images share are kept, and an image that lies in `folder` stays as it is. Where
    another picture of that name is there already, a number is added. With `taken`, stems that are in use, names are
    flat and their stems distinct, as a format with one annotation file an image needs it.
    """
    paths = [sample.path.absolute() for sample in dataset.samples]
    sources = [dataset.embedded.get(sample.path, path) for sample, path in zip(dataset.samples, paths, strict=True)]
    flat = taken is not None
    used = set(taken or ())
    placed = []
    for path, source, name in zip(paths, sources, _names(paths, folder.absolute()), strict=True):
        there = images != "none" and source.is_file()
        if images != "none" and not there:
            report(Fault("warning", "image-missing", path, "the image is not there; only its boxes are written"))
        free = name.replace("/", "_") if flat else name
        number = 1
        while _key(free, flat) in used or (there and not _fits(folder / free, path)):
            number += 1
            free = f"{without_suffix(name.replace('/', '_') if flat else name)}_{number}{path.suffix}"
        used.add(_key(free, flat))
        placed.append(free)
        if there:
            _place(path, source, folder / free, images)
    return placed


def _key(name: str, flat: bool) -> str:
    return without_suffix(name) if flat else name


def _names(paths: list[Path], folder: Path) -> list[str]:
    """The paths relative to `folder` where all lie in it, else to the folder that all share."""
    if not paths:
        return []
    inside = all(path.is_relative_to(folder) for path in paths)
    top = folder if inside else Path(os.path.commonpath([path.parent for path in paths]))
    return [path.relative_to(top).as_posix() for path in paths]


def _fits(target: Path, path: Path) -> bool:
    """Whether the picture `path` may be called `target`: the name is free, or the same picture has it."""
    if not target.exists():
        return not target.is_symlink()
    return path.is_file() and (target.samefile(path) or filecmp.cmp(target, path, shallow=False))


def _place(path: Path, source: Path, target: Path, images: Images) -> None:
    """Link or copy the picture to `target`; one that its annotation file `source` holds is written out."""
    if target.exists():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source != path:
            write_atomically(target, embedded_picture(source) or b"")
        elif images == "link":
            target.symlink_to(path)
        else:
            shutil.copyfile(path, target)
    except OSError as error:
        other = "; where links are not possible, copy the images" if images == "link" else ""
        raise DatasetError(f"cannot put an image at {target}: {error.strerror or error}{other}") from error
