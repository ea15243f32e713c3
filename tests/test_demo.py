"""The demo, and the script that writes a model card."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from tests.fakes import manifest

from eyas import Detections
from eyas.bundle import Bundle
from eyas.config import load_module_config, write_resolved
from eyas.data import load_dataset
from eyas.data.synthetic import SCENE_CLASSES, Scene, scene, write_dataset
from eyas.evaluate.run import write_evaluate_result
from eyas.metrics.detection import evaluate_detections

ROOT = Path(__file__).resolve().parent.parent


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def drawn() -> Scene:
    """Two people side by side and a car."""
    boxes = np.array([[10, 10, 20, 20], [30, 10, 40, 20], [60, 60, 90, 80]], np.float32)
    return Scene(np.zeros((100, 100, 3), np.uint8), boxes, np.array([0, 0, 1]))


def found(boxes: list[list[float]], class_ids: list[int], names: tuple[str, ...] = SCENE_CLASSES) -> Detections:
    return Detections(np.array(boxes), np.linspace(0.9, 0.5, len(boxes)), np.array(class_ids), names)


def test_matches_are_counted_by_class_and_overlap(drawn: Scene) -> None:
    count = script("demo").count_matches
    assert count(drawn, found(drawn.boxes_xyxy.tolist(), [0, 0, 1])) == 3
    assert count(drawn, found([[10, 10, 20, 20], [60, 60, 90, 80]], [0, 0])) == 1, "the second is a car"
    assert count(drawn, found([[10, 10, 20, 15]], [0])) == 1, "an IoU of 0.5 is enough"
    assert count(drawn, found([[10, 10, 20, 14.9]], [0])) == 0
    assert count(drawn, found([[10, 10, 20, 20], [10, 11, 20, 21]], [0, 0])) == 1, "an object counts once"
    assert count(drawn, found([[60, 60, 90, 80]], [2], ("Bicycle", "Person", "Car"))) == 1, "by name, not by number"
    assert count(drawn, Detections.empty(SCENE_CLASSES)) == 0


def test_the_demo_finds_objects_without_the_training_extras(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("torch", "onnx", "safetensors", "hotcoco", "matplotlib", "pytest"):
        (blocked / f"{name}.py").write_text("raise ImportError('not part of the prediction install')\n")
    path = os.pathsep.join([str(blocked), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo.py", "demo"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    line = re.fullmatch(r".*: found (\d+) of (\d+) drawn objects .* with (\d+) boxes in \d+ ms.*\n", done.stdout)
    assert line is not None, done.stdout
    right, objects, boxes = map(int, line.groups())
    demo = script("demo")
    assert objects == len(scene(demo.SEED).class_ids) >= 20
    assert right >= 5 and 2 * right >= boxes, done.stdout
    assert len(json.loads((tmp_path / "demo" / "scene_res.json").read_text())["boxes"]) == boxes
    picture, result = (cv2.imread(str(tmp_path / "demo" / name)) for name in ("scene.png", "scene_res.png"))
    assert (picture == scene(demo.SEED).image[..., ::-1]).all()
    assert picture.shape == result.shape and (picture != result).any()


def test_the_demo_says_how_it_is_used() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "demo.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "usage: python scripts/demo.py OUT\n")


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Path]:
    """A run whose detector found every drawn object, and its bundle."""
    data = load_dataset(write_dataset(tmp_path / "hit_uav", train=2, val=3), "val")
    folder, bundle = tmp_path / "run", tmp_path / "Found-all"
    changes = [f"Global.dataset_dir={tmp_path / 'hit_uav'}", "Train.seed=7", "Train.epochs_iters=40"]
    write_resolved(load_module_config("PP-YOLOE_plus_SOD-XS-P2", changes), folder / "config.yaml")
    result = {
        "models": {"best": {"epoch": 38}},
        "minutes": 61.7,
        "command": ["train", "-c", "PP-YOLOE_plus_SOD-XS-P2", "-o", f"Global.dataset_dir={tmp_path / 'hit_uav'}"],
    }
    (folder / "train_result.json").write_text(json.dumps(result))
    (folder / "metrics.jsonl").write_text('{"images_per_second": 20.0}\n{"images_per_second": 22.5}\n{"epoch": 1}\n')
    perfect = {
        sample.image_id: Detections(
            sample.boxes_xyxy, np.ones(len(sample.class_ids), np.float32), sample.class_ids, data.classes.names
        )
        for sample in data.samples
    }
    write_evaluate_result(folder, evaluate_detections(data, perfect))
    (tmp_path / "model.onnx").write_bytes(b"0" * 2_500_000)
    values = manifest((512, 640), SCENE_CLASSES, made={"torch": "2.13.0", "python": "3.11.7", "machine": "x86_64"})
    Bundle.create(bundle, values, {"model.onnx": tmp_path / "model.onnx"})
    return folder, bundle


def write_card(run: tuple[Path, Path], *options: str) -> str:
    command = [sys.executable, ROOT / "scripts" / "model_card.py", *run, *options]
    subprocess.run(command, check=True, capture_output=True)
    return (run[1] / "README.md").read_text(encoding="utf-8")


def test_a_model_card_holds_the_figures_of_its_run(run: tuple[Path, Path], tmp_path: Path) -> None:
    card = write_card(run, "--latency", "21 ms, somewhere")
    metrics = json.loads((run[0] / "evaluate_result.json").read_text())["metrics"]
    assert card.startswith("# Found-all\n")
    groups = [*metrics["per_class"].items(), ("all up to 16 px", metrics["by_size"]["under16"])]
    figures = [(name, group["objects"], "100.0" if group["objects"] else "-") for name, group in groups]
    assert "100.0" in str(figures)
    for row in (
        "| network | Fake, input 640 x 512 px |",
        "| file | model.onnx, 2.5 MB |",
        "| seed | 7 |",
        "| epochs | 40, the best one was 38 |",
        "| minutes | 62 in training steps, validation not counted |",
        "| images a second | 21.2 (median over the run) |",
        "| latency | 21 ms, somewhere |",
        *(f"| {name} | {objects} | {figure} | {figure} |" for name, objects, figure in figures),
        "    eyas train -c PP-YOLOE_plus_SOD-XS-P2 -o Global.dataset_dir=hit_uav",
    ):
        assert f"{row}\n" in card, row
    assert f"On the 3 images and {metrics['objects']} objects of the validation part" in card
    train = load_dataset(tmp_path / "hit_uav", "train")
    counts = np.bincount(np.concatenate([sample.class_ids for sample in train.samples]), minlength=4)
    assert f"Training part: 2 images, {counts.sum()} boxes" in card
    assert f"- {SCENE_CLASSES[counts.argmin()]} has {counts.min()} boxes in the training part" in card
    assert str(tmp_path) not in card, "no path of the machine"
    assert "CC BY 4.0" in card and "Apache-2.0" in card
    picture = cv2.imread(str(run[1] / "recall.png"))
    assert picture is not None and picture.std() > 10
    Bundle.open(run[1])


def test_a_model_card_leaves_out_what_was_not_measured(run: tuple[Path, Path]) -> None:
    card = write_card(run)
    assert "latency" not in card and "| machine |" not in card and "None" not in card


def test_a_model_card_names_both_runs_of_a_model(run: tuple[Path, Path]) -> None:
    first = run[0].with_name("first")
    first.mkdir()
    (first / "train_result.json").write_text('{"minutes": 30.2, "command": ["train", "-c", "first.yaml"]}')
    with pytest.raises(subprocess.CalledProcessError):
        write_card(run, "--first", str(first))  # it started from random weights
    config = load_module_config(run[0] / "config.yaml", [f"Train.pretrain_weight_path={first / 'best_model'}"])
    write_resolved(config, run[0] / "config.yaml")
    with pytest.raises(subprocess.CalledProcessError):
        write_card(run)  # it did not
    card = write_card(run, "--first", str(first))
    assert "| minutes | 30 + 62 in training steps" in card
    assert "    eyas train -c first.yaml\n    eyas train -c PP-YOLOE_plus_SOD-XS-P2" in card
    assert "| started from | the best epoch of the first command |" in card
