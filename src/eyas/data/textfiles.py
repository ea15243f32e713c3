"""The annotation files of a dataset, read with the care that files of unknown origin ask for.

Every function reports what is wrong and then returns None (or what is left). UTF-8 with or without a byte order mark
and UTF-16 with one are read silently, GBK with a warning. XML that declares a document type or entities is refused:
entities can grow without bound or name other files.
"""

import codecs
import json
import re
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from eyas import yaml12
from eyas.data.faults import Fault, Report
from eyas.errors import ConfigError

MAX_BYTES = 2_000_000_000  # one annotation file for a whole set
MAX_BYTES_OF_ONE_IMAGE = 256_000_000  # a LabelMe file can hold its picture

_MAX_YAML_BYTES = 4_000_000
_MAX_YAML_BRACKETS = 50

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"^<\?xml[^>]{0,100}?encoding=[\"']([A-Za-z0-9._-]{1,40})[\"']")
_DOCUMENT_TYPE = re.compile(r"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)


def read_text(file: Path, report: Report, limit: int = MAX_BYTES) -> str | None:
    """The text of `file`, or None after a report: missing, too large, or in no known encoding."""
    try:
        size = file.stat().st_size
        if size > limit:
            report(Fault("error", "file-too-large", file, f"has {size:,} bytes; the limit is {limit:,}"))
            return None
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        report(Fault("error", "file-unreadable", file, f"cannot be read: {reason}"))
        return None
    return _decoded(data, file, report)


def _decoded(data: bytes, file: Path, report: Report) -> str | None:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    declared = _DECLARED.match(data)
    for encoding in ("utf-8", *([declared[1].decode("ascii")] if declared else [])):
        try:
            return data.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    try:
        text = data.decode("gb18030")
    except UnicodeError:
        message = "is not a text in UTF-8, UTF-16 or GBK"
        report(Fault("error", "wrong-encoding", file, message, fix="Save it as UTF-8."))
        return None
    message = "is not UTF-8; it was read as GBK, and its names may be wrong"
    report(Fault("warning", "wrong-encoding", file, message, fix="Save it as UTF-8."))
    return text


def read_lines(file: Path, report: Report) -> Iterator[tuple[str, str]]:
    """("line 3", text) of every line that is not blank, the text without blanks at its ends."""
    text = read_text(file, report)
    for number, line in enumerate((text or "").splitlines(), start=1):
        if line.strip():
            yield f"line {number}", line.strip()


def read_json(file: Path, report: Report, limit: int = MAX_BYTES) -> Any:
    """The content of a JSON file, or None after a report."""
    text = read_text(file, report, limit)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except RecursionError:
        report(Fault("error", "not-json", file, "is nested too deeply to be read as JSON"))
        return None
    except ValueError as error:
        report(Fault("error", "not-json", file, f"is not JSON: {error}"))
        return None
    if content is None:
        report(Fault("error", "not-json", file, "holds only null"))
    return content


def read_xml(file: Path, report: Report) -> ElementTree.Element | None:
    """The root element of an XML file, or None after a report."""
    text = read_text(file, report, MAX_BYTES_OF_ONE_IMAGE)
    if text is None:
        return None
    if _DOCUMENT_TYPE.search(text):
        message = "declares a document type or entities, which an annotation does not need and which can do harm"
        report(Fault("error", "xml-entities", file, message, fix="Remove the <!DOCTYPE …> part."))
        return None
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        report(Fault("error", "not-xml", file, f"is not XML: {error}"))
        return None


def read_yaml(file: Path, report: Report) -> Any:
    """The content of a YAML file, or None after a report (or where it holds nothing)."""
    text = read_text(file, report, _MAX_YAML_BYTES)
    if text is None:
        return None
    if _brackets(text) > _MAX_YAML_BRACKETS:  # the parser's time grows with the square of the depth
        report(Fault("error", "not-yaml", file, "is not usable YAML: its brackets are nested too deeply"))
        return None
    try:
        return yaml12.load(text, str(file)).value
    except ConfigError as error:
        report(Fault("error", "not-yaml", file, f"is not usable YAML ({error})"))
        return None


def _brackets(text: str) -> int:
    """How many brackets are open at once, at most; those in quotes are counted too."""
    steps = (1 if letter in "[{" else -1 for letter in text if letter in "[]{}")
    return max(accumulate(steps), default=0)


def number(text: str | None, field: str = "") -> float:
    """A finite number of a text file. Raises ValueError, which names the field."""
    try:
        value = float((text or "").strip())
    except ValueError:
        value = float("nan")
    if not -1e9 <= value <= 1e9:
        raise ValueError(f"{field or 'a value'} must be a number, got {(text or '').strip()[:80]!r}")
    return value
