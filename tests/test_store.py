"""What a model name or a path means."""

from pathlib import Path

import pytest

from eyas import store
from eyas.errors import ModelError
from eyas.store import DEFAULT_MODEL, find_bundle, resolve_model, trained_or_named


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """What training leaves: best_model with weights, best_model/inference with the bundle."""
    inference = tmp_path / "output" / "best_model" / "inference"
    inference.mkdir(parents=True)
    (inference / "bundle.json").write_text("{}")
    (inference / "model.onnx").write_bytes(b"")
    (inference.parent / "best_model.safetensors").write_bytes(b"")
    return tmp_path / "output"


@pytest.mark.parametrize(
    "spelling",
    [
        "", "best_model", "best_model/inference", "best_model/inference/bundle.json", "best_model/inference/model.onnx",
        "best_model/best_model.safetensors", "best_model/best_model.pdparams", "best_model/best_model/model.pdparams",
        "best_model/inference/inference.pdiparams", "best_model/best_model",
    ],
)  # fmt: skip
def test_every_spelling_of_a_trained_model(output: Path, spelling: str) -> None:
    assert resolve_model(None, output / spelling) == output / "best_model" / "inference"
    assert resolve_model("any", output / spelling) == output / "best_model" / "inference"


def test_a_directory_as_the_name(output: Path) -> None:
    assert resolve_model(str(output), None) == output / "best_model" / "inference"


def test_what_training_left_comes_first(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trained_or_named(output, "PP-YOLOE_plus_SOD-S") == output / "best_model" / "inference"
    with pytest.raises(ModelError, match="PP-YOLOE_plus_SOD-S comes without weights"):
        trained_or_named(output / "other", "PP-YOLOE_plus_SOD-S")
    monkeypatch.setattr(store, "BUNDLES", output.parent)
    output.rename(output.parent / DEFAULT_MODEL)
    assert resolve_model(None, None) == resolve_model(DEFAULT_MODEL, None)


def test_messages(tmp_path: Path) -> None:
    def said(name: str | None, path: Path | None = None) -> str:
        with pytest.raises(ModelError) as caught:
            resolve_model(name, path)
        return str(caught.value).replace(str(tmp_path), "T")

    assert said("PP-YOLOE_plus_SOD-XL") == "Unknown model 'PP-YOLOE_plus_SOD-XL'. Did you mean 'PP-YOLOE_plus_SOD-L'?"
    assert said("PP-YOLOE_plus_SOD-L") == (
        "PP-YOLOE_plus_SOD-L comes without weights. Train it (eyas train -c PP-YOLOE_plus_SOD-L -o "
        "Global.dataset_dir=PATH) and name the result: model_dir='output/best_model/inference'. "
        "Built in is SOD-XS-thermal."
    )
    expected = "Expected a directory with bundle.json, as eyas train and eyas export write it"
    (tmp_path / "models").mkdir()
    assert said(None, tmp_path / "modles") == f"There is no model at T/modles. {expected}. Did you mean 'models'?"
    assert said(None, tmp_path / "a" / "b") == f"There is no model at T/a/b. {expected}."
    assert said(None, tmp_path / "models") == f"There is no model at T/models. {expected}; found nothing."
    (tmp_path / "models" / "w.safetensors").touch()
    assert said(None, tmp_path / "models") == (
        "T/models holds weights but no bundle. Make one: eyas export -c CONFIG -o "
        "Export.weight_path=T/models/w.safetensors"
    )
    (tmp_path / "models" / "inference.pdiparams").touch()
    paddle = f"holds a model of Paddle (inference.pdiparams), which eyas does not read. {expected}."
    assert said(None, tmp_path / "models") == f"T/models {paddle}"
    assert said(None, tmp_path / "models" / "inference.pdiparams") == f"T/models/inference.pdiparams {paddle}"


def test_find_bundle_takes_the_folder_itself_first(output: Path) -> None:
    (output / "bundle.json").write_text("{}")
    assert find_bundle(output) == output
