"""Training end to end on a few drawn scenes: it learns, it resumes exactly, it runs on one process or two."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from eyas.bundle import Bundle
from eyas.config import load_module_config
from eyas.data.synthetic import write_dataset
from eyas.errors import ConfigError, ModelError
from eyas.models.files import read_tensors
from eyas.train.checkpoint import CHECKPOINT
from eyas.train.detection import DetectionTask, spread
from eyas.train.run import run
from eyas.train.task import Validation

MODEL = "PP-YOLOE_plus_SOD-XS-P2"
SMALL = (
    "Train.input_size=[96, 128]",
    "Train.batch_size=4",
    "Train.workers=0",
    "Train.warmup_steps=5",
    "Train.log_interval=2",
    "Train.amp=OFF",
    "Train.augment={crop: 0, flip: 0, colour: 0, mosaic: 0, copy_paste: 0, close_epochs: 0}",
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    write_dataset(root, train=8, val=4, seed=3, size_hw=(96, 128))
    return root


def train(scenes: Path, output: Path, *overrides: str) -> Path:
    options = [*SMALL, f"Global.dataset_dir={scenes}", f"Global.output={output}", "Global.device=cpu", *overrides]
    return run(load_module_config(MODEL, options))


def losses(output: Path) -> list[float]:
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [r["loss_total"] for r in records if "loss_total" in r]


def test_it_learns_and_leaves_the_promised_files(scenes: Path, tmp_path: Path) -> None:
    bundle = train(scenes, tmp_path, "Train.epochs_iters=12", "Train.eval_interval=6", "Train.tensorboard=true")
    values = losses(tmp_path)
    assert len(values) == 12
    assert values[-1] < 0.75 * values[0]
    for name in (
        "train.log",
        "metrics.jsonl",
        "config.yaml",
        "checkpoint.safetensors",
        "best_model/best_model.safetensors",
    ):
        assert (tmp_path / name).is_file(), name
    result = json.loads((tmp_path / "train_result.json").read_text())
    assert result == json.loads((tmp_path / "train_results.json").read_text())
    assert result["done_flag"] is True and result["label_dict"]["0"] == "Person"
    assert (tmp_path / result["models"]["best"]["inference"] / "bundle.json").is_file()
    manifest = Bundle.open(bundle).manifest
    assert manifest.names == ("Person", "Car", "Bicycle", "OtherVehicle")
    assert manifest.made["export_check"]["openvino"]["box"] < 0.05
    assert "epoch 6/12" in (tmp_path / "train.log").read_text()
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_resume_is_exact(scenes: Path, tmp_path: Path) -> None:
    """Six epochs in one go, or three and three: the same weights to the last bit, average included."""
    augmented = "Train.augment={crop: 1.0, crop_size: [64, 64], mosaic: 0.5, copy_paste: 0.5, close_epochs: 1}"
    train(scenes, tmp_path / "whole", augmented, "Train.epochs_iters=6", "Train.eval_interval=3")
    # The same plan, killed at the end of the third epoch.
    half = tmp_path / "half"
    command = _command(scenes, half, augmented, "Train.epochs_iters=6", "Train.eval_interval=3")
    _kill_after(command, half / CHECKPOINT, epoch=3)
    train(scenes, half, augmented, "Train.epochs_iters=6", "Train.eval_interval=3", f"Train.resume_path={half}")
    one, other = read_tensors(tmp_path / "whole" / CHECKPOINT), read_tensors(half / CHECKPOINT)
    assert one.tensors.keys() == other.tensors.keys()
    for name, value in one.tensors.items():
        assert torch.equal(value, other.tensors[name]), name
    assert one.state["run"]["position"] == other.state["run"]["position"] == {"epoch": 6, "step": 0}


def _command(scenes: Path, output: Path, *overrides: str) -> list[str]:
    options = [*SMALL, f"Global.dataset_dir={scenes}", f"Global.output={output}", "Global.device=cpu", *overrides]
    return [sys.executable, "-m", "eyas", "train", "-c", MODEL, *(part for o in options for part in ("-o", o))]


def _kill_after(command: list[str], checkpoint: Path, epoch: int) -> None:
    """Start a training process and kill it, without warning, once its checkpoint says `epoch` or more."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_one_thread())
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if checkpoint.is_file() and _epoch_of(checkpoint) >= epoch:
            break
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def _epoch_of(checkpoint: Path) -> int:
    """The epoch in the header of a checkpoint that another process may be replacing: one open, one read."""
    with checkpoint.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return int(json.loads(header["__metadata__"]["eyas"])["run"]["position"]["epoch"])


