"""Wrong configuration -> the exact text that says so."""

from pathlib import Path

import pytest

from eyas.config import load_module_config, load_pipeline_config, pipeline_config, section_from
from eyas.errors import ConfigError
from eyas.schema import HpiConfig

MODEL = "Global: {model: PP-YOLOE_plus_SOD-S}\n"

FILES = [
    ("Train:\n  epoch_iters: 3\n", "F:3: Train.epoch_iters is not a known key. Did you mean 'Train.epochs_iters'?"),
    ("Train:\n  dataset_dir: x\n", "F:3: Train.dataset_dir is not a known key. Did you mean 'Global.dataset_dir'?"),
    ("Evalute: {}\n", "F:2: Evalute is not a known key. Did you mean 'Evaluate'?"),
    ("1: 2\n", "F:2: 1 is not a known key. Known: CheckDataset, Evaluate, Export, Global, Predict, Train."),
    (
        "Train:\n  batch_size: true\n",
        "F:3: Train.batch_size: expected a whole number, 1 or more, came true.",
    ),
    ("Train:\n  batch_size: 2.0\n", "F:3: Train.batch_size: expected a whole number, 1 or more, came 2.0."),
    ("Train:\n  batch_size: '2'\n", "F:3: Train.batch_size: expected a whole number, 1 or more, came '2'."),
    ("Train:\n  learning_rate: false\n", "F:3: Train.learning_rate: expected a number above 0, came false."),
    ("Train:\n  learning_rate: .nan\n", "F:3: Train.learning_rate: expected a number above 0, came nan."),
    ("Train:\n  num_classes: 0\n", "F:3: Train.num_classes: expected a whole number, 1 or more or null, came 0."),
    ("Train:\n  tensorboard: yes\n", "F:3: Train.tensorboard: expected true or false, came 'yes'."),
    (
        "Train:\n  amp: o1\n",
        "F:3: Train.amp: expected one of 'OFF', 'O1', 'O2', 'bf16', 'fp16', came 'o1'. Did you mean 'O1'?",
    ),
    (
        "Train:\n  input_size: [640, 641]\n",
        "F:3: Train.input_size: expected [height, width], two multiples of 32, came [640, 641].",
    ),
    (
        "Train:\n  augment:\n    scale: [1]\n",
        "F:4: Train.augment.scale: expected [lowest, highest], two numbers above 0, came [1].",
    ),
    (
        "Train: 3\n",
        "F:2: Train: expected a section with the keys KEYS, came 3.",
    ),
    (
        "Predict:\n  threshold: {Car: 2}\n",
        "F:3: Predict.threshold: expected a number from 0 to 1, or one for each class or null, came {'Car': 2}.",
    ),
    ("Train: {", "F:2:9: not valid YAML: expected the node content, but found '<stream end>'"),
    ("Train: !!python/name:os.system\n", "F:2:8: the tag !!python/name:os.system is not allowed here"),
    ("pipeline_name: x\n", "F is a pipeline file (it has pipeline_name): use it as --pipeline F"),
]


@pytest.mark.parametrize(("text", "message"), FILES)
def test_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(MODEL + text)
    with pytest.raises(ConfigError) as caught:
        load_module_config(file)
    said = str(caught.value).replace(str(file), "F")
    if "KEYS" in message:
        start, _, end = message.partition("KEYS")
        assert said.startswith(start + "num_classes, ")
        assert said.endswith(end)
    else:
        assert said == message


OVERRIDES = [
    ("Train.learning_rte=1", "Train.learning_rte is not a known key. Did you mean 'Train.learning_rate'?"),
    ("Trian.amp=OFF", "Trian is not a known key. Did you mean 'Train'?"),
    ("Train.learning_rate=0", "Train.learning_rate: expected a number above 0, came 0."),
    ("Train.workers=T", "Train.workers: expected a whole number, 0 or more, came true."),
    ("Train.amp.level=1", "Train.amp is 'OFF', not a section with keys"),
    ("Train.amp", "expected Section.key=value, for example -o Train.epochs_iters=10"),
    ("=3", "expected Section.key=value, for example -o Train.epochs_iters=10"),
    ("Train..amp=3", "expected Section.key=value, for example -o Train.epochs_iters=10"),
    ("Global.model=null", "Global.model: expected a text, came null."),
    ("Global.mode=trian", "Global.mode: expected MODES or null, came 'trian'. Did you mean 'train'?"),
]


