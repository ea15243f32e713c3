"""`eyas evaluate`: a bundle, weights, or what training left, measured on the validation part."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.fakes import NAMES, manifest, tiny_bundle, tiny_feature_bundle

from eyas.cli import app
from eyas.config import load_module_config
from eyas.errors import ConfigError, ModelError
from eyas.evaluate.features import FeatureEvaluation
from eyas.evaluate.run import run
from eyas.metrics.evaluation import Evaluation
from eyas.schema import ModuleConfig

SIZE_HW = (64, 96)
IMAGES = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in PaddleX's layout: three pictures with one object each."""
    root = tmp_path_factory.mktemp("data")
    (root / "images").mkdir()
    (root / "annotations").mkdir()
    rng = np.random.default_rng(0)
    height, width = SIZE_HW
    for number in range(IMAGES):
        pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": width, "height": height} for n in range(IMAGES)],
        "annotations": [
            {"id": n + 1, "image_id": n, "category_id": 1, "bbox": [8, 8, 16, 16], "area": 256, "iscrowd": 0}
            for n in range(IMAGES)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(NAMES, start=1)],
    }
    (root / "annotations" / "instance_val.json").write_text(json.dumps(content))
    return root


def config(data: Path, output: Path, *overrides: str) -> ModuleConfig:
    return load_module_config(
        "PP-YOLOE_plus_SOD-S",
        [f"Global.dataset_dir={data}", f"Global.output={output}", "Global.device=cpu", *overrides],
    )


def measured(data: Path, output: Path, *overrides: str) -> Evaluation:
    found = run(config(data, output, *overrides))
    assert isinstance(found, Evaluation)
    return found


