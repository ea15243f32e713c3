"""Every kind of structure with every metric against plain comparison of all vectors."""

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyas.errors import BackendError, GalleryError
from eyas.index import engine
from eyas.index.engine import Segment, merge, nothing
from eyas.index.kinds import LEAST_LISTS, LIST_POINTS, Lists, structure_for
from eyas.index.records import KINDS, METRICS, Floats, Ids, Kind, Metric, nearness
from eyas.index.structures import load_faiss

ALL = list(product(KINDS, METRICS))


@pytest.fixture
def no_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The structures are searched, however few the vectors."""
    monkeypatch.setattr(engine, "FEW", 0)
    monkeypatch.setattr(engine, "FEW_EACH", 0)


def clusters(count: int, width: int = 32, seed: int = 0) -> Floats:
    """Rows of length 1, ten around each of `count` / 10 centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(max(1, count // 10), width))
    rows = centres[np.arange(count) % len(centres)] + 0.3 * rng.normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def plain(vectors: Floats, queries: Floats, metric: Metric) -> Any:
    """The scores of all vectors [Q, N]."""
    if metric == "IP":
        return queries @ vectors.T
    if metric == "L2":
        return ((queries[:, None] - vectors) ** 2).sum(-1)
    return ((queries[:, None] > 0) != (vectors > 0)).sum(-1).astype(np.float32)


def best(vectors: Floats, queries: Floats, k: int, metric: Metric) -> Any:
    """The `k` best scores [Q, k]."""
    near = np.sort(nearness(plain(vectors, queries, metric), metric), axis=1)[:, ::-1][:, :k]
    return nearness(near, metric)


@pytest.mark.usefixtures("no_shortcut")
@pytest.mark.parametrize(("kind", "metric"), ALL)
def test_nearest(kind: Kind, metric: Metric) -> None:
    vectors, queries = clusters(1500), clusters(200, seed=1)
    ids = np.arange(1500) * 3 + 7
    segment = Segment.build(vectors, ids, kind, metric)
    scores, found = segment.search(queries, 5)
    assert (scores.dtype, found.dtype, scores.shape, found.shape) == (np.float32, np.int64, (200, 5), (200, 5))
    wanted = best(vectors, queries, 5, metric)
    close = np.isclose(scores, wanted, atol=1e-5)
    assert close.all() if kind == "Flat" else close[:, 0].mean() >= 0.98 and close.mean() > 0.9
    own = np.take_along_axis(plain(vectors, queries, metric), (found - 7) // 3, axis=1)
    np.testing.assert_allclose(scores, own, atol=1e-5)
    assert (np.diff(nearness(scores, metric), axis=1) <= 0).all()
    assert len(segment) == 1500 and 1500 * 4 < segment.nbytes < 1500 * (32 * 4 + 500)


@pytest.mark.usefixtures("no_shortcut")
@pytest.mark.parametrize(("kind", "metric"), ALL)
@pytest.mark.parametrize("count", [0, 1, 6, 40])
def test_few_vectors(kind: Kind, metric: Metric, count: int) -> None:
    """Fewer than asked for: all of them, then NaN and -1; a width that is no whole number of bytes."""
    vectors, queries = clusters(40, 13)[:count], clusters(5, 13, seed=1)
    scores, found = Segment.build(vectors, np.arange(count), kind, metric).search(queries, 50)
    assert scores.shape == found.shape == (5, 50)
    np.testing.assert_allclose(scores[:, :count], best(vectors, queries, 50, metric), atol=1e-5)
    assert (np.sort(found[:, :count], axis=1) == np.arange(count)).all()
    assert np.isnan(scores[:, count:]).all() and (found[:, count:] == -1).all()


@pytest.mark.parametrize(("kind", "metric"), ALL)
def test_equal_vectors(kind: Kind, metric: Metric) -> None:
    """A graph over equal vectors has islands; still as many are found as there are, by rising id."""
    vectors = np.repeat(clusters(3, 16), 200, axis=0)
    segment = Segment.build(vectors, np.arange(600), kind, metric)
    for k in (1, 20, 200, 600):
        scores, found = segment.search(vectors[[0, 599]], k)
        np.testing.assert_allclose(scores, best(vectors, vectors[[0, 599]], k, metric), atol=1e-5)
        for row, own in zip(found, scores, strict=True):
            assert len(set(row.tolist())) == k
            assert all(left < right for left, right, tie in zip(row, row[1:], np.diff(own) == 0, strict=False) if tie)


@pytest.mark.parametrize(("kind", "metric"), ALL)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.3, 0.9, 1.0])
def test_alive(kind: Kind, metric: Metric, share: float) -> None:
    vectors, queries = clusters(6000), clusters(50, seed=1)
    alive = np.random.default_rng(2).random(6000) < share
    segment = Segment.build(vectors, np.arange(6000) + 5, kind, metric)
    scores, found = segment.search(queries, 8, alive)
    held = min(8, int(alive.sum()))
    assert (found[:, held:] == -1).all() and np.isnan(scores[:, held:]).all()
    assert alive[found[:, :held] - 5].all()
    wanted = best(vectors[alive], queries, 8, metric)
    close = np.isclose(scores[:, :held], wanted, atol=1e-5)
    exact = kind == "Flat" or share < 0.5  # below max(2000, 50 sqrt(N)) every one is compared
    assert close.all() if exact else close[:, 0].mean() > 0.95
    again = segment.search(queries, 8, segment.selection(alive))
    np.testing.assert_array_equal(again[1], found)


def test_alive_far_from_the_query() -> None:
    """Nothing near the query may be found: the graph gives up, all that is left is compared."""
    vectors = np.concatenate((clusters(9000, 8), -clusters(9000, 8)))
    near = vectors[:9000] @ vectors[0] > 0
    alive = ~np.concatenate((near, ~near))
    queries = vectors[:1]
    scores, found = Segment.build(vectors, np.arange(18000), "HNSW32", "IP").search(queries, 3, alive)
    assert alive[found].all()
    np.testing.assert_allclose(scores, best(vectors[alive], queries, 3, "IP"), atol=1e-2)


def test_alive_of_another_length() -> None:
    with pytest.raises(GalleryError, match=r"expected 10 booleans, one for each vector, got \[9\]"):
        Segment.build(clusters(10), np.arange(10), "Flat", "IP").search(clusters(1), 1, np.ones(9, bool))


def test_ids_and_vectors_must_match() -> None:
    with pytest.raises(GalleryError, match="Got 10 vectors, 9 ids"):
        Segment.build(clusters(10), np.arange(9), "Flat", "IP")


@pytest.mark.parametrize(("kind", "metric"), ALL)
def test_vectors(kind: Kind, metric: Metric) -> None:
    vectors = clusters(900)
    segment = Segment.build(vectors, np.arange(900), kind, metric)
    held = segment.vectors()
    del segment  # what it returned lives on
    if metric == "hamming" or kind == "IVF":
        assert held is None
        return
    assert held is not None and not held.flags.writeable and not held.flags.owndata
    np.testing.assert_array_equal(held, vectors)


@pytest.mark.usefixtures("no_shortcut")
@pytest.mark.parametrize(("kind", "metric"), ALL)
def test_shared_between_threads(kind: Kind, metric: Metric) -> None:
    segment = Segment.build(clusters(1200), np.arange(1200), kind, metric)
    queries, alive = clusters(40, seed=1), np.arange(1200) % 3 > 0
    alone = [segment.search(queries[row : row + 1], 3, alive if row % 2 else None) for row in range(40)]
    with ThreadPoolExecutor(8) as pool:
        rows = list(range(40)) * 5
        shared = list(pool.map(lambda row: segment.search(queries[row : row + 1], 3, alive if row % 2 else None), rows))
    for row, (scores, found) in zip(rows, shared, strict=True):
        np.testing.assert_array_equal(scores, alone[row][0])
        np.testing.assert_array_equal(found, alone[row][1])


@pytest.mark.usefixtures("no_shortcut")
@pytest.mark.parametrize(("kind", "metric"), ALL)
def test_built_the_same_again(kind: Kind, metric: Metric) -> None:
    first, second = (Segment.build(clusters(800), np.arange(800), kind, metric) for _ in range(2))
    queries = clusters(30, seed=1)
    np.testing.assert_array_equal(first.search(queries, 9)[1], second.search(queries, 9)[1])


def test_small_segments_are_exact() -> None:
    """Numbers without any order, the hardest for a graph."""
    vectors, queries = (np.random.default_rng(n).normal(size=(2000, 96)).astype(np.float32) for n in (0, 1))
    scores, _ = Segment.build(vectors, np.arange(2000), "HNSW32", "L2").search(queries[:50], 20)
    np.testing.assert_allclose(scores, best(vectors, queries[:50], 20, "L2"), rtol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_islands(metric: Metric) -> None:
    """Hundreds of equal vectors, more than a node has links: the graph cannot be walked, so all are compared."""
    distinct = clusters(20, 16)
    vectors = np.random.default_rng(0).permutation(np.repeat(distinct, 800, axis=0))
    segment = Segment.build(vectors, np.arange(16000), "HNSW32", metric)
    np.testing.assert_allclose(segment.search(distinct, 9)[0], best(vectors, distinct, 9, metric), atol=1e-5)


def test_progress_is_told_and_may_stop_the_work() -> None:
    told: list[tuple[int, int]] = []
    Segment.build(
        clusters(9000, 8), np.arange(9000), "HNSW32", "hamming", lambda done, total: told.append((done, total))
    )
    assert told[-1] == (9000, 9000) and len(told) > 1 and told == sorted(told)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Segment.build(clusters(9000, 8), np.arange(9000), "HNSW32", "hamming", stop)


def test_lists_have_enough_vectors() -> None:
    for count in (0, 6, 311, 312, 1000, 100_000, 1_000_000):
        lists = Lists.count(count)
        assert lists == 0 or (lists >= LEAST_LISTS and lists * LIST_POINTS <= count)
        assert structure_for("IVF", count).float_type == ("IndexIVFFlat" if count >= 312 else "IndexFlat")
    assert (Lists.count(100_000), Lists.count(1_000_000)) == (1264, 4000)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_merged_segments_are_one(data: st.DataObject) -> None:
    """Several segments find what one over all vectors finds; numbers that are whole make many ties."""
    metric = data.draw(st.sampled_from(METRICS))
    k, count = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 30))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors, queries = (rng.integers(-1, 2, (rows, 3)).astype(np.float32) for rows in (count, 4))
    group = rng.integers(0, 3, count)
    parts = [Segment.build(vectors[group == n], np.flatnonzero(group == n), "Flat", metric) for n in range(3)]
    scores, ids = merge([part.search(queries, k) for part in parts], k, metric)
    whole_scores, whole_ids = Segment.build(vectors, np.arange(count), "Flat", metric).search(queries, k)
    np.testing.assert_array_equal(scores, whole_scores)
    if metric != "IP":  # Faiss keeps the later ones of equal products at the end of the k
        np.testing.assert_array_equal(ids, whole_ids)
    own = np.take_along_axis(plain(vectors, queries, metric), ids, axis=1)
    np.testing.assert_array_equal(own[ids >= 0], scores[ids >= 0])


def test_merge_by_hand() -> None:
    def row(scores: list[float], ids: list[int]) -> tuple[Floats, Ids]:
        return np.array([scores], np.float32), np.array([ids])

    left, right = row([0.9, 0.5], [4, 9]), row([0.9, float("nan")], [2, -1])
    assert merge([left, right], 3, "IP")[1].tolist() == [[2, 4, 9]]
    assert merge([left, right], 5, "IP")[1].tolist() == [[2, 4, 9, -1, -1]]
    assert merge([row([0.1, 0.4], [1, 2]), row([0.0, 0.4], [3, 0])], 3, "L2")[1].tolist() == [[3, 1, 0]]
    assert merge([nothing(1, 2), left], 2, "IP")[1].tolist() == [[4, 9]]
    assert merge([nothing(1, 2)], 2, "IP")[1].tolist() == [[-1, -1]]


def test_faiss_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(BackendError, match=r"eyas\[recognition\]"):
        load_faiss()
