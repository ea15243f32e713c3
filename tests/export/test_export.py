"""Export: fused branches compute the same, every runtime agrees with torch, and a difference is found and refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eyas.backends import open_backend
from eyas.bundle import Bundle, Manifest
from eyas.config import load_module_config
from eyas.errors import ConfigError, ModelError
from eyas.export import run as export_run
from eyas.export.convert import to_onnx
from eyas.export.run import export_bundle
from eyas.export.verify import compare
from eyas.models import build
from eyas.models.blocks import RepVGG
from eyas.models.files import find_weights, save_tensors
from eyas.models.fuse import fuse
from eyas.models.ppyoloe import PPYOLOE
from eyas.results import Detections
from eyas.schema import Export
from eyas.vision.decode import HeadSpec
from eyas.vision.preprocess import Preprocess

MODEL = "PP-YOLOE_plus_SOD-XS-P2"
NAMES = ("Person", "Car")


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


def lively(model: PPYOLOE) -> PPYOLOE:
    """`model` with statistics and predictions that differ from cell to cell, as after training."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.1, generator=generator)
                layer.running_var.uniform_(0.5, 1.5, generator=generator)
                layer.weight.uniform_(0.5, 1.5, generator=generator)
        for conv in [*model.yolo_head.pred_cls, *model.yolo_head.pred_reg]:
            conv.weight.normal_(0, 0.02, generator=generator)
        for block in model.modules():
            if isinstance(block, RepVGG) and block.alpha is not None:
                block.alpha.uniform_(0.5, 1.5, generator=generator)
        for conv in model.yolo_head.pred_cls:
            conv.bias.fill_(-1.0)
    return model.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = lively(build(MODEL, 2))
    manifest = Manifest(
        model=MODEL,
        head=HeadSpec(strides=(32, 16, 8, 4)),
        preprocess=Preprocess(size_hw=(96, 128), resize="letterbox", interpolation="linear"),
        names=NAMES,
        source_ids=(1, 2),
    )
    path = tmp_path_factory.mktemp("weights") / "best_model" / "best_model.safetensors"
    save_tensors(path, model.state_dict(), {"manifest": manifest.to_dict()})
    return path


@pytest.mark.parametrize("name", ["PP-YOLOE_plus_SOD-XS-P2", "PP-YOLOE_plus_SOD-S"])
def test_fused_network_computes_the_same(name: str) -> None:
    model = lively(build(name, 3))
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 255
    fused = fuse(model)
    assert not any(isinstance(m, nn.BatchNorm2d | RepVGG) for m in fused.modules())
    assert any(isinstance(m, RepVGG) for m in model.modules()), "the original must stay as it was"
    with torch.no_grad():
        for expected, got in zip(model(image), fused(image), strict=True):
            assert (expected - got).abs().max() < 2e-4 * max(1.0, float(expected.abs().max()))


def test_onnx_takes_any_batch_size(tmp_path: Path) -> None:
    import onnxruntime

    model = lively(build(MODEL, 2))
    to_onnx(model, (64, 96), tmp_path / "model.onnx", opset=17)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).uniform(0, 255, (3, 3, 64, 96)).astype(np.float32)
    scores, distances = session.run(["scores", "distances"], {"image": images})
    with torch.no_grad():
        expected = model(torch.from_numpy(images))
    np.testing.assert_allclose(scores, expected[0], atol=1e-5)
    np.testing.assert_allclose(distances, expected[1], atol=1e-4)


def test_a_bundle_is_proven_and_says_so(weights: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(export_bundle(weights, tmp_path / "bundle", Export(threshold=0.3), None))
    check = bundle.manifest.made["export_check"]
    assert bundle.manifest.threshold == 0.3
    assert check["images"] == export_run.CHECK_SCENES
    for engine in ("openvino", "onnxruntime"):
        assert check[engine]["pairs"] > 50
        assert check[engine]["box"] < 0.01 and check[engine]["score"] < 1e-4
    image = np.zeros((1, 3, 96, 128), np.float32)
    one, other = (
        open_backend(bundle, device="cpu", engine=e).run({"image": image}) for e in ("openvino", "onnxruntime")
    )
    np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-5)


def test_a_network_that_differs_is_refused(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exported copy loses its RepVGG factors: export fails, and nothing is left at the target."""

    def spoilt(model: PPYOLOE, *rest: object) -> None:
        for module in model.modules():
            if isinstance(module, RepVGG) and module.alpha is not None:
                nn.init.constant_(module.alpha, 0.0)
        to_onnx(model, *rest)  # type: ignore[arg-type]

    def on_a_copy(model: PPYOLOE, *rest: object) -> None:
        import copy

        spoilt(copy.deepcopy(model), *rest)

    monkeypatch.setattr(export_run, "to_onnx", on_a_copy)
    with pytest.raises(ModelError, match="does not predict what the trained one does. openvino: boxes differ by"):
        export_bundle(weights, tmp_path / "bundle", Export(), None)
    assert not (tmp_path / "bundle").exists()


def found(*rows: tuple[int, float, list[float]]) -> Detections:
    return Detections(
        np.array([r[2] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[0] for r in rows], np.int64),
        NAMES,
    )


def test_compare_matches_sets_not_places() -> None:
    one = found((0, 0.9, [0, 0, 10, 10]), (1, 0.8, [20, 20, 30, 30]), (0, 0.3, [50, 50, 60, 60]))
    other = found((1, 0.801, [20, 20, 30, 30.02]), (0, 0.8, [0, 0, 10, 10]), (1, 0.25, [50, 50, 60, 60]))
    difference = compare([one], [other])
    assert difference.pairs == 2
    assert difference.box == pytest.approx(0.02, abs=1e-5)
    assert difference.score == pytest.approx(0.1, abs=1e-6)
    assert difference.unmatched == 2 and difference.unmatched_score == pytest.approx(0.3)
    nothing = found()
    assert compare([nothing], [nothing]).pairs == 0
    assert compare([nothing], [one]).unmatched == 3


def test_old_spellings_of_weights_are_found(weights: Path) -> None:
    folder = weights.parent
    for spelling in (
        weights,
        folder,
        folder.parent,
        folder / "best_model.pdparams",
        folder / "best_model" / "model.pdparams",
    ):
        assert find_weights(spelling) == weights
    paddle = folder.parent.parent / "other.pdparams"
    paddle.write_bytes(b"paddle")
    assert find_weights(paddle) == paddle
    foreign = folder.parent.parent / "other.pth"
    foreign.write_bytes(b"torch")
    with pytest.raises(ModelError, match=r"cannot be read: \.pth is no format of eyas"):
        find_weights(foreign)
    foreign.unlink()
    with pytest.raises(ModelError, match="no weights at"):
        find_weights(folder / "other.safetensors")


def test_export_needs_weights(tmp_path: Path) -> None:
    config = load_module_config(MODEL, [f"Global.output={tmp_path}", "Global.mode=export"])
    with pytest.raises(ConfigError, match=r"Export\.weight_path: not given"):
        export_run.run(config)
