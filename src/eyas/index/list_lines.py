"""Reads the lines `path label` of a gallery.txt."""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from eyas.data.faults import shown
from eyas.data.images import is_image, likeliest
from eyas.index.pictures import Picture, checked_label, is_file, located

_BLANKS = " \t"
_MAX_LINE = 3000  # characters
_TRIES = 8  # lines that are looked at to tell a list from another text
_QUOTED = re.compile(r"""(["'])(?P<inner>(?:(?!\1).|\1\1)*)\1""")


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """(1-based number, line) of every line that is not blank, without blanks at its ends."""
    # str.splitlines would also part a label at the separators of Unicode.
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if line := line.strip(_BLANKS):
            yield number, line


def split_line(line: str, is_there: Callable[[str], bool]) -> tuple[str, str]:
    """(path, label) of a line; `is_there` says whether a file of that name is there.

    A tab parts them if the line has one. Else a path in quotes ends with them, and any other at the first space;
    where no file is called so but one with spaces in its name is, the longest such name is the path. The label is all
    the rest, with its spaces; quotes around it are taken off, and a doubled quote inside them is one of the label.
    Raises ValueError, in words.
    """
    if len(line) > _MAX_LINE:
        raise ValueError(f"a line of {len(line)} characters is none of a list")
    if "\t" in line:
        columns = [column for part in line.split("\t") if (column := part.strip(_BLANKS))]
        if len(columns) != 2:
            raise ValueError(f"expected a path, a tab and a label, got {len(columns)} columns: {shown(line)}")
        return _unquoted(columns[0]), _unquoted(columns[1])
    quoted = _QUOTED.match(line)
    if quoted and line[quoted.end() :].startswith(" "):
        return _unquoted(quoted[0]), _unquoted(line[quoted.end() :].lstrip(" "))
    choices = [(line[: gap.start()], line[gap.end() :]) for gap in re.finditer(" +", line)]
    simple = bool(choices) and is_there(choices[0][0])
    if not choices or (not simple and is_there(line)):
        raise ValueError(f"there is no label after the path {shown(_unquoted(line))}")
    path, label = choices[0]
    if not simple:
        named = [choice for choice in choices if is_there(choice[0])]
        # Of what is not there, the name of a picture makes the better message.
        pictured = [choice for choice in choices if is_image(choice[0])]
        path, label = (named[-1:] or pictured[:1] or choices)[0]
    return path, _unquoted(label)


def _unquoted(text: str) -> str:
    found = _QUOTED.fullmatch(text)
    return found["inner"].replace(found[1] * 2, found[1]) if found else text


def reads_like_list(text: str) -> bool:
    """Whether one of the first lines is the name of a picture with a label."""
    for _, line in islice(numbered_lines(text), _TRIES):
        try:
            path, _ = split_line(line, lambda name: False)
        except ValueError:
            continue
        if is_image(path.replace("\\", "/").rpartition("/")[2]):
            return True
    return False


def pictures_of_lines(file: Path, text: str, root: Path | None, problems: list[str]) -> Iterator[Picture]:
    """The pictures of a list; what is wrong with a line goes to `problems`.

    Without a `root` paths are seen from the list's folder, or, where the first files are there instead, from the folder
    above it.
    """
    if root is None:
        first = (_naive_path(line) for _, line in numbered_lines(text))
        root = likeliest((file.parent, file.parent.parent), first)
    for number, line in numbered_lines(text):
        where = f"{file.name}, line {number}"
        try:
            written, label = split_line(line, lambda name: is_file(root / name))
            yield Picture(located(root, written), checked_label(label), where=where)
        except ValueError as problem:
            problems.append(f"{where}: {problem}")


def _naive_path(line: str) -> str:
    try:
        return split_line(line, lambda name: False)[0]
    except ValueError:
        return ""
