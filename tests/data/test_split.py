"""Splits: an exact partition, classes by name, groups in one piece, originals kept once."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.trees import picture, tree

from eyas.data import read_dataset
from eyas.data.groups import group_names
from eyas.data.partition import part_sizes, partition
from eyas.data.split import split_dataset
from eyas.errors import ConfigError, DatasetError

PERCENT = st.integers(1, 99)


@given(st.integers(2, 400), PERCENT)
def test_sizes_are_exact_and_never_empty(count: int, train: int) -> None:
    sizes = part_sizes(count, [train, 100 - train])
    assert sum(sizes) == count and min(sizes) >= 1
    assert abs(sizes[0] - count * train / 100) <= 1 if min(sizes) > 1 else True
    assert sum(part_sizes(count + 1, [50, 30, 20])) == count + 1


@pytest.mark.parametrize("count", [5, 9, 13])
def test_halves_of_odd_numbers_lose_no_image(tmp_path: Path, count: int) -> None:
    write(tmp_path, {"train": [(f"{n}.png", [1]) for n in range(count - 2)], "val": [("y.png", [1]), ("z.png", [1])]})
    summary = split_dataset(tmp_path, 50, 50)
    assert sorted([summary.kept["images in train"], summary.kept["images in val"]]) == [count // 2, count - count // 2]
    names = [name for part in ("train", "val") for name, _ in images(tmp_path, part)]
    assert sorted(names) == sorted([*(f"{n}.png" for n in range(count - 2)), "y.png", "z.png"])


@settings(max_examples=60, deadline=None)
@given(st.data(), PERCENT, st.integers(0, 5))
def test_every_image_is_in_one_part_and_groups_are_whole(data: st.DataObject, train: int, seed: int) -> None:
    count = data.draw(st.integers(2, 60))
    classes = data.draw(st.lists(st.sets(st.integers(0, 4)), min_size=count, max_size=count))
    alone = partition(classes, range(count), [train, 100 - train], seed)
    assert np.bincount(alone, minlength=2).tolist() == part_sizes(count, [train, 100 - train])
    groups = data.draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    if len(set(groups)) < 2:
        with pytest.raises(DatasetError, match="form 1 groups, which cannot be divided into 2 parts"):
            partition(classes, groups, [train, 100 - train], seed)
        return
    part = partition(classes, groups, [train, 100 - train], seed)
    assert set(part.tolist()) == {0, 1}
    assert all(len({p for p, g in zip(part.tolist(), groups, strict=True) if g == name}) == 1 for name in groups)
    assert part.tolist() == partition(classes, groups, [train, 100 - train], seed).tolist()


def test_every_class_is_divided_as_the_whole() -> None:
    rng = np.random.default_rng(0)
    classes = [set(np.flatnonzero(rng.random(5) < [0.9, 0.4, 0.1, 0.03, 0.01]).tolist()) for _ in range(1000)]
    part = partition(classes, range(1000), [80, 20], 0)
    for name in range(5):
        there = [p for p, shown in zip(part.tolist(), classes, strict=True) if name in shown]
        assert abs(there.count(1) - len(there) * 0.2) <= 1.5, (name, len(there), there.count(1))
    other = partition(classes, range(1000), [80, 20], 1)
    assert (part != other).any() and np.bincount(other).tolist() == [800, 200]


def write(root: Path, parts: dict[str, list[tuple[str, list[int]]]], categories: Any = None) -> Path:
    """COCO files whose images have the given category ids, with keys that eyas does not know."""
    number = 0
    for part, rows in parts.items():
        pictures, boxes = [], []
        for name, ids in rows:
            number += 1
            tree(root, {f"images/{name}": picture(20, 10)})
            pictures.append({"id": number, "file_name": name, "width": 20, "height": 10, "license": 7})
            for category in ids:
                boxes.append({"id": len(boxes) + 1, "image_id": number, "category_id": category,
                              "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 3, 4, 5, 6]]})  # fmt: skip
        known = (categories or {}).get(part) or [{"id": 1, "name": "car", "supercategory": "thing"}]
        content = {"info": {"year": 2026}, "images": pictures, "annotations": boxes, "categories": known}
        tree(root, {f"annotations/instance_{part}.json": json.dumps(content)})
    return root


def images(root: Path, part: str) -> list[tuple[str, list[str]]]:
    dataset = read_dataset(root, part)
    names = dataset.classes.names
    return [(sample.path.name, [names[place] for place in sample.class_ids.tolist()]) for sample in dataset.samples]


def test_a_class_of_val_alone_with_the_id_of_another_one_survives(tmp_path: Path) -> None:
    categories = {"train": [{"id": 1, "name": "car"}], "val": [{"id": 1, "name": "bus"}, {"id": 2, "name": "car"}]}
    rows = {"train": [(f"a{n}.png", [1]) for n in range(6)], "val": [(f"b{n}.png", [1, 2]) for n in range(4)]}
    write(tmp_path, rows, categories)
    summary = split_dataset(tmp_path, 70, 30)
    found = dict([*images(tmp_path, "train"), *images(tmp_path, "val")])
    assert found == {**{f"a{n}.png": ["car"] for n in range(6)}, **{f"b{n}.png": ["bus", "car"] for n in range(4)}}
    for part in ("train", "val"):
        content = json.loads((tmp_path / "annotations" / f"instance_{part}.json").read_text())
        assert content["categories"] == [{"id": 1, "name": "car"}, {"id": 2, "name": "bus"}]
        assert content["info"] == {"year": 2026} and {one["license"] for one in content["images"]} == {7}
        assert all(one["segmentation"] for one in content["annotations"])
    assert summary.faults == () and summary.dropped == {}
    ids = [one["id"] for part in ("train", "val") for one in
           json.loads((tmp_path / "annotations" / f"instance_{part}.json").read_text())["annotations"]]  # fmt: skip
    assert len(set(ids)) == len(ids) == 14


def test_the_first_originals_are_kept_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"train": [(f"{n}.png", [1]) for n in range(8)], "val": [("8.png", [1])]})
    files = [tmp_path / "annotations" / f"instance_{part}.json" for part in ("train", "val")]
    before = [file.read_bytes() for file in files]
    split_dataset(tmp_path, 60, 40, seed=3)
    once = [file.read_bytes() for file in files]
    assert once != before
    summary = split_dataset(tmp_path, 60, 40, seed=3)
    assert [file.read_bytes() for file in files] == once
    split_dataset(tmp_path, 30, 70, seed=4)
    assert [file.read_bytes() for file in files] != once
    assert [Path(f"{file}.bak").read_bytes() for file in files] == before
    assert sorted(path.name for path in (tmp_path / "annotations").iterdir()) == [
        "instance_train.json", "instance_train.json.bak", "instance_val.json", "instance_val.json.bak"]  # fmt: skip
    assert summary.lines() == [
        f"Divided the images of train and val in {tmp_path} into train and val; the originals are kept as "
        "instance_train.json.bak, instance_val.json.bak.",
        "Kept: 5 images in train, 4 images in val, 5 boxes in train, 4 boxes in val.",
    ]


def test_an_image_that_is_in_both_parts_comes_once(tmp_path: Path) -> None:
    write(tmp_path, {"train": [("a.png", [1]), ("b.png", [1])], "val": [("b.png", [1, 1]), ("c.png", [])]})
    summary = split_dataset(tmp_path, 50, 50)
    found = Counter(name for part in ("train", "val") for name, _ in images(tmp_path, part))
    assert found == Counter(["a.png", "b.png", "c.png"])
    assert summary.dropped == {"image-twice": 1, "box-twice": 2}


def test_a_test_part_stays_and_a_single_file_becomes_two(tmp_path: Path) -> None:
    write(tmp_path, {"train": [(f"{n}.png", [1]) for n in range(4)], "test": [("t.png", [1])]})
    split_dataset(tmp_path, 75, 25)
    assert [len(images(tmp_path, part)) for part in ("train", "val", "test")] == [3, 1, 1]


@pytest.mark.parametrize(
    ("name", "train", "val"),
    [
        ("instances_train2017", "instances_train2017", "instances_val2017"),
        ("val", "train", "val"),
        ("training", "instance_train", "instance_val"),
        ("boxes", "instance_train", "instance_val"),
    ],
)
def test_where_two_files_come_from_one(tmp_path: Path, name: str, train: str, val: str) -> None:
    write(tmp_path, {"train": [(f"{n}.png", [1]) for n in range(4)]})
    (tmp_path / "annotations" / "instance_train.json").rename(tmp_path / "annotations" / f"{name}.json")
    for _ in range(2):
        split_dataset(tmp_path, 75, 25)
        assert (len(images(tmp_path, "train")), len(images(tmp_path, "val"))) == (3, 1)
        assert {f"{train}.json", f"{val}.json"} <= {path.name for path in (tmp_path / "annotations").iterdir()}


def test_images_in_two_folders_are_found_again(tmp_path: Path) -> None:
    for part, year in (("train", "train2017"), ("val", "val2017")):
        names = [f"{part}{n}.png" for n in range(4)]
        records = [{"id": n, "file_name": name, "width": 20, "height": 10} for n, name in enumerate(names)]
        content = {"images": records, "annotations": [], "categories": [{"id": 1, "name": "car"}]}
        tree(tmp_path, {f"annotations/instances_{year}.json": json.dumps(content)})
        tree(tmp_path, {f"{year}/{name}": picture(20, 10) for name in names})
    split_dataset(tmp_path, 50, 50)
    for part in ("train", "val"):
        dataset = read_dataset(tmp_path, part)
        assert len(dataset) == 4 and all(sample.path.is_file() for sample in dataset.samples)
    assert (tmp_path / "annotations" / "instances_train2017.json.bak").is_file()


def test_groups_stay_together(tmp_path: Path) -> None:
    rows = [(f"{video}/f_{n:04d}.png", [1]) for video in "abcd" for n in range(0, 30, 3)]
    write(tmp_path, {"train": rows})
    for group in ("folder", "frames", r"^(\w)/"):
        summary = split_dataset(tmp_path, 50, 50, group=group)
        assert (summary.kept["images in train"], summary.kept["groups"], summary.faults) == (20, 4, ())
        folders = [{sample.path.parent.name for sample in read_dataset(tmp_path, part).samples}
                   for part in ("train", "val")]  # fmt: skip
        assert not folders[0] & folders[1] and len(folders[0]) == 2


def test_runs_of_frames() -> None:
    names = ["v1_0003.jpg", "v1_0006.jpg", "v1_0009.jpg", "v1_0040.jpg", "v1_0043.jpg", "v2_0003.jpg", "x.jpg"]
    assert group_names(names, "frames") == [names[0]] * 3 + [names[3]] * 2 + names[5:]
    assert group_names(["a/1.jpg", "b/2.jpg"], "frames") == ["a/1.jpg", "b/2.jpg"]
    assert group_names(["5.jpg", "4.jpg", "b5x.jpg"], "frames") == ["4.jpg", "4.jpg", "b5x.jpg"]
    assert group_names(["k7_1", "k7_2", "q"], r"(k\d)") == ["k7", "k7", "q alone"]
    for wrong in ("(", "no group", "(two)(groups)"):
        with pytest.raises(ConfigError, match="expected folder, frames, or a regular expression with one group"):
            group_names(names, wrong)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40, unique=True))
def test_neighbouring_frames_are_never_torn_apart(numbers: list[int]) -> None:
    names = [f"{n:07d}.png" for n in numbers]
    group = dict(zip(numbers, group_names(names, "frames"), strict=True))
    assert all(group[n] == group[n + 1] for n in numbers if n + 1 in group)


def test_a_group_that_is_too_large_is_told(tmp_path: Path) -> None:
    rows = [*((f"a/{n}.png", [1]) for n in range(9)), ("b/1.png", [2])]
    known = [{"id": 1, "name": "car"}, {"id": 2, "name": "bus"}]
    write(tmp_path, {"train": rows}, {"train": known})
    summary = split_dataset(tmp_path, 50, 50, group="folder")
    assert [fault.code for fault in summary.faults] == ["class-in-one-part"] * 2 + ["share-missed"] * 2
    assert "no image with the class 'bus' is in" in str(summary.faults[0])


@pytest.mark.parametrize(
    ("train", "val", "words"),
    [(80, 30, "must add up to 100"), (100, 0, "more than 0 percent"), (-10, 110, "more than 0 percent")],
)
def test_wrong_percentages(tmp_path: Path, train: float, val: float, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        split_dataset(tmp_path, train, val)


def test_what_cannot_be_split_is_left_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "one", {"train": [("a.png", [1])]})
    with pytest.raises(DatasetError, match="1 images cannot be divided into 2 parts"):
        split_dataset(tmp_path / "one", 50, 50)
    assert [path.name for path in (tmp_path / "one" / "annotations").iterdir()] == ["instance_train.json"]
    tree(tmp_path / "yolo", {"images/a.png": (9, 9), "labels/a.txt": "0 0.5 0.5 0.5 0.5\n", "classes.txt": "car\n"})
    with pytest.raises(DatasetError, match="is YOLO labels; only COCO is split in place"):
        split_dataset(tmp_path / "yolo", 50, 50)


def test_real_frames_of_one_flight_stay_together(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(shared_data / "hit_uav" / "images")
    (tmp_path / "annotations").mkdir()
    for part in ("train", "val"):
        file = tmp_path / "annotations" / f"instance_{part}.json"
        file.write_bytes((shared_data / "hit_uav" / "annotations" / file.name).read_bytes())
    summary = split_dataset(tmp_path, 80, 20, group="frames")
    assert summary.kept["images in train"] + summary.kept["images in val"] == 1501
    assert summary.kept["boxes in train"] + summary.kept["boxes in val"] == 11463 + 212 + 2652 + 12
    assert abs(summary.kept["images in val"] - 300) < 5 and summary.faults == ()
