"""The command line: what goes to stdout, what to stderr, and which exit code."""

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.fakes import tiny_bundle, tiny_feature_bundle

from eyas import commands
from eyas.cli import main
from eyas.config import load_pipeline_config
from eyas.data.synthetic import write_dataset
from eyas.errors import DatasetError
from eyas.schema import ModuleConfig


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `eyas ARGUMENTS...` in a fresh folder, with no models downloaded and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EYAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EYAS_OFFLINE", "1")

    def command(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["eyas", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return command


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a tiny network with random weights."""
    return tiny_bundle(tmp_path_factory.mktemp("bundle"), threshold=0.5).path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.png"):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(folder / name)
    return folder


def boxes(line: str) -> int:
    return line.count("'cls_id'")


def test_results_go_to_stdout_one_line_a_picture_and_messages_to_stderr(run: Run, bundle: Path, pictures: Path) -> None:
    ran = run("predict", pictures, "--model-dir", bundle, "--device", "cpu")
    lines = ran.out.splitlines()
    assert (ran.code, len(lines)) == (0, 2)
    assert lines[0].startswith(f"{{'res': {{'input_path': '{pictures / 'a.png'}', 'page_index': None, 'boxes': [")
    assert "b.png" in lines[1]
    assert ran.err == "nothing is saved without --save_path\n"


def test_flag_style_saves_pictures_and_json(run: Run, bundle: Path, pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "pipeline_name: small_object_detection\nSubModules:\n  SmallObjectDetection: {model_dir: " + str(bundle) + "}\n"
    )
    flags = ["--input", pictures, "--threshold", "0.5", "--save_path", "out", "--device", "cpu"]
    ran = run("--pipeline", file, *flags)
    assert (ran.code, ran.err) == (0, "")
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "a_res.json", "a_res.png", "b_res.json", "b_res.png",
    ]  # fmt: skip
    assert set(json.loads(Path("out/a_res.json").read_text())) == {"input_path", "page_index", "boxes"}
    assert run("--pipeline", file, "-q", *flags).out == ran.out
    assert run("predict", "--pipeline", file, *flags).out == ran.out


@pytest.mark.parametrize("threshold", ["0.9", "{0:0.9,1:0.9,2:0.9}", "{'person': 0.9, 'car': 0.9, 'bicycle': 0.9}"])
def test_threshold_as_number_or_mapping(run: Run, bundle: Path, pictures: Path, threshold: str) -> None:
    low = run("predict", pictures, "--model_dir", bundle, "--threshold", "0.3")
    high = run("predict", pictures, "--model_dir", bundle, "--threshold", threshold)
    assert high.out == run("predict", pictures, "--model_dir", bundle, "--threshold", "0.9").out
    assert boxes(low.out) > boxes(high.out)


def test_formats(run: Run, bundle: Path, pictures: Path) -> None:
    arguments = ("predict", pictures, "--model_dir", bundle, "--format")
    array = json.loads(run(*arguments, "json").out)
    assert [json.loads(line) for line in run(*arguments, "jsonl").out.splitlines()] == array
    assert [Path(item["input_path"]).name for item in array] == ["a.png", "b.png"]
    assert run(*arguments, "pretty").out.startswith('{\n    "res": {')
    assert run(*arguments, "xml").code == 2


def test_bad_items_are_named_the_rest_goes_on_and_the_code_is_1(run: Run, bundle: Path, pictures: Path) -> None:
    (pictures / "aa.png").write_bytes(b"")
    (pictures / "c.jpg").write_bytes(b"no picture")
    ran = run("predict", pictures, "--model_dir", bundle, "--format", "json")
    assert ran.code == 1
    assert len(json.loads(ran.out)) == 2
    assert "eyas: 2 of 4 inputs could not be used" in ran.err
    assert ran.err.count("aa.png") >= 1
    assert "c.jpg" in ran.err
    assert "Traceback" not in ran.err
    assert "Traceback" in run("predict", pictures, "--model_dir", bundle, "-v").err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian"], 2, "No such command 'trian'. Did you mean 'train'?"),
        (["predict", "--modle", "x"], 2, "--model"),
        (["predict", "x.png", "--model", "SOD-XS-thermel"], 1, "Unknown model 'SOD-XS-thermel'. Did you mean"),
        (["predict", "x.png", "--model", "PP-YOLOE_plus_SOD-S"], 1, "EYAS_OFFLINE is set, so nothing is fetched."),
        (["predict", "x.png", "--model_dir", "nowhere"], 1, "There is no model at nowhere."),
        (["--pipeline", "small_object", "--input", "x"], 2, "Did you mean 'small_object_detection'?"),
        (["train"], 2, "-c: no configuration given. Expected a file, or one of: PP-"),
        (["train", "-c", "PP-YOLOE_plus_SOD-S", "-o", "Train.lr=1"], 2, "Train.lr is not a known key."),
        (["train", "-c", "PP-YOLOE_plus_SOD-S"], 2, "Global.dataset_dir: not given."),
        (["evaluate", "-c", "PP-YOLOE_plus_SOD-S"], 2, "Global.dataset_dir: not given."),
        (["-c", "PP-YOLOE_plus_SOD-S", "-o", "Global.mode=check_dataset"], 2, "Global.dataset_dir: not given"),
        (["-c", "PP-YOLOE_plus_SOD-S", "-o", "Global.mode=None"], 2, "none was given"),
        (["predict", "x", "-o", "Predict.batch_size=2"], 2, "-o changes a configuration file: name one with -c"),
        (["-c", "PP-YOLOE_plus_SOD-S", "--pipeline", "x"], 2, "--pipeline and -c: give one of them"),
        (["--device", "cpu", "train"], 2, "flags stand before the verb. Put them after it: eyas train"),
        (["--install", "tensorbord"], 2, "there is no extra 'tensorbord'. Did you mean 'tensorboard'?"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line(run: Run, arguments: list[str], code: int, message: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_wrong_device_threshold_and_engine(run: Run, bundle: Path, pictures: Path) -> None:
    arguments = ("predict", pictures, "--model_dir", bundle)
    assert "Did you mean 'gpu'?" in run(*arguments, "--device", "gpv").err
    assert "Did you mean 'openvino'?" in run(*arguments, "--engine", "openvin").err
    assert "Did you mean 'person'?" in run(*arguments, "--threshold", "{persn: 0.3}").err
    for flag, value in (("--device", "gpv"), ("--engine", "openvin"), ("--threshold", "x"), ("--hpi_config", "3")):
        assert run(*arguments, flag, value).code == 2


def test_nothing_given_shows_help(run: Run) -> None:
    ran = run()
    assert (ran.code, ran.out) == (2, "")
    assert re.search(r"predict +Find objects in pictures", ran.err)


def test_a_feature_model_predicts(run: Run, pictures: Path, tmp_path: Path) -> None:
    folder = tiny_feature_bundle(tmp_path, width=16).path
    ran = run("predict", pictures / "a.png", "--model_dir", folder, "--save_path", "out", "--format", "jsonl")
    assert ran.code == 0 and len(json.loads(ran.out)["feature"]) == 16
    assert len(json.loads(Path("out/a_res.json").read_text())["feature"]) == 16
    ran = run("predict", pictures / "a.png", "--model_dir", folder, "--threshold", "0.5")
    assert ran.code == 2 and "threshold: FakeFeatures gives features" in ran.err


def test_old_flags_are_accepted(run: Run, bundle: Path, pictures: Path) -> None:
    ran = run(
        "--serial_number", "1", "--pipeline", "small_object_detection", "--input", pictures / "a.png",
        "--model_dir", bundle, "--enable_hpi", "--hpi_config", "{'backend': 'onnxruntime'}",
    )  # fmt: skip
    assert (ran.code, len(ran.out.splitlines())) == (0, 1)
    assert "warning: --serial_number: means something to Paddle alone, ignored" in ran.err


def test_pipeline_file_is_written_once(run: Run, tmp_path: Path) -> None:
    assert run("--get_pipeline_config", "small_object_detection").out == "small_object_detection.yaml\n"
    assert load_pipeline_config(tmp_path / "small_object_detection.yaml") == load_pipeline_config(
        "small_object_detection"
    )
    again = run("--get-pipeline-config", "small_object_detection", "--config_save_path", ".")
    assert (again.code, again.err) == (
        2,
        "eyas: small_object_detection.yaml exists already. Give another --save_path, or -y to overwrite it.\n",
    )
    assert run("--get_pipeline_config", "small_object_detection", "-y").code == 0
    assert run("--get_pipeline_config", "small_object_detection", "--save_path", "d/my.yml").out == "d/my.yml\n"


def test_on_a_terminal_it_asks_before_it_overwrites(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "small_object_detection.yaml"
    file.write_text("mine")
    for answer, code, kept in (("n\n", 1, True), ("y\n", 0, False)):
        keyboard = io.StringIO(answer)
        monkeypatch.setattr(keyboard, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", keyboard)
        assert run("--get_pipeline_config", "small_object_detection").code == code
        assert (file.read_text() == "mine") == kept


def test_results_are_counted_on_a_terminal(
    run: Run, bundle: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = run("predict", pictures, "--model_dir", bundle)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: stream is sys.stderr)
    counted = run("predict", pictures, "--model_dir", bundle)
    assert counted.out == quiet.out
    assert "2 images" in counted.err


def test_install_prints_the_pip_line(run: Run) -> None:
    assert run("--install", "PaddleDetection").out == "pip install 'eyas[train]'\n"
    assert run("--install", "tensorboard").out == "pip install 'eyas[tensorboard]'\n"


def test_models_and_version(run: Run) -> None:
    lines = run("models").out.splitlines()
    assert lines[0].split()[:3] == ["SOD-XS-thermal", "built", "in"]
    assert "PP-YOLOE_plus_SOD-L" in {line.split()[0] for line in lines}
    assert run("--version").out.startswith("eyas 0.")


def test_predict_mode_saves_into_output(run: Run, bundle: Path, pictures: Path) -> None:
    config = ("-c", "PP-YOLOE_plus_SOD-S", "-o", "Global.mode=predict", "-o", f"Predict.model_dir={bundle}")
    ran = run(*config, "-o", f"Predict.input={pictures}", "-o", "Predict.threshold={person: 0.4}")
    assert (ran.code, len(ran.out.splitlines())) == (0, 2)
    assert ran.err == "results are in output\n"
    assert len(list(Path("output").iterdir())) == 4
    other = run("predict", pictures, *config, "--threshold", "{person:0.4}", "--save_path", "elsewhere")
    assert other.out == ran.out
    assert len(list(Path("elsewhere").iterdir())) == 4


def test_predict_mode_takes_what_training_left_in_output(run: Run, bundle: Path, pictures: Path) -> None:
    best = Path("output/best_model")
    best.mkdir(parents=True)
    (best / "inference").symlink_to(bundle)
    assert run("predict", pictures, "-c", "PP-YOLOE_plus_SOD-S").code == 0


def test_a_failed_run_is_noted(run: Run) -> None:
    stale = Path("out/evaluate_result.json")
    stale.parent.mkdir()
    stale.write_text('{"done_flag": true}')
    ran = run("evaluate", "-c", "PP-YOLOE_plus_SOD-S", "-o", "Global.output=out", "-o", "Global.dataset_dir=nowhere")
    assert ran.code == 1
    assert json.loads(stale.read_text()) == {
        "done_flag": False,
        "err_type": str(DatasetError),
        "err_msg": ran.err.removeprefix("eyas: ").rstrip(),
    }


class _Module:
    """Stands in for the module of a mode."""

    def __init__(self, outcome: object) -> None:
        self._outcome = outcome

    def run(self, config: ModuleConfig) -> object:
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome


@pytest.mark.parametrize(
    ("outcome", "code", "out", "err"),
    [
        (Path("output/best_model/inference"), 0, "output/best_model/inference\n", ""),
        (KeyboardInterrupt(), 130, "", "eyas: interrupted\n"),
        (RuntimeError("boom"), 1, "", "RuntimeError: boom\n"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            1,
            "",
            "eyas: torch is not installed, and this needs it. Install it with: pip install 'eyas[train]'\n",
        ),
        (ModuleNotFoundError("No module named 'x'", name="x"), 1, "", "ModuleNotFoundError: No module named 'x'\n"),
    ],
)
def test_how_a_run_can_end(
    run: Run, monkeypatch: pytest.MonkeyPatch, outcome: object, code: int, out: str, err: str
) -> None:
    monkeypatch.setattr(commands, "import_module", lambda name: _Module(outcome))
    ran = run("train", "-c", "PP-YOLOE_plus_SOD-S")
    assert (ran.code, ran.out) == (code, out)
    assert ran.err.endswith(err)
    for name in ("train_result.json", "train_results.json"):
        assert (Path("output") / name).is_file() == (code != 0)


def test_other_ranks_keep_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "import_module", lambda name: _Module(Path("x")))
    monkeypatch.setenv("RANK", "1")
    assert run("train", "-c", "PP-YOLOE_plus_SOD-S").out == ""


def test_no_handler_is_left_behind(run: Run) -> None:
    before = logging.getLogger("eyas").handlers[:]
    run("models")
    assert logging.getLogger("eyas").handlers == before


def test_a_closed_pipe_is_silent(bundle: Path, pictures: Path) -> None:
    command = [sys.executable, "-m", "eyas", "predict", str(pictures), "--model_dir", str(bundle), "--threshold", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read().replace("nothing is saved without --save_path\n", "") == ""
    assert process.returncode == 1


def test_detections_of_tiles_are_joined(run: Run) -> None:
    write_dataset("scenes", train=1, val=1, seed=2, size_hw=(96, 160))
    assert run("dataset", "slice", "scenes", "tiles", "--tile", 64, "--negatives", 9).code == 0
    tiles = json.loads(Path("tiles/annotations/instance_val.json").read_text())
    last = tiles["images"][-1]
    x, y = last["eyas_tile"]["x"], last["eyas_tile"]["y"]
    Path("found.json").write_text(
        json.dumps([{"image_id": last["id"], "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}])
    )
    ran = run("dataset", "join", "found.json", "tiles/annotations/instance_val.json", "joined.json")
    assert (ran.code, ran.out) == (0, "1 detections in joined.json\n")
    assert json.loads(Path("joined.json").read_text())[0]["bbox"] == [1 + x, 2 + y, 3, 4]
    Path("found.json").write_text("{}")
    ran = run("dataset", "join", "found.json", "tiles/annotations/instance_val.json", "joined.json")
    assert ran.code == 2 and "expected a list of COCO results, got a dict" in ran.err
