"""The networks compute what the published ones compute: formula-made weights, stored outputs of the reference."""

import copy
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from eyas.models import MODELS, build
from eyas.models.ppyoloe import PPYOLOE
from eyas.models.weights import from_published, load_published, to_published
from eyas.vision.decode import HeadSpec, decode

S = "PP-YOLOE_plus_SOD-S"
CASES = ("eval320", "evalrect", "eval640")


def recipe(reference: Path) -> ModuleType:
    """The module that makes weights and inputs from names alone."""
    spec = importlib.util.spec_from_file_location("reference_weights", reference / "weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network(reference: Path) -> PPYOLOE:
    params = json.loads((reference / S / "params.json").read_text())["params"]
    model = build(S, 10).eval()
    load_published(model, recipe(reference).state_dict(params))
    return model


@pytest.fixture(scope="module")
def outputs(reference: Path) -> Any:
    return np.load(reference / S / "outputs.npz")


def case_input(reference: Path, case: str) -> tuple[torch.Tensor, np.ndarray]:
    """The network's input, undone from its division by 255, and the scale factors (y, x) of the images."""
    entry = json.loads((reference / S / "cases.json").read_text())["cases"][case]
    image = recipe(reference).image(entry["image"]["name"], entry["image"]["shape"])
    return torch.from_numpy(image * 255), np.array(entry["scale_factor_yx"])


def assert_close(reference: Path, name: str, array: torch.Tensor, outputs: Any) -> None:
    """Within 1e-4 of the stored values, relative to the largest of them."""
    stored = outputs[name] if name in outputs else outputs[f"{name}__vals"]
    difference = recipe(reference).check(name, array.numpy(), outputs)
    assert difference <= 1e-4 * np.abs(stored).max(), name


@pytest.mark.parametrize("name", ["PP-YOLOE_plus_SOD-S", "PP-YOLOE_plus_SOD-L", "PP-YOLOE_plus_SOD-largesize-L"])
def test_names_and_shapes_are_the_published_ones(name: str, reference: Path) -> None:
    params = json.loads((reference / name / "params.json").read_text())["params"]
    own = {key: list(value.shape) for key, value in to_published(build(name, 10).state_dict()).items()}
    assert own == {p["name"]: p["shape"] for p in params}


def test_published_layouts_round_trip() -> None:
    state = build(S, 3).state_dict()
    back = from_published(to_published(state))
    assert back.keys() == {k for k in state if not k.endswith("num_batches_tracked")}
    assert all(torch.equal(back[k], state[k]) for k in back)


@pytest.mark.parametrize("case", CASES)
def test_every_stage_matches(case: str, network: PPYOLOE, reference: Path, outputs: Any) -> None:
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, args, output: seen.__setitem__(name, output)

    assert network.neck.encoder is not None
    watched: dict[str, nn.Module] = {"stem": network.backbone.stem}
    watched |= {f"stage{i}": stage for i, stage in enumerate(network.backbone.stages)}
    watched |= {f"encoder_layer{i}": layer for i, layer in enumerate(network.neck.encoder.layers)}
    hooks = [module.register_forward_hook(keep(name)) for name, module in watched.items()]
    neck = network.neck.register_forward_hook(lambda m, a, out: seen.update({f"neck{i}": x for i, x in enumerate(out)}))
    with torch.no_grad():
        scores, distances = network(case_input(reference, case)[0])
    for hook in (*hooks, neck):
        hook.remove()
    assert len(seen) == 1 + 4 + 4 + 3
    for name, array in seen.items():
        assert_close(reference, f"{case}.{name}", array, outputs)
    assert_close(reference, f"{case}.raw_scores", scores, outputs)
    assert_close(reference, f"{case}.raw_dist", distances, outputs)


@pytest.mark.parametrize("case", CASES)
def test_final_detections_match_as_sets(case: str, network: PPYOLOE, reference: Path, outputs: Any) -> None:
    """In float64, since two float32 runs already differ by what is allowed here: the stored ones by 1e-5 from this."""
    images, scale_yx = case_input(reference, case)
    with torch.no_grad():
        scores, distances = copy.deepcopy(network).double()(images.double())
    raw = {"scores": scores.float().numpy(), "distances": distances.float().numpy()}
    decoded = decode(raw, HeadSpec(), (images.shape[2], images.shape[3]), 0.01)
    counts = outputs[f"{case}.bbox_num"]
    rows = np.split(outputs[f"{case}.bbox"], np.cumsum(counts)[:-1])
    for (boxes, score, classes), expected, (scale_y, scale_x) in zip(decoded, rows, scale_yx, strict=True):
        assert len(boxes) == len(expected)
        # Compared in pixels of the network's input; the stored boxes are in pixels of the image.
        in_input = np.column_stack([expected[:, :2], expected[:, 2:] * np.array([scale_x, scale_y] * 2)])
        got = np.column_stack([classes, score, boxes])
        # The stored float32 distances are off by up to 8e-5 of a stride of 32 px: a few boxes pass 1e-3 px for that.
        assert unmatched(got, in_input, pixels=1e-3) <= 0.006 * len(expected)
        assert unmatched(got, in_input, pixels=1.5e-3) == 0


def unmatched(got: np.ndarray, expected: np.ndarray, pixels: float) -> int:
    """Rows of `expected` (class, score, box) without a row of `got` within `pixels` and 1e-5 of score."""
    boxes = np.abs(got[None, :, 2:] - expected[:, None, 2:]).max(-1) <= pixels
    scores = np.abs(got[None, :, 1] - expected[:, None, 1]) <= 1e-5
    same = got[None, :, 0] == expected[:, None, 0]
    return int((~(boxes & scores & same).any(1)).sum())


def test_the_small_variants_differ_only_where_they_say() -> None:
    """XS has the published layers at half of S's width and no transformer; P2 adds a stride-4 level."""
    xs, p2 = build("PP-YOLOE_plus_SOD-XS", 4), build("PP-YOLOE_plus_SOD-XS-P2", 4)
    s_names = {n for n in build(S, 4).state_dict() if ".encoder." not in n}
    assert set(xs.state_dict()) == s_names
    assert set(p2.state_dict()) > s_names
    with torch.no_grad():
        scores, distances = p2.eval()(torch.zeros(1, 3, 64, 96))
    cells = sum((64 // s) * (96 // s) for s in (32, 16, 8, 4))
    assert scores.shape == (1, 4, cells) and distances.shape == (1, cells, 4)
    assert MODELS["PP-YOLOE_plus_SOD-XS-P2"].strides == (32, 16, 8, 4)
