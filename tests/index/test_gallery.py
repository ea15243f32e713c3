"""A gallery as its users see it: what went in is found, what went out is not, and nothing gets lost."""

import threading
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

import eyas.index.live as live
from eyas.errors import ConfigError, GalleryError
from eyas.index import Gallery, ModelIdentity, NewItem
from eyas.index.records import KINDS, METRICS, Floats, Kind, Metric

WIDTH = 24


def vectors_of(count: int, seed: int = 0) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    found: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def items_of(count: int, labels: int = 5, first: int = 0) -> list[NewItem]:
    return [NewItem(f"label {n % labels}", f"hash {n}", f"{n}.png", {"n": n}) for n in range(first, first + count)]


@pytest.fixture
def small_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SEAL_AT", 20)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("small_seals")
def test_every_kind_and_metric_finds_the_nearest_after_changes(tmp_path: Path, kind: Kind, metric: Metric) -> None:
    vectors = vectors_of(200)
    with Gallery.create(tmp_path / "g", width=WIDTH, kind=kind, metric=metric) as gallery:
        gallery.build(vectors[:90], items_of(90))
        gallery.settle()
        gallery.append(vectors[90:150], items_of(60, first=90))
        gallery.settle()
        gallery.remove(range(0, 150, 3))
        gallery.append(vectors[150:], items_of(50, first=150))
        gallery.undo()
        gallery.append(vectors[150:160], items_of(10, first=150))
        check_against_brute_force(gallery, gallery.vectors(), metric)
        kept = gallery.state()
    with Gallery.open(tmp_path / "g") as again:
        assert again.state().ids.tolist() == kept.ids.tolist()
        check_against_brute_force(again, again.vectors(), metric)
        assert again.verify() == []


def check_against_brute_force(gallery: Gallery, vectors: Floats, metric: Metric) -> None:
    queries, ids = vectors_of(40, seed=7), gallery.state().ids
    if metric == "IP":
        nearness = queries @ vectors.T
    elif metric == "L2":
        nearness = -np.square(queries[:, None] - vectors[None]).sum(2)
    else:
        nearness = -((queries > 0)[:, None] != (vectors > 0)[None]).sum(2).astype(np.float32)
    found = gallery.search(queries, 3)
    best = np.sort(nearness, axis=1)[:, ::-1][:, :3]
    np.testing.assert_allclose(found.scores if metric == "IP" else -found.scores, best, atol=2e-5)
    rows = np.searchsorted(ids, found.ids)
    np.testing.assert_allclose(np.take_along_axis(nearness, rows, 1), best, atol=2e-5)
    labels = [gallery.get([number])[0].label for number in found.ids[0]]
    assert [label for _, label, _ in found.named(0)] == labels


def test_an_append_is_idempotent_and_a_new_label_updates(tmp_path: Path) -> None:
    with Gallery.create(tmp_path / "g", width=WIDTH) as gallery:
        vectors, items = vectors_of(4), items_of(4)
        assert gallery.append(vectors, items).added == (0, 1, 2, 3)
        again = gallery.append(vectors, items)
        assert (again.added, again.unchanged, gallery.generation) == ((), (0, 1, 2, 3), 1)
        renamed = gallery.append(vectors[:1], [NewItem("milk 🥛", "hash 0")])
        assert (renamed.updated, renamed.added) == ((0,), ())
        assert gallery.search(vectors[:1], 1).named(0)[0][:2] == (0, "milk 🥛")
        assert "milk 🥛" in gallery.labels and gallery.counts()["milk 🥛"] == 1


def test_ids_are_never_used_again(tmp_path: Path) -> None:
    with Gallery.create(tmp_path / "g", width=WIDTH) as gallery:
        gallery.append(vectors_of(3), items_of(3))
        gallery.remove([2])
        assert gallery.append(vectors_of(1, 5), items_of(1, first=9)).added == (3,)
        gallery.undo()
        gallery.undo()
        assert gallery.state().ids.tolist() == [0, 1, 2]
    with Gallery.open(tmp_path / "g") as gallery:
        assert gallery.append(vectors_of(1, 6), items_of(1, first=10)).added == (4,)


