"""What `eyas gallery` tells: reports, lines and conditions.

A report is a dict of plain values; its `lines` say the same in sentences.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from eyas.config import parse_value
from eyas.errors import ConfigError
from eyas.index import Change, Gallery, Item
from eyas.index.gallery import Where
from eyas.index.history import HistoryEntry

Report = dict[str, Any]
Form = Literal["text", "json"]
_CONDITION = re.compile(r"([^=<>!]+)(<=|>=|!=|<|>|=)(.*)", re.DOTALL)


def report_of(gallery: Gallery, change: Change) -> Report:
    """A change, and what the gallery holds after it."""
    counts = {name: len(getattr(change, name)) for name in ("added", "updated", "removed", "unchanged")}
    holds = {"items": len(gallery), "labels": len(gallery.labels)}
    told = _counted(counts) or "nothing to do"
    line = f"{told}; {gallery.path} holds {len(gallery)} items of {len(gallery.labels)} labels"
    return {**vars(change), **holds, "lines": [line]}


def line_of_change(entry: HistoryEntry) -> str:
    """A change on one line: number, time, what it did."""
    counts = _counted({"added": entry.added, "updated": entry.updated, "removed": entry.removed})
    return f"{entry.generation:>8}  {entry.time}  {entry.kind}: {counts}{'  (taken back)' if entry.undone else ''}"


def line_of(item: Item) -> str:
    """An item on one line: id, label, path, metadata."""
    more = f"  {as_json(item.metadata)}" if item.metadata else ""
    return f"{item.id:>8}  {item.label}  {item.source or ''}{more}"


def as_json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """A value on one line of JSON."""
    return json.dumps(value, ensure_ascii=False)


def conditions(where: Sequence[str] | None) -> Where | None:
    """The condition that `--where` texts make: `key=value` (several: any of them), `key!=value`, `key<3`, `key>=3`."""
    if not where:
        return None
    result: dict[str, Any] = {}
    for text in where:
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise ConfigError(f"--where {text!r}: expected key=value, key!=value, key<number, key>=number, …")
        key, operator, given = match[1].strip(), match[2], match[3].strip()
        try:
            value = parse_value(given)
        except ConfigError as error:
            raise ConfigError(f"--where {text!r}: the value cannot be read: {error}") from error
        if operator == "=":
            values = result.setdefault(key, [])
            if not isinstance(values, list):
                raise ConfigError(f"--where {text!r}: {key} has another condition already.")
            # Numbers that are names stay texts in a table, as 007 and barcodes do: both readings are looked for.
            values += [value] if isinstance(value, str) else [value, given]
        else:
            limits = result.setdefault(key, {})
            if not isinstance(limits, dict):
                raise ConfigError(f"--where {text!r}: {key} has another condition already.")
            limits[operator] = value
    return result


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
