"""Axes of charts: where a value stands, and which ticks a reader gets."""

import math
from dataclasses import dataclass

MOST_TICKS = 9


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` along a line; `label` names the quantity with its unit.

    base: 0 for even steps, 2 or 10 for logarithmic ones. percent: values are shares, and ticks say per cent.
    whole: values are counts, and no tick stands between them.
    """

    label: str
    low: float
    high: float
    base: int = 0
    percent: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.base and self.low <= 0):
            lowest = " above 0" if self.base else ""
            raise ValueError(f"axis {self.label!r}: expected low < high{lowest}, got {self.low} and {self.high}")

    def place(self, value: float) -> float:
        """Where `value` stands: 0 at the axis' low end, 1 at its high end; what lies outside stands at the end."""
        kept = min(max(value, self.low), self.high)
        if not self.base:
            return (kept - self.low) / (self.high - self.low)
        return math.log(kept / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """(value, text) of every tick, from low to high."""
        values = self._powers() if self.base else self._steps()
        return [(value, self._text(value)) for value in values]

    def _steps(self) -> list[float]:
        step = nice_step((self.high - self.low) / 5)
        step = max(step, 1.0) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _powers(self) -> list[float]:
        first = math.ceil(math.log(self.low, self.base) - 1e-9)
        last = math.floor(math.log(self.high, self.base) + 1e-9)
        every = max(1, math.ceil((last - first + 1) / MOST_TICKS))
        return [float(self.base) ** power for power in range(first, last + 1, every)]

    def _text(self, value: float) -> str:
        if self.percent:
            return f"{value * 100:.4g} %"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def from_zero(label: str, highest: float) -> Axis:
    """An even axis from 0 to a round number of at least `highest`; of counts where that is an `int`."""
    whole = isinstance(highest, int)
    if highest <= 0:
        return Axis(label, 0.0, 1.0, whole=whole)
    step = nice_step(highest / 5)
    step = max(step, 1.0) if whole else step
    return Axis(label, 0.0, math.ceil(highest / step - 1e-9) * step, whole=whole)


def sizes_axis(label: str, low: float, high: float, base: int = 2, *, percent: bool = False) -> Axis:
    """A logarithmic axis between powers of `base` that hold `low` and `high`."""
    first = math.floor(math.log(low, base) + 1e-9)
    last = max(first + 1, math.ceil(math.log(high, base) - 1e-9))
    return Axis(label, float(base) ** first, float(base) ** last, base, percent)
