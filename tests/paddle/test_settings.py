"""inference.yml becomes settings: the real files, PaddleX's arithmetic to the last bit, and what is refused."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eyas.errors import ModelError
from eyas.paddle.settings import Settings, read_settings
from eyas.vision.preprocess import Preprocess
from eyas.yaml12 import dump

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
DETECTOR: dict[str, Any] = {
    "mode": "paddle",
    "draw_threshold": 0.4,
    "metric": "COCO",
    "Global": {"model_name": "PP-ShiTuV2_det"},
    "Preprocess": [
        {"interp": 2, "keep_ratio": False, "target_size": [480, 640], "type": "Resize"},
        {"is_scale": True, "mean": MEAN, "std": STD, "norm_type": "mean_std", "type": "NormalizeImage"},
        {"type": "Permute"},
    ],
    "label_list": ["on", 1, "a b"],
}
EMBEDDING: dict[str, Any] = {
    "Global": {"model_name": "PP-ShiTuV2_rec"},
    "PreProcess": {
        "transform_ops": [
            {"ResizeImage": {"backend": "pil", "interpolation": "bicubic", "return_numpy": False, "size": [192, 256]}},
            {"NormalizeImage": {"channel_num": 3, "mean": MEAN, "std": STD, "order": "hwc", "scale": 1 / 255}},
            {"ToCHWImage": None},
        ]
    },
    "PostProcess": {"NormalizeFeatures": None},
}


def read(tmp_path: Path, value: object) -> Settings:
    path = tmp_path / "inference.yml"
    path.unlink(missing_ok=True)  # a mapped file must not change
    path.write_bytes(value if isinstance(value, bytes) else dump(value).encode())
    return read_settings(path)


def paddlex_input(image: np.ndarray, size_wh: tuple[int, int], interpolation: int) -> np.ndarray:
    """PaddleX's arithmetic: resized bytes, then x * (1/255/std) + (-mean/std) of one channel at a time in float32."""
    resized = cv2.resize(image, size_wh, interpolation=interpolation)
    planes = []
    for channel in range(3):
        plane = resized[..., channel].astype(np.float32)
        plane *= 1 / 255 / STD[channel]
        plane += -MEAN[channel] / STD[channel]
        planes.append(plane)
    return np.stack(planes)


IMAGE = np.random.default_rng(3).integers(0, 256, (123, 201, 3), dtype=np.uint8)


def test_a_detector(tmp_path: Path) -> None:
    found = read(tmp_path, DETECTOR)
    assert (found.model_name, found.task, found.threshold) == ("PP-ShiTuV2_det", "detection", 0.4)
    assert found.labels == ("on", "1", "a b")
    assert (found.preprocess.size_hw, found.preprocess.resize, found.preprocess.interpolation) == (
        (480, 640), "stretch", "cubic",
    )  # fmt: skip
    expected = paddlex_input(IMAGE, (640, 480), cv2.INTER_CUBIC)
    assert np.array_equal(found.preprocess.apply(IMAGE)[0], expected)


def test_an_embedding(tmp_path: Path) -> None:
    found = read(tmp_path, EMBEDDING)
    assert (found.model_name, found.task, found.threshold, found.labels) == ("PP-ShiTuV2_rec", "embedding", None, ())
    # The size is (width, height) here, and the interpolation of the file is not used.
    assert (found.preprocess.size_hw, found.preprocess.interpolation) == ((256, 192), "linear")
    expected = paddlex_input(IMAGE, (192, 256), cv2.INTER_LINEAR)
    assert np.array_equal(found.preprocess.apply(IMAGE)[0], expected)


@pytest.mark.parametrize("kind", ["pir", "pir30", "pdmodel"])
def test_the_real_files(formats: Path, kind: str) -> None:
    detector = read_settings(formats / "sod_tiny" / kind / "inference.yml")
    assert (detector.model_name, detector.task, detector.threshold) == ("PP-YOLOE_plus_SOD-S", "detection", 0.5)
    assert detector.labels[:2] == ("pedestrian", "people") and len(detector.labels) == 10
    assert detector.preprocess == Preprocess((320, 320), "stretch", "cubic")  # the division by 255 is in the network
    embedding = read_settings(formats / "rec_tiny" / kind / "inference.yml")
    assert (embedding.model_name, embedding.task, embedding.threshold) == ("PP-ShiTuV2_rec", "embedding", None)
    assert (embedding.preprocess.size_hw, embedding.preprocess.interpolation) == ((224, 224), "linear")
    assert embedding.preprocess.alpha == tuple(1 / 255 / value for value in STD)
    assert embedding.preprocess.beta == tuple(-mean / std for mean, std in zip(MEAN, STD, strict=True))


