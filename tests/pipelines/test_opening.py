"""Which network a sub-module names, and how it is opened."""

from pathlib import Path

import pytest
from tests.fakes import tiny_bundle, tiny_feature_bundle

from eyas.bundle import EmbeddingManifest, Manifest
from eyas.errors import ModelError
from eyas.pipeline_schema import BodyModule, DetectionModule, RecognitionModule
from eyas.pipelines.opening import Opening, with_runtime
from eyas.schema import EngineConfig, HpiBackendConfig, HpiConfig, Runtime


def test_the_usual_model_where_none_is_named() -> None:
    assert BodyModule().or_default().model_name == "PP-ShiTuV2_det"
    assert RecognitionModule().or_default().model_name == "PP-ShiTuV2_rec"
    assert DetectionModule().or_default().model_name == "SOD-XS-thermal"
    assert RecognitionModule(model_dir="mine").or_default().model_name is None
    assert RecognitionModule(model_name="PP-ShiTuV2_rec_CLIP_vit_base").or_default().model_name.endswith("base")  # type: ignore[union-attr]


def test_a_sub_module_wins_over_the_top_of_the_file() -> None:
    top = Runtime(engine="onnxruntime", use_hpip=True, engine_config=EngineConfig(cpu_threads=3))
    module = with_runtime(RecognitionModule(engine="openvino"), top)
    assert (module.engine, module.use_hpip, module.engine_config) == ("openvino", True, EngineConfig(cpu_threads=3))


def test_engine_and_threads(tmp_path: Path) -> None:
    folder = str(tiny_feature_bundle(tmp_path).path)
    hpi = HpiConfig(backend="onnxruntime", backend_config=HpiBackendConfig(cpu_num_threads=2))
    opened = Opening.of(RecognitionModule(model_dir=folder, use_hpip=True, hpi_config=hpi), EmbeddingManifest)
    assert (opened.engine, opened.threads) == ("onnxruntime", 2)
    assert len(opened.backends("cpu")) == 1
    unused = Opening.of(RecognitionModule(model_dir=folder, hpi_config=hpi))
    assert (unused.engine, unused.threads) == (None, None)


def test_another_model_or_task_than_was_asked_for(tmp_path: Path) -> None:
    detector = str(tiny_bundle(tmp_path).path)
    with pytest.raises(ModelError, match="holds the model Fake, and PP-ShiTuV2_det was asked for"):
        Opening.of(BodyModule(model_dir=detector, model_name="PP-ShiTuV2_det"), Manifest)
    with pytest.raises(ModelError, match="Fake is for detection, and one for embedding is needed here"):
        Opening.of(RecognitionModule(model_dir=detector), EmbeddingManifest)
