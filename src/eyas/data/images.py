"""Image files of a dataset: names as annotations write them, the files behind them, sizes from their headers."""

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from posixpath import normpath

from eyas.data.faults import Unusable, shown
from eyas.errors import InputError
from eyas.vision.image import SUFFIXES, image_size

_DRIVE = re.compile(r"[A-Za-z]:")
_READERS = 8  # threads that read headers: the time goes into waiting for the disk


def is_image(name: str) -> bool:
    """Whether a file name is that of an image, by its suffix; hidden files are none."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def without_suffix(name: str) -> str:
    """`name` without its image suffix; other dots belong to the name: `a.b.jpg` -> `a.b`, `a.b` -> `a.b`."""
    return name[: name.rindex(".")] if is_image(name) else name


def posix_name(text: str) -> str:
    """A path of an annotation file with `/` and without `./`. Raises Unusable where no file can have that name."""
    name = text.strip().replace("\\", "/")
    try:
        fits = len(os.fsencode(name)) <= 2000 and all(len(os.fsencode(part)) <= 255 for part in name.split("/"))
    except UnicodeError:
        fits = False
    if not name or not fits or any(ord(letter) < 32 for letter in name):
        raise Unusable(
            "path-unusable", f"a file cannot have the name {shown(text)}", value=text, fix="Mend the file name."
        )
    return normpath(name)


def leads_out(name: str, below: str = "") -> bool:
    """Whether `name` (with `/`), seen from the folder `below` of a dataset, is absolute or leads out of the dataset."""
    joined = normpath(f"{below}/{name}" if below else name)
    return name.startswith("/") or _DRIVE.match(name) is not None or joined == ".." or joined.startswith("../")


def tails(name: str) -> Iterator[str]:
    """`a/b/c.jpg`, `b/c.jpg`, `c.jpg`: what is left of a path when its leading parts are dropped."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "//", "..")]
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def found_below(folders: Iterable[Path], name: str) -> Path | None:
    """The file or folder below one of `folders` that the longest tail of `name` reaches, else None."""
    folders = tuple(folders)
    return next((path for tail in tails(name) for folder in folders if (path := folder / tail).exists()), None)


def likeliest(folders: Sequence[Path], texts: Iterable[object]) -> Path:
    """The folder that holds the most of the first files named; the first one where none holds any."""
    if len(folders) == 1:
        return folders[0]
    names = []
    for text in islice(texts, 20):
        with suppress(Unusable):
            names.append(posix_name(str(text)))
    return max(folders, key=lambda folder: sum((folder / name).is_file() for name in names))


def images_below(folder: Path) -> list[Path]:
    """The images in `folder` at any depth, sorted by path; hidden folders and linked folders are not entered."""
    found = []
    for here, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [Path(here, name) for name in names if is_image(name)]
    return sorted(found)


class ImageFolder:
    """The images of one or more folders, found by name as annotations write it."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self.paths = tuple(path for folder in folders for path in images_below(folder))

    @cached_property
    def _by_name(self) -> dict[str, Path]:
        """Relative path or file name -> image; what is nearest to the top wins."""
        known: dict[str, Path] = {}
        for folder in reversed(self.folders):
            inside = [path for path in self.paths if path.is_relative_to(folder)]
            known |= {path.name: path for path in reversed(inside)}
            known |= {path.relative_to(folder).as_posix(): path for path in reversed(inside)}
        return known

    @cached_property
    def _by_stem(self) -> dict[str, Path]:
        return {without_suffix(name): path for name, path in reversed(self._by_name.items())}

    @cached_property
    def _folded(self) -> dict[str, Path]:
        """The same for names that differ in case or in the spelling of accents (macOS writes them apart)."""
        return {_fold(name): path for known in (self._by_stem, self._by_name) for name, path in known.items()}

    def named(self, name: str) -> Path | None:
        """The image that a path, or the end of one, names: by its whole name, else in other case."""
        for known, key in ((self._by_name, str), (self._folded, _fold)):
            for tail in tails(name):
                if key(tail) in known:
                    return known[key(tail)]
        return None

    def find(self, name: str | None, stem: str) -> tuple[Path | None, bool]:
        """(image of the annotation file `stem`, whether its name is another than `name`, which the file gives).

        `stem` is the annotation file's relative path without suffix. Where an image of the given name and one of the
        stem are both there, the stem counts: tools that copy annotation files forget to change the name inside.
        """
        given = self.named(name) if name else None
        own = next((known[tail] for known in (self._by_name, self._by_stem) for tail in tails(stem) if tail in known),
                   None)  # fmt: skip
        if own is None:
            own = next((self._folded[_fold(tail)] for tail in tails(stem) if _fold(tail) in self._folded), None)
        if given is not None and (own in (None, given) or without_suffix(given.name) == PurePosixPath(stem).name):
            return given, False
        return own, own is not None and name is not None and own.name != PurePosixPath(name).name


def read_sizes(paths: Sequence[Path]) -> list[tuple[int, int] | InputError]:
    """(width, height) of every upright image, from its header alone, or why it cannot be read."""
    if len(paths) < 2:
        return [_size(path) for path in paths]
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(_size, paths))


def _size(path: Path) -> tuple[int, int] | InputError:
    try:
        height, width = image_size(path)
    except InputError as error:
        return error
    return width, height


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
