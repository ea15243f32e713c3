"""The feature networks compute what the published ones compute, before and after they are made ready for export."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference import weights
from torch import nn
from torch.nn import functional as F

from eyas.models.fuse import fuse
from eyas.models.lcnetv2 import Branches, FadingDropout, LCNetConfig
from eyas.models.recognition import ArcMarginHead, FeatureNet, lcnet_features, vit_features
from eyas.models.vit import ViTConfig
from eyas.models.weights import from_published, load_published, to_published

REC, BASE, LARGE = "PP-ShiTuV2_rec", "PP-ShiTuV2_rec_CLIP_vit_base", "PP-ShiTuV2_rec_CLIP_vit_large"
CASES = [(REC, "eval224"), (REC, "eval192x256"), (BASE, "eval224")]
TINY = LCNetConfig(scale=0.125, depths=(1, 1, 2, 1), features=32)
SMALL_VIT = ViTConfig(patch=16, width=32, depth=2, heads=4, class_token=False, features=16, image_size=64)


def make(name: str) -> FeatureNet:
    if name == REC:
        return lcnet_features(LCNetConfig(), 20)
    if name == BASE:
        return vit_features(ViTConfig(patch=16, width=768, depth=12, heads=12, class_token=False), 20)
    return vit_features(ViTConfig(patch=14, width=1024, depth=24, heads=16, class_token=True), 20)


def published(folder: Path) -> dict[str, np.ndarray]:
    return weights.state_dict(json.loads((folder / "params.json").read_text())["params"])


@pytest.fixture(scope="module")
def networks(reference: Path) -> dict[str, FeatureNet]:
    made = {}
    for name in (REC, BASE):
        made[name] = make(name).eval()
        load_published(made[name], published(reference / name))
    return made


@pytest.fixture(scope="module")
def tiny(reference: Path) -> FeatureNet:
    model = lcnet_features(TINY, 20).eval()
    load_published(model, published(reference / "formats" / "rec_tiny"))
    return model


def case_input(reference: Path, name: str, case: str) -> torch.Tensor:
    entry = json.loads((reference / name / "cases.json").read_text())["cases"][case]["image"]
    image = weights.image(entry["name"], entry["shape"])
    i = np.arange(len(image)).reshape(-1, 1, 1, 1)
    return torch.from_numpy((image * (0.5 + 0.75 * i) + (0.4 * i - 0.4)).astype(np.float32))


def watched(model: FeatureNet, name: str) -> dict[str, nn.Module]:
    """The layers of which the reference holds the output."""
    net: Any = model.backbone
    if name == REC:
        stages = {f"stage{i}": stage for i, stage in enumerate(net.stages)}
        return {"stem": net.stem, **stages, "stage2_block0": net.stages[2][0], "last_conv": net.last_conv}
    blocks = {f"block{i}": net.blocks[i] for i in (0, 1, 5, 11)}
    inside = {"block0_attn": net.blocks[0].attn, "block0_mlp": net.blocks[0].mlp}
    return {"patch_embed": net.patch_embed, "ln_pre": net.ln_pre, **inside, **blocks, "norm": net.norm}


@pytest.mark.parametrize("name", [REC, BASE, pytest.param(LARGE, marks=pytest.mark.slow)])
def test_names_and_shapes_are_the_published_ones(name: str, reference: Path) -> None:
    """All but the merged kernels, which the published code makes anew from the parallel ones."""
    params = json.loads((reference / name / "params.json").read_text())["params"]
    own = {key: list(value.shape) for key, value in to_published(make(name).state_dict()).items()}
    theirs = {p["name"]: p["shape"] for p in params}
    left_out = theirs.keys() - own.keys()
    assert own == {key: shape for key, shape in theirs.items() if key not in left_out}
    blocks = [f"2.{i}" for i in range(6)] + [f"3.{i}" for i in range(2)] if name == REC else []
    merged = {f"backbone.stages.{block}.dw_conv.{part}" for block in blocks for part in ("weight", "bias")}
    assert left_out == merged


def test_published_layouts_round_trip() -> None:
    for model in (lcnet_features(TINY, 7), vit_features(SMALL_VIT, 7)):
        state = model.state_dict()
        back = from_published(to_published(state))
        assert back.keys() == {k for k in state if not k.endswith("num_batches_tracked")}
        assert all(torch.equal(back[k], state[k]) for k in back)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_every_stage_matches(name: str, case: str, networks: dict[str, FeatureNet], reference: Path) -> None:
    model, outputs = networks[name], np.load(reference / name / "outputs.npz")
    seen: dict[str, torch.Tensor] = {}
    layers = watched(model, name) | {"backbone": model.backbone, "neck": model.neck}
    hooks = [
        layer.register_forward_hook(lambda m, args, out, key=key: seen.__setitem__(key, out))
        for key, layer in layers.items()
    ]
    with torch.no_grad():
        features = model(case_input(reference, name, case))
        seen |= {"features": features, "logits": model.head(features)}
    for hook in hooks:
        hook.remove()
    stored = {key.split(".")[1].split("__")[0] for key in outputs.files if key.startswith(case)}
    assert stored == seen.keys() | {"embedding"}
    for key, array in seen.items():
        full = f"{case}.{key}"
        largest = np.abs(outputs[full] if full in outputs else outputs[f"{full}__vals"]).max()
        # ours is within 2e-6; the network in float32 has no more
        assert weights.check(full, array.numpy(), outputs) <= 1e-5 * largest, key
    embedding = F.normalize(features, dim=1).numpy()
    np.testing.assert_allclose(embedding, outputs[f"{case}.embedding"], rtol=0, atol=1e-6)


def test_another_shape_of_the_same_network_matches(tiny: FeatureNet, reference: Path) -> None:
    images = torch.from_numpy(weights.image("rec_tiny/ref", (2, 3, 224, 224)))
    expected = np.load(reference / "formats" / "reference.npz")["rec_tiny.features"]
    with torch.no_grad():
        np.testing.assert_allclose(tiny(images).numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_large_network_runs_with_published_names(reference: Path) -> None:
    """No output of it was recorded: every weight has its place, the class token counts, and the numbers are sound."""
    model = make(LARGE).eval()
    load_published(model, published(reference / LARGE))
    with torch.no_grad():
        features = model(torch.from_numpy(weights.image("large", (1, 3, 224, 224))))
    assert features.shape == (1, 512)
    assert 0.1 < features.std() < 10


def test_class_token_counts_only_where_it_says() -> None:
    with_token = ViTConfig(patch=16, width=32, depth=1, heads=4, class_token=True, features=16, image_size=64)
    models = [vit_features(config, 3).eval() for config in (SMALL_VIT, with_token)]
    models[1].backbone.blocks = models[0].backbone.blocks
    state = {k: v for k, v in models[0].state_dict().items() if "blocks" not in k}
    models[1].load_state_dict(state, strict=False)
    tokens: list[int] = []
    for model in models:
        model.backbone.norm.register_forward_hook(lambda m, args, out: tokens.append(out.shape[1]))
        model(torch.zeros(1, 3, 64, 64))
    assert tokens == [16, 17]


def test_dropout_fades_instead_of_scaling() -> None:
    torch.manual_seed(0)
    layer, ones = FadingDropout(0.2), torch.ones(100_000)
    dropped = layer.train()(ones)
    assert set(dropped.unique().tolist()) == {0.0, 1.0}
    assert dropped.mean().item() == pytest.approx(0.8, abs=0.01)
    torch.testing.assert_close(layer.eval()(ones), 0.8 * ones)


@pytest.mark.parametrize("name", ["rec", "tiny"])
def test_fused_network_computes_the_same(name: str, networks: dict[str, FeatureNet], tiny: FeatureNet) -> None:
    model = tiny if name == "tiny" else networks[REC]
    images = torch.from_numpy(weights.image("fuse", (2, 3, 96, 128)))
    fused = fuse(model)
    assert not any(isinstance(layer, Branches) for layer in fused.modules())
    assert [type(layer).__name__ for layer in fused.modules() if isinstance(layer, nn.BatchNorm2d)] == ["BatchNorm2d"]
    assert any(isinstance(layer, Branches) for layer in model.modules()), "the original must stay as it was"
    with torch.no_grad():
        expected = model(images)
        assert (fused(images) - expected).abs().max() < 1e-5 * expected.abs().max()


def export(model: FeatureNet, size: int, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            fuse(model),
            (torch.zeros(1, 3, size, size),),
            str(path),
            input_names=["image"],
            output_names=list(model.outputs),
            dynamic_axes={"image": {0: "batch"}, "features": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )


@pytest.mark.parametrize("name", ["rec", "tiny", "vit", pytest.param("base", marks=pytest.mark.slow)])
def test_runtimes_agree_with_torch_for_any_batch(
    name: str, networks: dict[str, FeatureNet], tiny: FeatureNet, tmp_path: Path
) -> None:
    import onnxruntime
    import openvino

    torch.manual_seed(0)
    model, size = {
        "rec": (networks[REC], 224),
        "tiny": (tiny, 224),
        "vit": (vit_features(SMALL_VIT, 5).eval(), 64),
        "base": (networks[BASE], 224),
    }[name]
    path = tmp_path / "model.onnx"
    export(model, size, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for batch in (1, 3):
        images = weights.image("runtimes", (batch, 3, size, size))
        with torch.no_grad():
            expected = F.normalize(model(torch.from_numpy(images)), dim=1).numpy()
        (by_onnx,) = session.run(["features"], {"image": images})
        by_openvino = compiled({"image": images})["features"]
        for features in (by_onnx, by_openvino):
            embedding = features / np.linalg.norm(features, axis=1, keepdims=True)
            np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-5)


def test_arc_margin_widens_the_angle_to_the_true_class() -> None:
    head = ArcMarginHead(2, 3)
    angles = torch.tensor([0.5, 1.2, -2.0])
    head.weight.data = torch.stack([angles.cos(), angles.sin()], 1) * torch.tensor([[1.0], [3.0], [0.1]])
    features = torch.tensor([[7.0, 0.0], [0.01, 0.0]])
    with torch.no_grad():
        torch.testing.assert_close(head(features), angles.cos().expand(2, 3))
        logits = head(features, torch.tensor([1, 2]))
    expected = angles.cos().repeat(2, 1)
    expected[0, 1], expected[1, 2] = torch.tensor(1.2 + 0.2).cos(), torch.tensor(2.0 + 0.2).cos()
    torch.testing.assert_close(logits, expected * 30, rtol=0, atol=1e-4)


def test_arc_margin_keeps_falling_past_half_a_turn() -> None:
    """cos(angle + margin) would rise again; and no angle gives a gradient that is not finite."""
    head = ArcMarginHead(2, 1)
    head.weight.data = torch.tensor([[1.0, 0.0]])
    angles = torch.linspace(0, torch.pi, 200)
    features = torch.stack([angles.cos(), angles.sin()], 1).requires_grad_()
    logits = head(features, torch.zeros(200, dtype=torch.int64))[:, 0]
    assert (logits.detach().diff() <= 1e-5).all()
    logits.sum().backward()
    assert features.grad is not None and features.grad.isfinite().all()