def _one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def test_two_processes_train_one_model(scenes: Path, tmp_path: Path) -> None:
    options = _command(scenes, tmp_path, "Train.epochs_iters=2", "Train.batch_size=2")[3:]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "eyas", *options],
        capture_output=True,
        text=True,
        timeout=240,
        env=_one_thread(),
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "train_result.json").read_text())
    assert result["done_flag"] is True
    assert len(losses(tmp_path)) == 2, "the first process alone writes records"
    assert (tmp_path / "best_model" / "inference" / "model.onnx").is_file()


def test_early_stopping(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The AP never gets better than after the second epoch: two more evaluations, then the run ends."""
    scores = iter([0.1, 0.2, 0.2, 0.15, 0.3])

    def scripted(*_: object) -> Validation:
        score = next(scores)
        return Validation(score, {"AP": score}, {"AP": score, "AP50": score})

    monkeypatch.setattr(DetectionTask, "validate", scripted)
    train(scenes, tmp_path, "Train.epochs_iters=9", "Train.early_stop=2", "Train.eval_interval=1")
    epochs = [json.loads(line)["epoch"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert max(epochs) == 4
    best = json.loads((tmp_path / "train_result.json").read_text())["models"]["best"]
    assert (best["score"], best["epoch"]) == (0.2, 2)


def test_conflicting_class_count_names_both_numbers(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Train.num_classes: 10, but .* has 4 classes"):
        train(scenes, tmp_path, "Train.num_classes=10")


def test_pretrained_weights_of_another_model_are_refused(scenes: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    train(scenes, first, "Train.epochs_iters=1")
    weights = first / "best_model" / "best_model.safetensors"
    options = [*SMALL, f"Global.dataset_dir={scenes}", f"Global.output={tmp_path / 'second'}", "Global.device=cpu"]
    options += ["Train.epochs_iters=1", f"Train.pretrain_weight_path={weights}"]
    with pytest.raises(ModelError, match=r"unknown, first: neck\.fpn_routes\.2"):
        run(load_module_config("PP-YOLOE_plus_SOD-XS", options))
    run(load_module_config(MODEL, options))
    assert (tmp_path / "second" / "train_result.json").is_file()


def test_a_finished_run_resumed_elsewhere_brings_its_best_weights(scenes: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    train(scenes, first, "Train.epochs_iters=1")
    train(scenes, second, "Train.epochs_iters=1", f"Train.resume_path={first}")
    one, other = (read_tensors(folder / "best_model" / "best_model.safetensors") for folder in (first, second))
    assert all(torch.equal(value, other.tensors[name]) for name, value in one.tensors.items())
    assert "resume_path: null" in (second / "config.yaml").read_text()
    (first / "best_model" / "best_model.safetensors").unlink()
    with pytest.raises(ConfigError, match="has trained all its 1 epochs"):
        train(scenes, tmp_path / "third", "Train.epochs_iters=1", f"Train.resume_path={first}")


def test_a_limited_validation_spreads_over_the_data(scenes: Path) -> None:
    from eyas.data import load_dataset

    data = load_dataset(scenes, "val")
    assert [s.image_id for s in spread(data, 2).samples] == [data.samples[0].image_id, data.samples[2].image_id]
    assert spread(data, None) is data and spread(data, 99) is data
