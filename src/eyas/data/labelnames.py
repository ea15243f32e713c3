"""The words of recognition lists: a line `path label`, and the file that names the labels."""

import csv
import re
from pathlib import Path

from eyas.data.faults import Fault, Report, Unusable, shown
from eyas.data.images import is_image
from eyas.data.textfiles import read_lines, read_text

_NAME_FILES = ("label.txt", "labels.txt", "label_list.txt", "classes.txt", "class_list.txt", "classes.csv")
_MAX_LINE = 3000

_QUOTED = re.compile(r"""(["'])(?P<path>.+?)\1[\s,]+(?P<label>.+)""")
_NUMBERS = re.compile(r"(?P<path>.*[^\s,0-9][^,]*?)\s*,\s*(?P<label>[0-9]+)(?:\s*,\s*[0-9]+)?")


def split_line(text: str) -> tuple[str, str]:
    """(path, label) of a line: between them stands a tab, the last space, or, before one or two numbers, a comma.

    A path may be in quotes. Where what comes before the last space is no image, the label has several words and begins
    where the name of an image ends. Raises Unusable.
    """
    if len(text) > _MAX_LINE:
        raise Unusable("wrong-value", f"a line of {len(text)} characters is none of a list", value=text)
    found = _QUOTED.fullmatch(text) or _NUMBERS.fullmatch(text)
    if found:
        path, label = found["path"], found["label"]
    elif "\t" in text:
        path, _, label = text.partition("\t")
    else:
        path, _, label = text.rpartition(" ")
        if not is_image(path.rstrip()):
            ends = [space.start() for space in re.finditer(" ", text) if is_image(text[: space.start()])]
            path, label = (text[: ends[0]], text[ends[0] :]) if ends else (path, label)
    path, label = (part.strip().strip("\"'") for part in (path, label))
    if not path or not label:
        raise Unusable(
            "wrong-value", f"expected a path and a label, got {shown(text)}", value=text, fix="Mend the line."
        )
    return path, label


def label_names_file(folder: Path) -> Path | None:
    """The file in a dataset's folder that names its labels, None without one."""
    return next((file for name in _NAME_FILES if (file := folder / name).is_file()), None)


def read_label_names(file: Path, report: Report) -> dict[int, str]:
    """Label number -> name: from lines `0 apple`, from a name a line (numbered from 0), or from a CSV file with the
    columns name and id, which may begin with the word class.
    """
    if file.suffix.lower() == ".csv":
        return _from_table(file, report)
    lines = [text for _, text in read_lines(file, report)]
    numbered = [re.fullmatch(r"([0-9]{1,15})[\s,:]+(.+)", text) for text in lines]
    if all(numbered):
        return {int(found[1]): found[2].strip() for found in numbered if found}
    return dict(enumerate(lines))


def _from_table(file: Path, report: Report) -> dict[int, str]:
    text = read_text(file, report)
    if text is None:
        return {}
    rows = csv.reader(text.splitlines())
    header = [name.strip().lower() for name in next(rows, [])]
    name = next((place for place, column in enumerate(header) if re.match(r"(class |label )?name\b", column)), None)
    number = next((place for place, column in enumerate(header) if re.match(r"(class |label )?id\b", column)), None)
    if name is None or number is None:
        message = f"its first line must name the columns name and id, got {shown(header)}"
        report(Fault("warning", "key-missing", file, message, "line 1"))
        return {}
    filled = [row for row in rows if len(row) > max(name, number) and row[number].strip().isdecimal()]
    return {int(row[number]): row[name].strip() for row in filled}
