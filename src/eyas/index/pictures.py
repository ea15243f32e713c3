"""A picture that shall go into a gallery, and what every way of naming one shares."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path
from typing import Any

from eyas.data.faults import Fault, shown
from eyas.data.textfiles import read_text
from eyas.errors import GalleryError
from eyas.index.arrivals import check_label

_MAX_TEXT = 512_000_000  # bytes of a list
_NAMED = 20  # problems that an error names

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Picture:
    """A picture, or one object in it, with its label.

    `box` is the object's x1, y1, x2, y2 in pixels of the upright picture, None for the whole of it. `where` says where
    it was named: "gallery.txt, line 12", or its path in a folder per label.
    """

    path: Path
    label: str
    metadata: dict[str, Any] = field(default_factory=dict)
    box: Box | None = None
    where: str = ""


def text_of(file: Path) -> str:
    """The text of a list, whatever its encoding.  Raises GalleryError where it cannot be read."""
    faults: list[Fault] = []
    text = read_text(file, faults.append, _MAX_TEXT)
    if text is None:
        raise GalleryError(f"{faults[0]}. Expected a text file in UTF-8.")
    return text


def checked_label(label: str) -> str:
    """`label`; raises ValueError, in words, where a gallery does not take it."""
    if not label.strip():
        raise ValueError("the label is empty")
    try:
        check_label(label, "")
    except GalleryError as problem:
        raise ValueError(str(problem).removeprefix(": ")) from problem
    return label


def is_file(path: Path) -> bool:
    """Whether a file is there; false for what no file can be called."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def located(root: Path, written: str) -> Path:
    """The picture that a list calls `written`, seen from `root`; backslashes of Windows are understood.

    Raises ValueError, in words, where it is not there or not below `root`: a list from elsewhere shall not reach the
    other files of this machine.
    """
    path = root / written
    if "\\" in written and not is_file(path):
        path = root / written.replace("\\", "/")
    # Links are not followed: a link inside the folder to a picture elsewhere is the user's own.
    if (".." in path.parts or not path.is_relative_to(root)) and not _is_below(path, root):
        raise ValueError(f"the path {shown(written)} leads out of the folder {str(root)!r}; give a root that holds it")
    if not is_file(path):
        raise ValueError(f"there is no file {shown(written)} in the folder {str(root)!r}")
    return path


def _is_below(path: Path, root: Path) -> bool:
    here = Path.cwd()
    return Path(normpath(here / path)).is_relative_to(normpath(here / root))


def distinct(pictures: Iterable[Picture], problems: list[str]) -> list[Picture]:
    """Each picture (or box of one) once, in their order.

    One that is named with two labels, or with other metadata, is a problem that names both places; neither is kept.
    """
    kept: dict[tuple[Path, Box | None], Picture] = {}
    contradicted = set()
    for picture in pictures:
        key = (picture.path, picture.box)
        first = kept.setdefault(key, picture)
        if (first.label, first.metadata) == (picture.label, picture.metadata):
            continue
        contradicted.add(key)
        what = f"is {shown(picture.label)} here and {shown(first.label)}"
        if first.label == picture.label:
            what = "has other metadata here than"
        problems.append(f"{picture.where}: {str(picture.path)!r} {what} in {first.where}")
    return [picture for key, picture in kept.items() if key not in contradicted]


def refusal(source: Path, problems: Sequence[str], expected: str) -> GalleryError:
    """The error that names what is wrong in a list, line by line, and says what was expected."""
    many = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    more = [f"… and {len(problems) - _NAMED} more"] if len(problems) > _NAMED else []
    lines = "".join(f"\n  {problem}" for problem in [*problems[:_NAMED], *more])
    return GalleryError(f"{source} has {many}:{lines}\n{expected}")
