"""What a model name or a path means, and how a published model's files come to this machine."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from tests.hostile_tars import END, file, link
from tests.zoo_server import Step, Zoo, open_zoo

from eyas import download, store
from eyas.bundle import Bundle
from eyas.commands import list_models
from eyas.convert import converted_bundle, resolve_model, trained_or_named
from eyas.download import PUBLISHER
from eyas.errors import ModelError
from eyas.store import (
    DEFAULT_FEATURES,
    DEFAULT_MODEL,
    STORE,
    find_bundle,
    is_paddle_folder,
    local_model,
    local_path,
    published_weights,
)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """What training leaves: best_model with weights, best_model/inference with the bundle."""
    inference = tmp_path / "output" / "best_model" / "inference"
    inference.mkdir(parents=True)
    (inference / "bundle.json").write_text("{}")
    (inference / "model.onnx").write_bytes(b"")
    (inference.parent / "best_model.safetensors").write_bytes(b"")
    return tmp_path / "output"


@pytest.mark.parametrize(
    "spelling",
    [
        "", "best_model", "best_model/inference", "best_model/inference/bundle.json", "best_model/inference/model.onnx",
        "best_model/best_model.safetensors", "best_model/best_model.pdparams", "best_model/best_model/model.pdparams",
        "best_model/inference/inference.pdiparams", "best_model/best_model",
    ],
)  # fmt: skip
def test_every_spelling_of_a_trained_model(output: Path, spelling: str) -> None:
    assert resolve_model(None, output / spelling) == output / "best_model" / "inference"
    assert resolve_model("any", output / spelling) == output / "best_model" / "inference"


def test_a_directory_as_the_name(output: Path) -> None:
    assert resolve_model(str(output), None) == output / "best_model" / "inference"


def test_what_training_left_comes_first(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trained_or_named(output, "PP-YOLOE_plus_SOD-S") == output / "best_model" / "inference"
    monkeypatch.setenv("EYAS_HOME", str(output / "home"))
    monkeypatch.setenv("EYAS_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"PP-YOLOE_plus_SOD-S_infer\.tar.*EYAS_OFFLINE"):
        trained_or_named(output / "other", "PP-YOLOE_plus_SOD-S")
    monkeypatch.setattr(store, "BUNDLES", output.parent)
    output.rename(output.parent / DEFAULT_MODEL)
    assert resolve_model(None, None) == resolve_model(DEFAULT_MODEL, None)


def test_messages(tmp_path: Path) -> None:
    def said(name: str | None, path: Path | None = None) -> str:
        with pytest.raises(ModelError) as caught:
            resolve_model(name, path)
        return str(caught.value).replace(str(tmp_path), "T")

    assert said("PP-YOLOE_plus_SOD-XL") == "Unknown model 'PP-YOLOE_plus_SOD-XL'. Did you mean 'PP-YOLOE_plus_SOD-L'?"
    expected = "Expected a directory with bundle.json, as eyas train and eyas export write it"
    (tmp_path / "models").mkdir()
    assert said(None, tmp_path / "modles") == f"There is no model at T/modles. {expected}. Did you mean 'models'?"
    assert said(None, tmp_path / "a" / "b") == f"There is no model at T/a/b. {expected}."
    assert said(None, tmp_path / "models") == f"There is no model at T/models. {expected}; found nothing."
    (tmp_path / "models" / "w.safetensors").touch()
    assert said(None, tmp_path / "models") == (
        "T/models holds weights but no bundle. Make one: eyas export -c CONFIG -o "
        "Export.weight_path=T/models/w.safetensors"
    )
    (tmp_path / "models" / "inference.pdiparams").touch()
    paddle = f"holds part of a model of Paddle (inference.pdiparams). {expected}, or all of Paddle's files."
    assert said(None, tmp_path / "models") == f"T/models {paddle}"
    assert said(None, tmp_path / "models" / "inference.pdiparams") == f"T/models/inference.pdiparams {paddle}"


def test_find_bundle_takes_the_folder_itself_first(output: Path) -> None:
    (output / "bundle.json").write_text("{}")
    assert find_bundle(output) == output


# Published models

SMALL, REC = "PP-YOLOE_plus_SOD-S", "PP-ShiTuV2_rec"
FILES = {"inference.json": b"{}", "inference.pdiparams": bytes(5000), "inference.yml": b"Global: {}"}


def tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


ARCHIVE = tar({f"{SMALL}_infer/{name}": data for name, data in FILES.items()})


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where downloads end up."""
    monkeypatch.setenv("EYAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture
def zoo(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zoo]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "EYAS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    with open_zoo() as zoo:
        monkeypatch.setenv("EYAS_MODEL_MIRROR", zoo.address)
        zoo.files[f"/official_inference_model/paddle3.0rc0/{SMALL}_infer.tar"] = ARCHIVE
        zoo.files[f"/official_pretrained_model/{SMALL}_pretrained.pdparams"] = b"weights"
        yield zoo


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_table() -> None:
    assert list(STORE) == [
        "SOD-XS-thermal", "REC-XS-grocery", "PP-YOLOE_plus_SOD-S", "PP-YOLOE_plus_SOD-L",
        "PP-YOLOE_plus_SOD-largesize-L",
        "PP-ShiTuV2_det", "PP-ShiTuV2_rec", "PP-ShiTuV2_rec_CLIP_vit_base", "PP-ShiTuV2_rec_CLIP_vit_large",
    ]  # fmt: skip
    for name, entry in STORE.items():
        assert entry.name == name
        assert bool(entry.classes) == (entry.task == "detection") != bool(entry.features)
        assert entry.built_in == (entry.inference is None) == (entry.weights is None)
    assert [STORE[name].figures[0].percent for name in STORE] == [
        27.6,
        68.6,
        25.1,
        31.9,
        42.7,
        41.5,
        84.2,
        88.69,
        91.03,
    ]
    with pytest.raises(FrozenInstanceError):
        STORE[SMALL].name = "x"  # type: ignore[misc]


def test_the_built_in_model_is_what_the_table_says() -> None:
    manifest = Bundle.open(local_model(DEFAULT_MODEL)).manifest
    entry = STORE[DEFAULT_MODEL]
    assert (entry.task, entry.size_hw, entry.classes) == (
        manifest.task, manifest.preprocess.size_hw, manifest.names,
    )  # fmt: skip
    assert entry.figures[0].percent == round(100 * manifest.made["AP"], 1)


def test_the_addresses_of_all_published_files() -> None:
    base = "https://paddle-model-ecology.bj.bcebos.com/paddlex"
    assert base == PUBLISHER
    found = {
        (entry.inference.path, entry.weights.path) for entry in STORE.values() if entry.inference and entry.weights
    }
    assert found == {
        (
            f"official_inference_model/paddle3.0rc0/{name}_infer.tar",
            f"official_pretrained_model/{name}_pretrained.pdparams",
        )
        for name in set(STORE) - {DEFAULT_MODEL, DEFAULT_FEATURES}
    }


def test_a_model_is_fetched_and_unpacked_once(zoo: Zoo, models: Path) -> None:
    folder = local_model(SMALL)
    assert folder == models / f"{SMALL}_infer" / f"{SMALL}_infer"
    assert contents(folder) == FILES
    assert local_model(SMALL) == folder
    assert [asked.path for asked in zoo.asked] == [f"/official_inference_model/paddle3.0rc0/{SMALL}_infer.tar"]
    assert {path.name for path in models.iterdir()} == {
        f"{SMALL}_infer", f"{SMALL}_infer.json", f"{SMALL}_infer.lock", f"{SMALL}_infer.tar.lock",
    }  # fmt: skip
    record = json.loads((models / f"{SMALL}_infer.json").read_text())
    assert record["source"].startswith(f"{SMALL}_infer.tar with SHA-256 ")
    assert set(record["files"]) == {f"{SMALL}_infer/{name}" for name in FILES}


def test_weights(zoo: Zoo, models: Path) -> None:
    path = models / f"{SMALL}_pretrained.pdparams"
    assert local_path(SMALL, "weights") == path
    assert local_model(SMALL, "weights") == local_model(SMALL, "weights") == path
    assert path.read_bytes() == b"weights"
    assert published_weights(f"{PUBLISHER}/official_pretrained_model/{SMALL}_pretrained.pdparams") == path
    assert len(zoo.asked) == 1
    with pytest.raises(ModelError, match="is not the address of published weights"):
        published_weights("https://example.org/other.pdparams")
    with pytest.raises(ModelError, match="SOD-XS-thermal is built in: it is a bundle alone"):
        local_model(DEFAULT_MODEL, "weights")
    with pytest.raises(ModelError, match=f"Unknown model .*Did you mean '{SMALL}'"):
        local_model(SMALL.lower() + "x")


def test_a_model_that_cannot_be_had(zoo: Zoo, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="404") as caught:
        local_model(REC)
    assert f"put the file at {models / f'{REC}_infer.tar'} by hand" in str(caught.value)
    monkeypatch.setenv("EYAS_OFFLINE", "1")
    with pytest.raises(ModelError, match="EYAS_OFFLINE is set") as caught:
        local_model(SMALL)
    assert f"{zoo.address}/official_inference_model/paddle3.0rc0/{SMALL}_infer.tar" in str(caught.value)
    assert len(zoo.asked) == 1


@pytest.mark.parametrize("harm", ["changed", "added", "removed"])
def test_files_that_are_no_longer_as_they_came(zoo: Zoo, models: Path, harm: str) -> None:
    folder = local_model(SMALL)
    (folder / ".DS_Store").touch()  # hidden files do not count
    assert local_model(SMALL) == folder
    if harm == "changed":
        (folder / "inference.pdiparams").write_bytes(bytes(4999) + b"1")
    elif harm == "added":
        (folder / "inference.pdmodel").write_bytes(b"evil")
    else:
        (folder / "inference.yml").unlink()
    with pytest.raises(ModelError, match=rf"inference\.\w+ was {harm}.*Delete .*{SMALL}_infer and "):
        local_model(SMALL)
    shutil.rmtree(models / f"{SMALL}_infer")
    (models / f"{SMALL}_infer.json").unlink()
    assert contents(local_model(SMALL)) == FILES


def test_files_put_there_by_hand(zoo: Zoo, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYAS_OFFLINE", "1")
    models.mkdir(parents=True)
    (models / f"{SMALL}_infer.tar").write_bytes(ARCHIVE)
    assert contents(local_model(SMALL)) == FILES
    own = models / f"{REC}_infer"
    own.mkdir()
    for name, data in FILES.items():
        (own / name).write_bytes(data)
    assert local_model(REC) == own
    (own / "inference.yml").write_text("other")
    with pytest.raises(ModelError, match="was changed"):
        local_model(REC)
    assert zoo.asked == []


def test_an_archive_that_is_not_a_model_or_worse(zoo: Zoo, models: Path) -> None:
    path = f"/official_inference_model/paddle3.0rc0/{SMALL}_infer.tar"
    zoo.files[path] = file(b"../../evil") + END
    with pytest.raises(ModelError, match=r"'\.\./\.\./evil' leads out of the folder"):
        local_model(SMALL)
    zoo.files[path] = link(b"model", b"/etc") + END
    (models / f"{SMALL}_infer.tar").unlink()
    (models / f"{SMALL}_infer.tar.json").unlink()
    with pytest.raises(ModelError, match="'model' is a symbolic link"):
        local_model(SMALL)
    assert not (models / f"{SMALL}_infer").exists()
    assert {item.name for item in models.parent.parent.iterdir()} == {"home"}
    zoo.files[path] = tar({"readme": b"x"})
    (models / f"{SMALL}_infer.tar").unlink()
    (models / f"{SMALL}_infer.tar.json").unlink()
    with pytest.raises(ModelError, match="holds no model of Paddle. Expected inference.json"):
        local_model(SMALL)


def test_what_a_killed_process_left_is_cleared_away(zoo: Zoo, models: Path) -> None:
    draft = models / f".{SMALL}_infer.12345678"
    draft.mkdir(parents=True)
    (draft / "half").write_bytes(b"x")
    local_model(SMALL)
    assert not draft.exists()


def test_two_processes_fetch_and_unpack_once(zoo: Zoo, models: Path) -> None:
    code = "import logging; logging.basicConfig(level='INFO', format='%(message)s')\n"
    code += f"from eyas.store import local_model; print(local_model({SMALL!r}))"

    def start() -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)  # type: ignore[call-overload,no-any-return]

    zoo.steps = [Step(send=2000, gate=True)]
    first = start()
    assert zoo.reached.wait(60)
    second = start()
    assert second.stderr is not None
    assert second.stderr.readline() == f"waiting for another process that fetches {SMALL}_infer\n"
    zoo.gate.set()
    folder = str(models / f"{SMALL}_infer" / f"{SMALL}_infer")
    assert [process.communicate(timeout=60)[0].strip() for process in (first, second)] == [folder] * 2
    assert len(zoo.asked) == 1


def test_the_list_says_what_is_here(zoo: Zoo, capsys: pytest.CaptureFixture[str]) -> None:
    def lines() -> dict[str, str]:
        list_models()
        return {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}

    before = lines()
    assert list(before)[: len(STORE)] == list(STORE)
    assert before[DEFAULT_MODEL].split()[1:5] == ["built", "in", "detection", "640x512,"]
    for word in ("to download", "detection 640x640", "classes: 10", "AP 25.1 (VisDrone val)", "77 MB", "Apache-2.0"):
        assert word in before[SMALL]
    assert "vector: 512" in before[REC] and "Recall@1 84.2 (AliProducts)" in before[REC]
    assert before["PP-YOLOE_plus_SOD-XS"].split()[1:] == ["to", "train"]
    local_model(SMALL)
    assert "cached: inference  " in lines()[SMALL]
    local_model(SMALL, "weights")
    converted_bundle(SMALL).mkdir(parents=True)
    assert "cached: bundle, inference, weights" in lines()[SMALL]
    assert len(zoo.asked) == 2  # the list itself asks nobody


@pytest.mark.parametrize(
    ("names", "yes"),
    [
        (["inference.json", "inference.pdiparams"], True),
        (["inference.pdmodel", "inference.pdiparams"], True),
        (["model.pdmodel", "model.pdiparams"], True),
        (["model.json", "model.pdiparams", "readme"], True),
        (["best_model.pdparams"], True),
        (["inference.json"], False),
        (["inference.pdiparams"], False),
        (["model.json", "inference.pdiparams"], False),
        (["bundle.json", "model.onnx"], False),
        ([], False),
    ],
)
def test_what_paddle_wrote(tmp_path: Path, names: list[str], yes: bool) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert is_paddle_folder(tmp_path) == yes
    for name in names:
        assert is_paddle_folder(tmp_path / name) == (yes and name != "readme")
    assert not is_paddle_folder(tmp_path / "nowhere")
    assert not is_paddle_folder(tmp_path / "nowhere.pdparams")
