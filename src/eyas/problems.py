"""What is wrong with a configuration value, in words: which key, what was expected, what came, the nearest key."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from eyas.errors import did_you_mean
from eyas.schema import Expect, Section

KeyPath = tuple[Hashable, ...]

_LONGEST = 60
_WORDS = {
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "a mapping",
    tuple: "a list",
}


def explain(kind: str, loc: KeyPath, root: type[Section], data: Mapping[Any, Any]) -> tuple[KeyPath, str]:
    """A problem that pydantic found at `loc` in `data`: the path of the key, and the message."""
    path, holder, annotation = _locate(loc, root)
    dotted = ".".join(map(str, path))
    if annotation is None:
        return path, f"{dotted} is not a known key. {_nearest_key(path, holder, root)}"
    if kind == "missing" and len(path) == len(loc):
        return path, f"{dotted} is missing. Expected {describe(annotation)}."
    value: Any = data
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    near = did_you_mean(value, _choices(annotation)) if kind == "literal_error" else ""
    hint = f" {near}" if near.startswith("Did") else ""  # all of them are in the message already
    return path, f"{dotted}: expected {describe(annotation)}, came {short(value)}.{hint}"


def describe(annotation: Any) -> str:
    """What a type means in words, for "expected …"."""
    origin = get_origin(annotation) or annotation
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        return next((item.phrase for item in metadata if isinstance(item, Expect)), None) or describe(inner)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, get_args(annotation)))
    if origin in _WORDS:
        return _WORDS[origin]
    if _is_section(annotation):
        return f"a section with the keys {', '.join(_fields(annotation))}"
    return " or ".join(describe(part) for part in get_args(annotation))


def sections_of(section: type[Section]) -> dict[str, type[Section]]:
    """The keys of `section` that are a section themselves, and cannot be null."""
    return {key: annotation for key, annotation in _fields(section).items() if _is_section(annotation)}


def short(value: object) -> str:
    """`value` in the spelling of a configuration, cut where it is long."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _locate(loc: KeyPath, root: type[Section]) -> tuple[KeyPath, type[Section], Any]:
    """The path of the key that `loc` belongs to, the section that holds it, and its type; None for an unknown key."""
    holder: type[Section] = root
    for depth, key in enumerate(loc, start=1):
        fields = _fields(holder)
        if key not in fields:
            return loc[:depth], holder, None
        annotation = fields[str(key)]
        inner = _section_in(annotation)
        if inner is None or depth == len(loc):  # what lies below a plain key belongs to that key
            return loc[:depth], holder, annotation
        holder = inner
    return loc, holder, root


def _nearest_key(path: KeyPath, holder: type[Section], root: type[Section]) -> str:
    """The same key in another section, else the nearest key of this one."""
    *section, key = map(str, path)
    for other in _all_keys(root):
        if other.rpartition(".")[2] == key:
            return f"Did you mean {other!r}?"
    return did_you_mean(".".join(map(str, path)), [".".join([*section, known]) for known in _fields(holder)])


def _all_keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    for key, annotation in _fields(section).items():
        yield prefix + key
        inner = _section_in(annotation)
        if inner is not None:
            yield from _all_keys(inner, f"{prefix}{key}.")


def _fields(section: type[Section]) -> dict[str, Any]:
    """The keys of `section` as written in a file -> their types, with the metadata that pydantic took off."""
    return {
        info.alias or name: Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        for name, info in section.model_fields.items()
    }


def _choices(annotation: Any) -> list[Any]:
    """The values of the `Literal` in a type."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _section_in(annotation: Any) -> type[Section] | None:
    """The section that a type is or allows, as `HpiConfig | None` does."""
    return next((part for part in (annotation, *get_args(annotation)) if _is_section(part)), None)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)
