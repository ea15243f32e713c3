"""Bundles: written whole, read strictly, checked by their sums."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import embedding_manifest, manifest

from eyas.bundle import Bundle, EmbeddingManifest, Manifest, manifest_from_dict, need_task
from eyas.convert import resolve_model
from eyas.errors import ModelError
from eyas.vision.decode import HeadSpec
from eyas.vision.preprocess import Preprocess


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "any.onnx"
    path.write_bytes(b"network")
    return path


def edit(bundle: Bundle, **changes: Any) -> None:
    path = bundle.path / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_create_then_open(tmp_path: Path, network: Path) -> None:
    described = manifest(
        head=HeadSpec(strides=(32, 16, 8, 4), nms_iou=0.5),
        preprocess=Preprocess((64, 96), resize="letterbox", interpolation="area"),
        names=("người", "auto"),
        source_ids=(7, 3),
        threshold=0.25,
        made={"epochs": 3, "ap": 0.1, "data": {"name": "x"}},
    )
    created = Bundle.create(tmp_path / "a" / "b", described, {"model.onnx": network})
    opened = Bundle.open(tmp_path / "a" / "b")
    assert opened == created
    assert replace(opened.manifest, files={}) == described
    assert opened.network.read_bytes() == b"network"
    assert [item.name for item in (tmp_path / "a").iterdir()] == ["b"]


def test_checksums_are_those_of_the_files(tmp_path: Path, network: Path) -> None:
    bundle = Bundle.create(tmp_path / "b", manifest(), {"model.onnx": network})
    # printf network | sha256sum
    expected = "3009be769fb8f956e8413ee9f3e0836e34968bc40457d0a10c549d2edcf00cc1"
    assert bundle.manifest.files == {"model.onnx": expected}


def test_a_changed_file_is_named(tmp_path: Path, network: Path) -> None:
    bundle = Bundle.create(tmp_path / "b", manifest(), {"model.onnx": network, "extra.bin": network})
    (bundle.path / "extra.bin").write_bytes(b"netw0rk")
    with pytest.raises(ModelError, match=r"b/extra\.bin was changed or damaged: its SHA-256 is"):
        Bundle.open(bundle.path)
    assert Bundle.open(bundle.path, verify=False).manifest == bundle.manifest


def test_a_missing_file_is_named_even_without_verification(tmp_path: Path, network: Path) -> None:
    bundle = Bundle.create(tmp_path / "b", manifest(), {"model.onnx": network})
    bundle.network.unlink()
    with pytest.raises(ModelError, match=r"is not a whole bundle: model\.onnx is missing"):
        Bundle.open(bundle.path, verify=False)


def test_what_is_no_bundle_is_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere is not a bundle: the folder is missing"):
        Bundle.open(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"is not a bundle: bundle\.json is missing"):
        Bundle.open(tmp_path)


def test_another_format_version_is_refused_before_its_keys(tmp_path: Path, network: Path) -> None:
    bundle = Bundle.create(tmp_path / "b", manifest(), {"model.onnx": network})
    edit(bundle, format_version=2, colour="red")
    with pytest.raises(ModelError, match=r"bundle\.json: format_version: this eyas reads version 1, got 2"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"treshold": 0.5}, r"treshold: unknown key\. Did you mean 'threshold'\?"),
        ({"head": {**HeadSpec().to_dict(), "nms": 1}}, r"head\.nms: unknown key\. Did you mean 'nms_iou'\?"),
        ({"head": {"kind": "ppyoloe"}}, r"head\.strides: missing"),
        ({"head": None}, r"head: expected an object with named values, got None"),
        ({"preprocess": {**Preprocess((8, 8)).to_dict(), "size_hw": "8x8"}}, r"preprocess\.size_hw: expected a list"),
        ({"outputs": "scores"}, r"outputs: expected a list of texts, got 'scores'"),
        ({"threshold": "0.5"}, r"threshold: expected a number, got '0\.5'"),
        ({"threshold": 2}, r"threshold: expected a number from 0 to 1, got 2"),
        ({"names": ["a", 1]}, r"names: expected a list of texts"),
        ({"names": []}, r"names: expected at least one class name"),
        ({"source_ids": [1]}, r"source_ids: expected 3, one for each name, got 1"),
        ({"task": "poetry"}, r"task: expected one of detection, embedding, got 'poetry'"),
        ({"task": ["detection"]}, r"task: expected one of detection, embedding, got \['detection'\]"),
        ({"task": "embedding"}, r"head: unknown key"),
        ({"files": {"../x": "00"}}, r"files: expected plain file names inside the bundle, got '\.\./x'"),
        ({"files": {"model.onnx": 5}}, r"files\.model\.onnx: expected a text, got 5"),
        ({"files": {}}, r"files: model\.onnx is missing"),
    ],
)
def test_wrong_manifests_are_explained(tmp_path: Path, network: Path, changes: dict[str, Any], message: str) -> None:
    bundle = Bundle.create(tmp_path / "b", manifest(), {"model.onnx": network})
    edit(bundle, **changes)
    with pytest.raises(ModelError, match=r"bundle\.json: " + message):
        Bundle.open(bundle.path)


def test_broken_json_is_explained(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{")
    with pytest.raises(ModelError, match=r"bundle\.json is not readable as JSON: Expecting"):
        Bundle.open(tmp_path)
    (tmp_path / "bundle.json").write_text("[]")
    with pytest.raises(ModelError, match=r"manifest: expected an object with named values, got \[\]"):
        Bundle.open(tmp_path)


def test_a_bundle_replaces_a_bundle(tmp_path: Path, network: Path) -> None:
    Bundle.create(tmp_path / "b", manifest(), {"model.onnx": network, "old.bin": network})
    Bundle.create(tmp_path / "b", manifest(threshold=0.1), {"model.onnx": network})
    assert sorted(item.name for item in (tmp_path / "b").iterdir()) == ["bundle.json", "model.onnx"]
    assert Bundle.open(tmp_path / "b").manifest.threshold == 0.1
    assert sorted(item.name for item in tmp_path.iterdir()) == ["any.onnx", "b"]


def test_other_files_are_never_deleted(tmp_path: Path, network: Path) -> None:
    target = tmp_path / "b"
    Bundle.create(target, manifest(), {"model.onnx": network})
    (target / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"holds files that are no part of a bundle \(notes\.txt\)"):
        Bundle.create(target, manifest(), {"model.onnx": network})
    with pytest.raises(ModelError, match="is a file"):
        Bundle.create(network, manifest(), {"model.onnx": network})
    assert (target / "notes.txt").read_text() == "mine"


def test_a_failed_creation_leaves_nothing(tmp_path: Path, network: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Bundle.create(tmp_path / "b", manifest(), {"model.onnx": network, "more": tmp_path / "absent"})
    with pytest.raises(ModelError, match=r"A bundle needs model\.onnx, got net\.onnx"):
        Bundle.create(tmp_path / "b", manifest(), {"net.onnx": network})
    assert [item.name for item in tmp_path.iterdir()] == ["any.onnx"]


def test_to_dict_is_plain_and_from_dict_reads_it() -> None:
    described = manifest(made={"a": [1, 2]})
    assert Manifest.from_dict(json.loads(json.dumps(described.to_dict()))) == described


def test_a_bundle_of_a_feature_model(tmp_path: Path, network: Path) -> None:
    described = embedding_manifest((224, 224), 512, model="PP-ShiTuV2_rec", input_name="x", made={"by": "test"})
    created = Bundle.create(tmp_path / "b", described, {"model.onnx": network})
    opened = Bundle.open(tmp_path / "b")
    assert opened == created
    assert replace(opened.manifest, files={}) == described
    written = json.loads((tmp_path / "b" / "bundle.json").read_text())
    assert (written["task"], written["width"], written["outputs"]) == ("embedding", 512, ["features"])
    assert not {"head", "names", "source_ids", "threshold"} & set(written)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, r"width: expected 1 or more, the length of a feature, got 0"),
        ({"width": 512.0}, r"width: expected a whole number, got 512\.0"),
        ({"outputs": ["features", "logits"]}, r"outputs: expected one, the features, got \['features', 'logits'\]"),
        ({"threshold": 0.5}, r"threshold: unknown key"),
        ({"task": "detection"}, r"width: unknown key"),
        ({"files": {"a/b": "00"}}, r"files: expected plain file names"),
    ],
)
def test_wrong_manifests_of_feature_models(
    tmp_path: Path, network: Path, changes: dict[str, Any], message: str
) -> None:
    bundle = Bundle.create(tmp_path / "b", embedding_manifest(), {"model.onnx": network})
    edit(bundle, **changes)
    with pytest.raises(ModelError, match=r"bundle\.json: " + message):
        Bundle.open(bundle.path)


def test_the_task_says_which_manifest_it_is() -> None:
    for described in (manifest(), embedding_manifest()):
        assert manifest_from_dict(json.loads(json.dumps(described.to_dict()))) == described
    with pytest.raises(ModelError, match=r"task: expected one of detection, got 'embedding'"):
        Manifest.from_dict(embedding_manifest().to_dict())
    assert need_task(manifest(), Manifest) == manifest()
    with pytest.raises(ModelError, match="The model Fake is for detection, and one for embedding is needed here"):
        need_task(manifest(), EmbeddingManifest)


def test_a_bundle_without_a_task_is_told_so(tmp_path: Path, network: Path) -> None:
    bundle = Bundle.create(tmp_path / "b", manifest(), {"model.onnx": network})
    path = bundle.path / "bundle.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "task"}))
    with pytest.raises(ModelError, match=r"bundle\.json: task: missing"):
        Bundle.open(bundle.path)


def test_the_built_in_bundle_is_what_is_written_today() -> None:
    """Its file has every key in the order of `to_dict`, and its network the checksum."""
    path = resolve_model(None, None)
    bundle = Bundle.open(path)
    assert isinstance(bundle.manifest, Manifest)
    assert (path / "bundle.json").read_text() == json.dumps(bundle.manifest.to_dict(), indent=2) + "\n"