def test_search_where_metadata_says(tmp_path: Path) -> None:
    with Gallery.create(tmp_path / "g", width=WIDTH) as gallery:
        vectors = vectors_of(50)
        gallery.append(vectors, items_of(50))
        found = gallery.search(vectors[:1], 50, where={"n": {">=": 40}})
        assert sorted(number for number, _, _ in found.named(0)) == list(range(40, 50))
        assert gallery.search_among(vectors[:1], 5, [7, 3]).ids[0, :2].tolist() in ([7, 3], [3, 7])
        assert gallery.search(vectors[:1], 3, where={"n": -1}).named(0) == []


def test_another_model_is_refused_with_both_names(tmp_path: Path) -> None:
    ours, other = ModelIdentity("net-a", "a" * 64, WIDTH), ModelIdentity("net-b", "b" * 64, WIDTH)
    Gallery.create(tmp_path / "g", width=WIDTH, model=ours).close()
    Gallery.open(tmp_path / "g", model=ours).close()
    with pytest.raises(GalleryError, match=r"net-a .*net-b"):
        Gallery.open(tmp_path / "g", model=other)


def test_wrong_vectors_and_arguments_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HNSW32"):
        Gallery.create(tmp_path / "x", width=WIDTH, kind="HNSW")  # type: ignore[arg-type]
    with Gallery.create(tmp_path / "g", width=WIDTH) as gallery:
        with pytest.raises(GalleryError, match=r"expected \[N, 24\].*got \[2, 23\]"):
            gallery.append(np.zeros((2, 23), np.float32), items_of(2))
        bad = vectors_of(2)
        bad[1, 3] = np.nan
        with pytest.raises(GalleryError, match="row 1 holds NaN"):
            gallery.append(bad, items_of(2))
        with pytest.raises(GalleryError, match="2 vectors came with 1 items"):
            gallery.append(vectors_of(2), items_of(1))
        with pytest.raises(ConfigError, match="k: expected 1"):
            gallery.search(vectors_of(1), 0)
        with pytest.raises(ConfigError, match="nothing was named"):
            gallery.remove()
        with pytest.raises(ConfigError, match="whole numbers"):
            gallery.get([0.5])  # type: ignore[list-item]
        assert gallery.search(vectors_of(2), 3).ids.tolist() == [[-1] * 3] * 2
    with pytest.raises(GalleryError):
        Gallery.create(tmp_path / "g", width=WIDTH)
    with pytest.raises(GalleryError):
        Gallery.open(tmp_path / "nothing")


@pytest.mark.usefixtures("small_seals")
def test_a_damaged_or_lost_structure_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    vectors = vectors_of(60)
    with Gallery.create(tmp_path / "g", width=WIDTH) as gallery:
        gallery.build(vectors, items_of(60))
        gallery.optimise()
    (file,) = (tmp_path / "g" / "segments").iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with Gallery.open(tmp_path / "g") as gallery:
        assert "made anew" in caplog.text
        assert gallery.search(vectors, 1).ids[:, 0].tolist() == list(range(60))
        gallery.optimise()
        assert gallery.verify() == []
    for file in (tmp_path / "g" / "segments").iterdir():
        file.unlink()
    with Gallery.open(tmp_path / "g") as gallery:
        assert gallery.search(vectors, 1).ids[:, 0].tolist() == list(range(60))


def test_what_is_one_structure_already_is_not_built_again(tmp_path: Path) -> None:
    with Gallery.create(tmp_path / "g", width=WIDTH) as gallery:
        gallery.build(vectors_of(30), items_of(30))
        names = []
        for change in (lambda: None, lambda: None, lambda: gallery.remove([3])):
            change()
            gallery.optimise()
            names.append([path.name for path in (tmp_path / "g" / "segments").iterdir()])
        assert names[0] == names[1] != names[2]


@pytest.mark.usefixtures("small_seals")
def test_another_process_sees_changes_after_refresh(tmp_path: Path) -> None:
    vectors = vectors_of(80)
    with Gallery.create(tmp_path / "g", width=WIDTH) as one, Gallery.open(tmp_path / "g") as other:
        one.append(vectors[:30], items_of(30))
        assert len(other) == 0
        other.append(vectors[30:], items_of(50, first=30))
        assert len(other) == 80
        one.refresh()
        assert one.search(vectors, 1).ids[:, 0].tolist() == list(range(80))
        other.remove([0])
        assert one.append(vectors[1:2], items_of(1, first=1)).unchanged == (1,)
        assert 0 not in one.state().ids


