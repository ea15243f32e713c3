"""Faults: what is wrong with a dataset, said so that a person or a program can mend it.

Readers are tolerant: they tell every fault to a `Report`, leave out the record and go on. What a fault means is up to
the report: `FaultList` keeps them (the checker), `strictly` stops at the first error (training, evaluation).
"""

import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from eyas.errors import DatasetError

log = logging.getLogger(__name__)

Severity = Literal["error", "warning", "info"]
T = TypeVar("T")

MAX_SHOWN = 200  # characters of a value in a message or file


@dataclass(frozen=True)
class Fault:
    """One thing to say about a dataset.

    severity: "error", a record or file that cannot be used; "warning", something that was left out or looks wrong;
    "info", something that was turned into something else. `code` names the kind and stays the same between versions.
    `record` and `field` say where in `file`, `value` is what stands there. `message` is a sentence without its full
    stop, `fix` a whole sentence or "".
    """

    severity: Severity
    code: str
    file: Path
    message: str
    record: str = ""
    field: str = ""
    value: Any = None
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fault as plain JSON values, in the order of a line of the checker's report."""
        return {
            "severity": self.severity,
            "code": self.code,
            "file": str(self.file),
            "record": self.record,
            "field": self.field,
            "value": _plain(self.value),
            "message": self.message,
            "fix": self.fix,
        }

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.file), self.record, self.message))) + ". " * bool(self.fix) + self.fix


Report = Callable[[Fault], None]


class Unusable(Exception):
    """Raised inside a reader where a record cannot be used; the loop over the records makes a fault of it."""

    def __init__(self, code: str, message: str, *, field: str = "", value: Any = None, fix: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.field, self.value, self.fix = code, message, field, value, fix

    def fault(self, file: Path, record: str) -> Fault:
        """This as an error in `record` of `file`."""
        return Fault("error", self.code, file, self.message, record, self.field, self.value, self.fix)


class FaultList:
    """A report that keeps the first `limit` faults in `kept` and counts all of them by (severity, code)."""

    def __init__(self, limit: int = 10_000) -> None:
        self.kept: list[Fault] = []
        self.counts: Counter[tuple[Severity, str]] = Counter()
        self._limit = limit
        self._first: dict[tuple[Severity, str], Fault] = {}

    def __call__(self, fault: Fault) -> None:
        kind = (fault.severity, fault.code)
        self.counts[kind] += 1
        self._first.setdefault(kind, fault)
        if len(self.kept) < self._limit:
            self.kept.append(fault)

    def count(self, severity: Severity) -> int:
        """How many faults of that severity were told."""
        return sum(number for (kind, _), number in self.counts.items() if kind == severity)

    def summary(self) -> list[tuple[Severity, str]]:
        """One sentence a kind of fault, in the order in which the kinds came."""
        return [
            (kind[0], str(first) if self.counts[kind] == 1 else f"{self.counts[kind]} x {kind[1]}, the first: {first}")
            for kind, first in self._first.items()
        ]


def strictly(read: Callable[[Report], T]) -> T:
    """What `read(report)` returns, where an error raises DatasetError and the rest is logged, one line a kind."""
    told = FaultList(limit=0)

    def report(fault: Fault) -> None:
        if fault.severity == "error":
            raise DatasetError(str(fault))
        told(fault)

    result = read(report)
    for severity, sentence in told.summary():
        log.log(logging.WARNING if severity == "warning" else logging.INFO, "%s", sentence)
    return result


def silent(fault: Fault) -> None:
    """A report that nobody reads: for a file that another reading reports on."""


def shown(value: Any) -> str:
    """`repr(value)`, cut where it is long."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, str) and len(value) <= MAX_SHOWN:
        return value
    if isinstance(value, (list, tuple)) and len(value) <= 8:
        return [_plain(item) for item in value]
    return shown(value)
