"""A feature network trains end to end on a few drawn pictures: it learns, it resumes exactly, all modes work."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.drawn import COLOURS, draw_lists

from eyas.bundle import Bundle, EmbeddingManifest
from eyas.config import load_module_config, module_configs
from eyas.data.synthetic import write_dataset
from eyas.errors import ConfigError, DatasetError
from eyas.evaluate.run import run as evaluate
from eyas.export.run import run as export
from eyas.models import build
from eyas.models.files import read_tensors
from eyas.predict import run as predict
from eyas.schema import Features
from eyas.train.checkpoint import CHECKPOINT
from eyas.train.datasets import load_labels
from eyas.train.loop import State
from eyas.train.metric_losses import metric_loss
from eyas.train.pictures import PictureBatch
from eyas.train.recognition import TrainNet, batch_loss
from eyas.train.run import run
from eyas.train.trainer import Trainer

MODEL = "PP-ShiTuV2_rec-XS"
SMALL = (
    "Train.input_size=[32, 32]",
    "Train.batch_size=8",
    "Train.workers=0",
    "Train.log_interval=2",
    "Train.warmup_epochs=0.5",
    "Train.pictures={flip: 0, area: [0.8, 1.0], sides: null}",
    "Train.features.samples_per_label=2",
)


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_lists(tmp_path_factory.mktemp("lists"))


def options(lists: Path, output: Path, *overrides: str) -> list[str]:
    return [*SMALL, f"Global.dataset_dir={lists}", f"Global.output={output}", "Global.device=cpu", *overrides]


def train(lists: Path, output: Path, *overrides: str) -> Path:
    return run(load_module_config(MODEL, options(lists, output, *overrides)))


def records(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(lists: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run")
    train(lists, output, "Train.epochs_iters=8", "Train.eval_interval=4", "Train.features.triplet=true")
    return output


def test_it_learns_and_leaves_the_promised_files(trained: Path) -> None:
    losses = [record["loss_total"] for record in records(trained) if "loss_total" in record]
    assert losses[-1] < 0.6 * losses[0]
    assert {"loss_cls", "loss_triplet"} < records(trained)[0].keys()
    result = json.loads((trained / "train_result.json").read_text())
    assert result == json.loads((trained / "train_results.json").read_text())
    assert result["label_dict"] == {str(i): name for i, name in enumerate(COLOURS)}
    assert result["metrics"].keys() == {"recall1", "recall5", "mAP"}
    assert result["metrics"]["recall1"] == result["models"]["best"]["score"] > 0.8
    manifest = Bundle.open(trained / result["models"]["best"]["inference"]).manifest
    assert isinstance(manifest, EmbeddingManifest)
    assert (manifest.model, manifest.width, manifest.preprocess.size_hw) == (MODEL, 256, (32, 32))
    assert manifest.made["recall1"] == result["metrics"]["recall1"]
    assert manifest.made["export_check"]["onnxruntime"]["feature"] < 1e-4


def test_evaluate_export_and_predict_by_configuration(trained: Path, lists: Path, tmp_path: Path) -> None:
    """Weights, the bundle that training left and one exported anew all give the figures of training."""
    best = json.loads((trained / "train_result.json").read_text())["metrics"]
    exported = export(
        load_module_config(
            trained / "config.yaml", [f"Export.weight_path={trained}/best_model", f"Global.output={tmp_path}/bundle"]
        )
    )
    assert Bundle.open(exported).manifest.made["export_check"]["images"] == 8
    weights = trained / "best_model" / "best_model.safetensors"
    for model in (weights, trained / "best_model" / "inference", exported):
        chosen = [f"Evaluate.weight_path={model}", f"Global.output={tmp_path}/figures"]
        evaluate(load_module_config(trained / "config.yaml", chosen))
        found = json.loads((tmp_path / "figures" / "evaluate_result.json").read_text())["metrics"]
        assert {key: found[key] for key in best} == pytest.approx(best, abs=1e-6)
    chosen = [f"Predict.input={lists}/images/query_leaf_0.png"]
    (result,) = predict(load_module_config(trained / "config.yaml", chosen))
    assert np.linalg.norm(result["feature"]) == pytest.approx(1.0, abs=1e-5)


def test_resume_is_exact(lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four epochs in one go, or stopped after the second one: the same weights to the last bit, average included."""
    recipe = (
        "Train.pictures={area: [0.3, 1.0], rotate: 20, shift: 2, colour: 0.5, cutmix: 0.5, sides: [32, 40]}",
        "Train.epochs_iters=4",
        "Train.eval_interval=3",
        "Train.ema_cycle=2",
    )
    train(lists, tmp_path / "whole", *recipe)
    save = Trainer._save

    def save_and_stop(trainer: Trainer, state: State) -> None:
        save(trainer, state)
        if state.position.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(lists, tmp_path / "half", *recipe)
    monkeypatch.undo()
    train(lists, tmp_path / "half", *recipe, f"Train.resume_path={tmp_path / 'half'}")
    one, other = (read_tensors(tmp_path / name / CHECKPOINT) for name in ("whole", "half"))
    assert one.tensors.keys() == other.tensors.keys()
    for name, value in one.tensors.items():
        assert torch.equal(value, other.tensors[name]), name
    assert one.state["run"]["best_figures"] == other.state["run"]["best_figures"]