@pytest.mark.usefixtures("small_seals")
def test_searches_run_while_writes_and_upkeep_do(tmp_path: Path) -> None:
    vectors = vectors_of(400)
    wrong, stop = [], threading.Event()
    with Gallery.create(tmp_path / "g", width=WIDTH) as gallery:
        gallery.build(vectors[:100], items_of(100))

        def look() -> None:
            while not stop.is_set():
                found = gallery.search(vectors[:100], 1)
                if found.ids[:, 0].tolist() != list(range(100)):
                    wrong.append(found.ids)

        readers = [threading.Thread(target=look) for _ in range(3)]
        for reader in readers:
            reader.start()
        for first in range(100, 400, 30):
            gallery.append(vectors[first : first + 30], items_of(30, first=first)[: len(vectors[first : first + 30])])
            gallery.remove([first])
        gallery.optimise()
        stop.set()
        for reader in readers:
            reader.join()
        assert not wrong
        assert len(gallery) == 390


def test_a_private_gallery_goes_with_its_object() -> None:
    gallery = Gallery.create(None, width=WIDTH)
    gallery.append(vectors_of(2), items_of(2))
    folder = gallery.path
    assert folder.is_dir()
    gallery.close()
    del gallery
    assert not folder.exists()


class Histories(RuleBasedStateMachine):
    """Any sequence of changes leaves what a plain dict with a list of earlier states would hold."""

    hashes = Bundle("hashes")

    def __init__(self) -> None:
        super().__init__()
        self.gallery = Gallery.create(None, width=WIDTH)
        self.content: dict[str, str] = {}
        self.earlier: list[dict[str, str]] = []
        self.ids: dict[int, str] = {}

    def follow(self, content: dict[str, str]) -> None:
        if content != self.content:
            self.earlier.append(self.content)
        self.content = content

    @rule(target=hashes, count=st.integers(1, 12), label=st.sampled_from(["a", "b c", "ż"]), seed=st.integers(0, 30))
    def append(self, count: int, label: str, seed: int) -> object:
        names = [f"{seed}-{n}" for n in range(count)]
        self.gallery.append(np.concatenate([vector_of(name) for name in names]), [NewItem(label, n) for n in names])
        self.follow({**self.content, **dict.fromkeys(names, label)})
        return multiple(*names)

    @rule(name=hashes)
    def remove(self, name: str) -> None:
        ids = self.gallery.find(hashes=[name])
        assert (len(ids) == 1) == (name in self.content)
        if len(ids):
            self.gallery.remove(ids)
        self.follow({key: label for key, label in self.content.items() if key != name})

    @rule(label=st.sampled_from(["a", "z"]))
    def remove_label(self, label: str) -> None:
        self.gallery.remove(labels=[label])
        self.follow({key: other for key, other in self.content.items() if other != label})

    @rule()
    def undo(self) -> None:
        if self.earlier:
            self.gallery.undo()
            self.content = self.earlier.pop()
        else:
            with pytest.raises(GalleryError):
                self.gallery.undo()

    @rule()
    def optimise(self) -> None:
        self.gallery.optimise()

    @rule()
    def reopen(self) -> None:
        folder = self.gallery.path
        # The finalizer of the first object keeps the folder until that object goes.
        self.first = getattr(self, "first", self.gallery)
        self.gallery.close()
        self.gallery = Gallery.open(folder)

    @invariant()
    def holds_the_same(self) -> None:
        items = self.gallery.list()
        assert {item.content_hash: item.label for item in items} == self.content
        for item in items:
            assert self.ids.setdefault(item.id, item.content_hash) == item.content_hash
        if items:
            found = self.gallery.search(np.concatenate([vector_of(item.content_hash) for item in items]), 1)
            assert [found.named(row)[0][:2] for row in range(len(items))] == [(item.id, item.label) for item in items]

    def teardown(self) -> None:
        self.gallery.close()


def vector_of(name: str) -> Floats:
    return vectors_of(1, seed=int(sha256(name.encode()).hexdigest()[:8], 16))


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
