"""The frame of a page: escaping, tables, colours that can be read."""

import re
from pathlib import Path

import pytest
from tests.report.reading import check_self_contained

from eyas.report.page import (
    Picture,
    Section,
    bullets,
    charts,
    folded,
    page,
    paragraph,
    pictures,
    table,
    tiles,
    write_page,
)
from eyas.report.style import DARK, DARK_SERIES, LIGHT, LIGHT_SERIES, style_sheet
from eyas.report.svg import Html

HOSTILE = "\"><script>alert(1)</script><img src=http://x.example/y onerror=alert(1)>'&\u202e\x07"


def hostile_page() -> str:
    picture = Picture(b"\x89PNG\r\n", 2, 3, HOSTILE, HOSTILE)
    parts = (
        paragraph(HOSTILE),
        bullets([HOSTILE]),
        table([HOSTILE, "n"], [[HOSTILE, 1]], HOSTILE),
        folded(HOSTILE, paragraph("inside")),
        tiles({HOSTILE: HOSTILE}),
        charts((Html("<svg aria-hidden='true'></svg>"), HOSTILE)),
        pictures([picture]),
    )
    return page(HOSTILE, [paragraph(HOSTILE)], [Section(HOSTILE, parts)], HOSTILE)


def test_hostile_names_stay_text() -> None:
    content = hostile_page()
    read = check_self_contained(content)
    assert read.text.count("<script>alert(1)</script>") >= 10
    assert "\u202e" not in content and "\x07" not in content
    assert read.all("img")[0]["alt"] == HOSTILE.replace("\u202e", "\\u202e").replace("\x07", "\\u0007")
    policy = next(one for one in read.all("meta") if one.get("http-equiv"))
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_numbers_in_tables() -> None:
    content = table(["name", "count", "figure"], [["a", 12345, 0.123456789], ["b", -1, -1.0]])
    assert '<td>12,345</td><td><data value="0.123456789">0.1235</data></td>' in content
    assert content.count("<td>–</td>") == 2
    assert content.count('class="words"') == 3  # the head and both cells of the first column


def test_writing(tmp_path: Path) -> None:
    target = write_page(tmp_path / "new" / "a.html", Html("é\udc80"))
    assert target.read_bytes() == b"\xc3\xa9\\udc80"


@pytest.mark.parametrize(("colours", "series"), [(LIGHT, LIGHT_SERIES), (DARK, DARK_SERIES)])
def test_contrast(colours: dict[str, str], series: tuple[str, ...]) -> None:
    """WCAG 2.1: texts by 4.5:1 on every ground that they stand on, marks of charts by 3:1."""
    paper = colours["paper"]
    for name in ("ink", "muted", "link"):
        assert contrast(colours[name], paper) >= 4.5
        assert contrast(colours[name], colours["soft"]) >= 4.5
    assert contrast(colours["ink"], mixed(colours["heat"], paper, 0.6)) >= 4.5  # a number on a full matrix cell
    assert all(contrast(colour, paper) >= 3 for colour in series)
    assert len(set(series)) == len(series)


def test_every_colour_of_the_style_sheet_is_defined() -> None:
    sheet = style_sheet()
    used = set(re.findall(r"var\(--(\w+)\)", sheet))
    assert used <= {*LIGHT, *(f"s{place}" for place in range(8))} and set(LIGHT) == set(DARK)
    assert sheet.count("{") == sheet.count("}")


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def mixed(colour: str, ground: str, share: float) -> str:
    pairs = [(int(colour[p : p + 2], 16), int(ground[p : p + 2], 16)) for p in (1, 3, 5)]
    return "#" + "".join(f"{round(share * one + (1 - share) * other):02x}" for one, other in pairs)
