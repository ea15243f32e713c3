"""What a conversion, a split or a slicing did: counts by reason, and what was wrong on the way."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eyas.data.faults import Fault, FaultList, Report

# Codes of faults, where they are no errors: of what is used in another form, of what is left out (errors are left out
# whatever their code is), and of faults whose value says how many records they stand for. Other faults are advice.
_CHANGED = {
    *("boxes-cut", "boxes-ignored", "class-ids-left-out", "class-names-missing", "duplicate-id", "ignore-as-flag"),
    *("image-embedded", "image-ids-left-out", "image-name-differs", "path-outside", "shapes-boxed", "wrong-encoding"),
    "wrong-size",
}
_LEFT_OUT = {
    *("areas-left-out", "box-outside", "box-twice", "box-without-area", "boxes-hidden", "ignore-left-out"),
    *("image-missing", "image-twice", "image-without-annotation", "key-differs", "label-missing"),
    *("label-without-image", "segmentation-not-read", "split-repeated", "tiles-empty"),
}
_COUNTED = {
    *("areas-left-out", "boxes-cut", "boxes-hidden", "boxes-ignored", "ignore-as-flag", "ignore-left-out"),
    *("image-embedded", "image-twice", "image-without-annotation", "label-missing", "shapes-boxed", "tiles-empty"),
}


@dataclass(frozen=True)
class Summary:
    """What was done, in numbers.

    `title` is a sentence without its full stop. `kept` counts what was written, `changed` what was written in another
    form than it was read, `dropped` what was left out, both by reason: the code of its faults. `faults` tell it all in
    words, the first 10,000 of them.
    """

    title: str
    kept: Mapping[str, int]
    changed: Mapping[str, int]
    dropped: Mapping[str, int]
    faults: tuple[Fault, ...]

    def lines(self) -> list[str]:
        """Sentences: the title, the counts, then one for each kind of fault."""
        told = FaultList(limit=0)
        for fault in self.faults:
            told(fault)
        counts = (("Kept", self.kept), ("Changed", self.changed), ("Left out", self.dropped))
        return [
            f"{self.title}.",
            *(
                f"{word}: {', '.join(f'{number:,} {what}' for what, number in of.items())}."
                for word, of in counts
                if of
            ),
            *(f"{severity}: {sentence.rstrip('.')}." for severity, sentence in told.summary()),
        ]


def summarise(title: str, kept: Mapping[str, int], told: FaultList, written: Iterable[Fault] = ()) -> Summary:
    """The summary of what a reader `told` and of the faults that came while writing."""
    for fault in written:
        told(fault)
    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    for (severity, code), number in told.counts.items():
        if severity == "error" or code in _LEFT_OUT:
            dropped[code] += number
        elif code in _CHANGED:
            changed[code] += number
    for fault in told.kept:
        if fault.code in _COUNTED and type(fault.value) is int:
            (changed if fault.code in _CHANGED else dropped)[fault.code] += fault.value - 1
    return Summary(title, dict(kept), dict(changed), dict(dropped), tuple(told.kept))


def below(root: Path, path: Path) -> str:
    """`path` as a sentence names it: from `root` on where it lies there."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


class Once:
    """A report that passes every fault on once: each part of a dataset reads its file of classes anew."""

    def __init__(self, report: Report) -> None:
        self.first: Fault | None = None
        self._report = report
        self._seen: set[tuple[str, str, str, str]] = set()

    def __call__(self, fault: Fault) -> None:
        key = (fault.code, str(fault.file), fault.record, fault.message)
        if key not in self._seen:
            self._seen.add(key)
            self.first = self.first or fault
            self._report(fault)
