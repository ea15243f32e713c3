"""Galleries of PaddleX, NumPy and Parquet come in and go out whole; what is damaged or hostile is refused."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import yaml

from eyas.errors import ConfigError, GalleryError
from eyas.index import exchange, faiss_files, id_map
from eyas.index.exchange import FORMS, Form, export_index, import_index, is_paddlex_index
from eyas.index.gallery import Gallery
from eyas.index.records import KINDS, Kind, ModelIdentity, NewItem

LABELS = ["milk", "red shoe", "元气森林", 'say "hi"', "it's", "on", "007", "1e3", "null", "a: b # c", "- x", "🦅 eagle"]
LABELS += ["two\u2028lines", "  kept  ", "long " * 40 + "label", "\\n", "#tag", "%", "@home", "~", "?", "'quoted'"]
WIDTH = 16


def vectors(count: int, seed: int = 0) -> Any:
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def paddlex(folder: Path, index: Any, labels: dict[int, str], metric: str = "IP", kind: str = "Flat") -> Path:
    """A folder as PaddleX saves it, by the same calls."""
    folder.mkdir(exist_ok=True)
    faiss.write_index(index, str(folder / "vector.index"))
    content = {"id_map": labels, "index_type": kind, "metric_type": metric}
    text = yaml.dump(content, Dumper=yaml.SafeDumper, default_flow_style=False, allow_unicode=True)
    (folder / "id_map.yaml").write_text(text, encoding="utf-8")
    return folder


def built(kind: str, metric: int, rows: Any, ids: Any) -> Any:
    index = faiss.IndexIDMap2(faiss.index_factory(WIDTH, kind, metric))
    index.train(rows)
    index.add_with_ids(rows, ids)
    return index


@pytest.mark.parametrize("metric", ["IP", "L2"])
@pytest.mark.parametrize(("kind", "factory"), [("HNSW32", "HNSW32"), ("Flat", "Flat"), ("IVF", "IVF2,Flat")])
def test_what_paddlex_saved(tmp_path: Path, kind: Kind, factory: str, metric: str) -> None:
    rows = vectors(len(LABELS))
    number = faiss.METRIC_INNER_PRODUCT if metric == "IP" else faiss.METRIC_L2
    folder = paddlex(
        tmp_path / "index", built(factory, number, rows, np.arange(len(rows))), dict(enumerate(LABELS)), metric, kind
    )
    found = import_index(folder)
    assert np.array_equal(found.vectors, rows) and found.labels == tuple(LABELS)
    assert (found.kind, found.metric, found.model) == (kind, metric, None)
    assert found.ids.tolist() == list(range(len(rows)))
    assert [item.metadata for item in found.items] == [{"paddlex_id": n} for n in range(len(rows))]
    assert is_paddlex_index(folder) and np.array_equal(import_index(folder / "vector.index").vectors, rows)


def test_ids_with_gaps_equal_vectors_and_removals(tmp_path: Path) -> None:
    rows = np.repeat(vectors(5), 2, axis=0)
    index = built("Flat", faiss.METRIC_INNER_PRODUCT, rows, np.arange(10)[::-1].copy())
    index.remove_ids(np.array([3, 7]))
    kept = [0, 1, 2, 4, 5, 6, 8, 9]
    found = import_index(paddlex(tmp_path / "index", index, {n: f"label {n}" for n in kept}))
    assert found.ids.tolist() == kept and found.labels == tuple(f"label {n}" for n in kept)
    assert np.array_equal(found.vectors, rows[::-1][kept])
    assert len({item.content_hash for item in found.items}) == 8
    with Gallery.create(None, width=WIDTH) as gallery:
        assert len(gallery.append(found.vectors, found.items).added) == 8
        assert gallery.find(where={"paddlex_id": 9}).tolist() == [7]


def test_removals_from_ivf(tmp_path: Path) -> None:
    rows = vectors(40)
    index = built("IVF4,Flat", faiss.METRIC_L2, rows, np.arange(100, 140))
    index.remove_ids(np.array([101, 120]))
    kept = [n for n in range(100, 140) if n not in (101, 120)]
    folder = paddlex(tmp_path / "index", index, {n: str(n) for n in kept}, "L2", "IVF")
    found = import_index(folder)
    assert found.ids.tolist() == kept and np.array_equal(found.vectors, rows[np.array(kept) - 100])
    index.add_with_ids(vectors(2, seed=1), np.array([200, 201]))
    paddlex(folder, index, {n: str(n) for n in [*kept, 200, 201]}, "L2", "IVF")
    with pytest.raises(GalleryError, match="two have one number since: build it anew"):
        import_index(folder)


@pytest.mark.parametrize("factory", ["Flat", "HNSW32", "IVF4,Flat", "IDMap,Flat"])
def test_indexes_without_an_id_map_of_their_own(tmp_path: Path, factory: str) -> None:
    rows = vectors(40)
    index = faiss.index_factory(WIDTH, factory, faiss.METRIC_L2)
    index.train(rows)
    ids = np.arange(40) * (1 if factory in ("Flat", "HNSW32") else 3)
    if factory in ("Flat", "HNSW32"):
        index.add(rows)
    else:
        index.add_with_ids(rows, ids)
    found = import_index(paddlex(tmp_path / "index", index, {int(n): "x" for n in ids}, "L2"))
    assert np.array_equal(found.vectors, rows) and found.ids.tolist() == ids.tolist()


@pytest.mark.parametrize("factory", ["BFlat", "BHNSW32", "BIVF2"])
def test_binary_indexes_come_in_as_signs(tmp_path: Path, factory: str) -> None:
    bits = np.packbits(vectors(40) > 0, axis=1)
    inner = faiss.index_binary_factory(WIDTH, factory)
    index = faiss.IndexBinaryIDMap2(inner)
    index.train(bits)
    index.add_with_ids(bits, np.arange(5, 45))
    folder = paddlex(tmp_path / "index", faiss.IndexFlatL2(1), {n: "x" for n in range(5, 45)}, "hamming")
    faiss.write_index_binary(index, str(folder / "vector.index"))
    found = import_index(folder)
    assert np.array_equal(found.vectors, np.sign(vectors(40))) and found.metric == "hamming"


@pytest.mark.parametrize("name", ["index_info.yaml", "id_map.yaml"])
@pytest.mark.parametrize(
    "text",
    [
        "id_map: {0: milk, 1: 'it''s', 2: \"a\\tb\"}\nmetric_type: IP\nindex_type: Flat\n",
        "metric_type: IP\nid_map:\n  0: milk\n  1: 'it''s'\n  2: \"a\\tb\"\nindex_type: Flat\n",
        "metric_type: IP\r\nid_map:\r\n    '0': milk\r\n    \"1\": 'it''s'\r\n    2: \"a\\tb\"\r\nindex_type: Flat\r\n",
    ],
)
def test_forms_of_the_yaml(tmp_path: Path, name: str, text: str) -> None:
    folder = paddlex(tmp_path / "index", built("Flat", 0, vectors(3), np.arange(3)), {})
    (folder / "id_map.yaml").unlink()
    (folder / name).write_text(text.replace("\\t", "-"), newline="")
    assert import_index(folder).labels == ("milk", "it's", "a-b")
    assert id_map.read_id_map(folder).kind == "Flat"


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("old_numpy", [False, True])
def test_labels_pickled_by_older_versions(tmp_path: Path, protocol: int, old_numpy: bool) -> None:
    labels = LABELS * 30
    folder = paddlex(tmp_path / "index", built("Flat", 0, vectors(len(labels)), np.arange(len(labels))), {})
    (folder / "id_map.yaml").unlink()
    data = pickle.dumps({np.int64(n): label for n, label in enumerate(labels)}, protocol)
    if old_numpy:
        new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
        data = data.replace(b"\x8c\x16" + new, b"\x8c\x15" + old).replace(b"c" + new, b"c" + old)
        data = b"\x80\x04" + data[11:] if protocol == 4 else data  # the frame's size does not fit any more
    (folder / "id_map.pkl").write_bytes(data)
    found = import_index(folder)
    assert found.labels == tuple(labels) and found.kind == "Flat" and found.metric == "IP"
    (folder / "id_map.pkl").write_bytes(
        pickle.dumps({"id_map": dict(enumerate(labels)), "metric_type": "IP"}, protocol)
    )
    assert id_map.read_id_map(folder).labels == dict(enumerate(labels))


@pytest.fixture
def gallery() -> Any:
    """A gallery with gaps in its ids, of a model."""
    model = ModelIdentity("PP-ShiTuV2_rec", "ab" * 32, WIDTH)
    with Gallery.create(None, width=WIDTH, kind="Flat", model=model) as made:
        items = [
            NewItem(
                label, f"{n:064x}", f"images/{n}, é.jpg" if n % 2 else None, {"n": n, "tags": ["ü", {"deep": None}]}
            )
            for n, label in enumerate(LABELS)
        ]
        made.append(vectors(len(items)), items)
        made.remove([2, 5])
        yield made


@pytest.mark.parametrize("form", ["npy", "parquet"])
def test_plain_exports_come_back_whole(tmp_path: Path, gallery: Gallery, form: Form) -> None:
    target = tmp_path / ("out.parquet" if form == "parquet" else "out")
    files = export_index(gallery, target, form)
    assert all(file.is_file() for file in files) and len(list(tmp_path.iterdir())) == 1
    found = import_index(target)
    ids = gallery.state().ids
    assert found.ids.tolist() == ids.tolist() and np.array_equal(found.vectors, gallery.vectors(ids))
    assert (found.kind, found.metric, found.model) == ("Flat", "IP", gallery.info.model)
    for new, old in zip(found.items, gallery.get(ids), strict=True):
        assert (new.label, new.content_hash, new.source, dict(new.metadata)) == (
            *(old.label, old.content_hash, old.source, old.metadata),
        )


@pytest.mark.parametrize("metric", ["IP", "L2"])
@pytest.mark.parametrize("kind", KINDS)
def test_exports_for_paddlex(tmp_path: Path, kind: Kind, metric: Any) -> None:
    with Gallery.create(None, width=WIDTH, kind=kind, metric=metric) as gallery:
        gallery.append(vectors(22), [NewItem(label, str(n)) for n, label in enumerate(LABELS)])
        gallery.remove([0, 20])
        export_index(gallery, tmp_path / "deep" / "index", "paddlex")
        ids = gallery.state().ids
    folder = tmp_path / "deep" / "index"
    # What PaddleX does when it loads and searches.
    index = faiss.read_index(str(folder / "vector.index"))
    info = yaml.safe_load((folder / "id_map.yaml").read_text(encoding="utf-8"))
    labels = {np.int64(key): str(label) for key, label in info["id_map"].items()}
    assert isinstance(faiss.downcast_index(index), faiss.IndexIDMap2) and index.ntotal == len(labels) == 20
    assert (info["metric_type"], info["index_type"]) == (metric, kind)
    assert (folder / "index_info.yaml").read_bytes() == (folder / "id_map.yaml").read_bytes()
    _, found = index.search(vectors(22)[ids], 1)
    assert [labels[number] for number in found[:, 0]] == [LABELS[number] for number in ids]
    back = import_index(folder)
    assert np.array_equal(back.vectors, vectors(22)[ids]) and back.ids.tolist() == ids.tolist()
    assert back.labels == tuple(LABELS[number] for number in ids) and back.kind == kind


def test_six_vectors_in_ivf_can_be_searched_by_paddlex(tmp_path: Path) -> None:
    with Gallery.create(None, width=WIDTH, kind="IVF") as gallery:
        gallery.append(vectors(6), [NewItem("x", str(n)) for n in range(6)])
        export_index(gallery, tmp_path / "index", "paddlex")
    index = faiss.read_index(str(tmp_path / "index" / "vector.index"))
    assert index.search(vectors(6), 1)[1][:, 0].tolist() == list(range(6))


def test_what_paddlex_cannot_hold(tmp_path: Path) -> None:
    with Gallery.create(None, width=WIDTH, metric="hamming") as gallery:
        with pytest.raises(GalleryError, match="the gallery is empty"):
            export_index(gallery, tmp_path / "index", "paddlex")
        gallery.append(vectors(2), [NewItem("x", str(n)) for n in range(2)])
        with pytest.raises(GalleryError, match="PaddleX cannot search galleries with the metric hamming"):
            export_index(gallery, tmp_path / "index", "paddlex")
        assert list(tmp_path.iterdir()) == []
        export_index(gallery, tmp_path / "plain", "npy")
    assert np.array_equal(import_index(tmp_path / "plain").vectors, vectors(2))


@pytest.mark.parametrize("form", FORMS)
def test_a_target_that_is_there_is_kept(tmp_path: Path, gallery: Gallery, form: Form) -> None:
    target = tmp_path / "out"
    export_index(gallery, target, form)
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    with pytest.raises(GalleryError, match="is there already. Expected a new name, or `overwrite`"):
        export_index(gallery, target, form)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    gallery.remove([0])
    assert export_index(gallery, target, form, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 1
    if form != "parquet":
        (target / "mine.txt").write_text("x")
        with pytest.raises(GalleryError, match="mine.txt.*is no earlier export of this form"):
            export_index(gallery, target, form, overwrite=True)
    other: Form = "npy" if form == "parquet" else "parquet"
    with pytest.raises(GalleryError, match="is no earlier export of this form"):
        export_index(gallery, target, other, overwrite=True)


@pytest.mark.parametrize("form", FORMS)
def test_an_export_that_fails_leaves_what_was_there(
    tmp_path: Path, gallery: Gallery, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_index(gallery, tmp_path / "out", form)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    gallery.state()
    with pytest.raises(GalleryError, match="out cannot be written: No space left on device. Nothing was changed"):
        export_index(gallery, tmp_path / "out", form, overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_unknown_form(tmp_path: Path, gallery: Gallery) -> None:
    with pytest.raises(ConfigError, match="unknown form 'paddle' of an export. Did you mean 'paddlex'"):
        export_index(gallery, tmp_path / "out", "paddle")  # type: ignore[arg-type]


def test_vectors_and_labels_of_any_origin(tmp_path: Path) -> None:
    np.save(tmp_path / "shoes.npy", vectors(3).astype(np.float64))
    (tmp_path / "shoes.txt").write_text("red shoe\nboot\n\nheel\n")
    found = import_index(tmp_path / "shoes.npy")
    assert found.labels == ("red shoe", "boot", "heel") and found.vectors.dtype == np.float32
    assert found.ids.tolist() == [0, 1, 2] and found.kind is found.metric is None
    (tmp_path / "shoes.csv").write_text('label,metadata\na,"{""x"": 1}"\nb,\nc,\n')
    assert [dict(item.metadata) for item in import_index(tmp_path / "shoes.npy").items] == [{"x": 1}, {}, {}]
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"embedding": vectors(3).tolist(), "label": ["a", "b", "c"], "other": [1, 2, 3]})
    pyarrow.parquet.write_table(table, tmp_path / "foreign.parquet", row_group_size=2)
    found = import_index(tmp_path / "foreign.parquet")
    assert np.array_equal(found.vectors, vectors(3)) and found.labels == ("a", "b", "c")


def flawed(tmp_path: Path, change: Callable[[Path], None]) -> Path:
    folder = paddlex(tmp_path / "index", built("Flat", 0, vectors(4), np.arange(4)), dict(enumerate("abcd")))
    change(folder)
    return folder


def write(name: str, data: bytes | str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data.encode() if isinstance(data, str) else data) and None


def index_of(make: Callable[[], Any]) -> Callable[[Path], None]:
    return lambda folder: faiss.write_index(make(), str(folder / "vector.index"))


def pq() -> Any:
    index = faiss.index_factory(WIDTH, "PQ4x4np")
    index.train(vectors(700))
    index.add(vectors(4))
    return index


def map_of(text: str) -> Callable[[Path], None]:
    return write("id_map.yaml", f"{text}\nmetric_type: IP\nindex_type: Flat\n")


FLAWS: list[tuple[str, Callable[[Path], None], str]] = [
    ("no labels", lambda folder: (folder / "id_map.yaml").unlink(), "is no gallery|holds no labels"),
    ("fewer labels", map_of("id_map: {0: a, 1: b, 2: c}"), "holds 4 vectors, id_map.yaml 3 labels"),
    ("other ids", map_of("id_map: {0: a, 1: b, 2: c, 9: d}"), r"no label for the ids \[3\]"),
    ("an id twice", map_of("id_map:\n  0: a\n  1: b\n  1: c\n  2: d"), "the id 1 is there twice"),
    ("a negative id", map_of("id_map: {0: a, 1: b, 2: c, -3: d}"), "the id -3 is no whole number from 0"),
    ("an id that is a text", map_of("id_map:\n  0: a\n  x: b"), "expected one label for the id 0|line"),
    ("an empty label", map_of("id_map: {0: a, 1: b, 2: c, 3: ''}"), "index, id 3: label ''. Expected a text of 1 to"),
    ("no label", map_of("id_map: {0: a, 1: b, 2: c, 3: }"), "the label of 3 is NoneType"),
    ("a list as label", map_of("id_map: {0: a, 1: b, 2: c, 3: [d]}"), "the label of 3 is list"),
    ("a control character", map_of('id_map: {0: a, 1: b, 2: c, 3: "\\x07"}'), "id 3: label .* character U[+]0007"),
    ("no map", map_of(""), "has no key `id_map`"),
    ("a list as map", map_of("id_map: [a, b]"), "has no key `id_map`"),
    ("another metric", write("id_map.yaml", "id_map: {0: a}\nmetric_type: cosine\nindex_type: Flat"), "is 'cosine'"),
    ("no metric", write("id_map.yaml", "id_map: {0: a}\nindex_type: Flat"), "metric_type is None. Expected one of IP"),
    ("a tag", map_of("id_map: !!python/object/apply:os.system [x]"), "not allowed here|not valid YAML"),
    ("no YAML", write("id_map.yaml", "id_map:\n  0: {{{\n"), "not valid YAML"),
    ("a text", write("id_map.yaml", "hello"), "holds a str"),
    ("an empty index", write("vector.index", b""), "Faiss cannot read it"),
    ("no index", write("vector.index", b"hello world" * 100), "Faiss cannot read it"),
    ("a compressed index", index_of(pq), "it is a IndexPQ; expected Flat, HNSW32 or IVF with whole vectors"),
    ("another Faiss metric", index_of(lambda: faiss.IndexFlat(4, faiss.METRIC_L1)), "its metric has the number 2"),
    ("NaN", index_of(lambda: built("Flat", 0, vectors(4) * np.nan, np.arange(4))), "row 0 holds NaN"),
    ("ids twice", index_of(lambda: built("Flat", 0, vectors(4), np.array([0, 1, 2, 2]))), "the id 2 is there twice"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [flaw[1:] for flaw in FLAWS], ids=[flaw[0] for flaw in FLAWS])
def test_damaged_indexes_are_refused(tmp_path: Path, change: Callable[[Path], None], words: str) -> None:
    with pytest.raises(GalleryError, match=words):
        import_index(flawed(tmp_path, change))


def test_cut_and_changed_index_files(tmp_path: Path) -> None:
    folder = paddlex(tmp_path / "index", built("HNSW32", 0, vectors(4), np.arange(4)), dict(enumerate("abcd")))
    file = folder / "vector.index"
    data = file.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(6):
        changed = bytearray(data[: int(rng.integers(1, len(data)))] if trial % 2 else data)
        for at in rng.integers(0, min(len(changed), 200), 3):
            changed[at] = int(rng.integers(0, 256))
        file.write_bytes(changed)
        try:
            assert len(import_index(folder)) == 4
        except GalleryError:
            refused += 1
    assert refused >= 3


def test_a_process_that_crashes_or_never_ends_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "vector.index"
    file.write_bytes(b"x")
    run = subprocess.run
    crash = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"]
    monkeypatch.setattr(faiss_files.subprocess, "run", lambda command, **rest: run(crash, **rest))
    with pytest.raises(GalleryError, match="the process that read it ended by signal 11. Expected a sound Faiss file"):
        faiss_files.read_faiss(file)

    def late(command: Any, **rest: Any) -> Any:
        raise subprocess.TimeoutExpired(command, rest["timeout"])

    monkeypatch.setattr(faiss_files.subprocess, "run", late)
    with pytest.raises(GalleryError, match="takes too long to read"):
        faiss_files.read_faiss(file)


def test_no_module_of_the_current_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = paddlex(tmp_path / "index", built("Flat", 0, vectors(2), np.arange(2)), {0: "a", 1: "b"})
    for name in ("numpy", "faiss", "json"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(folder)
    assert len(import_index(folder)) == 2 and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("form", ["npy", "parquet"])
def test_an_empty_gallery_and_long_metadata(tmp_path: Path, form: Form) -> None:
    with Gallery.create(None, width=WIDTH, metric="L2") as gallery:
        export_index(gallery, tmp_path / "empty.parquet", form)
        found = import_index(tmp_path / "empty.parquet")
        assert found.vectors.shape == (0, WIDTH) and found.items == () and found.metric == "L2"
        metadata = {"text": 'é\n"' * 100_000}
        gallery.append(vectors(1), [NewItem("x", "1", "a\r\nb", metadata)])
        export_index(gallery, tmp_path / "one.parquet", form)
    item = import_index(tmp_path / "one.parquet").items[0]
    assert item.metadata == metadata and item.source == "a\r\nb"


def test_damaged_plain_files(tmp_path: Path, gallery: Gallery) -> None:
    export_index(gallery, tmp_path / "out", "npy")
    items = (tmp_path / "out" / "items.csv").read_text()
    (tmp_path / "out" / "items.csv").write_text("".join(items.splitlines(keepends=True)[:-1]))
    with pytest.raises(GalleryError, match="holds 19 labels for 20 vectors"):
        import_index(tmp_path / "out")
    (tmp_path / "out" / "items.csv").write_text(items.replace('"{""n"": 7', '"{""n"": x'))
    with pytest.raises(GalleryError, match=r"items.csv, row 6: Expecting value"):
        import_index(tmp_path / "out")
    (tmp_path / "out" / "items.csv").write_text("a,b\n")
    with pytest.raises(GalleryError, match=r"columns \['a', 'b'\]. Expected at least `label`"):
        import_index(tmp_path / "out")
    (tmp_path / "out" / "items.csv").unlink()
    with pytest.raises(GalleryError, match="has no labels"):
        import_index(tmp_path / "out")
    for bad in (np.array([None]), np.arange(3), np.arange(6).reshape(2, 3)):
        np.save(tmp_path / "out" / "vectors.npy", bad, allow_pickle=True)
        with pytest.raises(GalleryError, match="Expected (a NumPy file|floating-point vectors)"):
            import_index(tmp_path / "out")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" * 20)
    with pytest.raises(GalleryError, match="Expected a sound Parquet file"):
        import_index(tmp_path / "bad.parquet")


def test_where_nothing_fits(tmp_path: Path, gallery: Gallery) -> None:
    with pytest.raises(GalleryError, match="there is no file or folder"):
        import_index(tmp_path / "none")
    with pytest.raises(GalleryError, match=r"found nothing. Expected a PaddleX index"):
        import_index(tmp_path)
    with pytest.raises(GalleryError, match="is a gallery of eyas already"):
        import_index(gallery.path)


def test_a_large_map_is_read_and_written_in_linear_time(tmp_path: Path) -> None:
    labels = {n: f"label {n % 977}: é" for n in range(20_000)}
    (tmp_path / "id_map.yaml").write_text(id_map.write_id_map(labels, "L2", "IVF"), encoding="utf-8")
    assert id_map.read_id_map(tmp_path).labels == labels
    (tmp_path / "id_map.yaml").unlink()
    (tmp_path / "id_map.pkl").write_bytes(pickle.dumps({np.int64(n): label for n, label in labels.items()}))
    assert id_map.read_id_map(tmp_path).labels == labels


def test_json_of_the_export_says_what_the_gallery_was(tmp_path: Path, gallery: Gallery) -> None:
    export_index(gallery, tmp_path / "out", "npy")
    assert json.loads((tmp_path / "out" / "gallery.json").read_text()) == {
        **{"eyas_gallery": 1, "kind": "Flat", "metric": "IP", "width": WIDTH, "count": 20},
        "model": {"name": "PP-ShiTuV2_rec", "fingerprint": "ab" * 32, "width": WIDTH},
    }
    assert exchange.FORMS == ("paddlex", "npy", "parquet")
