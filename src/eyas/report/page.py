"""A page in one file: it loads nothing, runs nothing, and shows every name in it as the text that it is."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eyas.report.style import style_sheet
from eyas.report.svg import Html, escape, joined
from eyas.saving import PathLike, write_text

# A browser refuses to fetch or run anything, even if a name should ever get through as markup.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

WIDE = 700
"""Pictures of more pixels across have a row of their own."""

Cell = str | int | float
"""What stands in a table: text, a count, or a figure, which is written to four places and kept in full beside it."""


@dataclass(frozen=True)
class Section:
    """A part of a page that its table of contents names."""

    title: str
    parts: tuple[Html, ...]


def page(title: str, lead: Sequence[Html], sections: Sequence[Section], made_by: str) -> Html:
    """The whole page. `lead` stands above the table of contents, `made_by` at the foot."""
    names = [_anchor(section.title) for section in sections]
    links = joined(
        *(
            Html(f'<li><a href="#{name}">{escape(section.title)}</a></li>')
            for name, section in zip(names, sections, strict=True)
        )
    )
    bodies = [
        Html(f'<section id="{name}"><h2>{escape(section.title)}</h2>{joined(*section.parts)}</section>\n')
        for name, section in zip(names, sections, strict=True)
    ]
    return Html(
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style_sheet()}</style></head><body>\n"
        f"<header><h1>{escape(title)}</h1>{joined(*lead)}<nav><ul>{links}</ul></nav></header>\n"
        f"<main>{joined(*bodies)}</main><footer>{escape(made_by)}</footer></body></html>\n"
    )


def write_page(path: PathLike, content: Html) -> Path:
    """Write `content` to the file `path`, making its folder, and return the path."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, content)
    return target


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def heading(text: str) -> Html:
    """A heading inside a section."""
    return Html(f"<h3>{escape(text)}</h3>")


def paragraph(text: str, style: str = "") -> Html:
    """A paragraph; `style` is a class of the style sheet: "muted" or "note"."""
    return Html(f"<p{_class(style)}>{escape(text)}</p>")


def bullets(texts: Sequence[str]) -> Html:
    """A list."""
    return Html(f"<ul>{joined(*(Html(f'<li>{escape(text)}</li>') for text in texts))}</ul>") if texts else Html("")


def tiles(facts: Mapping[str, Cell]) -> Html:
    """A few facts in large letters, each under its name."""
    rows = (Html(f"<div><dt>{escape(name)}</dt><dd>{_shown(value)}</dd></div>") for name, value in facts.items())
    return Html(f'<dl class="tiles">{joined(*rows)}</dl>')


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str = "") -> Html:
    """A table that scrolls sideways where it is wider than the page. Columns with words stand left, numbers right.

    The first cell of a row is its heading.
    """
    wordy = [any(_has_letters(row[column]) for row in rows) for column in range(len(head))]
    top = joined(*(_cell("th", escape(name), wordy[place], "col") for place, name in enumerate(head)))
    body = joined(
        *(
            Html(
                f"<tr>{_cell('th', _shown(row[0]), wordy[0], 'row')}"
                f"{joined(*(_cell('td', _shown(value), wordy[i]) for i, value in enumerate(row[1:], start=1)))}</tr>\n"
            )
            for row in rows
        )
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    whole = f"<table>{said}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return Html(f'<div class="scroll" tabindex="0">{whole}</div>')


def folded(summary: str, *parts: Html) -> Html:
    """Parts that are shown when `summary` is clicked."""
    return Html(f"<details><summary>{escape(summary)}</summary>{joined(*parts)}</details>")


def charts(*drawn: tuple[Html, str]) -> Html:
    """Charts beside each other where there is room, each with its caption."""
    figures = (Html(f"<figure>{svg}{_caption(caption)}</figure>") for svg, caption in drawn)
    return Html(f'<div class="charts">{joined(*figures)}</div>')


@dataclass(frozen=True)
class Picture:
    """An encoded JPEG or PNG of `width` x `height` pixels; `alt` says in words what it shows."""

    data: bytes
    width: int
    height: int
    caption: str
    alt: str


def pictures(shown: Sequence[Picture]) -> Html:
    """Pictures beside each other where there is room, each with its caption."""
    return Html(f'<div class="pictures">{joined(*map(_figure, shown))}</div>')


def _figure(picture: Picture) -> Html:
    kind = "png" if picture.data.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{b64encode(picture.data).decode('ascii')}"
    size = f'width="{picture.width}" height="{picture.height}"'
    wide = _class("wide" if picture.width > WIDE else "")
    return Html(
        f'<figure{wide}><img src="{source}" {size} alt="{escape(picture.alt)}">{_caption(picture.caption)}</figure>\n'
    )


def _caption(text: str) -> Html:
    return Html(f"<figcaption>{escape(text)}</figcaption>") if text else Html("")


def _cell(tag: str, content: Html, wordy: bool, scope: str = "") -> Html:
    reach = f' scope="{scope}"' if scope else ""
    return Html(f"<{tag}{reach}{_class('words' if wordy else '')}>{content}</{tag}>")


def _class(style: str) -> str:
    return f' class="{style}"' if style else ""


def _has_letters(value: Cell) -> bool:
    return isinstance(value, str) and any(letter.isalpha() for letter in value)


def _shown(value: Cell) -> Html:
    """A cell's content: -1, which stands for "nothing to measure", is a dash."""
    if isinstance(value, str):
        return escape(value)
    if value == -1:
        return Html("–")
    if isinstance(value, int):
        return Html(f"{value:,}")
    return Html(f'<data value="{float(value)!r}">{value:.4f}</data>')
