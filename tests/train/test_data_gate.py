"""Training asks for a dataset that passes, or says what it leaves out."""

import json
import logging
from pathlib import Path

import pytest

from eyas.config import load_module_config
from eyas.data.synthetic import write_dataset
from eyas.errors import DatasetError
from eyas.train.datasets import load_boxes

MODEL = "PP-YOLOE_plus_SOD-XS-P2"


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A dataset with a broken image, a missing image and a box of an unknown class."""
    root = tmp_path / "scenes"
    write_dataset(root, train=6, val=2, seed=1, size_hw=(96, 128))
    file = root / "annotations" / "instance_train.json"
    content = json.loads(file.read_text())
    broken, missing = (root / "images" / content["images"][place]["file_name"] for place in (0, 1))
    broken.write_bytes(b"")
    missing.unlink()
    return root


def test_a_faulty_dataset_is_refused(faulty: Path) -> None:
    with pytest.raises(DatasetError, match=r"have 2 faults:\n(.|\n)*eyas check_dataset` lists all of them"):
        load_boxes(load_module_config(MODEL, [f"Global.dataset_dir={faulty}"]))


def test_what_is_left_out_is_said(faulty: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = faulty / "annotations" / "instance_train.json"
    content = json.loads(file.read_text())
    last = content["annotations"][-1]
    last["category_id"] = 77
    file.write_text(json.dumps(content))
    config = load_module_config(MODEL, [f"Global.dataset_dir={faulty}", "CheckDataset.allow_faulty=True"])
    with caplog.at_level(logging.WARNING, logger="eyas"):
        train, val = load_boxes(config)
    assert (len(train), len(val)) == (4, 2)
    boxes = [box for record in content["annotations"][:-1] for box in [record["image_id"]]]
    kept = {sample.image_id for sample in train.samples}
    assert sum(len(sample.boxes_xyxy) for sample in train.samples) == sum(image in kept for image in boxes)
    said = "\n".join(caplog.messages)
    assert said.count("ignored in train") == 3 and "77" in said


def test_nothing_usable(faulty: Path) -> None:
    for image in (faulty / "images").iterdir():
        image.unlink()
    config = load_module_config(MODEL, [f"Global.dataset_dir={faulty}", "CheckDataset.allow_faulty=True"])
    with pytest.raises(DatasetError, match="none of the 6 images of train can be used"):
        load_boxes(config)
