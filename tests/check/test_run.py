"""The verb: its files, its messages, and that the dataset stays as it was."""

import hashlib
import json
import logging
from pathlib import Path

import pytest
from PIL import Image
from tests.check.sets import Content, coco, lists, picture

from eyas.check.run import run
from eyas.config import load_module_config
from eyas.errors import ConfigError, DatasetError
from eyas.schema import ModuleConfig
from eyas.terminal import failures_to

MODEL = "PP-YOLOE_plus_SOD-S"


def config(root: Path, output: Path, *more: str, model: str = MODEL) -> ModuleConfig:
    given = [f"Global.dataset_dir={root}", f"Global.output={output}", f"Global.model={model}", *more]
    return load_module_config(MODEL, given)


def digests(root: Path) -> dict[str, tuple[str, int]]:
    """Every file and folder below `root`: what is in it and when it was changed."""
    return {
        path.relative_to(root).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime_ns,
        )
        for path in root.rglob("*")
    }


def read(output: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((output / "check_dataset_result.json").read_text())
    return found


def test_a_dataset_that_passes(tmp_path: Path) -> None:
    root, output = coco(tmp_path / "cars"), tmp_path / "out"
    before = digests(root)
    assert str(run(config(root, output))) == "Check dataset passed !"
    assert digests(root) == before
    demo = [f"check_dataset/demo_img/{number:03}x.jpg" for number in (1, 2, 3, 4, 5, 6)]
    assert read(output) == {
        "done_flag": True,
        "check_pass": True,
        "attributes": {
            "num_classes": 2,
            "train_samples": 6,
            "train_sample_paths": demo,
            "val_samples": 3,
            "val_sample_paths": [f"check_dataset/demo_img/{number}x.jpg" for number in (101, 102, 103)],
        },
        "analysis": {"histogram": "check_dataset/histogram.png"},
        "dataset_path": "cars",
        "show_type": "image",
        "dataset_type": "COCODetDataset",
    }
    made = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert made >= {*demo, "check_dataset/faults.jsonl", "check_dataset/faults.txt", "check_dataset/histogram.png"}
    with Image.open(output / "check_dataset/histogram.png") as chart:
        assert chart.format == "PNG"
    with Image.open(output / demo[0]) as drawn:
        assert drawn.size == (96, 80)
        assert drawn.tobytes() != Image.open(root / "images/001x.jpg").tobytes()


def test_a_second_run_leaves_the_same_files(tmp_path: Path) -> None:
    root, output = coco(tmp_path / "cars"), tmp_path / "out"
    run(config(root, output))
    (output / "check_dataset/demo_img/old.jpg").write_bytes(picture(1))
    first = read(output)
    run(config(root, output))
    assert read(output) == first
    assert not (output / "check_dataset/demo_img/old.jpg").exists()


def test_at_most_ten_pictures_each_under_its_own_name(tmp_path: Path) -> None:
    def many(root: Path, train: Content, val: Content) -> None:
        """12 images in train; those of val are called like three of them."""
        for number in range(7, 13):
            (root / "images" / f"{number:03}x.jpg").write_bytes(picture(number))
            record = {**train["images"][0], "id": number, "file_name": f"{number:03}x.jpg"}
            train["images"].append(record)
            train["annotations"].append({**train["annotations"][0], "id": 500 + number, "image_id": number})
        (root / "images/val").mkdir()
        for record in val["images"]:
            name = f"val/{record['id'] - 100:03}x.jpg"
            (root / "images" / record["file_name"]).rename(root / "images" / name)
            record["file_name"] = name

    run(config(coco(tmp_path / "cars", many), tmp_path / "out"))
    found = read(tmp_path / "out")["attributes"]
    assert isinstance(found, dict)
    train, val = found["train_sample_paths"], found["val_sample_paths"]
    assert (len(train), len(val)) == (10, 3) and len({*train, *val}) == 13
    assert all((tmp_path / "out" / path).is_file() for path in (*train, *val))


def test_one_class(tmp_path: Path) -> None:
    assert run(config(coco(tmp_path / "set", names=("car",)), tmp_path / "out")).check_pass
    assert read(tmp_path / "out")["attributes"]["num_classes"] == 1  # type: ignore[index]


def test_faults_are_listed_and_the_check_fails(tmp_path: Path) -> None:
    def damage(root: Path, train: Content, _: Content) -> None:
        (root / "images/002x.jpg").unlink()
        (root / "images/003x.jpg").write_bytes(b"")
        train["annotations"][0]["bbox"] = [90, 5, 20, 9]

    root, output = coco(tmp_path / "cars", damage), tmp_path / "out"
    before = digests(root)
    with failures_to(output, "check_dataset"), pytest.raises(DatasetError) as raised:
        run(config(root, output))
    assert digests(root) == before
    assert str(raised.value).splitlines()[:2] == [
        f"the dataset {root} does not pass the check: 2 errors, 1 warning, 0 infos.",
        "Please try to resolve the issue as follows:",
    ]
    lines = [json.loads(line) for line in (output / "check_dataset/faults.jsonl").read_text().splitlines()]
    keys = ["severity", "code", "file", "record", "field", "value", "message", "fix"]
    assert [list(line) for line in lines] == [keys] * 3
    assert [(line["severity"], line["code"]) for line in lines] == [
        ("error", "image-missing"), ("error", "image-empty"), ("warning", "box-over-edge"),
    ]  # fmt: skip
    text = (output / "check_dataset/faults.txt").read_text()
    assert text.startswith("2 errors, 1 warning, 0 infos\n") and all(line["message"] in text for line in lines)
    assert not (output / "check_dataset_result.json").exists()


def test_the_failure_file(tmp_path: Path) -> None:
    output = tmp_path / "out"
    root = coco(tmp_path / "cars", lambda root, *_: (root / "images/002x.jpg").unlink())
    with pytest.raises(DatasetError), failures_to(output, "check_dataset"):
        run(config(root, output))
    found = read(output)
    assert list(found) == ["done_flag", "err_type", "err_msg"]
    assert found["done_flag"] is False and found["err_type"] == "<class 'eyas.errors.DatasetError'>"
    assert str(found["err_msg"]).startswith(
        f"the dataset {root} does not pass the check: 1 error, 0 warnings, 0 infos."
    )


def test_an_empty_split_fails(tmp_path: Path) -> None:
    root = coco(tmp_path / "set", lambda _, __, val: val.update(images=[], annotations=[]))
    with pytest.raises(DatasetError, match="the split val has no image"):
        run(config(root, tmp_path / "out"))


def test_a_recognition_dataset(tmp_path: Path) -> None:
    rows = [("a.jpg", 0), ("b.jpg", 1), ("c.jpg", 2)]
    root = lists(tmp_path / "shop", {"train": rows, "gallery": rows, "query": [("q.jpg", 1)]})
    run(config(root, tmp_path / "out", model="PP-ShiTuV2_rec"))
    found = read(tmp_path / "out")
    assert found["dataset_type"] == "ShiTuRecDataset" and found["show_type"] == "image"
    attributes = found["attributes"]
    assert isinstance(attributes, dict)
    assert list(attributes) == [
        "train_samples", "train_sample_paths", "gallery_samples", "gallery_sample_paths", "query_samples",
        "query_sample_paths",
    ]  # fmt: skip
    assert [attributes[f"{part}_samples"] for part in ("train", "gallery", "query")] == [3, 3, 1]
    assert attributes["gallery_sample_paths"] == [f"check_dataset/demo_img/{name}_2.jpg" for name in "abc"]
    assert attributes["query_sample_paths"] == ["check_dataset/demo_img/q.jpg"]


@pytest.mark.parametrize("output", [".", "out", "images/out"])
def test_the_output_may_not_lie_in_the_dataset(tmp_path: Path, output: str) -> None:
    root = coco(tmp_path / "cars")
    before = digests(root)
    with pytest.raises(ConfigError, match="lies inside the dataset"):
        run(config(root, root / output))
    assert digests(root) == before


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Global.dataset_dir: not given"):
        run(load_module_config(MODEL, [f"Global.output={tmp_path}"]))
    with pytest.raises(DatasetError, match="is not there"):
        run(config(tmp_path / "none", tmp_path / "out"))


def test_conversion_and_split_come_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = coco(tmp_path / "cars")
    split = [f"CheckDataset.split.{key}={value}" for key, value in {"enable": True, "train_percent": 50,
             "val_percent": 50}.items()]  # fmt: skip
    with caplog.at_level(logging.INFO, "eyas"):
        result = run(config(root, tmp_path / "out", *split))
    assert sorted(len(part) for part in result.splits.values()) == [4, 5]
    assert "Split dataset successfully !" in caplog.messages


def test_a_conversion_needs_its_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="src_dataset_type: not given"):
        run(config(coco(tmp_path / "cars"), tmp_path / "out", "CheckDataset.convert.enable=True"))
    with pytest.raises(ConfigError, match="train_percent and val_percent must all be given"):
        run(config(tmp_path / "cars", tmp_path / "out", "CheckDataset.split.enable=True"))


def test_labels_cannot_steer_a_terminal(tmp_path: Path) -> None:
    root, output = coco(tmp_path / "cars", names=("car\x1b[31m", "bus")), tmp_path / "out"
    (root / "images/002x.jpg").write_bytes((root / "images/001x.jpg").read_bytes())
    with_twice = json.loads((root / "annotations/instance_train.json").read_text())
    with_twice["annotations"].append({**with_twice["annotations"][0], "id": 777})
    (root / "annotations/instance_train.json").write_text(json.dumps(with_twice))
    run(config(root, output))
    text = (output / "check_dataset/faults.txt").read_text()
    assert "box-twice" in text and "\x1b" not in text
