"""Paddle's models through the public calls: converted, kept in the cache, predicted with, trained from."""

import io
import json
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import ROOT
from tests.reference.weights import check, image, state_dict
from tests.zoo_server import open_zoo

from eyas import create_model, create_pipeline
from eyas.backends import open_backend
from eyas.bundle import AnyManifest, Bundle, Manifest, need_task
from eyas.cli import app
from eyas.config import load_module_config
from eyas.convert import convert, resolve_model
from eyas.data.synthetic import scene, write_dataset
from eyas.errors import ModelError
from eyas.evaluate import run as evaluate
from eyas.export import run as export
from eyas.models import build_detector
from eyas.models.backend import load_pretrained, open_weights
from eyas.models.files import find_weights
from eyas.models.weights import from_published
from eyas.paddle.pickles import read_pdparams
from eyas.pipelines.embedder import Embedder
from eyas.store import STORE

S, DET, REC = "PP-YOLOE_plus_SOD-S", "PP-ShiTuV2_det", "PP-ShiTuV2_rec"
PROGRAMS = ("pir", "pir30", "pdmodel")
VISDRONE = ("pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EYAS_OFFLINE", "1")


@pytest.fixture(scope="session")
def formats() -> Path:
    folder = ROOT.parent / "shared" / "reference" / "formats"
    if not folder.is_dir():
        pytest.skip(f"files that Paddle wrote are not at {folder}")
    return folder


def write_pdparams(name: str, folder: Path) -> Path:
    """The formula weights of a published network, as Paddle would save them."""
    params = json.loads((ROOT / "tests" / "reference" / name / "params.json").read_text())["params"]
    state: dict[str, object] = dict(state_dict(params))
    state["StructuredToParameterName@@"] = {key: key for key in state}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_pretrained.pdparams"
    path.write_bytes(pickle.dumps(state, protocol=4))
    return path


