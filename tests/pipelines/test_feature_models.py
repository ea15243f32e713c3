"""Feature models through `create_model` and `Predictor`: inputs, batches, files, threads, and what they refuse."""

import json
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fakes import FakeFeatures, embedding_manifest, tiny_bundle, tiny_feature_bundle

from eyas import create_model, create_pipeline
from eyas.backends import open_backend
from eyas.bundle import Bundle
from eyas.errors import ConfigError, InputError, ModelError
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.predictor import Predictor
from eyas.results import Features


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny network that gives 16 numbers for an input of 32 x 48."""
    return tiny_feature_bundle(tmp_path_factory.mktemp("bundle"))


def bgr(number: int) -> NDArray[np.uint8]:
    """A BGR picture of its own size and noise."""
    return np.random.default_rng(number).integers(0, 256, (20 + number, 60, 3), dtype=np.uint8)


def test_one_array(bundle: Bundle) -> None:
    (result,) = create_model(model_dir=bundle.path, device="cpu").predict(bgr(1))
    assert isinstance(result, Features)
    assert (result["input_path"], result["page_index"]) == (None, None)
    np.testing.assert_array_equal(result["input_img"], bgr(1))
    backend = open_backend(bundle, device="cpu")
    expected = Embedder(bundle.manifest, backend)(np.ascontiguousarray(bgr(1)[..., ::-1]))
    np.testing.assert_array_equal(result["feature"], expected)
    assert result.feature.shape == (16,) and np.linalg.norm(result.feature) == pytest.approx(1)


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_batches_give_what_single_pictures_give(bundle: Bundle, batch_size: int) -> None:
    model = create_model(model_dir=bundle.path, batch_size=batch_size, engine="onnxruntime")
    pictures = [bgr(number) for number in range(7)]
    together = [result.feature for result in model.predict(pictures)]
    alone = [next(model.predict(picture)).feature for picture in pictures]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
    assert len({tuple(feature) for feature in alone}) == 7


def test_a_folder_in_its_order_and_its_files(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    names = ["b.png", "a.png", "sub/c.png"]
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), bgr(number))
    model = create_model(model_dir=bundle.path)
    results = list(model.predict(folder, batch_size=2))
    assert [result["input_path"] for result in results] == [str(folder / name) for name in sorted(names)]
    arrays = list(model.predict([bgr(1), bgr(0), bgr(2)]))
    for result, array in zip(results, arrays, strict=True):
        np.testing.assert_array_equal(result.feature, array.feature)
        result.save_all(tmp_path / "out")
    saved = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*"))
    assert saved == [Path("a_res.json"), Path("b_res.json"), Path("sub/c_res.json")]
    data = json.loads((tmp_path / "out" / "a_res.json").read_text())
    assert data == {"input_path": str(folder / "a.png"), "page_index": None, "feature": results[0].feature.tolist()}


def test_a_bad_input_is_left_out_and_told_at_the_end(bundle: Bundle, tmp_path: Path) -> None:
    found = create_model(model_dir=bundle.path).predict([bgr(0), tmp_path / "absent.png", bgr(1)])
    assert [next(found).feature.shape, next(found).feature.shape] == [(16,), (16,)]
    with pytest.raises(InputError, match=r"1 of 3 inputs could not be used"):
        next(found)


def test_threads_may_share_a_predictor() -> None:
    predictor = Predictor(lambda _: [Embedder(embedding_manifest(), FakeFeatures())], batch_size=3)
    pictures = [np.full((9, 9, 3), (0, 100, 1 + number), np.uint8) for number in range(50)]
    failures: list[object] = []

    def work(offset: int) -> None:
        wanted = [(offset + number) % 50 for number in range(20)]
        results = predictor.predict([pictures[number] for number in wanted])
        found = [round(float(result.feature[0] / result.feature[1]) * 100) - 1 for result in results]
        if found != wanted:
            failures.append((found, wanted))

    threads = [threading.Thread(target=work, args=(7 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_several_devices_share_the_work_and_keep_the_order() -> None:
    networks = [FakeFeatures() for _ in range(3)]
    predictor = Predictor(lambda _: [Embedder(embedding_manifest(), network) for network in networks])
    results = predictor.predict([np.full((9, 9, 3), (0, 100, 1 + number), np.uint8) for number in range(12)])
    assert [round(float(result.feature[0] / result.feature[1]) * 100) for result in results] == list(range(1, 13))
    assert [sum(network.batches) for network in networks] == [4, 4, 4]


def test_engines_and_the_named_model_give_the_same(bundle: Bundle) -> None:
    predictors = [
        create_model(model_dir=bundle.path),
        create_model("FakeFeatures", model_dir=bundle.path, img_size=(48, 32)),
        create_model(str(bundle.path), engine="onnxruntime", engine_config={"cpu_threads": 1}),
        create_model(model_dir=bundle.path, use_hpip=True, hpi_config={"backend": "onnxruntime"}),
    ]
    features = [next(predictor.predict(bgr(3), device="cpu")).feature for predictor in predictors]
    for other in features[1:]:
        np.testing.assert_allclose(other, features[0], rtol=0, atol=1e-6)
    assert predictors[0].names == ()


@pytest.mark.parametrize("threshold", [0.5, {0: 0.5}])
def test_a_threshold_is_refused(bundle: Bundle, threshold: Any) -> None:
    message = r"threshold: FakeFeatures gives features, which have no score to compare, got .*0\.5.*\. Leave it out"
    with pytest.raises(ConfigError, match=message):
        create_model(model_dir=bundle.path, threshold=threshold)
    with pytest.raises(ConfigError, match=message):
        create_model(model_dir=bundle.path).predict(bgr(0), threshold=threshold)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"model_name": "PP-ShiTuV2_rec"},
            ModelError,
            "holds the model FakeFeatures, and PP-ShiTuV2_rec was asked for",
        ),
        ({"img_size": 224}, ModelError, "img_size: 224x224 was asked for, and the model in .* takes 48x32"),
        ({"batch_size": 0}, ConfigError, "batch_size: expected a whole number, 1 or more"),
        ({"engine": "tensorrt"}, ConfigError, "Engine 'tensorrt' is unknown"),
        ({"device": "gpux"}, ConfigError, "Did you mean 'gpu'"),
    ],
)
def test_wrong_arguments(bundle: Bundle, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        create_model(model_dir=bundle.path, **arguments)


def test_a_pipeline_of_detection_refuses_a_feature_model(bundle: Bundle, tmp_path: Path) -> None:
    def config(path: Path) -> dict[str, Any]:
        modules = {"SmallObjectDetection": {"model_dir": str(path), "threshold": 0.5}}
        return {"pipeline_name": "small_object_detection", "SubModules": modules}

    create_pipeline(config=config(tiny_bundle(tmp_path).path))
    with pytest.raises(ModelError, match="FakeFeatures is for embedding, and one for detection is needed here"):
        create_pipeline(config=config(bundle.path))
