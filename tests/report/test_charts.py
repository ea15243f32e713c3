"""The geometry of charts on known cases."""

import numpy as np
import pytest
from tests.report.reading import Page, number

from eyas.report.axes import Axis, from_zero
from eyas.report.charts import Band, Line, Series, bars, histogram, lines
from eyas.report.grids import STRONGEST, heat_map, matrix
from eyas.report.svg import escape, shortened, text_width


def rects(content: str, style: str) -> list[dict[str, str | None]]:
    page = Page(content)
    assert page.wrong == []
    return page.all("rect", style)


def test_bars_are_as_long_as_their_values() -> None:
    values = [0.0, 250, 500, 1000]
    drawn = bars("boxes", list("abcd"), [Series("n", values, [f"{value:g}" for value in values])], from_zero("n", 1000))
    widths = [number(one, "width") for one in rects(drawn, "s0")]
    assert widths[0] == 0 and widths[3] > 200
    assert widths[1:3] == pytest.approx([widths[3] / 4, widths[3] / 2], abs=0.02)
    tops = [number(one, "y") for one in rects(drawn, "s0")]
    assert np.diff(tops) == pytest.approx(np.full(3, tops[1] - tops[0]))


def test_grouped_bars_and_whiskers() -> None:
    axis = Axis("AP", 0, 1)
    first = Series("run A", [0.5], ["0.5"], [(0.25, 0.75)])
    drawn = bars("both", ["AP"], [first, Series("run B", [1.0], ["1"])], axis)
    page = Page(drawn)
    one, legend_one = page.all("rect", "s0")
    other, _ = page.all("rect", "s1")
    assert number(one, "width") * 2 == pytest.approx(number(other, "width"), abs=0.02)
    assert number(one, "y") + number(one, "height") <= number(other, "y")
    whisker = page.all("line", "whisker")[0]
    left, width = number(other, "x"), number(other, "width")
    ends = (number(whisker, "x1") - left) / width, (number(whisker, "x2") - left) / width
    assert ends == pytest.approx((0.25, 0.75), abs=1e-3)
    assert number(legend_one, "y") > number(other, "y")
    assert "run A" in page.text and "run B" in page.text


def test_a_histogram_on_a_logarithmic_axis() -> None:
    x, y = Axis("px", 2, 32, base=2), Axis("boxes", 0, 40)
    drawn = histogram("sizes", "said", ([2, 4, 8, 32], [10, 0, 40]), x, y, [Band("tiny", 2, 8), Band("small", 8, 32)])
    first, last = rects(drawn, "s0")  # an empty bin has no bar
    assert number(first, "height") * 4 == pytest.approx(number(last, "height"), abs=0.02)
    assert number(first, "y") + number(first, "height") == pytest.approx(number(last, "y") + number(last, "height"))
    assert number(last, "width") / number(first, "width") == pytest.approx(2, abs=0.02)  # two octaves against one
    shaded, plain = rects(drawn, "shade")[0], rects(drawn, "noshade")[0]
    assert number(shaded, "width") == pytest.approx(number(plain, "width"))
    assert number(shaded, "x") + number(shaded, "width") == pytest.approx(number(plain, "x"), abs=0.02)


def test_lines_go_through_their_points() -> None:
    x, y = Axis("recall", 0, 1), Axis("precision", 0, 1)
    drawn = lines("curve", "said", [Line("a", [(0, 1), (0.5, 0.5), (1, 0)]), Line("b", [(0, 0), (1, 1)])], x, y)
    page = Page(drawn)
    assert page.wrong == []
    shapes = {one["class"]: one for one in page.all("polyline") if len((one["points"] or "").split()) > 1}
    straight = [tuple(map(float, pair.split(","))) for pair in (page.all("polyline", "l0")[0]["points"] or "").split()]
    assert straight[1] == pytest.approx(((straight[0][0] + straight[2][0]) / 2, (straight[0][1] + straight[2][1]) / 2))
    assert straight[0][1] < straight[2][1]  # high values stand high
    assert shapes["line l1"]["stroke-dasharray"] and "stroke-dasharray" not in shapes["line l0"]


def test_a_heat_map_fills_cells_by_their_share() -> None:
    counts = np.zeros((4, 4), np.int64)
    counts[0, 3], counts[2, 1] = 8, 2
    cells = rects(heat_map("where", "said", counts, "x", "y"), "heat")[:2]
    assert [float(one.get("fill-opacity") or 1) for one in cells] == [1.0, 0.25]
    side = number(cells[0], "width")
    assert number(cells[0], "x") - number(cells[1], "x") == pytest.approx(2 * side)
    assert number(cells[1], "y") - number(cells[0], "y") == pytest.approx(2 * side)
    assert rects(heat_map("empty", "said", np.zeros((2, 2), np.int64), "x", "y"), "noshade")


def test_a_matrix_colours_shares_of_rows_and_writes_numbers() -> None:
    counts = np.array([[9, 1], [0, 0]])
    drawn = matrix("confusion", "said", counts, ["cat", "dog"], ["cat", "dog"])
    cells = rects(drawn, "heat")
    assert [float(one["fill-opacity"] or 1) for one in cells] == pytest.approx([0.9 * STRONGEST, 0.1 * STRONGEST])
    assert ">9</text>" in drawn and ">1</text>" in drawn
    many = matrix("confusion", "said", np.full((30, 30), 1234), ["name"] * 30, ["name"] * 30)
    assert Page(many).all("text", "small") and len(Page(many).all("text")) < 100  # no room for numbers


def test_every_chart_says_what_it_is() -> None:
    counts = np.ones((2, 2), np.int64)
    x, y = Axis("px", 1, 2, base=2), Axis("n", 0, 1)
    charts = [
        bars("T", ["a"], [Series("n", [1], ["1"])], y),
        lines("T", "D", [Line("a", [(1, 0), (2, 1)])], x, y),
        histogram("T", "D", ([1, 2], [1]), x, y),
        heat_map("T", "D", counts, "x", "y"),
        matrix("T", "D", counts, ["a", "b"], ["a", "b"]),
    ]
    for drawn in charts:
        page = Page(drawn)
        assert page.wrong == []
        assert page.all("svg")[0]["aria-label"] == "T" and page.all("svg")[0]["role"] == "img"
        tags = [tag for tag, _ in page.tags]
        assert tags[1:3] == ["title", "desc"]
        width, height = map(float, (page.all("svg")[0]["viewbox"] or "").split()[2:])
        for one in page.all("rect"):
            assert number(one, "x") >= 0 and number(one, "x") + number(one, "width") <= width + 0.01
            assert number(one, "y") >= 0 and number(one, "y") + number(one, "height") <= height + 0.01
        for one in page.all("text"):
            assert 0 <= number(one, "x") <= width and 0 <= number(one, "y") <= height


def test_text_is_escaped_and_shortened() -> None:
    assert escape("<b> & \"'") == "&lt;b&gt; &amp; &quot;&#x27;"
    assert escape("a\x00\u202eb\udc80") == "a\\u0000\\u202eb\\udc80"
    assert shortened("short", 100) == "short"
    cut = shortened("x" * 80, 100)
    assert cut.endswith("…") and text_width(cut) <= 100
    assert text_width("中") == 2 * text_width("a")
