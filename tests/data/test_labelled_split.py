"""Recognition datasets: lists from flags and folders, divided anew without losing or doubling an image."""

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.trees import tree

from eyas.data.labelled_split import convert_labelled, split_labelled
from eyas.data.lists import read_labelled
from eyas.errors import ConfigError, DatasetError


def labels(root: Path) -> dict[str, dict[str, str]]:
    """Part -> image (path from the root on) -> name of its label."""
    return {
        name: dict(zip((path.relative_to(root).as_posix() for path in part.paths), part.names, strict=True))
        for name, part in read_labelled(root, format="lists").items()
    }


def flagged(root: Path, count: int = 20) -> Path:
    for n in range(count):
        flags = {"shoe": n % 2 == 0, "hat": n % 2 == 1}
        text = json.dumps({"flags": flags, "shapes": [], "imagePath": f"..\\images\\a b.{n}.jpg"})
        tree(root, {f"images/a b.{n}.jpg": (4, 4), f"annotations/a b.{n}.json": text})
    return root


@pytest.mark.parametrize("names", [None, "shoe\nhat\n", "hat\nbelt\nshoe\n"])
def test_flags_become_lists(tmp_path: Path, names: str | None) -> None:
    flagged(tmp_path)
    if names:
        tree(tmp_path, {"label.txt": names})
    summary = convert_labelled(tmp_path)
    assert summary.kept == {"images in train": 10, "images in gallery": 6, "images in query": 4, "labels": 2}
    found = labels(tmp_path)
    assert list(found) == ["train", "gallery", "query"]
    assert {path: name for part in found.values() for path, name in part.items()} == {
        f"images/a b.{n}.jpg": ("hat" if n % 2 else "shoe") for n in range(20)}  # fmt: skip
    for part, each in (("train", 5), ("gallery", 3), ("query", 2)):
        assert Counter(found[part].values()) == {"shoe": each, "hat": each}
    order = (names or "hat\nshoe\n").split()
    assert (tmp_path / "label.txt").read_text().split() == order
    path, number = (tmp_path / "train.txt").read_text().splitlines()[0].split("\t")
    assert order[int(number)] == found["train"][path]
    before = {path: path.read_bytes() for path in tmp_path.glob("*") if path.is_file()}
    convert_labelled(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.glob("*") if path.is_file()} == before


def test_folders_become_lists_and_their_parts_stay(tmp_path: Path) -> None:
    one = tree(tmp_path / "one", {f"{label}/{n}.jpg": (4, 4) for label in ("hat", "red shoe") for n in range(5)})
    assert convert_labelled(one).kept == {
        "images in train": 5, "images in gallery": 3, "images in query": 2, "labels": 2}  # fmt: skip
    assert {name for part in labels(one).values() for name in part.values()} == {"hat", "red shoe"}
    names = {f"{part}/hat/{part}{n}.jpg": (4, 4) for part in ("train", "gallery", "query") for n in range(2)}
    two = tree(tmp_path / "two", names)
    convert_labelled(two)
    assert {part: sorted(found) for part, found in labels(two).items()} == {
        part: [f"{part}/hat/{part}{n}.jpg" for n in range(2)] for part in ("train", "gallery", "query")}  # fmt: skip


def test_what_cannot_become_lists(tmp_path: Path) -> None:
    flagged(tmp_path / "a", 4)
    tree(tmp_path / "a", {"label.txt": "shoe\n"})
    with pytest.raises(DatasetError, match=r"label\.txt lacks the labels 'hat', which images have"):
        convert_labelled(tmp_path / "a")
    with pytest.raises(DatasetError, match="there is nothing to convert"):
        convert_labelled(tree(tmp_path / "b", {"x.txt": "y"}))
    flagged(tmp_path / "c", 2)
    with pytest.raises(DatasetError, match="2 images cannot be divided into 3 parts"):
        convert_labelled(tmp_path / "c")
    assert not list((tmp_path / "c").glob("*.txt"))


