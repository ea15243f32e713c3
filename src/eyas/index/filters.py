"""What `where` asks of an item's metadata -> a condition in SQL and its parameters."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from eyas.errors import ConfigError, did_you_mean

_ORDERS = ("<", "<=", ">", ">=")
_OPERATORS = (*_ORDERS, "!=")
_UNQUOTABLE = set('"\\')  # SQLite's paths have no escape for them
_INT64 = 2**63

# What is looked for reaches SQLite as JSON too, so that both sides of a comparison are read by the same parser.
_FOUND = "json_extract(items.metadata, ?)"
_TYPE = "json_type(items.metadata, ?)"

Condition = tuple[str, list[str]]
"""SQL in which every value is a `?`, and those values."""


def compile_where(where: Mapping[str, Any]) -> Condition:
    """`where` as a condition on the table `items`: every key must hold.

    A key is a name in the metadata; dots reach into objects: `shelf.row`. What it must be:
    a text, number, True, False: equal to it, and of that type (1 is not True; 1 is 1.0);
    None: null, or not there; a list: any of its values;
    {"<": 3}, "<=", ">", ">=": a number (for a text: a text, by code points) in that relation, several at once: all;
    {"!=": value or list}: anything else, also not there.
    Raises ConfigError for other operators and values.
    """
    parts, parameters = [], []
    for key, value in where.items():
        path = _path(key)
        asked = _compare(key, path, value) if isinstance(value, Mapping) else _any_of(key, path, _listed(value))
        parts.append(asked[0])
        parameters += asked[1]
    return " AND ".join(f"({part})" for part in parts) or "1", parameters


def _path(key: object) -> str:
    if not isinstance(key, str) or not key or not all(key.split(".")):
        raise ConfigError(f"where: the key {key!r}. Expected a name of the metadata, or several joined by dots.")
    if any(sign in _UNQUOTABLE or sign < " " for sign in key):
        raise ConfigError(
            f"where: the key {key!r} holds a quote, a backslash or a control character. Use a plain name."
        )
    return "$" + "".join(f'."{part}"' for part in key.split("."))


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _any_of(key: str, path: str, values: Iterable[object]) -> Condition:
    groups: dict[str, list[object]] = {}
    for value in values:
        groups.setdefault(_kind(key, value), []).append(value)
    parts, parameters = [], []
    for kind, members in groups.items():
        if kind == "null":
            parts.append(f"coalesce({_TYPE}, 'null') = 'null'")
            parameters.append(path)
        elif kind in ("true", "false"):
            parts.append(f"coalesce({_TYPE}, '') = '{kind}'")
            parameters.append(path)
        else:
            parts.append(f"coalesce({_TYPE}, '') IN {_types(kind)} AND {_FOUND} IN (SELECT value FROM json_each(?))")
            parameters += [path, path, json.dumps(members)]
    return " OR ".join(f"({part})" for part in parts) or "0", parameters


def _compare(key: str, path: str, asked: Mapping[str, Any]) -> Condition:
    if not asked:
        raise ConfigError(f"where: nothing is asked of {key!r}. Expected an operator: {', '.join(_OPERATORS)}.")
    parts, parameters = [], []
    for operator, value in asked.items():
        if operator == "!=":
            condition, values = _any_of(key, path, _listed(value))
            parts.append(f"NOT ({condition})")
            parameters += values
            continue
        if operator not in _ORDERS:
            raise ConfigError(f"where: the operator {operator!r} of {key!r}. {did_you_mean(operator, _OPERATORS)}")
        kind = _kind(key, value)
        if kind not in ("number", "text"):
            raise ConfigError(f"where: {key!r} {operator} {value!r}. Expected a number or a text to compare with.")
        parts.append(f"coalesce({_TYPE}, '') IN {_types(kind)} AND {_FOUND} {operator} json_extract(?, '$[0]')")
        parameters += [path, path, json.dumps([value])]
    return " AND ".join(f"({part})" for part in parts), parameters


def _types(kind: str) -> str:
    return "('integer', 'real')" if kind == "number" else "('text')"


def _kind(key: str, value: object) -> str:
    """null, true, false, number or text. Raises ConfigError for any other value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
            raise ConfigError(f"where: {key!r} is compared with {value!r}. Expected valid Unicode without a zero byte.")
        return "text"
    if isinstance(value, int) and abs(value) < _INT64:
        return "number"
    if isinstance(value, float) and abs(value) < float("inf"):
        return "number"
    raise ConfigError(
        f"where: {key!r} is compared with {value!r}. Expected a text, a number, True, False, None, a list of those, or "
        f"an operator with one: {', '.join(_OPERATORS)}."
    )
