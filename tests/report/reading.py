"""What a page holds, read with the parser of the standard library."""

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text, and what is not well-formed."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(content)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        self.wrong += [f"<{tag}> has {name} twice" for name in names if names.count(name) > 1]
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data + " "

    def all(self, tag: str, style: str | None = None) -> list[dict[str, str | None]]:
        """The attributes of every such tag, in order; with `style`, of those of that class."""
        found = [attributes for name, attributes in self.tags if name == tag]
        return found if style is None else [one for one in found if style in (one.get("class") or "").split()]


def check_self_contained(content: str) -> Page:
    """The page, after looking whether it is well-formed, loads nothing and runs nothing."""
    page = Page(content)
    assert page.wrong == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form", "video", "audio"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        if tag == "img":
            assert re.match(r"data:image/(jpeg|png);base64,", attributes["src"] or "")
        elif tag == "a":
            assert (attributes["href"] or "").startswith("#")
        else:
            assert "src" not in attributes and "href" not in attributes, tag
    assert "url(" not in content and "@import" not in content
    targets = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {(one["href"] or "")[1:] for one in page.all("a")} <= targets
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or svg.get("aria-label")
    assert all(one.get("alt") for one in page.all("img"))
    return page


def number(attributes: dict[str, str | None], name: str) -> float:
    return float(attributes[name] or "nan")