def listed(root: Path, counts: list[int], parts: tuple[str, ...] = ("train", "gallery", "query")) -> Path:
    """Lists in which label `n` has `counts[n]` images, dealt to the parts in turn."""
    lines: dict[str, list[str]] = {part: [] for part in parts}
    for label, number in enumerate(counts):
        for n in range(number):
            lines[parts[n % len(parts)]].append(f"images/{label}_{n}.jpg {label + 7}\n")
    return tree(root, {f"{part}.txt": "".join(found) for part, found in lines.items()})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.integers(1, 97), st.integers(0, 3), st.booleans())
def test_lists_are_divided_exactly(counts: list[int], train: int, seed: int, disjoint: bool) -> None:
    gallery = (100 - train) * 2 / 3
    percent = (train, gallery, 100 - train - gallery)
    with TemporaryDirectory() as folder:
        root = listed(Path(folder), counts)
        wanted = {path: name for part in labels(root).values() for path, name in part.items()}
        try:
            summary = split_labelled(root, *percent, seed=seed, disjoint=disjoint)
        except DatasetError as error:
            assert "cannot be divided into" in str(error) and not list(root.glob("*.bak"))
            return
        found = labels(root)
        assert sum(len(part) for part in found.values()) == len(wanted) == sum(counts)
        assert {path: name for part in found.values() for path, name in part.items()} == wanted
        assert [summary.kept[f"images in {part}"] for part in found] == [len(part) for part in found.values()]
        if disjoint:
            assert not set(found["train"].values()) & {*found["gallery"].values(), *found["query"].values()}


def test_labels_are_divided_alike_and_queries_have_answers(tmp_path: Path) -> None:
    listed(tmp_path, [10] * 30)
    before = {name: (tmp_path / f"{name}.txt").read_bytes() for name in ("train", "gallery", "query")}
    summary = split_labelled(tmp_path, 50, 30, 20)
    assert summary.faults == () and summary.dropped == {}
    for part, each in (("train", 5), ("gallery", 3), ("query", 2)):
        assert set(Counter(labels(tmp_path)[part].values()).values()) == {each}
    once = labels(tmp_path)
    split_labelled(tmp_path, 50, 30, 20)
    assert labels(tmp_path) == once
    split_labelled(tmp_path, 40, 30, 30, seed=2)
    assert {name: (tmp_path / f"{name}.txt.bak").read_bytes() for name in before} == before


def test_what_is_odd_in_lists_is_told(tmp_path: Path) -> None:
    lists = {
        "train.txt": "".join(f"a{n}.jpg 0\n" for n in range(6)) + "b.jpg 1\n",
        "gallery.txt": "a0.jpg 0\na1.jpg 1\nc.jpg 2\n",
        "query.txt": "d.jpg 3\n",
    }
    summary = split_labelled(tree(tmp_path, lists), 50, 30, 20)
    told = [(fault.severity, fault.code) for fault in summary.faults]
    assert told[:3] == [("warning", "labels-shared"), ("error", "label-differs"), ("warning", "image-twice")]
    assert summary.dropped == {"label-differs": 1, "image-twice": 2}
    assert sum(map(len, labels(tmp_path).values())) == 9


def test_words_and_other_lists_stay(tmp_path: Path) -> None:
    rows = "".join(f"i/{label} {n}.jpg\t{label}\n" for label in ("red hat", "shoe") for n in range(5))
    tree(tmp_path, {"train_list.txt": rows, "test_list.txt": "i/t.jpg\tshoe\n", "i/x": ""})
    before = labels(tmp_path)
    split_labelled(tmp_path, 60, 20, 20)
    after = labels(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*_list.txt")) == [
        "gallery_list.txt", "query_list.txt", "test_list.txt", "train_list.txt"]  # fmt: skip
    assert {p: n for part in ("train", "gallery", "query") for p, n in after[part].items()} == before["train"]


@pytest.mark.parametrize("percent", [(50, 30, 30), (100, 0, 0), (60, 50, -10)])
def test_wrong_percentages(tmp_path: Path, percent: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="percent"):
        split_labelled(tmp_path, *percent)
