"""Tables of configuration keys in the documentation, made from eyas.schema: `python scripts/key_table.py docs/*.md`.

Between `<!-- keys: SECTION -->` and `<!-- end of keys -->` stands a table of the section's keys with their defaults,
the values that are taken, and the comment that stands behind the key in schema.py. SECTION may be a pipeline's name.
"""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from eyas.pipeline_schema import PIPELINE_SECTIONS
from eyas.problems import describe, short
from eyas.schema import ModuleConfig, Section

MARKED = re.compile(r"(<!-- keys: ([\w-]+) -->\n).*?(<!-- end of keys -->)", re.DOTALL)


def table(name: str) -> str:
    """The Markdown table of one section of a module configuration, or of the file of a pipeline."""
    sections = {info.alias: info.annotation for info in ModuleConfig.model_fields.values()}
    pipeline = PIPELINE_SECTIONS.get(name)
    rows = _rows(sections[name], f"{name}.") if pipeline is None else _rows(pipeline, "")
    head = [("key", "default", "value", "note"), ("---",) * 4]
    return "".join(f"| {' | '.join(row)} |\n" for row in [*head, *rows])


def filled(text: str) -> str:
    """`text` with every marked table as the schema has it now."""
    return MARKED.sub(lambda match: match[1] + table(match[2]) + match[3], text)


def _rows(section: Any, prefix: str) -> list[tuple[str, ...]]:
    comments = _comments(section)
    rows: list[tuple[str, ...]] = []
    for field, info in section.model_fields.items():
        name = info.alias or field
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            rows += _rows(info.annotation, f"{prefix}{name}.")
            continue
        kind = next((item.phrase for item in info.metadata if hasattr(item, "phrase")), None)
        value = kind or describe(info.annotation)
        default = "-" if info.is_required() else short(_plain(info.default))
        rows.append((f"`{prefix}{name}`", f"`{default}`", value.removesuffix(" or null"), comments.get(field, "")))
    return rows


def _comments(section: type[Section]) -> dict[str, str]:
    """The comment behind each key, of the section and of those that it builds on."""
    found: dict[str, str] = {}
    for part in reversed(section.__mro__[: section.__mro__.index(Section)]):
        for line in inspect.getsource(part).splitlines():
            match = re.match(r"    (\w+): .*?  # (.*)", line)
            if match:
                found[match[1]] = match[2].replace("None", "null").replace("|", "\\|")
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
