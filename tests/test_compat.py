"""Old PaddleX spellings mean what they meant."""

from pathlib import Path

import pytest

from eyas import compat
from eyas.config import load_module_config, load_pipeline_config, pipeline_config
from eyas.errors import ConfigError
from eyas.pipeline_schema import RecognitionPipeline

REAL_MODULE_FILE = """
Global:
  model: PP-YOLOE_plus_SOD-S
  mode: check_dataset # check_dataset/train/evaluate/predict
  dataset_dir: "/paddle/dataset/paddlex/det/small_det_examples"
  device: gpu:0,1,2,3
  output: "output"

CheckDataset:
  convert:
    enable: False
    src_dataset_type: null
  split:
    enable: False
    train_percent: null
    val_percent: null

Train:
  num_classes: 10
  epochs_iters: 50
  batch_size: 2
  learning_rate: 0.01
  pretrain_weight_path: https://example.org/official_pretrained_model/PP-YOLOE_plus_SOD-S_pretrained.pdparams
  warmup_steps: 100
  resume_path: null
  log_interval: 10
  eval_interval: 1
  dy2st: False
  amp: OFF

Evaluate:
  weight_path: "output/best_model/best_model.pdparams"
  log_interval: 10

Export:
  weight_path: https://example.org/official_pretrained_model/PP-YOLOE_plus_SOD-S_pretrained.pdparams

Predict:
  batch_size: 1
  model_dir: "output/best_model/inference"
  input: "https://example.org/imgs/demo_image/small_object_detection.jpg"
  kernel_option:
    run_mode: paddle
  hpip_config: null
"""


def test_a_real_module_file_loads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "PP-YOLOE_plus_SOD-S.yaml"
    file.write_text(REAL_MODULE_FILE)
    config = load_module_config(file, ["Global.mode=train"])
    assert (config.global_.mode, config.train.num_classes, config.train.amp) == ("train", 10, "OFF")
    assert config.predict.model_dir == "output/best_model/inference"
    published = "https://example.org/official_pretrained_model/PP-YOLOE_plus_SOD-S_pretrained.pdparams"
    assert config.train.pretrain_weight_path == config.export.weight_path == published
    assert caplog.messages == [f"{file}: Predict.kernel_option, Train.dy2st: means something to Paddle alone, ignored"]


@pytest.mark.parametrize(
    ("model", "name", "directory"),
    [
        ("PP-YOLOE_plus_SOD-L", "PP-YOLOE_plus_SOD-L", None),
        ("./output/best_model/inference", None, "./output/best_model/inference"),
    ],
)
def test_old_pipeline_tree(model: str, name: str | None, directory: str | None) -> None:
    old = {
        "Global": {"pipeline_name": "small_object_detection", "input": "x.jpg"},
        "Pipeline": {"model": model, "batch_size": 4, "device": "gpu:0"},
    }
    config = pipeline_config(old)
    module = config.modules.detection
    assert (module.model_name, module.model_dir, module.batch_size) == (name, directory, 4)
    assert (config.device, config.input) == ("gpu:0", "x.jpg")
    assert old["Pipeline"] == {"model": model, "batch_size": 4, "device": "gpu:0"}


OLD_RECOGNITION = """
Pipeline:
  device: "gpu:0"
  det_model: "./PP-ShiTuV2_det_infer/"        #The model name or local path
  rec_model: PP-ShiTuV2_rec
  det_batch_size: 2
  rec_batch_size: 4
  device: cpu
"""


def test_old_file_of_recognition(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(OLD_RECOGNITION)
    config = load_pipeline_config(file)
    assert isinstance(config, RecognitionPipeline)
    detection, recognition = config.modules.detection, config.modules.recognition
    assert detection is not None
    assert (detection.model_name, detection.model_dir, detection.batch_size) == (None, "./PP-ShiTuV2_det_infer/", 2)
    assert (recognition.model_name, recognition.model_dir, recognition.batch_size) == ("PP-ShiTuV2_rec", None, 4)
    assert (config.device, config.index) == ("cpu", None)
    assert caplog.messages == [f"{file}:8: Pipeline.device was already given in line 3; the last one counts"]


def test_old_file_of_recognition_with_a_name_and_an_index() -> None:
    old = {
        "Global": {"pipeline_name": "PP-ShiTuV2", "input": "x.jpg"},
        "Pipeline": {"det_model": "PP-ShiTuV2_det", "rec_model": "PP-ShiTuV2_rec", "index_dir": "./drink_index"},
    }
    config = pipeline_config(old)
    assert isinstance(config, RecognitionPipeline)
    assert (config.index, config.input) == ("./drink_index", "x.jpg")
    with pytest.raises(ConfigError, match="index_dir is not a known key|index is not a known key"):
        pipeline_config({"Pipeline": {"model": "x", "index_dir": "./drink_index"}})


def test_old_pipeline_tree_with_a_key_of_both_generations() -> None:
    with pytest.raises(ConfigError, match="SubModules cannot stand beside Pipeline"):
        pipeline_config({"Pipeline": {"model": "x"}, "SubModules": {}})


def test_serving_block_and_licence_keys_are_accepted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "pipeline_name: small_object_detection\nserial_number: x\nenable_hpi: true\n"
        "SubModules: {SmallObjectDetection: {module_name: anything, model_name: null, model_dir: None}}\n"
        "Serving: {visualize: false, extra: {index_storage: {type: memory}}}\n"
    )
    config = load_pipeline_config(file)
    assert config.Serving == {"visualize": False, "extra": {"index_storage": {"type": "memory"}}}
    assert config.use_hpip is True
    assert caplog.messages == [f"{file}: serial_number: means something to Paddle alone, ignored"]


def test_two_names_of_one_key() -> None:
    assert compat.rename_keys({"a": {"enable_hpi": 1}}, "f") == {"a": {"use_hpip": 1}}
    assert compat.rename_keys({"enable_hpi": 1, "use_hpip": 1}, "f") == {"use_hpip": 1}
    with pytest.raises(ConfigError, match="^f: enable_hpi is the old name of use_hpip, and both are given"):
        compat.rename_keys({"use_hpip": 1, "enable_hpi": 2}, "f")


def test_keywords(caplog: pytest.LogCaptureFixture) -> None:
    renamed = compat.rename_keywords("f", {"enable_hpi": True, "pp_option": 3}, {"use_hpip": None, "device": "cpu"})
    assert renamed == {"use_hpip": True, "device": "cpu"}
    assert caplog.messages == ["f(pp_option=...) means something to Paddle alone: ignored"]
    with pytest.raises(TypeError, match=r"f\(\) got an unexpected keyword argument 'devise'. Did you mean 'device'\?"):
        compat.rename_keywords("f", {"devise": "cpu"}, {"device": None})
    with pytest.raises(ConfigError, match="enable_hpi is the old name of use_hpip; give one of them"):
        compat.rename_keywords("f", {"enable_hpi": True}, {"use_hpip": False})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--save-path", "a-b"], ["--save_path", "a-b"]),
        (["--config_save_path=x-y"], ["--save_path=x-y"]),
        (["--enable_hpi", "--input", "--x-y"], ["--use_hpip", "--input", "--x_y"]),
        (["--serial_number", "1-2", "--pipeline", "p"], ["--pipeline", "p"]),
        (["--update-license", "--serial-number=3", "-o", "A.b-c=d"], ["-o", "A.b-c=d"]),
        (["predict", "--", "--save-path"], ["predict", "--", "--save-path"]),
    ],
)
def test_flags(given: list[str], expected: list[str]) -> None:
    assert compat.rename_flags(given) == expected
