"""Pieces of inline SVG. Colours are classes that the page's style sheet fills, for light and dark pages alike."""

import html
import unicodedata
from collections.abc import Sequence
from typing import NewType

Html = NewType("Html", str)
"""Markup. Text becomes markup through `escape` alone, so that a name in a dataset never turns into a tag."""

FONT = 13
WIDTH = 440
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"


def escape(text: str) -> Html:
    """`text` as markup that shows it. Control characters and those that reverse the writing are spelled out."""
    return Html(html.escape("".join(_visible(letter) for letter in text)))


def _visible(letter: str) -> str:
    hidden = unicodedata.category(letter) in ("Cc", "Cs") or letter in _BIDI
    return f"\\u{ord(letter):04x}" if hidden and letter != "\n" else letter


def number(value: float) -> str:
    """A coordinate, to a hundredth."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")  # + 0.0 makes a zero of a minus zero


def joined(*parts: Html) -> Html:
    """The parts, one after the other."""
    return Html("".join(parts))


def text_width(text: str, font: int = FONT) -> float:
    """About how wide `text` is, in pixels; wide letters (Chinese, Japanese …) count double."""
    letters = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
    return letters * font * 0.62


def shortened(text: str, width: float, font: int = FONT) -> str:
    """`text`, cut with an ellipsis where it is wider than `width` pixels."""
    if text_width(text, font) <= width:
        return text
    while text and text_width(text + "…", font) > width:
        text = text[:-1]
    return text + "…"


def chart(title: str, description: str, height: float, *parts: Html, width: float = WIDTH) -> Html:
    """A picture `width` x `height`, with `title` written above it and both texts for those who cannot see it."""
    heading = text(8, 18, shortened(title, width - 16, 15), style="title")
    return joined(
        Html(f'<svg role="img" viewBox="0 0 {number(width)} {number(height)}" width="{number(width)}" '),
        Html(f'height="{number(height)}" aria-label="{escape(title)}"><title>{escape(title)}</title>'),
        Html(f"<desc>{escape(description)}</desc>"),
        heading,
        *parts,
        Html("</svg>"),
    )


def text(x: float, y: float, content: str, *, anchor: str = "start", style: str = "", turned: bool = False) -> Html:
    """`content` at (x, y) on its base line; `turned` reads upwards."""
    turn = f' transform="rotate(-90 {number(x)} {number(y)})"' if turned else ""
    kind = f' class="{style}"' if style else ""
    place = f'x="{number(x)}" y="{number(y)}" text-anchor="{anchor}"'
    return Html(f"<text {place}{kind}{turn}>{escape(content)}</text>")


def rect(x: float, y: float, width: float, height: float, style: str, *, hint: str = "", opacity: float = 1) -> Html:
    """A filled rectangle; `hint` is shown under the mouse."""
    title = f"<title>{escape(hint)}</title>" if hint else ""
    faded = f' fill-opacity="{number(opacity)}"' if opacity != 1 else ""
    place = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
    return Html(f'<rect {place} class="{style}"{faded}>{title}</rect>')


def line(x0: float, y0: float, x1: float, y1: float, style: str) -> Html:
    """A straight line."""
    return Html(f'<line x1="{number(x0)}" y1="{number(y0)}" x2="{number(x1)}" y2="{number(y1)}" class="{style}"/>')


def polyline(points: Sequence[tuple[float, float]], style: str, dash: str = "") -> Html:
    """A line through `points`, with the SVG dash pattern `dash`."""
    through = " ".join(f"{number(x)},{number(y)}" for x, y in points)
    broken = f' stroke-dasharray="{dash}"' if dash else ""
    return Html(f'<polyline points="{through}" class="{style}"{broken}/>')


def dot(x: float, y: float, style: str, hint: str = "") -> Html:
    """A round mark."""
    title = f"<title>{escape(hint)}</title>" if hint else ""
    return Html(f'<circle cx="{number(x)}" cy="{number(y)}" r="3.5" class="{style}">{title}</circle>')
