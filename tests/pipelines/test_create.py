"""create_model and create_pipeline: arguments, old names, and which threshold counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fakes import tiny_bundle

from eyas import create_model, create_pipeline
from eyas.errors import BackendError, ConfigError, ModelError
from eyas.results import Detections


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network (input 64 x 96, classes person, car, bicycle) whose own threshold is 0.6."""
    return tiny_bundle(tmp_path_factory.mktemp("bundle"), threshold=0.6).path


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)


def settings(bundle: Path, **module: object) -> dict[str, Any]:
    return {
        "pipeline_name": "small_object_detection",
        "SubModules": {"SmallObjectDetection": {"model_dir": str(bundle), **module}},
    }


def lowest(results: Any) -> float:
    """The lowest score of the one result; checks that the threshold below it is what cut it off."""
    (result,) = results
    assert isinstance(result, Detections)
    return float(result.scores.min())


def test_threshold_priority(bundle: Path, image: NDArray[np.uint8]) -> None:
    own = lowest(create_model(model_dir=bundle).predict(image))
    assert 0.6 < own < 0.62
    given = create_model(model_dir=bundle, threshold=0.4)
    assert 0.4 < lowest(given.predict(image)) < 0.42
    assert 0.5 < lowest(given.predict(image, threshold=0.5)) < 0.52
    file = create_pipeline(config=settings(bundle, threshold=0.3))
    assert 0.3 < lowest(file.predict(image)) < 0.32
    assert 0.5 < lowest(file.predict(image, threshold=0.5)) < 0.52


def test_a_class_left_out_of_a_mapping_has_the_configured_threshold(bundle: Path, image: NDArray[np.uint8]) -> None:
    (result,) = create_model(model_dir=bundle, threshold=0.3).predict(image, threshold={"car": 0.7, 2: 1})
    by_class = {name: [s for s, label in zip(result.scores, result.labels, strict=True) if label == name] for name in
                ("person", "car", "bicycle")}  # fmt: skip
    assert 0.3 < min(by_class["person"]) < 0.5
    assert min(by_class["car"]) > 0.7
    assert by_class["bicycle"] == []


def test_threshold_as_a_mapping_in_the_file(bundle: Path, image: NDArray[np.uint8]) -> None:
    (result,) = create_pipeline(config=settings(bundle, threshold={0: 0.3, "car": 1, "bicycle": 1.0})).predict(image)
    assert set(result.labels) == {"person"}
    assert 0.3 < min(result.scores) < 0.5


def test_the_old_names_of_arguments(bundle: Path, tmp_path: Path, image: NDArray[np.uint8]) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(f"Pipeline: {{model: {bundle}, device: cpu, batch_size: 2}}\nGlobal: {{}}\n")
    new = create_pipeline(str(file))
    old = create_pipeline(pipeline_name=str(file.with_suffix("")), enable_hpi=True, hpip_config={"backend": "openvino"})
    assert lowest(new.predict(image)) == lowest(old(image))
    assert lowest(create_model(str(bundle), enable_hpi=False).predict(image)) == lowest(new.predict(image))


def test_acceleration_and_engines_give_the_same(bundle: Path, image: NDArray[np.uint8]) -> None:
    hpi = {"backend": "onnxruntime", "backend_config": {"cpu_num_threads": 1}}
    predictors = [
        create_model(model_dir=bundle),
        create_model(model_dir=bundle, engine="onnxruntime", engine_config={"cpu_threads": 1}),
        create_model(model_dir=bundle, use_hpip=True, hpi_config=hpi),
        create_pipeline(config=settings(bundle), use_hpip=True, hpi_config=hpi),
        create_pipeline(config=settings(bundle, engine="onnxruntime"), engine="openvino"),
    ]
    scores = [next(predictor.predict(image, threshold=0.5)).scores for predictor in predictors]
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=1e-5)
    np.testing.assert_array_equal(scores[1], scores[2])
    np.testing.assert_array_equal(scores[1], scores[4])  # the sub-module wins over the top level


def test_a_config_wins_over_the_name(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    create_pipeline("other_pipeline", config=settings(bundle))
    assert caplog.messages == ["create_pipeline: config describes small_object_detection and wins over other_pipeline"]


def test_img_size_must_be_the_bundles(bundle: Path) -> None:
    create_model(model_dir=bundle, img_size=(96, 64))
    with pytest.raises(ModelError, match="img_size: 640x640 was asked for, and the model in .* takes 96x64"):
        create_model(model_dir=bundle, img_size=640)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"threshold": True}, ConfigError, "create_model: threshold: expected a number from 0 to 1, or one for each"),
        ({"threshold": 1.5}, ConfigError, "create_model: threshold: expected a number from 0 to 1, or one for each"),
        ({"threshold": {"persn": 0.5}}, ConfigError, "Did you mean 'person'"),
        ({"batch_size": 0}, ConfigError, "create_model: batch_size: expected a whole number, 1 or more, came 0."),
        ({"hpi_config": {"bakend": "x"}}, ConfigError, "hpi_config.bakend is not a known key. Did you mean"),
        ({"engine": "tensorrt"}, ConfigError, "Engine 'tensorrt' is unknown."),
        ({"device": "gpux"}, ConfigError, "Did you mean 'gpu'"),
        ({"device": "npu:0"}, BackendError, "npu is not supported"),
        ({"treshold": 0.5}, TypeError, r"create_model\(\) got an unexpected keyword argument 'treshold'"),
        ({"model_name": "PP-YOLOE_plus_SOD-L"}, ModelError, "holds the model Fake, and PP-YOLOE_plus_SOD-L was asked"),
    ],
)
def test_wrong_arguments(bundle: Path, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        create_model(model_dir=bundle, **arguments)


def test_pipelines_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="create_pipeline: no pipeline given. Known: small_object_detection, PP-Shi"):
        create_pipeline()
    with pytest.raises(ConfigError, match="There is no pipeline 'PP-ShiTuV1'.* Did you mean 'PP-ShiTuV2'"):
        create_pipeline("PP-ShiTuV1")


def test_a_pipeline_that_looks_nothing_up_takes_no_index(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="index: small_object_detection looks nothing up, got './g'. PP-ShiTuV2 is"):
        create_pipeline(config=settings(bundle), index_dir="./g")