@pytest.mark.parametrize("name", [MODEL, "PP-ShiTuV2_rec"])
def test_the_loss_of_a_batch_is_the_loss_of_its_features(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, 5).eval()
    images, labels = torch.randint(0, 256, (6, 32, 32, 3), dtype=torch.uint8), torch.tensor([0, 0, 1, 1, 4, 4])
    net = TrainNet(model, (1 / 255,) * 3, (-0.5, 0.0, 0.5))
    settings = Features(label_smoothing=0.1, triplet=True)
    others, shares = labels.flip(0), torch.tensor([0.0, 0.3, 0.0, 0.0, 0.0, 1.0])
    got = batch_loss(net, PictureBatch(images, labels, others, torch.zeros(6)), settings)
    pixels = images.permute(0, 3, 1, 2) / 255 + torch.tensor([-0.5, 0.0, 0.5]).view(3, 1, 1)
    features, logits = model.forward_train(pixels, labels)
    wanted = metric_loss(features, logits, labels, smoothing=0.1, triplet=True)
    torch.testing.assert_close(got.total, wanted.total, rtol=1e-5, atol=1e-5)
    assert got.triplet > 0
    mixed = batch_loss(net, PictureBatch(images, labels, others, shares), Features())
    targets = (1 - shares)[:, None] * torch.eye(5)[labels] + shares[:, None] * torch.eye(5)[others]
    torch.testing.assert_close(mixed.total, torch.nn.functional.cross_entropy(logits, targets), rtol=1e-4, atol=1e-4)


def test_the_warm_up_counts_epochs_too(lists: Path, tmp_path: Path) -> None:
    """PaddleX's `Train.warmup_steps=5` means epochs for these models; Train.warmup_epochs says so, the longer wins."""
    train(
        lists, tmp_path, "Train.epochs_iters=2", "Train.warmup_steps=1", "Train.warmup_epochs=1", "Train.log_interval=1"
    )
    rates = [record["learning_rate"] for record in records(tmp_path) if "learning_rate" in record]
    assert rates[:4] == pytest.approx([0.0, 0.002, 0.004, 0.006])


def test_labels_are_those_of_the_training_part(tmp_path: Path) -> None:
    root = draw_lists(tmp_path)
    lines = (root / "train.txt").read_text().splitlines()
    (root / "train.txt").write_text("\n".join(line for line in lines if line[-1] in "13") + "\n")
    config = load_module_config(MODEL, [f"Global.dataset_dir={root}"])
    parts = load_labels(config)
    assert parts.train.labels.names == ("leaf", "sand") and parts.train.labels.source_ids == (1, 3)
    assert set(parts.train.label_ids.tolist()) == {0, 1} and len(parts.train) == 16
    assert (len(parts.gallery), len(parts.queries), len(parts.gallery.labels)) == (8, 8, 4)
    with pytest.raises(ConfigError, match=r"Train.num_classes: 159, but .*train.txt has 2 classes \(leaf, sand\)"):
        load_labels(load_module_config(MODEL, [f"Global.dataset_dir={root}", "Train.num_classes=159"]))


def test_without_a_gallery_val_is_searched_for_among_train(tmp_path: Path) -> None:
    root = draw_lists(tmp_path)
    (root / "gallery.txt").unlink()
    (root / "query.txt").rename(root / "val.txt")
    parts = load_labels(load_module_config(MODEL, [f"Global.dataset_dir={root}"]))
    assert len(parts.gallery) == len(parts.train) == 32 and len(parts.queries) == 8
    (root / "val.txt").unlink()
    with pytest.raises(DatasetError, match="has the parts train. Expected one of these pairs: gallery and query"):
        load_labels(load_module_config(MODEL, [f"Global.dataset_dir={root}"]))


