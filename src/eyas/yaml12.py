"""YAML 1.2 (core schema) in and out: `1e-3` is a number, `on`, `yes` and `off` are texts, `010` is ten, `0o17` octal.

PyYAML reads YAML 1.1. Its parser is used here, its rules for plain scalars are replaced. Only plain data comes out: no
tags, no objects. A document remembers the line of every key, for error messages.
"""

import ast
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml

from eyas.errors import ConfigError

KeyPath = tuple[Hashable, ...]

_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)
_TAG = "tag:yaml.org,2002:"
# The order matters: an integer also matches the pattern of a float.
_SCALARS = {f"{_TAG}null": _NULL, f"{_TAG}bool": _BOOL, f"{_TAG}int": _INT, f"{_TAG}float": _FLOAT}
_FLOW_KEY = re.compile(r"([{,]\s*(?:'[^']*'|\"[^\"]*\"|[^,:{}\[\]'\"\s]+)):(?=\S)")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, Any] = {}

    def ignore_aliases(self, data: Any) -> bool:
        """Every value is written out where it stands."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML folds control characters such as U+0085 unless they are quoted and escaped.
    return dumper.represent_scalar(f"{_TAG}str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _represent_text)
for _tag, _pattern in _SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, _pattern, None)


@dataclass
class Document:
    """Plain data, the line of each key path, and what was odd about the text."""

    value: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def load(text: str, source: str) -> Document:
    """Read one YAML document; `source` is the name used in messages.

    Raises ConfigError with the line for text that is not YAML, tags, and keys that are not plain.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        document = Document(None)
        if node is not None:
            document.value = _Builder(source, document).build(node, ())
        return document
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{source}{_at(error.problem_mark)}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: not usable YAML: it is nested too deeply") from error


def dump(value: object) -> str:
    """YAML text of plain data, in the order given, that `load` reads back as the same data."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def scalar(text: str) -> Any:
    """The value of one plain scalar, by the rules of YAML 1.2; a text that is no number, boolean or null is itself."""
    for tag, pattern in _SCALARS.items():
        if pattern.match(text):
            return _convert(tag, text)
    return text


def literal(text: str) -> Any:
    """The value of a scalar, or of a list or mapping in brackets in Python's or YAML's spelling, without `eval`.

    `None` is null. Also understood: `{0:0.5,person:0.3}`, without spaces. Raises ConfigError for broken brackets.
    """
    text = text.strip()
    if text == "None":
        return None
    if text[:1] in ("[", "{", "(", "'", '"'):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return load(_FLOW_KEY.sub(r"\1: ", text), repr(text)).value
        return list(value) if isinstance(value, tuple) else value
    return scalar(text)


def _convert(tag: str, text: str) -> Any:
    kind = tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if text[:2] in ("0o", "0x"):
        return int(text[2:], 8 if text[1] == "o" else 16)
    try:
        return int(text)
    except ValueError:  # Python refuses thousands of digits
        return text


def _at(mark: Any) -> str:
    return f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""


class _Builder:
    """Turns parsed nodes into plain data and notes lines and duplicate keys on the way."""

    def __init__(self, source: str, document: Document) -> None:
        self._source = source
        self._document = document
        self._built: dict[int, Any] = {}  # an anchor is built once, so that nested anchors cannot explode
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        if id(node) in self._open:
            raise self._error(node, "an anchor must not contain itself")
        if id(node) not in self._built:
            self._open.add(id(node))
            self._built[id(node)] = self._value(node, path)
            self._open.discard(id(node))
        return self._built[id(node)]

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            if node.tag == f"{_TAG}str":
                return node.value
            if node.tag in _SCALARS and _SCALARS[node.tag].match(node.value):
                return _convert(node.tag, node.value)
        raise self._error(node, f"the tag {node.tag.replace(_TAG, '!!')} is not allowed here")

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[Hashable, Any]:
        result: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.build(key_node, path)
            if not isinstance(key, Hashable):
                raise self._error(key_node, "a key must be a text or a number")
            here = (*path, key)
            if key in result:
                dotted = ".".join(map(str, here))
                first, last = self._document.lines[here], key_node.start_mark.line + 1
                self._document.warnings.append(
                    f"{self._source}:{last}: {dotted} was already given in line {first}; the last one counts"
                )
            self._document.lines[here] = key_node.start_mark.line + 1
            result[key] = self.build(value_node, here)
        return result

    def _error(self, node: yaml.Node, problem: str) -> ConfigError:
        return ConfigError(f"{self._source}{_at(node.start_mark)}: {problem}")
