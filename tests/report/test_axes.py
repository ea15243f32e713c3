"""Where values stand on an axis, and its ticks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyas.report.axes import Axis, from_zero, nice_step, sizes_axis


def test_even_and_logarithmic_places() -> None:
    even = Axis("a", 10, 30)
    assert [even.place(value) for value in (10, 15, 30, 5, 99)] == [0, 0.25, 1, 0, 1]
    octaves = Axis("px", 2, 32, base=2)
    assert [octaves.place(value) for value in (2, 4, 8, 16, 32)] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    decades = Axis("share", 0.001, 1, base=10, percent=True)
    assert decades.place(0.01) == pytest.approx(1 / 3)
    assert [text for _, text in decades.ticks()] == ["0.1 %", "1 %", "10 %", "100 %"]


def test_ticks() -> None:
    assert [text for _, text in Axis("a", 0, 1).ticks()] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert [text for _, text in Axis("px", 2, 64, base=2).ticks()] == ["2", "4", "8", "16", "32", "64"]
    assert [text for _, text in Axis("px", 1, 2.0**16, base=2).ticks()][:3] == ["1", "4", "16"]
    assert [text for _, text in from_zero("boxes", 2).ticks()] == ["0", "1", "2"]
    assert [text for _, text in from_zero("AP", 2.0).ticks()] == ["0", "0.5", "1", "1.5", "2"]
    assert [text for _, text in from_zero("n", 2345).ticks()] == ["0", "500", "1,000", "1,500", "2,000", "2,500"]


@given(st.floats(1e-6, 1e9))
def test_steps_are_round_and_just_large_enough(least: float) -> None:
    step = nice_step(least)
    assert least * (1 - 1e-6) <= step <= 2.5 * least * (1 + 1e-6)
    axis = from_zero("n", least)
    assert axis.high >= least * (1 - 1e-6) and 3 <= len(axis.ticks()) <= 7


@given(st.floats(1e-3, 1e4), st.floats(1, 1e4))
def test_a_size_axis_holds_its_values(low: float, factor: float) -> None:
    for base in (2, 10):
        axis = sizes_axis("px", low, low * factor, base)
        assert axis.low <= low * (1 + 1e-6) and axis.high >= low * factor * (1 - 1e-6)
        assert 2 <= len(axis.ticks()) <= 9


@pytest.mark.parametrize(("low", "high", "base"), [(1, 1, 0), (3, 2, 0), (0, 1, 10), (-1, 1, 2)])
def test_axes_without_room_are_refused(low: float, high: float, base: int) -> None:
    with pytest.raises(ValueError, match="expected low < high"):
        Axis("a", low, high, base)


def test_nothing_to_show_still_has_an_axis() -> None:
    assert (from_zero("n", 0).low, from_zero("n", 0).high) == (0, 1)
