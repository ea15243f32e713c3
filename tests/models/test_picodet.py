"""PP-ShiTuV2's detector computes what the published one computes: formula-made weights, stored reference outputs."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference import weights
from tests.train.targets import make_targets
from torch import nn

from eyas.backends.quiet import import_onnxruntime, import_openvino
from eyas.export.convert import to_onnx
from eyas.models.fuse import fuse
from eyas.models.picodet import PIXEL_MEAN, PIXEL_STD, PicoDet, PicoDetConfig
from eyas.models.weights import load_published, to_published
from eyas.train import picodet_loss
from eyas.train.simota import SimOTAAssigner
from eyas.vision.decode import HeadSpec, anchor_grid, decode

MODEL = "PP-ShiTuV2_det"
STRIDES = (8, 16, 32, 64)
HEAD = HeadSpec(strides=STRIDES, score_threshold=0.025, nms_top_k=1000, keep_top_k=100, nms_iou=0.6)
# Of each image: how far a box may lie from the stored one in pixels. The stored float32 numbers of the second image
# are themselves off by 0.016 px (its features are large): our float64 run differs from them by that, our float32 run
# from our float64 one by 0.004.
PIXELS = {"eval320": (1e-3, 2e-2), "eval640": (1e-3,)}


@pytest.fixture(scope="module")
def network(reference: Path) -> PicoDet:
    params = json.loads((reference / MODEL / "params.json").read_text())["params"]
    model = PicoDet(PicoDetConfig(), 1).eval()
    load_published(model, weights.state_dict(params))
    return model


def stored_outputs(reference: Path, case: str) -> Any:
    """The small case is kept with the tests, the large one with the reference numbers beside the project."""
    if case == "eval320":
        return np.load(reference / MODEL / "eval320.npz")
    path = reference.parent.parent.parent / "shared" / "reference" / MODEL / "outputs.npz"
    if not path.is_file():
        pytest.skip(f"the large reference numbers are not at {path}")
    return np.load(path)


def case_input(reference: Path, case: str) -> tuple[torch.Tensor, np.ndarray]:
    """The network's input in 0..255 (float64), and the scale factors (y, x) of the images."""
    entry = json.loads((reference / MODEL / "cases.json").read_text())["cases"][case]
    return unnormalised(entry["image"]), np.array(entry["scale_factor_yx"])


def unnormalised(made: dict[str, Any]) -> torch.Tensor:
    """The formula's image, which is a normalised one, in 0..255 (float64)."""
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return torch.from_numpy((weights.image(made["name"], made["shape"]).astype(np.float64) * std + mean) * 255)


def test_names_and_shapes_are_the_published_ones(reference: Path) -> None:
    params = json.loads((reference / MODEL / "params.json").read_text())["params"]
    own = {key: list(value.shape) for key, value in to_published(PicoDet(PicoDetConfig(), 1).state_dict()).items()}
    assert own == {p["name"]: p["shape"] for p in params}


def test_what_is_trained_is_what_the_reference_trains(reference: Path) -> None:
    """The scalars that nothing reads and the bins are buffers: they get no gradient and no optimiser state."""
    trained = json.loads((reference / MODEL / "train.json").read_text())["grad_norm"]
    assert {name for name, _ in PicoDet(PicoDetConfig(), 1).named_parameters()} == trained.keys()


@pytest.mark.parametrize("case", PIXELS)
def test_every_stage_matches(case: str, network: PicoDet, reference: Path) -> None:
    outputs = stored_outputs(reference, case)
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, args, output: seen.__setitem__(name, output)

    watched: dict[str, nn.Module] = {name: getattr(network.backbone, name) for name in ("conv1", "blocks2", "blocks3")}
    watched |= {name: getattr(network.backbone, name) for name in ("blocks4", "blocks5", "blocks6")}
    hooks = [module.register_forward_hook(keep(name)) for name, module in watched.items()]
    neck = network.neck.register_forward_hook(lambda m, a, out: seen.update({f"neck{i}": x for i, x in enumerate(out)}))
    with torch.no_grad():
        scores, distances = network(case_input(reference, case)[0].float())
    for hook in (*hooks, neck):
        hook.remove()
    assert len(seen) == 6 + 4
    seen["raw_scores"] = scores
    seen["raw_boxes"] = torch.from_numpy(boxes_of(distances.numpy(), tuple(case_input(reference, case)[0].shape[2:])))
    for name, array in seen.items():
        stored = outputs[f"{case}.{name}"] if f"{case}.{name}" in outputs else outputs[f"{case}.{name}__vals"]
        difference = weights.check(f"{case}.{name}", array.numpy(), outputs)
        assert difference <= 1e-4 * np.abs(stored).max(), name


