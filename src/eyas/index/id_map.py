"""The labels of a PaddleX gallery: `id_map.yaml`, `index_info.yaml` or, of older ones, `id_map.pkl`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyas import yaml12
from eyas.errors import ConfigError, GalleryError
from eyas.index.id_map_pickle import read_pickled
from eyas.index.pictures import text_of
from eyas.index.records import KINDS, METRICS, Kind, Metric

FILES = ("id_map.yaml", "index_info.yaml", "id_map.pkl")
"""Where the labels may stand; the first that is there counts."""

_ENTRY = re.compile(r""" +(?P<quote>["']?)(?P<id>-?[0-9]{1,19})(?P=quote): (?P<label>.*)""")
# A text without quotes, unless YAML gives its first letter or something inside it a meaning.
_PLAIN = re.compile(r"(?!['\"{}\[\],&*!|>%@`#?:\-~])(?:(?! #|: |:$).)+")
_QUOTED = re.compile(r""" *"(?P<double>[^"\\]*)" *| *'(?P<single>(?:[^']|'')*)' *""")
_MOST_YAML = 4_000_000  # characters of YAML in an unusual form: its parser is slow


@dataclass(frozen=True)
class IdMap:
    """Labels by id, and what the file says of the index beside them: None where it does not."""

    file: Path
    labels: dict[int, str]
    metric: Metric | None
    kind: Kind | None


def read_id_map(folder: Path) -> IdMap:
    """The labels in a folder that holds a `vector.index`.  Raises GalleryError where there are none, or damaged."""
    files = [folder / name for name in FILES if (folder / name).is_file()]
    if not files:
        raise GalleryError(f"{folder} holds no labels. Expected {', '.join(FILES[:-1])} or {FILES[-1]} in it.")
    file = files[0]
    content: Mapping[Any, Any] = read_pickled(file) if file.suffix == ".pkl" else _read_yaml(file)
    ids = content.get("id_map", content if file.suffix == ".pkl" else None)
    if not isinstance(ids, dict):
        raise GalleryError(f"{file} has no key `id_map`. Expected `id_map`, `metric_type` and `index_type`.")
    labels = {_id(file, key): _label(file, key, label) for key, label in ids.items()}
    if len(labels) != len(ids):
        raise GalleryError(f"{file} names an id twice. Expected each id once.")
    metric, kind = content.get("metric_type"), content.get("index_type")
    # PaddleX takes a missing key for a damaged file; the pickles of old never had these two.
    for key, value, known in (("metric_type", metric, METRICS), ("index_type", kind, KINDS)):
        if value not in (*known, None) or (value is None and file.suffix != ".pkl"):
            raise GalleryError(f"{file}: {key} is {value!r}. Expected one of {', '.join(known)}.")
    return IdMap(file, labels, metric, kind)


def write_id_map(labels: Mapping[int, str], metric: Metric, kind: Kind) -> str:
    """The text of an `id_map.yaml`, every label in quotes."""
    entries = "".join(f"  {number}: {_quoted(label)}\n" for number, label in labels.items())
    return f"id_map:{' {}' if not labels else ''}\n{entries}index_type: {kind}\nmetric_type: {metric}\n"


def _quoted(text: str) -> str:
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    if not inner.isprintable():
        inner = "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in inner)
    return f'"{inner}"'


def _read_yaml(file: Path) -> dict[Any, Any]:
    """The document; labels of the usual form, one a line, are read in one pass, all else by the YAML parser."""
    text = text_of(file)
    lines = re.split(r"\r\n|\n", text)
    if "id_map:" not in lines:
        return _parsed(file, text)
    start = lines.index("id_map:") + 1
    end = next((n for n in range(start, len(lines)) if lines[n] and not lines[n].startswith(" ")), len(lines))
    content = _parsed(file, "\n".join(lines[: start - 1] + lines[end:]))
    if "id_map" in content:
        raise GalleryError(f"{file} has the key `id_map` twice. Expected it once.")
    entries: dict[int, str] = {}
    for number, label in _entries(file, lines[start:end], start):
        if number in entries:
            raise GalleryError(f"{file}: the id {number} is there twice. Expected each id once.")
        entries[number] = label
    return {**content, "id_map": entries}


def _entries(file: Path, lines: list[str], start: int) -> list[tuple[int, str]]:
    """(id, label) of each entry; a label that goes on on further lines is joined to its first."""
    chunks: list[list[str]] = []
    for number, line in enumerate(lines, start=start + 1):
        if _ENTRY.fullmatch(line):
            chunks.append([line])
        elif chunks:
            chunks[-1].append(line)
        elif line:
            raise GalleryError(f"{file}, line {number}: expected an id and a label, `0: shoe`, got {line[:80]!r}.")
    return [_entry(file, chunk) for chunk in chunks]


def _entry(file: Path, chunk: list[str]) -> tuple[int, str]:
    found = _ENTRY.fullmatch(chunk[0])
    assert found is not None
    if not any(chunk[1:]) and chunk[0].isprintable():  # the separators of Unicode are ends of lines in YAML
        if _PLAIN.fullmatch(found["label"]):
            return int(found["id"]), found["label"].strip(" ")
        if quoted := _QUOTED.fullmatch(found["label"]):
            double, single = quoted["double"], quoted["single"]
            return int(found["id"]), double if double is not None else single.replace("''", "'")
    parsed = _parsed(file, "\n".join(chunk))
    if len(parsed) != 1:
        raise GalleryError(f"{file}: expected one label for the id {found['id']}, got {chunk[0].strip()[:80]!r}.")
    return next(iter(parsed.items()))


def _parsed(file: Path, text: str) -> dict[Any, Any]:
    if len(text) > _MOST_YAML:
        raise GalleryError(f"{file} has {len(text):,} characters in an unusual form. Expected `  0: label` lines.")
    try:
        value = yaml12.load(text, str(file)).value
    except ConfigError as error:
        raise GalleryError(f"{error}. Expected the labels of a PaddleX gallery.") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise GalleryError(f"{file} holds a {type(value).__name__}. Expected `id_map`, `metric_type`, `index_type`.")
    return value


def _id(file: Path, key: object) -> int:
    if isinstance(key, bool) or not isinstance(key, int | str) or not re.fullmatch(r"[0-9]{1,19}", str(key)):
        raise GalleryError(f"{file}: the id {key!r:.80} is no whole number from 0. Expected the ids of vectors.")
    return int(key)


def _label(file: Path, key: object, label: object) -> str:
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        raise GalleryError(f"{file}: the label of {key!r:.80} is {type(label).__name__}. Expected a text.")
    return str(label)