def test_a_bundle_is_measured_and_the_result_written(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tiny_bundle(tmp_path, SIZE_HW).path
    overrides = (f"Evaluate.weight_path={path}", "Evaluate.batch_size=2", "Evaluate.log_interval=1")
    with caplog.at_level(logging.INFO, logger="eyas"):
        metrics = measured(data, tmp_path / "out", *overrides).metrics
    result = json.loads((tmp_path / "out" / "evaluate_result.json").read_text())
    assert result["done_flag"] is True
    assert result["metrics"]["AP"] == metrics.AP
    assert {"visdrone", "protocols", "intervals", "curves", "confusion", "errors"} <= result["metrics"].keys()
    assert (result["model_name"], result["images"]) == ("Fake", IMAGES)
    assert len(metrics.coco_lines()) == 12
    assert [told for told in caplog.messages if told.startswith("evaluated")] == [
        "evaluated 2 of 3 images", "evaluated 3 of 3 images",
    ]  # fmt: skip
    assert "<h1>Evaluation</h1>" in (tmp_path / "out" / "evaluate_report.html").read_text()


def test_saved_detections_are_measured_and_compared(data: Path, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, SIZE_HW).path
    first = measured(data, tmp_path / "a", f"Evaluate.weight_path={path}")
    saved = tmp_path / "a" / "predictions.json"
    arguments = ["--predictions", str(saved), "--dataset", str(data), "--save_path", str(tmp_path / "b"), "-q"]
    arguments += ["-o", "Evaluate.size_bins=[0, 12, 48]"]
    app(["evaluate", *arguments, "--compare", str(saved)], standalone_mode=False)
    result = json.loads((tmp_path / "b" / "evaluate_result.json").read_text())
    again = first.to_dict()
    assert result["model_name"] == "predictions.json"
    assert result["metrics"]["AP"] == pytest.approx(again["AP"], abs=1e-9)
    assert result["metrics"]["detections"] == again["detections"]
    assert list(result["metrics"]["protocols"]["own"]["by_size"]) == ["0-12", "12-48"]
    assert "Own sizes" in (tmp_path / "b" / "evaluate_report.html").read_text()
    with pytest.raises(ConfigError, match=r"Evaluate.size_bins: expected rising numbers, came \[8.0, 4.0\]"):
        run(config(data, tmp_path / "c", f"Evaluate.predictions={saved}", "Evaluate.size_bins=[8, 4]"))
    assert result["comparison"]["AP"]["difference"] == 0 and result["comparison"]["AP"]["p_value"] == 1


def test_without_a_path_it_is_what_training_left(data: Path, tmp_path: Path) -> None:
    best = tmp_path / "out" / "best_model"
    best.mkdir(parents=True)
    tiny_bundle(tmp_path, SIZE_HW).path.rename(best / "inference")
    assert measured(data, tmp_path / "out").metrics.images == IMAGES


def test_weights_are_measured_as_their_bundle_would_be(data: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from eyas.export.convert import to_onnx
    from eyas.models import build
    from eyas.models.files import save_tensors

    torch.manual_seed(0)
    model = build("PP-YOLOE_plus_SOD-XS", len(NAMES)).eval()
    own = manifest(SIZE_HW, model="PP-YOLOE_plus_SOD-XS")
    save_tensors(tmp_path / "best_model.safetensors", dict(model.state_dict()), {"manifest": own.to_dict()})
    network = tmp_path / "model.onnx"
    to_onnx(model, SIZE_HW, network, 18)
    from eyas.bundle import Bundle

    Bundle.create(tmp_path / "bundle", own, {"model.onnx": network})
    # Fresh weights score 0.01 for everything; a threshold below that makes the comparison one of many boxes.
    overrides = ("Evaluate.threshold=0.001",)
    by_torch = measured(data, tmp_path / "a", f"Evaluate.weight_path={tmp_path}/best_model.pdparams", *overrides)
    by_bundle = measured(data, tmp_path / "b", f"Evaluate.weight_path={tmp_path}/bundle", *overrides)
    assert pytest.approx(by_bundle.metrics.AP, abs=1e-3) == by_torch.metrics.AP
    assert by_torch.metrics.images == by_bundle.metrics.images == IMAGES


def test_what_is_missing_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Global.dataset_dir: not given"):
        run(config(data, tmp_path, "Global.dataset_dir=null"))
    with pytest.raises(ModelError, match=r"cannot download .*PP-YOLOE_plus_SOD-S_infer\.tar: EYAS_OFFLINE is set"):
        run(config(data, tmp_path))
    with pytest.raises(ModelError, match="There are no weights at"):
        run(config(data, tmp_path, "Evaluate.weight_path=nowhere.safetensors"))


def test_a_feature_model_is_measured_on_its_queries(tmp_path: Path) -> None:
    """Each label has one plain colour, which the tiny network tells apart; one query has a label of its own."""
    colours = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200), "white": (250, 250, 250)}
    root = tmp_path / "things"
    lists: dict[str, list[str]] = {"gallery": [], "query": [], "train": []}
    for label, (name, colour) in enumerate(colours.items()):
        for part, shade in (("gallery", 0), ("gallery", 5), ("query", 3)):
            if (name, part) == ("white", "gallery"):
                continue
            file = root / "images" / f"{name}_{shade}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), tuple(min(255, value + shade) for value in colour)).save(file)
            lists[part].append(f"images/{file.name} {label}")
    lists["train"] = lists["gallery"]
    for part, rows in lists.items():
        (root / f"{part}.txt").write_text("\n".join(rows) + "\n")
    bundle = tiny_feature_bundle(tmp_path).path
    found = run(config(root, tmp_path / "out", f"Evaluate.weight_path={bundle}"))
    assert isinstance(found, FeatureEvaluation)
    assert (found.metrics.recall1, found.metrics.queries, found.metrics.unknown, found.metrics.gallery) == (1, 3, 1, 6)
    assert found.open_set.known == 3 and found.open_set.unknown == 1
    (mistake,) = found.mistakes  # the label that the gallery lacks
    assert (mistake.query.name, mistake.label) == ("white_3.png", "3") and mistake.found_label in ("0", "1", "2")
    report = (tmp_path / "out" / "evaluate_report.html").read_text()
    assert "white_3.png" in report and report.count("data:image/jpeg;base64,") == 1 and 'src="http' not in report
    result = json.loads((tmp_path / "out" / "evaluate_result.json").read_text())
    assert result["metrics"]["recall1"] == 1 and len(result["metrics"]["open_set"]["thresholds"]) > 1
