"""Which pictures shall go into a gallery: a gallery.txt, a folder for each label, or a CSV file; and lists of ids."""

import logging
from os import PathLike
from pathlib import Path

from eyas.data.discover import IMAGE_FOLDERS
from eyas.data.images import images_below
from eyas.errors import GalleryError
from eyas.index.list_lines import numbered_lines, pictures_of_lines, reads_like_list
from eyas.index.list_tables import columns_of, is_table, pictures_of_table
from eyas.index.pictures import Picture, checked_label, distinct, is_file, refusal, text_of

__all__ = ["Picture", "read_gallery", "read_ids"]

log = logging.getLogger(__name__)

_USUAL = ("gallery.txt", "gallery.csv", "gallery.tsv")
_EXPECTED = {
    "list": "Expected a path and a label on each line, a tab or a space between them: images/1.jpg red shoe",
    "table": "Expected the columns path and label, for an object x1, y1, x2, y2, and any others as metadata.",
    "folders": "Expected each picture in a folder that is called like its label.",
}


def read_gallery(
    source: str | PathLike[str], root: Path | None = None, *, problems: list[str] | None = None
) -> list[Picture]:
    """The pictures that `source` names, each once: a list, a CSV file, or a folder.

    A folder is read by its gallery.txt (or gallery.csv), else by the one other file in it that reads like a list, else
    as a folder for each label (any depth below belongs to that label; hidden files do not count). Paths in a list are
    seen from `root`; by default from the folder of the list. What cannot be used is told in `problems`, one sentence
    each, and left out; where that is None any of it raises GalleryError, which names them by line.
    """
    place = Path(source)
    form, file, text = _form_of(place)
    told: list[str] = []
    if form == "folders":
        found = _pictures_of_folders(file, told)
    else:
        read = pictures_of_table if form == "table" else pictures_of_lines
        found = list(read(file, text, Path(root) if root is not None else None, told))
    pictures = distinct(found, told)
    if problems is None and told:
        raise refusal(file, told, _EXPECTED[form])
    if not pictures and not told:
        raise GalleryError(f"{file} names no picture. {_EXPECTED[form]}")
    if problems is not None:
        problems += told
    what = {"list": "the list", "table": "the table", "folders": "the label folders of"}[form]
    log.info("%d pictures of %d labels from %s %s", len(pictures), len({one.label for one in pictures}), what, file)
    return pictures


def read_ids(file: str | PathLike[str]) -> list[int]:
    """The ids in a text file, one on each line, in their order, each once.  Raises GalleryError, by line."""
    path = Path(file)
    ids, problems = [], []
    for number, line in numbered_lines(text_of(path)):
        if line.isascii() and line.isdecimal() and len(line) < 20 and int(line) < 1 << 63:
            ids.append(int(line))
        else:
            problems.append(f"line {number}: expected an id, a whole number from 0, got {line[:80]!r}")
    if problems or not ids:
        raise refusal(path, problems or ["it names no id"], "Expected one id of the gallery on each line.")
    return list(dict.fromkeys(ids))


def _form_of(place: Path) -> tuple[str, Path, str]:
    """("list", "table" or "folders"; the file or folder; the text of the file)."""
    if is_file(place):
        text = text_of(place)
        return _form_of_text(place, text), place, text
    if not place.is_dir():
        raise GalleryError(f"there is no file or folder {str(place)!r}. Expected a list of pictures or their folder.")
    file = _list_in(place)
    if file is None:
        return "folders", place, ""
    text = text_of(file)
    return _form_of_text(file, text), file, text


def _form_of_text(file: Path, text: str) -> str:
    if is_table(text):
        return "table"
    if file.suffix.lower() in (".csv", ".tsv") and not reads_like_list(text):
        raise GalleryError(f"{file}: the first line names the columns {columns_of(text)[:12]}. {_EXPECTED['table']}")
    return "list"


def _list_in(folder: Path) -> Path | None:
    """The file that lists the pictures of a folder, None where none does."""
    usual = [folder / name for name in _USUAL if is_file(folder / name)]
    if usual:
        return usual[0]
    files = [path for path in _entries(folder) if path.suffix.lower() in (".txt", ".csv", ".tsv")]
    texts = [(path, text_of(path)) for path in files if is_file(path) and not path.name.startswith(".")]
    lists = [path for path, text in texts if is_table(text) or reads_like_list(text)]
    if len(lists) > 1:
        names = ", ".join(path.name for path in lists[:5])
        raise GalleryError(f"{folder} holds {len(lists)} lists: {names}. Expected one, or gallery.txt; name the file.")
    return lists[0] if lists else None


def _pictures_of_folders(folder: Path, problems: list[str]) -> list[Picture]:
    labels = [path for path in _entries(folder) if path.is_dir() and not path.name.startswith(".")]
    images = {label: images_below(label) for label in labels}
    filled = [label for label in labels if images[label]]
    if not filled or (len(filled) == 1 and filled[0].name.lower() in IMAGE_FOLDERS):
        raise _nothing_in(folder)
    pictures = []
    for label in filled:
        try:
            name = checked_label(label.name)
        except ValueError as problem:
            problems.append(f"{label.name!r}: {problem}")
            continue
        pictures += [Picture(path, name, where=path.relative_to(folder).as_posix()) for path in images[label]]
    loose = [path for path in images_below(folder) if path.parent == folder]
    problems += [f"{path.name}: lies in no folder of a label" for path in loose]
    return pictures


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise GalleryError(f"cannot read the folder {folder}: {error.strerror}. Expected pictures in it.") from error


def _nothing_in(folder: Path) -> GalleryError:
    names = [path.name + "/" * path.is_dir() for path in _entries(folder)]
    found = ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "nothing"
    return GalleryError(
        f"{folder} is no gallery of pictures: it holds {found}. "
        "Expected gallery.txt with lines `path label`, a CSV file with the columns path and label, or a folder of "
        "pictures for each label."
    )