def edited(base: dict[str, Any], edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    value = copy.deepcopy(base)
    edit(value)
    return value


def detector(edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    return edited(DETECTOR, edit)


def steps(edit: Callable[[list[Any]], object]) -> dict[str, Any]:
    return edited(DETECTOR, lambda value: edit(value["Preprocess"]))


def ops(edit: Callable[[list[Any]], object]) -> dict[str, Any]:
    return edited(EMBEDDING, lambda value: edit(value["PreProcess"]["transform_ops"]))


def letterbox(size: object = 640, pad: object = 640, fill: object = 0) -> dict[str, Any]:
    def edit(value: list[Any]) -> None:
        value[0] |= {"keep_ratio": True, "target_size": [size, 640]}
        value.insert(1, {"type": "Pad", "size": [pad, 640], "fill_value": [fill] * 3})

    return steps(edit)


def test_what_may_be_left_out(tmp_path: Path) -> None:
    value = detector(lambda value: (value.pop("draw_threshold"), value.pop("Global"), value["Preprocess"].pop(1)))
    found = read(tmp_path, value)
    assert (found.model_name, found.threshold) == (None, 0.5)
    assert found.preprocess == Preprocess((480, 640), "stretch", "cubic")
    plain = read(tmp_path, steps(lambda s: s[1].update(is_scale=False, norm_type="none", mean=[0] * 3, std=[1] * 3)))
    assert (plain.preprocess.alpha, plain.preprocess.beta) == ((1, 1, 1), (0, 0, 0))
    assert str(plain.preprocess.beta[0]) == "0.0"
    linear = read(tmp_path, steps(lambda s: s[0].update(interp=1)))
    assert linear.preprocess.interpolation == "linear"
    one = read(tmp_path, ops(lambda o: (o[0]["ResizeImage"].update(size=96), o.insert(1, {"CropImage": {"size": 96}}))))
    assert one.preprocess.size_hw == (96, 96)


def test_a_letterbox(tmp_path: Path) -> None:
    """PaddleX: scale by the longer side, round, pad with 0 on the right and below, then scale the numbers."""
    found = read(tmp_path, letterbox()).preprocess
    assert (found.size_hw, found.resize) == ((640, 640), "letterbox")
    scale = 640 / 201
    size_wh = (round(201 * scale), round(123 * scale))
    inner = paddlex_input(IMAGE, size_wh, cv2.INTER_CUBIC)
    tensor, placement = found.apply(IMAGE)
    assert np.array_equal(tensor[:, : size_wh[1], : size_wh[0]], inner)
    assert placement.scale_xy == (size_wh[0] / 201, size_wh[1] / 123)
    assert np.array_equal(tensor[:, -1, -1], np.array([-m / s for m, s in zip(MEAN, STD, strict=True)], np.float32))


LAUGHS = b"a0: &a0 [x, x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (i, i, i - 1, i - 1) for i in range(1, 40))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"\xff\xfe\xfd", "is not UTF-8 text"),
        (b"a: [", "not valid YAML"),
        (b"a: !!python/object/apply:os.system [ls]", "the tag .* is not allowed here"),
        (b"Preprocess: " + b"[" * 5000, "nested too deeply"),
        (LAUGHS + b"Preprocess: *a39\n", "more than 20000 values"),
        (b"#" * 2_000_000, "has 2000000 bytes. Expected at most 1048576"),
        (b"text", "expected Preprocess .* got text"),
        ({"PostProcess": 1}, "expected Preprocess .a detector. or PreProcess .an embedding."),
        ({"Preprocess": None}, "Preprocess: expected a list, got None"),
        (detector(lambda v: v.pop("label_list")), "label_list: expected a list, got None"),
        (detector(lambda v: v.update(label_list=[])), "label_list must hold the names"),
        (detector(lambda v: v.update(label_list=["a", True])), r"label_list must hold the names .* \['a', True\]"),
        (detector(lambda v: v.update(label_list=["a", ["b"]])), "label_list must hold the names"),
        (detector(lambda v: v.update(draw_threshold=2)), "draw_threshold must be a number from 0 to 1, got 2"),
        (detector(lambda v: v.update(draw_threshold=True)), "draw_threshold must be a number from 0 to 1, got True"),
        (detector(lambda v: v.update(draw_threshold=float("nan"))), "draw_threshold must be a number"),
        (detector(lambda v: v.update(Global={"model_name": 3})), "Global.model_name must be a text, got 3"),
        (steps(lambda s: s.reverse()), "expected Resize, Pad, NormalizeImage, Permute, in this order"),
        (steps(lambda s: s.pop()), "in this order"),
        (steps(lambda s: s.pop(0)), "in this order"),
        (steps(lambda s: s.append(s[2])), "in this order"),
        (steps(lambda s: s.insert(1, {"type": "WarpAffine"})), "got .'Resize', 'WarpAffine'"),
        (steps(lambda s: s.insert(1, "text")), "got .'Resize', None"),
        (steps(lambda s: s.insert(1, {"type": ["Resize"]})), "in this order"),
        (steps(lambda s: s[2].update(to_bgr=True)), "Permute: expected no values, got {'to_bgr': True}"),
        (steps(lambda s: s[0].pop("target_size")), "Resize.target_size: missing"),
        (steps(lambda s: s[0].update(target_size=[1, 2, 3])), "Resize.target_size: expected a list of two"),
        (steps(lambda s: s[0].update(target_size=[0, 640])), r"images become \(0, 640\). Expected sides from 1"),
        (steps(lambda s: s[0].update(target_size=[640, 10**9])), "Expected sides from 1 to 8192"),
        (steps(lambda s: s[0].update(interp=0)), "Resize.interp 0 is not supported"),
        (steps(lambda s: s[0].update(interp=4)), "Resize.interp 4 is not supported"),
        (steps(lambda s: s[0].update(random_size=True)), "Resize.random_size: unknown key"),
        (steps(lambda s: s[0].update(keep_ratio=True)), "keep_ratio is True and there is no Pad"),
        (steps(lambda s: s[0].update(keep_ratio="yes")), "keep_ratio is 'yes'"),
        (steps(lambda s: s.insert(1, {"type": "Pad"})), "keep_ratio is False and there is a Pad"),
        (letterbox(size=480, pad=480), "Expected a square, the same size twice"),
        (letterbox(pad=672), "Expected a square, the same size twice"),
        (letterbox(fill=114), "with .114.0, 114.0, 114.0.. Expected a square"),
        (steps(lambda s: s[1].pop("mean")), "NormalizeImage.mean: missing"),
        (steps(lambda s: s[1].update(std=[1, 0, 1])), "NormalizeImage: expected finite numbers and std > 0"),
        (steps(lambda s: s[1].update(mean=[float("inf"), 0, 0])), "expected finite numbers"),
        (steps(lambda s: s[1].update(mean=[10**400, 0, 0])), "holds a number that is too large"),
        (steps(lambda s: s[1].update(norm_type="none")), "norm_type 'none' with mean"),
        (steps(lambda s: s[1].update(norm_type="other")), "norm_type 'other' with mean"),
        (steps(lambda s: s[1].update(is_scale=1)), "is_scale must be true or false, got 1"),
        (edited(EMBEDDING, lambda v: v.update(PreProcess=[])), "PreProcess.transform_ops: expected a list, got None"),
        (edited(EMBEDDING, lambda v: v.update(PostProcess={"Topk": {"topk": 5}})), "must be NormalizeFeatures"),
        (edited(EMBEDDING, lambda v: v.pop("PostProcess")), "PostProcess must be NormalizeFeatures"),
        (ops(lambda o: o.pop(1)), "NormalizeImage.mean: missing"),
        (ops(lambda o: o.pop(2)), "expected ResizeImage, CropImage, NormalizeImage, ToCHWImage, in this order"),
        (ops(lambda o: o.insert(1, {"RandFlipImage": None})), "in this order"),
        (ops(lambda o: o.insert(1, {"a": 1, "b": 2})), "in this order"),
        (ops(lambda o: o[0].update(ResizeImage=224)), "ResizeImage: expected named values, got 224"),
        (ops(lambda o: o[0].update(ResizeImage={"resize_short": 256})), "resize_short: unknown key"),
        (ops(lambda o: o.insert(1, {"CropImage": {"size": 224}})), "CropImage after ResizeImage to .192, 256. is not"),
        (ops(lambda o: o[1]["NormalizeImage"].update(scale="1.0/255.0")), "NormalizeImage.scale: expected a number"),
        (ops(lambda o: o[1]["NormalizeImage"].update(order="chw")), "expected order hwc"),
        (ops(lambda o: o[1]["NormalizeImage"].update(channel_num=1)), "channel_num 3"),
    ],
)  # fmt: skip
def test_settings_that_are_refused(tmp_path: Path, value: object, problem: str) -> None:
    with pytest.raises(ModelError, match=problem) as raised:
        read(tmp_path, value)
    assert str(raised.value).startswith(str(tmp_path))


TEXTS = [dump(DETECTOR).encode(), dump(EMBEDDING).encode()]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(TEXTS), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4), st.booleans()
)
def test_changed_bytes_give_settings_or_a_refusal(
    tmp_path: Path, text: bytes, changes: list[tuple[int, int]], cut: bool
) -> None:
    data = bytearray(text)
    for place, value in changes:
        data[place % len(text)] = value
    try:
        found = read(tmp_path, bytes(data[: changes[0][0] % len(text)] if cut and changes else data))
    except ModelError:
        return
    assert max(found.preprocess.size_hw) <= 8192 and np.isfinite(found.preprocess.alpha).all()
