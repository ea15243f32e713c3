"""Questions about metadata: what they find, and which are refused."""

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyas.errors import ConfigError
from eyas.index.filters import compile_where

ROWS: list[dict[str, Any]] = [
    {"n": 1, "name": "milk", "sold": True, "shelf": {"row": 3, "side": "left"}},
    {"n": 2.5, "name": "Juice 🧃", "sold": False, "shelf": {"row": 4}},
    {"n": "1", "name": None, "tags": ["a", "b"], "text": '["a","b"]'},
    {"n": -7, "name": "é", "sold": 1, "größe": 9007199254740993},
    {},
]


def found(where: dict[str, Any], rows: list[dict[str, Any]] = ROWS) -> list[int]:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, metadata TEXT)")
    texts = ((place, json.dumps(row, ensure_ascii=False)) for place, row in enumerate(rows))
    db.executemany("INSERT INTO items VALUES (?, ?)", texts)
    condition, parameters = compile_where(where)
    ids = [row[0] for row in db.execute(f"SELECT id FROM items WHERE {condition} ORDER BY id", parameters)]
    db.close()
    return ids


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"n": 1}, [0]),
        ({"n": 1.0}, [0]),
        ({"n": "1"}, [2]),
        ({"n": [1, "1", -7]}, [0, 2, 3]),
        ({"n": []}, []),
        ({"n": {">": 0}}, [0, 1]),
        ({"n": {">=": -7, "<": 2.5}}, [0, 3]),
        ({"n": {"<=": 2.5}}, [0, 1, 3]),
        ({"n": {"!=": 1}}, [1, 2, 3, 4]),
        ({"n": {"!=": [1, "1"]}}, [1, 3, 4]),
        ({"n": {"!=": None}}, [0, 1, 2, 3]),
        ({"name": "milk"}, [0]),
        ({"name": "Juice 🧃"}, [1]),
        ({"name": "é"}, [3]),
        ({"name": "e\u0301"}, []),  # another spelling of the same letter is another text
        ({"name": None}, [2, 4]),
        ({"name": ["milk", None]}, [0, 2, 4]),
        ({"name": {">": "m"}}, [0, 3]),
        ({"sold": True}, [0]),
        ({"sold": 1}, [3]),
        ({"sold": [False, 1]}, [1, 3]),
        ({"shelf.row": 3}, [0]),
        ({"shelf.row": {">": 3}}, [1]),
        ({"shelf.row": 3, "shelf.side": "right"}, []),
        ({"shelf": None}, [2, 3, 4]),
        ({"tags": '["a","b"]'}, []),  # a list is not the text that looks like it
        ({"text": '["a","b"]'}, [2]),
        ({"größe": 9007199254740993}, [3]),
        ({"größe": 9007199254740992}, []),
        ({"n": "1' OR 1=1 --"}, []),
        ({"x' OR 1=1 --": None}, [0, 1, 2, 3, 4]),
    ],
)
def test_finds(where: dict[str, Any], ids: list[int]) -> None:
    assert found(where) == ids


def test_no_value_is_part_of_the_sql() -> None:
    condition, parameters = compile_where({"secret key": ["secret 1", 4242], "k": {"<": "secret 2", "!=": 4243}})
    assert "secret" not in condition and "42" not in condition
    assert condition.count("?") == len(parameters)


def test_a_list_of_any_length() -> None:
    assert found({"n": list(range(50_000))}) == [0]


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"n": {"=<": 3}}, "Did you mean"),
        ({"n": {"$gt": 3}}, "operator '$gt' of 'n'"),
        ({"n": {}}, "nothing is asked"),
        ({"n": {"<": True}}, "Expected a number or a text"),
        ({"n": {"<": None}}, "Expected a number or a text"),
        ({"n": {"<": [1]}}, "Expected a text, a number"),
        ({"n": float("nan")}, "compared with nan"),
        ({"n": 2**63}, "compared with 9223372036854775808"),
        ({"n": [{"a": 1}]}, "Expected a text, a number"),
        ({"n": object()}, "Expected a text, a number"),
        ({"n": "a\0b"}, "zero byte"),
        ({"n": "\ud800"}, "valid Unicode"),
        ({"": 1}, "the key ''"),
        ({"a..b": 1}, "joined by dots"),
        ({'a"b': 1}, "holds a quote"),
        ({"a\\b": 1}, "backslash"),
        ({5: 1}, "the key 5"),
    ],
)
def test_refuses(where: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("$", r"\$")):
        compile_where(where)


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | _texts


@given(st.lists(_scalars, max_size=6), st.lists(_scalars, max_size=3))
def test_equality_is_pythons_but_for_truth(stored: list[Any], asked: list[Any]) -> None:
    def same(left: object, right: object) -> bool:
        return left == right and isinstance(left, bool) == isinstance(right, bool)

    rows = [{"k": value} for value in stored]
    expected = [place for place, value in enumerate(stored) if any(same(value, other) for other in asked)]
    assert found({"k": asked}, rows) == expected
    assert found({"k": {"!=": asked}}, rows) == [place for place in range(len(rows)) if place not in expected]


_numbers = st.integers(-1000, 1000) | st.floats(-1e6, 1e6)


@given(st.lists(_numbers, max_size=8), _numbers, _numbers)
def test_ranges_of_numbers(stored: list[float], low: float, high: float) -> None:
    rows = [{"k": value} for value in stored]
    assert found({"k": {">=": low, "<": high}}, rows) == [i for i, value in enumerate(stored) if low <= value < high]