def test_faulty_pictures_are_refused_or_left_out(tmp_path: Path) -> None:
    root = draw_lists(tmp_path)
    (root / "images" / "train_sky_0.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="have 1 faults"):
        load_labels(load_module_config(MODEL, [f"Global.dataset_dir={root}"]))
    overrides = [f"Global.dataset_dir={root}", "CheckDataset.allow_faulty=true"]
    assert len(load_labels(load_module_config(MODEL, overrides)).train) == 31


@pytest.mark.parametrize(
    ("model", "override", "message"),
    [
        (
            MODEL,
            "Train.augment.mosaic=0.5",
            r"Train.augment: means something to detectors alone, and .* feature network",
        ),
        ("PP-ShiTuV2_rec", "Train.pictures.cutmix=0.5", "Train.pictures.cutmix: a mixed picture has two labels"),
        (MODEL, "Train.keep_ratio=true", "Train.keep_ratio: means something to detectors alone"),
        (MODEL, "Train.multi_scale=[64]", "Train.multi_scale: means something to detectors alone"),
        ("PP-ShiTuV2_det", "Train.features.triplet=true", "Train.features: means something to feature networks alone"),
        ("PP-ShiTuV2_det", "Train.pictures.erase=0.5", "Train.pictures: means something to feature networks alone"),
        ("PP-ShiTuV2_rec_CLIP_vit_base", "Train.input_size=[96, 96]", "takes pictures of 224 x 224 alone"),
        ("PP-ShiTuV2_rec_CLIP_vit_large", "Train.pictures.sides=[96]", r"Train.pictures.sides: .* 224 x 224 alone"),
    ],
)
def test_keys_that_mean_nothing_are_refused(lists: Path, model: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(load_module_config(model, [f"Global.dataset_dir={lists}", override]))


def test_the_packaged_configurations() -> None:
    features = [name for name, path in module_configs().items() if path.parent.name == "image_feature"]
    assert set(features) == {
        MODEL, "PP-ShiTuV2_rec", "PP-ShiTuV2_rec_CLIP_vit_base", "PP-ShiTuV2_rec_CLIP_vit_large"
    }  # fmt: skip
    defaults = {"PP-ShiTuV2_rec": (20, 128, 0.01, 5, 5.0), "PP-ShiTuV2_rec_CLIP_vit_base": (20, 32, 0.001, 5, 5.0)}
    for name, wanted in defaults.items():
        config = load_module_config(f"paddlex/configs/modules/image_feature/{name}.yaml")
        train = config.train
        got = (train.epochs_iters, train.batch_size, train.learning_rate, train.warmup_steps, train.warmup_epochs)
        assert (config.global_.model, got) == (name, wanted)
        assert (train.log_interval, train.eval_interval, train.save_interval) == (1, 1, 1)
    detector = load_module_config("paddlex/configs/modules/mainbody_detection/PP-ShiTuV2_det.yaml").train
    assert (detector.epochs_iters, detector.batch_size, detector.learning_rate, detector.warmup_steps) == (
        50,
        2,
        0.4,
        100,
    )


def test_main_bodies_train(tmp_path: Path) -> None:
    """PicoDet in the same loop: one epoch, its learning rate scaled to two pictures a step."""
    write_dataset(tmp_path / "scenes", train=4, val=1, seed=3, size_hw=(96, 96))
    overrides = [
        "Train.input_size=[96, 96]", "Train.multi_scale=[96]", "Train.epochs_iters=1", "Train.workers=0",
        "Train.warmup_steps=0", "Train.log_interval=1", f"Global.dataset_dir={tmp_path / 'scenes'}",
        f"Global.output={tmp_path}", "Global.device=cpu",
    ]  # fmt: skip
    bundle = run(load_module_config("PP-ShiTuV2_det", overrides))
    assert Bundle.open(bundle).manifest.made["export_check"]["openvino"]["raw_score"] < 1e-4
    assert records(tmp_path)[0]["learning_rate"] == pytest.approx(0.4 * 2 / 448)
    assert json.loads((tmp_path / "train_result.json").read_text())["metrics"].keys() == {"AP", "AP50"}