@pytest.mark.parametrize(("override", "message"), OVERRIDES)
def test_override(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_module_config("PP-YOLOE_plus_SOD-S", [override])
    modes = "one of 'check_dataset', 'train', 'evaluate', 'export', 'predict'"
    assert str(caught.value) == f"-o {override}: {message.replace('MODES', modes)}"


NAMES = [
    (
        "PP-YOLOE_plus_SOD-M",
        "There is no configuration 'PP-YOLOE_plus_SOD-M', neither a file nor a known name. "
        "Did you mean 'PP-YOLOE_plus_SOD-S'?",
    ),
    (
        "./mine/PP-YOLOE_plus_SOD-S.yaml",
        "There is no configuration './mine/PP-YOLOE_plus_SOD-S.yaml', neither a file nor a known name. "
        "Did you mean 'PP-YOLOE_plus_SOD-S'?",
    ),
]


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_unknown_configuration(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_module_config(name)
    assert str(caught.value) == message


def test_unknown_pipeline() -> None:
    with pytest.raises(
        ConfigError, match=r"^There is no pipeline 'small_object'.* Did you mean 'small_object_detection'\?$"
    ):
        load_pipeline_config("small_object")


PIPELINES = [
    (
        {"pipeline_name": "small_objects_detection"},
        "config: pipeline_name: unknown pipeline 'small_objects_detection'. Did you mean 'small_object_detection'?",
    ),
    (
        {"pipeline_name": "small_object_detection"},
        "config: SubModules is missing. Expected a section with the keys SmallObjectDetection.",
    ),
    (
        {"pipeline_name": "small_object_detection", "SubModules": {"SmallObjectDetection": {"treshold": 0.5}}},
        "config: SubModules.SmallObjectDetection.treshold is not a known key. "
        "Did you mean 'SubModules.SmallObjectDetection.threshold'?",
    ),
    (
        {"pipeline_name": "small_object_detection", "SubModules": {"SmallObjectDetection": {"threshold": True}}},
        "config: SubModules.SmallObjectDetection.threshold: expected a number from 0 to 1, or one for each class or "
        "null, came true.",
    ),
    (
        {"Global": {"pipeline_name": "small_object_detection"}, "Pipeline": {"modle": "PP-YOLOE_plus_SOD-S"}},
        "config: Pipeline.modle is not a known key. Did you mean 'model'?",
    ),
    (
        {"Global": {"pipeline_name": "OCR"}, "Pipeline": {}},
        "config: Global.pipeline_name: unknown 'OCR'. Known: PP-ShiTuV2, small_object_detection.",
    ),
    (
        {"pipeline_name": "PP-ShiTuV2", "rec_threshold": "high", "SubModules": {"Recognition": {}}},
        "config: rec_threshold: expected a number, or calibrated, came 'high'.",
    ),
    (
        {"pipeline_name": "PP-ShiTuV2", "SubModules": {"Detection": {"model_nam": "x"}, "Recognition": {}}},
        "config: SubModules.Detection.model_nam is not a known key. Did you mean 'SubModules.Detection.model_name'?",
    ),
    (
        {"pipeline_name": "PP-ShiTuV2", "SubModules": {"Detection": {}}},
        "config: SubModules.Recognition is missing. Expected a section with the keys use_hpip, hpi_config, engine, "
        "engine_config, module_name, model_name, model_dir, batch_size.",
    ),
    (
        {"Pipeline": {"rec_model": "x", "rec_modell": "y"}},
        "config: Pipeline.rec_modell is not a known key. Did you mean 'rec_model'?",
    ),
    ({"Train": {}}, "config is a module configuration (it has Train): use it as -c config"),
]


@pytest.mark.parametrize(("data", "message"), PIPELINES)
def test_pipeline(data: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline_config(data)
    assert str(caught.value) == message


def test_every_problem_is_named_once(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("Train: {batch_size: x, bach: 1}\n")
    with pytest.raises(ConfigError) as caught:
        load_module_config(file)
    assert str(caught.value).replace(str(file), "F").splitlines() == [
        "F: Global is missing. Expected a section with the keys model, mode, dataset_dir, device, output.",
        "F:1: Train.batch_size: expected a whole number, 1 or more, came 'x'.",
        "F:1: Train.bach is not a known key. Did you mean 'Train.batch_size'?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "F: expected sections with keys, came an empty file"),
        ("- 1\n", "F: expected sections with keys, came [1]"),
        ("a: 1\n---\nb: 2\n", "F:2:1: not valid YAML: but found another document"),
        ("a: \0", "F: not valid YAML: unacceptable character #x0000: special characters are not allowed"),
        ("&a [*a]", "F:1:1: an anchor must not contain itself"),
        ("[" * 5000, "F: not usable YAML: it is nested too deeply"),
        ("? [1]\n: 2\n", "F:1:3: a key must be a text or a number"),
    ],
)
def test_unreadable(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_module_config(file)
    assert str(caught.value).replace(str(file), "F") == message


def test_not_text(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as text.*Expected a YAML file in UTF-8"):
        load_module_config(file)


def test_section_names_its_argument() -> None:
    with pytest.raises(ConfigError) as caught:
        section_from({"backnd": "openvino"}, HpiConfig, "hpi_config")
    assert str(caught.value) == "hpi_config: backnd is not a known key. Did you mean 'backend'?"