def boxes_of(distances: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    centres, strides = anchor_grid((size_hw[0], size_hw[1]), STRIDES)
    reach = distances * strides[:, None]
    return np.concatenate([centres - reach[..., :2], centres + reach[..., 2:]], -1)


@pytest.mark.parametrize("case", PIXELS)
def test_final_detections_match_as_sets(case: str, network: PicoDet, reference: Path) -> None:
    """In float64, so that only the rounding of the stored numbers remains."""
    outputs = stored_outputs(reference, case)
    images, scale_yx = case_input(reference, case)
    with torch.no_grad():
        scores, distances = copy.deepcopy(network).double()(images)
    raw = {"scores": scores.float().numpy(), "distances": distances.float().numpy()}
    decoded = decode(raw, HEAD, (images.shape[2], images.shape[3]), 0.0)
    rows = np.split(outputs[f"{case}.bbox"], np.cumsum(outputs[f"{case}.bbox_num"])[:-1])
    for (boxes, score, _), expected, (y, x), pixels in zip(decoded, rows, scale_yx, PIXELS[case], strict=True):
        assert len(boxes) == len(expected) == 100
        # Compared in pixels of the network's input; the stored boxes are in pixels of the image.
        wanted = expected[:, 2:] * np.array([x, y, x, y])
        near = np.abs(boxes[None] - wanted[:, None]).max(-1) <= pixels
        alike = np.abs(score[None] - expected[:, None, 1]) <= pixels / 100
        assert (near & alike).any(1).all()


def test_sizes_and_strides_of_any_input() -> None:
    """The stride-64 level has ceil(size / 64) cells a side where 64 does not divide the size."""
    model = PicoDet(PicoDetConfig(width=0.5, neck_channels=16), 3).eval()
    with torch.no_grad():
        scores, distances = model(torch.zeros(2, 3, 96, 160))
    count = len(anchor_grid((96, 160), STRIDES)[0])
    assert scores.shape == (2, 3, count) and distances.shape == (2, count, 4)
    out = model.forward_train(torch.zeros(2, 3, 96, 160))
    assert out.cls_logits.shape == (2, count, 3) and out.reg_logits.shape == (2, count, 32)
    centres, strides = anchor_grid((96, 160), STRIDES)
    np.testing.assert_array_equal((out.anchors * out.strides).numpy(), centres)
    np.testing.assert_array_equal(out.strides[:, 0].numpy(), strides)


def test_fresh_weights_score_one_in_a_hundred() -> None:
    with torch.no_grad():
        scores, distances = PicoDet(PicoDetConfig(width=0.5, neck_channels=16), 2).eval()(torch.zeros(1, 3, 64, 64))
    np.testing.assert_allclose(scores.numpy(), 0.01, atol=2e-3)
    np.testing.assert_allclose(distances.numpy(), 3.5, atol=0.2)


def test_onnx_gives_the_same_in_both_runtimes(network: PicoDet, reference: Path, tmp_path: Path) -> None:
    """Every BatchNorm is folded into the convolution before it; the batch size stays open."""
    path = tmp_path / "model.onnx"
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in fuse(network).modules())
    to_onnx(network, (320, 320), path, 18)
    images = case_input(reference, "eval320")[0].float()
    with torch.no_grad():
        expected = [output.numpy() for output in network(images)]
    session = import_onnxruntime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    core = import_openvino().Core()
    found = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images.numpy())
    for got in (session.run(None, {"image": images.numpy()}), [found["scores"], found["distances"]]):
        for one, other in zip(got, expected, strict=True):
            assert np.abs(one - other).max() <= 1e-4 * max(1.0, np.abs(other).max())


def test_one_training_step_is_that_of_the_reference(reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses, gradients and BatchNorm statistics of the whole network.

    When the reference repeated its step with 1e-6 relative noise on the input, its gradient norms moved by 4e-4
    (median), 2.6e-3 (95 %) and 8e-3 (maximum), its losses by 6e-5. The exact comparisons are in tests/train.
    """
    monkeypatch.setattr(picodet_loss, "ASSIGNER", SimOTAAssigner(far_type=torch.float32))
    record = json.loads((reference / MODEL / "train.json").read_text())
    model = PicoDet(PicoDetConfig(), 1).train()
    load_published(model, weights.state_dict(json.loads((reference / MODEL / "params.json").read_text())["params"]))
    images = unnormalised(record["image"]).float()
    targets = make_targets(record["gt_bbox"], record["gt_class"])
    terms = picodet_loss.picodet_loss(*model.forward_train(images), targets, model.config.reg_range)
    terms.total.backward()
    got = [terms.cls.item(), 2.0 * terms.iou.item(), 0.25 * terms.dfl.item(), terms.total.item()]
    np.testing.assert_allclose(
        got, [record["loss"][k] for k in ("loss_vfl", "loss_bbox", "loss_dfl", "loss")], rtol=1e-4
    )
    norms = {name: p.grad.double().norm().item() for name, p in model.named_parameters() if p.grad is not None}
    assert norms.keys() == record["grad_norm"].keys()
    relative = np.array([abs(norms[name] / value - 1) for name, value in record["grad_norm"].items()])
    assert np.median(relative) < 1e-3
    assert np.quantile(relative, 0.95) < 5e-3
    assert relative.max() < 2e-2
    state, arrays = to_published(model.state_dict()), np.load(reference / MODEL / "train.npz")
    names = [key for key in arrays if key.startswith("bn_after.")]
    assert len(names) == 6
    for key in names:
        np.testing.assert_allclose(state[key.removeprefix("bn_after.")], arrays[key], rtol=1e-5, atol=2e-5, err_msg=key)
