"""Reading, overriding and writing configurations."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from eyas import yaml12
from eyas.config import (
    find_module_config,
    find_pipeline_config,
    load_module_config,
    load_pipeline_config,
    module_configs,
    parse_value,
    pipeline_config,
    write_resolved,
)
from eyas.errors import ConfigError
from eyas.pipeline_schema import RecognitionPipeline
from eyas.store import DEFAULT_MODEL

SOD_S = "PP-YOLOE_plus_SOD-S"


@pytest.mark.parametrize("name", sorted(module_configs()))
def test_packaged_file_is_complete_and_names_its_model(name: str) -> None:
    network = {"SOD-XS-thermal": "PP-YOLOE_plus_SOD-XS-P2"}.get(name, name)  # a built-in model names its network
    assert load_module_config(name).global_.model == network


def test_published_recipe() -> None:
    small, large = (load_module_config(f"PP-YOLOE_plus_SOD-{size}").train for size in ("S", "largesize-L"))
    assert (small.epochs_iters, small.batch_size, small.learning_rate, small.warmup_steps) == (50, 2, 0.01, 100)
    assert (small.log_interval, small.eval_interval, small.num_classes) == (10, 1, None)
    assert (large.epochs_iters, large.learning_rate, large.log_interval) == (10, 0.00125, 3)
    assert small.input_size == (640, 640)
    assert large.input_size == (1920, 1920)
    assert small.multi_scale is not None and (min(small.multi_scale), max(small.multi_scale)) == (320, 768)
    assert large.multi_scale is not None and (min(large.multi_scale), max(large.multi_scale)) == (1024, 1920)


def test_packaged_pipeline_uses_the_built_in_model() -> None:
    config = load_pipeline_config("small_object_detection")
    assert config.modules.detection.model_name == DEFAULT_MODEL
    assert config.modules.detection.threshold == 0.5


def test_packaged_recognition_has_the_defaults_of_paddlex_and_names_every_key() -> None:
    config = load_pipeline_config("PP-ShiTuV2")
    assert isinstance(config, RecognitionPipeline)
    assert (config.index, config.det_threshold, config.rec_threshold) == (None, 0.5, 0.5)
    assert (config.rec_topk, config.hamming_radius, config.full_image) == (5, None, "auto")
    modules = config.modules
    assert modules.detection is not None
    assert (modules.detection.module_name, modules.detection.model_name) == ("mainbody_detection", "PP-ShiTuV2_det")
    assert (modules.recognition.module_name, modules.recognition.model_name) == ("image_feature", "PP-ShiTuV2_rec")
    assert config == RecognitionPipeline.model_validate(
        {
            "SubModules": {
                "Detection": {"model_name": "PP-ShiTuV2_det"},
                "Recognition": {"model_name": "PP-ShiTuV2_rec"},
            }
        }
    )
    left_out = {"engine_config", "input", "Serving"}
    assert set(config.model_dump(by_alias=True)) - left_out <= set(_written("PP-ShiTuV2"))


def test_a_pipeline_file_of_paddlex_loads_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "PP-ShiTuV2.yaml"
    file.write_text(
        "pipeline_name: PP-ShiTuV2\n\nindex: None\n\ndet_threshold: 0.5\nrec_threshold: 0.5\nrec_topk: 5\n"
        "SubModules:\n"
        "  Detection:\n    module_name: text_detection\n    model_name: PP-ShiTuV2_det\n    model_dir: null\n"
        "    batch_size: 1\n"
        "  Recognition:\n    module_name: text_recognition\n    model_name: PP-ShiTuV2_rec\n    model_dir: null\n"
        "    batch_size: 1\n"
    )
    config = load_pipeline_config(file)
    assert isinstance(config, RecognitionPipeline)
    assert (config.index, config.modules.recognition.module_name) == (None, "text_recognition")


def test_recognition_without_a_detector_and_with_a_calibrated_threshold() -> None:
    modules = {"Recognition": {"model_dir": "m"}}
    config = pipeline_config({"pipeline_name": "PP-ShiTuV2", "rec_threshold": "calibrated", "SubModules": modules})
    assert isinstance(config, RecognitionPipeline)
    assert (config.rec_threshold, config.modules.detection) == ("calibrated", None)


def _written(name: str) -> dict[str, object]:
    value = yaml12.load(find_pipeline_config(name).read_text(), name).value
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("-.5", -0.5), ("1.", 1.0), (".inf", float("inf")), ("010", 10), ("0o17", 15), ("0x1F", 31),
        ("on", "on"), ("yes", "yes"), ("OFF", "OFF"), ("No", "No"), ("true", True), ("FALSE", False), ("tRue", "tRue"),
        ("~", None), ("", None), ("null", None), ("2024-01-01", "2024-01-01"), ("1_000", "1_000"), ("12:30", "12:30"),
        ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_plain_scalars_are_yaml_1_2(text: str, value: object) -> None:
    assert yaml12.scalar(text) == value
    assert type(yaml12.scalar(text)) is type(value)
    assert yaml12.load(f"key: {text}", "f").value == {"key": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("None", None), ("T", True), ("F", False), ("True", True), ("x=y", "x=y"), ("a: b", "a: b"), ("*x", "*x"),
        ("{0:0.5,1:0.35}", {0: 0.5, 1: 0.35}), ("{0: 0.5, Car: 0.3}", {0: 0.5, "Car": 0.3}),
        ("{Car:0.5, 'Other Vehicle':0.3}", {"Car": 0.5, "Other Vehicle": 0.3}),
        ("[onnx, openvino]", ["onnx", "openvino"]),
        ("('a', 1)", ["a", 1]), ("'3'", "3"), ("gpu:0,1", "gpu:0,1"), ("{a: gpu:0}", {"a": "gpu:0"}),
        ("__import__('os').system('x')", "__import__('os').system('x')"), ("http://a/b?c=d", "http://a/b?c=d"),
    ],
)  # fmt: skip
def test_command_line_values(text: str, value: object) -> None:
    assert parse_value(text) == value


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")) | st.integers(), inner),
    max_leaves=10,
)


@given(plain)
def test_yaml_comes_back_as_it_went(value: object) -> None:
    assert yaml12.load(yaml12.dump(value), "f").value == value


def test_overrides_win_and_split_at_the_first_equals_sign() -> None:
    config = load_module_config(
        SOD_S,
        ["Train.learning_rate=1e-3", "Predict.input=a=b.jpg", "Train.augment.mosaic=0.5", "Train.augment.mosaic=1"],
    )
    assert config.train.learning_rate == 0.001
    assert config.predict.input == "a=b.jpg"
    assert config.train.augment.mosaic == 1.0
    assert config.train.augment.flip == 0.5


def test_sections_cannot_be_changed() -> None:
    config = load_module_config(SOD_S)
    with pytest.raises(ValidationError, match="frozen"):
        config.train.batch_size = 3  # type: ignore[misc]


def test_texts_are_read_as_the_literals_they_say(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        f"Global: {{model: {SOD_S}, device: 'None'}}\n"
        "Predict: {threshold: '{0: 0.5}', input: '[a.jpg]'}\n"
        "Train: {multi_scale: '[320, 640]'}\n"
    )
    config = load_module_config(file)
    assert config.global_.device is None
    assert config.predict.threshold == {0: 0.5}
    assert config.predict.input == ("a.jpg",)
    assert config.train.multi_scale == (320, 640)


def test_last_duplicate_key_wins_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"Global:\n  model: {SOD_S}\n  device: gpu\n  device: cpu\n")
    assert load_module_config(file).global_.device == "cpu"
    assert caplog.messages == [f"{file}:4: Global.device was already given in line 3; the last one counts"]


def test_an_empty_section_has_its_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"Global: {{model: {SOD_S}}}\nTrain:\n")
    assert load_module_config(file).train.epochs_iters == 50


@pytest.mark.parametrize(
    "spelling",
    [
        f"paddlex/configs/modules/small_object_detection/{SOD_S}.yaml",
        f"paddlex/configs/small_object_detection/{SOD_S}.yaml",
        f"eyas/configs/modules/small_object_detection/{SOD_S}.yaml",
        f"configs/modules/small_object_detection/{SOD_S}",
        f"{SOD_S}.yaml",
        SOD_S,
    ],
)
def test_every_spelling_of_a_packaged_file(spelling: str) -> None:
    assert find_module_config(spelling) == module_configs()[SOD_S]


def test_a_file_wins_over_a_packaged_one_and_its_suffix_may_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "my_path" / "small_object_detection.yml"
    mine.parent.mkdir()
    mine.write_text(find_pipeline_config("small_object_detection").read_text())
    assert find_pipeline_config("./my_path/small_object_detection") == Path("my_path/small_object_detection.yml")
    (tmp_path / f"{SOD_S}.yaml").write_text("x")
    assert find_module_config(f"{SOD_S}.yaml") == Path(f"{SOD_S}.yaml")
    assert find_module_config(SOD_S) == module_configs()[SOD_S]


def test_a_folder_is_not_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder. Expected a configuration file, or one of: PP-"):
        find_module_config(tmp_path)


@pytest.mark.parametrize("name", sorted(module_configs()))
def test_resolved_configuration_loads_back_as_itself(tmp_path: Path, name: str) -> None:
    config = load_module_config(name, ["Predict.threshold={0: 0.5, Car: 0.1}", "Global.output='1e-3'"])
    write_resolved(config, tmp_path / "deep" / "config.yaml")
    assert load_module_config(tmp_path / "deep" / "config.yaml") == config


def test_loading_says_nothing_about_good_files(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        load_module_config(SOD_S)
        load_pipeline_config("small_object_detection")
        load_pipeline_config("PP-ShiTuV2")
    assert caplog.messages == []