@pytest.fixture(scope="module")
def weights_of_s(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pdparams(S, tmp_path_factory.mktemp("weights"))


def names_of(manifest: AnyManifest) -> tuple[str, ...]:
    return need_task(manifest, Manifest).names


# Exported models


def test_the_three_formats_predict_the_same(formats: Path) -> None:
    picture = scene(3).image
    found = []
    for program in PROGRAMS:
        model = create_model(S, model_dir=formats / "sod_tiny" / program, threshold=0.05)
        (result,) = model.predict(picture)
        assert result.names == VISDRONE
        found.append(result)
    assert len(found[0].scores) > 20
    for other in found[1:]:
        np.testing.assert_array_equal(other.class_ids, found[0].class_ids)
        np.testing.assert_allclose(other.boxes_xyxy, found[0].boxes_xyxy, atol=0.01)
        np.testing.assert_allclose(other.scores, found[0].scores, atol=1e-4)


@pytest.mark.parametrize("program", PROGRAMS)
def test_embeddings_are_those_of_paddle(formats: Path, tmp_path: Path, program: str) -> None:
    reference = np.load(formats / "reference.npz")["rec_tiny.features"]
    bundle = Bundle.open(convert(formats / "rec_tiny" / program, tmp_path / "bundle"))
    inputs = image("rec_tiny/ref", (2, 3, 224, 224))
    for engine in ("openvino", "onnxruntime"):
        embedder = Embedder(bundle.manifest, open_backend(bundle, device="cpu", engine=engine))
        expected = reference / np.linalg.norm(reference, axis=1, keepdims=True)
        np.testing.assert_allclose(embedder.embed_prepared(list(inputs)), expected, atol=1e-5)


def test_a_feature_model_from_its_folder(formats: Path) -> None:
    (result,) = create_model(REC, model_dir=str(formats / "rec_tiny" / "pir30")).predict(scene(1).image)
    assert result["feature"].shape == (32,)
    assert np.linalg.norm(result["feature"]) == pytest.approx(1, abs=1e-6)


def test_a_pipeline_file_with_a_paddle_folder(formats: Path) -> None:
    module = {"model_name": S, "model_dir": str(formats / "sod_tiny" / "pdmodel"), "threshold": 0.1}
    pipeline = create_pipeline(
        config={"pipeline_name": "small_object_detection", "SubModules": {"SmallObjectDetection": module}}
    )
    assert len(next(iter(pipeline.predict(scene(3).image))).scores)


def test_it_is_converted_once(formats: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(formats / "rec_tiny" / "pir", own)
    first = resolve_model(None, own)
    written = (first / "bundle.json").stat().st_mtime_ns
    assert resolve_model(None, own) == first
    assert (first / "bundle.json").stat().st_mtime_ns == written
    assert not any(own.glob("*.onnx"))  # nothing is written beside the user's files
    text = (own / "inference.yml").read_text().replace("0.485", "0.475")
    (own / "inference.yml").unlink()
    (own / "inference.yml").write_text(text)
    second = resolve_model(None, own)
    assert second != first
    assert Bundle.open(second).manifest.preprocess != Bundle.open(first).manifest.preprocess


def test_another_model_than_asked_for(formats: Path) -> None:
    with pytest.raises(ModelError, match=r"holds the model PP-ShiTuV2_rec, and PP-YOLOE_plus_SOD-S was asked for"):
        create_model(S, model_dir=formats / "rec_tiny" / "pir")


def test_archive_with_a_folder_inside(formats: Path, tmp_path: Path) -> None:
    archive = tmp_path / "rec_infer.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(formats / "rec_tiny" / "pir", "rec_infer", filter=lambda member: member)
    bundle = Bundle.open(convert(archive, tmp_path / "bundle"))
    assert bundle.manifest.task == "embedding"


def test_own_class_names(formats: Path, tmp_path: Path) -> None:
    names = [f"kind {number}" for number in range(10)]
    bundle = Bundle.open(convert(formats / "sod_tiny" / "pir", tmp_path / "bundle", classes=names))
    assert names_of(bundle.manifest) == tuple(names)
    with pytest.raises(ModelError, match=r"the network has 10 classes, and 2 names came: a, b"):
        convert(formats / "sod_tiny" / "pir", tmp_path / "other", classes=["a", "b"])


def test_an_exported_model_cannot_be_trained_further(formats: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"its branches are merged, so it cannot be trained further"):
        convert(formats / "sod_tiny" / "pir", tmp_path / "weights.safetensors")


# Weights


def test_weights_become_a_bundle_with_the_published_numbers(weights_of_s: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(convert(weights_of_s, tmp_path / "bundle"))
    manifest = bundle.manifest
    assert (manifest.model, names_of(manifest)) == (S, VISDRONE)
    assert manifest.preprocess.size_hw == (640, 640)
    case = json.loads((ROOT / "tests" / "reference" / S / "cases.json").read_text())["cases"]["eval640"]["image"]
    inputs = {"image": image(case["name"], case["shape"]) * np.float32(255)}
    expected = np.load(ROOT / "tests" / "reference" / S / "outputs.npz")
    for engine in ("openvino", "onnxruntime"):
        found = open_backend(bundle, device="cpu", engine=engine).run(inputs)
        for ours, theirs in (("scores", "raw_scores"), ("distances", "raw_dist")):
            largest = np.abs(expected[f"eval640.{theirs}__vals"]).max()
            assert check(f"eval640.{theirs}", found[ours], expected) <= 1e-4 * largest


def test_weights_to_train_from(weights_of_s: Path, tmp_path: Path) -> None:
    target = convert(weights_of_s, tmp_path / "start.safetensors")
    model, manifest = open_weights(target)
    paddle, _ = open_weights(weights_of_s)
    assert names_of(manifest) == VISDRONE
    for name, value in paddle.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), value.numpy())


@pytest.mark.parametrize("name", [DET, REC])
def test_the_network_is_recognised_by_its_tensors(name: str, tmp_path: Path) -> None:
    path = write_pdparams(name, tmp_path).rename(tmp_path / "model.pdparams")
    bundle = Bundle.open(convert(path, tmp_path / "bundle"))
    assert bundle.manifest.model == name
    (result,) = create_model(model_dir=tmp_path / "bundle").predict(scene(2).image)
    if name == REC:
        assert result["feature"].shape == (512,)


def test_weights_of_no_published_network(tmp_path: Path) -> None:
    path = tmp_path / "odd.pdparams"
    path.write_bytes(pickle.dumps({"conv.weight": np.zeros((3, 3, 1, 1), np.float32)}, protocol=4))
    with pytest.raises(ModelError, match=r"are those of no published network. Nearest is .* missing, first: "):
        convert(path, tmp_path / "bundle")


def test_weights_of_another_network_than_named(weights_of_s: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"do not fit PPYOLOE: \d+ missing, first: "):
        convert(weights_of_s, tmp_path / "bundle", model="PP-YOLOE_plus_SOD-L")


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing is no model of Paddle. Expected a folder with inference.json"):
        convert(tmp_path / "nothing", tmp_path / "bundle")
    for name in ("a", "b"):
        (tmp_path / f"{name}.pdparams").write_bytes(b"")
    with pytest.raises(ModelError, match=r"holds several weights \(a.pdparams, b.pdparams\). Name one of them"):
        convert(tmp_path, tmp_path / "bundle")


def test_training_starts_from_them_with_other_classes(weights_of_s: Path) -> None:
    model = build_detector(S, 4)
    load_pretrained(model, weights_of_s)
    state, given = model.state_dict(), from_published(read_pdparams(weights_of_s))
    fresh = {name for name in given if ".pred_cls." in name}
    assert len(fresh) == 6
    for name in given.keys() - fresh:
        np.testing.assert_array_equal(state[name].numpy(), given[name].numpy())


def test_they_are_measured_with_the_classes_of_the_data(weights_of_s: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_dataset(data, train=0, val=1)
    file = data / "annotations" / "instance_val.json"
    content = json.loads(file.read_text())
    content["categories"] = [{"id": place + 1, "name": f"kind {place}"} for place in range(10)]
    file.write_text(json.dumps(content))
    overrides = [f"Global.dataset_dir={data}", f"Global.output={tmp_path}/out", f"Evaluate.weight_path={weights_of_s}"]
    assert evaluate.run(load_module_config(S, overrides)).metrics.images == 1
    content["categories"].pop()
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"have 10 classes. The dataset's or given names are 9: kind 0, "):
        evaluate.run(load_module_config(S, overrides))


@pytest.mark.slow
@pytest.mark.parametrize("name", [entry.name for entry in STORE.values() if entry.weights is not None])
def test_every_published_model_is_converted_from_its_weights(name: str, tmp_path: Path) -> None:
    bundle = Bundle.open(convert(write_pdparams(name, tmp_path), tmp_path / "bundle"))
    assert bundle.manifest.model == name
    assert bundle.manifest.made["export_check"]["images"] > 0


@pytest.mark.slow
def test_export_takes_them(weights_of_s: Path, tmp_path: Path) -> None:
    overrides = [f"Global.output={tmp_path}/bundle", f"Export.weight_path={weights_of_s}", "Export.threshold=0.3"]
    manifest = Bundle.open(export.run(load_module_config(S, overrides))).manifest
    assert (names_of(manifest), need_task(manifest, Manifest).threshold) == (VISDRONE, 0.3)


# By name


def test_a_published_name_is_fetched_once(formats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EYAS_OFFLINE")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(formats / "sod_tiny" / "pir30", f"{S}_infer")
    with open_zoo() as zoo:
        monkeypatch.setenv("EYAS_MODEL_MIRROR", zoo.address)
        zoo.files[f"/official_inference_model/paddle3.0rc0/{S}_infer.tar"] = archive.getvalue()
        first = list(create_model(S, threshold=0.05).predict(scene(3).image))
        assert [asked.path.rpartition("/")[2] for asked in zoo.asked] == [f"{S}_infer.tar"]
    monkeypatch.setenv("EYAS_OFFLINE", "1")
    (again,) = create_model(S, threshold=0.05).predict(scene(3).image)
    np.testing.assert_array_equal(again.boxes_xyxy, first[0].boxes_xyxy)
    pipeline = create_pipeline(
        config={"pipeline_name": "small_object_detection", "SubModules": {"SmallObjectDetection": {"model_name": S}}}
    )
    assert next(iter(pipeline.predict(scene(3).image))).names == VISDRONE


def test_the_address_of_published_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"https://paddle-model-ecology.bj.bcebos.com/paddlex/official_pretrained_model/{REC}_pretrained.pdparams"
    with pytest.raises(ModelError, match=rf"cannot download {address}: EYAS_OFFLINE is set"):
        find_weights(address)
    place = write_pdparams(REC, tmp_path / "home" / "models")
    assert find_weights(address) == place
    with pytest.raises(ModelError, match="is not the address of published weights"):
        find_weights("https://example.org/other.pdparams")


def test_command_line(formats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"kind {place}\n" for place in range(10)))
    source, target = formats / "sod_tiny" / "pdmodel", tmp_path / "bundle"
    app(["convert", str(source), str(target), "--classes", str(names)], standalone_mode=False)
    assert capsys.readouterr().out == f"{target}\n"
    assert names_of(Bundle.open(target).manifest)[9] == "kind 9"
