"""Random damage to the files of every layout: reading tells faults, raises nothing else, and always ends."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from tests.data.test_layout import LAYOUTS
from tests.data.trees import tree

from eyas.data import find_layout, read_part
from eyas.data.faults import FaultList
from eyas.errors import DatasetError

PIECES = (
    *(b"null", b"-1", b"1e999", b"NaN", b'""', b"[]", b"{}", b"true", b"9" * 400, b'"\\ud800"', b"../../x", b"\0"),
    *(b"\xff", b"\n", b" ", b",", b"C:\\x", b"a" * 5000, b"<", b'"', b"0", b"0.5", b"-", b"#", b"\xef\xbb\xbf"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 1.5, 1e308, float("nan"), 10**400, "", "x", [], {}, [[]], [None] * 4, [1, 2, 3, 4]),
    *("\ud800", "a\0b", "../..", "/etc/passwd", {"a": []}),
)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """`data` with a piece removed, put in, exchanged or cut off."""
    place = rng.randrange(len(data) + 1)
    words = list(re.finditer(rb"[A-Za-z_.0-9-]+", data))
    kind = rng.randrange(4)
    if kind == 0:
        return data[:place] + data[place + rng.randrange(1, 20) :]
    if kind == 1:
        return data[:place] + rng.choice(PIECES) + data[place:]
    if kind == 2 and words:
        word = rng.choice(words)
        return data[: word.start()] + rng.choice(PIECES) + data[word.end() :]
    return data[:place]


def damaged_json(content: Any, rng: random.Random) -> bytes:
    """The content with one value exchanged."""
    spots: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        for key in inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ():
            spots.append((inner, key))
            walk(inner[key])

    walk(content)
    if spots:
        holder, key = rng.choice(spots)
        holder[key] = rng.choice(VALUES)
    return json.dumps(content).encode()


@pytest.mark.parametrize("seed", range(8))
def test_damage_is_told_and_nothing_else_happens(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(15):
        format, _, files = rng.choice(LAYOUTS)
        root = tree(tmp_path / str(number), files)
        file = root / rng.choice([name for name, content in files.items() if not isinstance(content, tuple)])
        data = file.read_bytes()
        structured = file.suffix == ".json" and rng.random() < 0.6
        file.write_bytes(damaged_json(json.loads(data), rng) if structured else damaged(data, rng))
        try:
            layout = find_layout(root, rng.choice((None, format)))
        except DatasetError:
            continue
        for split in layout.splits:
            faults = FaultList()
            read_part(layout, split, faults)
            assert all(json.dumps(fault.to_dict()) and str(fault) for fault in faults.kept)
