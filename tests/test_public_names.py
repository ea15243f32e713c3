"""The names that users rely on. A change here is a change for them: say it in CHANGELOG.md."""

import inspect

import typer

import eyas
from eyas.cli import app
from eyas.pipeline_schema import PIPELINE_SECTIONS
from eyas.pipelines import PIPELINES
from eyas.pipelines.predictor import Predictor
from eyas.pipelines.shitu import ShiTuPipeline
from eyas.store import STORE

PREDICT_FLAGS = {
    "--batch_size", "--device", "--engine", "--format", "--labels", "--hpi_config", "--input", "--model", "--model_dir",
    "--model_name", "--pipeline", "--save_path", "--threshold", "--use_hpip",
    "--det_threshold", "--detector", "--index", "--index_dir",
}  # fmt: skip
CONFIG_FLAGS = {"-c", "--config", "-o", "--override", "-v", "--verbose", "-q", "--quiet"}

FLAGS = {
    "": PREDICT_FLAGS | CONFIG_FLAGS | {"--get_pipeline_config", "-y", "--yes", "--install", "--version"},
    "train": CONFIG_FLAGS | {"--allow_faulty"},
    "evaluate": CONFIG_FLAGS | {"--predictions", "--dataset", "--compare", "--save_path"},
    "export": CONFIG_FLAGS,
    "predict": PREDICT_FLAGS | CONFIG_FLAGS | {"inputs", "--evidence", "--rec_threshold", "--rec_topk", "--where"},
    "check": CONFIG_FLAGS | {"dataset", "--save_path"},
    "check_dataset": CONFIG_FLAGS | {"dataset", "--save_path"},
    "dataset": set(),
    "gallery": set(),
    "convert": {"source", "target", "--model", "--model_name", "--classes", "-v", "--verbose", "-q", "--quiet"},
    "models": set(),
}


def test_package() -> None:
    assert eyas.__all__ == [
        "Detections", "EyasError", "Features", "Recognitions", "__version__", "create_model", "create_pipeline",
    ]  # fmt: skip
    assert all(getattr(eyas, name) is not None for name in eyas.__all__)
    assert set(eyas.__all__) <= set(dir(eyas))


def test_version_is_that_of_the_package() -> None:
    assert eyas.__version__.split(".")[:2] == ["0", "1"]


def test_command_line() -> None:
    group = typer.main.get_command(app)
    commands = {"": group, **getattr(group, "commands", {})}
    flags = {
        name: {flag for parameter in command.params for flag in parameter.opts}
        for name, command in commands.items()
    }  # fmt: skip
    assert flags == FLAGS


def test_signatures_begin_as_paddlex_has_them() -> None:
    assert list(inspect.signature(eyas.create_pipeline).parameters)[:5] == [
        "pipeline", "config", "device", "use_hpip", "hpi_config",
    ]  # fmt: skip
    assert list(inspect.signature(eyas.create_model).parameters)[:6] == [
        "model_name", "model_dir", "device", "threshold", "batch_size", "use_hpip",
    ]  # fmt: skip
    assert list(inspect.signature(Predictor.predict).parameters)[1:5] == ["input", "batch_size", "threshold", "device"]
    recognition = {
        name: list(inspect.signature(getattr(ShiTuPipeline, name)).parameters)[1:]
        for name in ("predict", "build_index", "append_index", "remove_index")
    }
    assert recognition["predict"][:2] == ["input", "index"]
    assert recognition["build_index"][:4] == ["gallery_imgs", "gallery_label", "metric_type", "index_type"]
    assert recognition["append_index"][:3] == ["gallery_imgs", "gallery_label", "index"]
    assert recognition["remove_index"][:2] == ["remove_ids", "index"]
    assert all({"data_root", "index_dir"} <= set(recognition[name]) for name in recognition if name != "predict")


def test_pipelines_and_models() -> None:
    assert set(PIPELINES) == set(PIPELINE_SECTIONS) == {"small_object_detection", "PP-ShiTuV2"}
    assert set(STORE) == {
        "SOD-XS-thermal", "REC-XS-grocery", "PP-YOLOE_plus_SOD-S", "PP-YOLOE_plus_SOD-L",
        "PP-YOLOE_plus_SOD-largesize-L",
        "PP-ShiTuV2_det", "PP-ShiTuV2_rec", "PP-ShiTuV2_rec_CLIP_vit_base", "PP-ShiTuV2_rec_CLIP_vit_large",
    }  # fmt: skip
