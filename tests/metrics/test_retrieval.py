"""Retrieval figures by hand and against plain loops; open-set curves by hand."""

import json
from typing import Any

import numpy as np
import pytest

from eyas.errors import DatasetError
from eyas.metrics.retrieval import open_set, retrieval_metrics


def points(*values: float) -> Any:
    """Features [N, 1]: the similarity of a query of 1 with a gallery picture is the picture's value."""
    return np.array(values, np.float32)[:, None]


def by_loops(queries: Any, asked: Any, gallery: Any, held: Any, same: Any = None) -> tuple[list[float], float]:
    """(recall at 1 to 5, mAP) as PaddleClas defines them, query by query."""
    first, averages = [], []
    for row, (query, label) in enumerate(zip(queries, asked, strict=True)):
        rows = [number for number in range(len(gallery)) if same is None or same[row] != number]
        rows.sort(key=lambda number: -float(query @ gallery[number]))
        hits = [held[number] == label for number in rows]
        if any(hits):
            first.append(hits.index(True))
            ranks = [place for place, hit in enumerate(hits, start=1) if hit]
            averages.append(np.mean([count / rank for count, rank in enumerate(ranks, start=1)]))
    return [float(np.mean([place < rank for place in first])) for rank in range(1, 6)], float(np.mean(averages))


def test_by_hand() -> None:
    """Order of the gallery for every query: a b a c a. Ranks of a: 1, 3, 5; of b: 2; of c: 4; d is unknown."""
    gallery, held = points(0.9, 0.8, 0.7, 0.6, 0.5), ["a", "b", "a", "c", "a"]
    metrics = retrieval_metrics(points(1, 1, 1, 1), ["a", "b", "c", "d"], gallery, held)
    assert metrics.recall == pytest.approx((1 / 3, 2 / 3, 2 / 3, 1, 1))
    assert (metrics.recall1, metrics.recall5) == (metrics.recall[0], metrics.recall[4])
    precision = {"a": (1 + 2 / 3 + 3 / 5) / 3, "b": 1 / 2, "c": 1 / 4}
    assert metrics.mAP == pytest.approx(sum(precision.values()) / 3)
    assert {label: one.mAP for label, one in metrics.per_label.items()} == pytest.approx(precision)
    assert metrics.per_label["b"].recall1 == 0 and metrics.per_label["b"].queries == 1
    assert (metrics.queries, metrics.unknown, metrics.gallery) == (3, 1, 5)


@pytest.mark.parametrize("leave_out", [False, True])
def test_equals_plain_loops(leave_out: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    gallery, held = rng.normal(size=(60, 8)).astype(np.float32), rng.integers(0, 9, 60).tolist()
    queries = gallery if leave_out else rng.normal(size=(40, 8)).astype(np.float32)
    asked = held if leave_out else rng.integers(0, 12, 40).tolist()
    same = np.arange(60) if leave_out else None
    recall, mean = by_loops(queries, asked, gallery, held, same)
    whole = retrieval_metrics(queries, asked, gallery, held, same)
    assert list(whole.recall) == pytest.approx(recall)
    assert whole.mAP == pytest.approx(mean)
    monkeypatch.setattr("eyas.metrics.retrieval._CELLS", 7 * 60)
    assert retrieval_metrics(queries, asked, gallery, held, same) == whole  # in pieces of seven queries
    weighted = sum(one.mAP * one.queries for one in whole.per_label.values()) / whole.queries
    assert weighted == pytest.approx(whole.mAP)


def test_equal_similarities_rank_in_the_order_of_the_gallery() -> None:
    metrics = retrieval_metrics(points(1), ["b"], points(0.5, 0.5), ["a", "b"])
    assert (metrics.recall1, metrics.recall5, metrics.mAP) == (0, 1, 0.5)


def test_open_set_by_hand() -> None:
    """Best similarities: known 0.9 (right), 0.5 (wrong label), 0.3 (right); unknown 0.4, 0.2."""
    gallery, held = np.eye(3, dtype=np.float32), ["a", "b", "c"]
    queries = np.array([[0.9, 0, 0], [0, 0.5, 0.4], [0, 0.3, 0], [0, 0, 0.4], [0.2, 0, 0]], np.float32)
    curve = open_set(queries, ["a", "c", "b", "x", "y"], gallery, held)
    assert curve.thresholds == pytest.approx((0.9, 0.5, 0.4, 0.3, 0.2))
    assert curve.false_accept == pytest.approx((0, 0, 1 / 2, 1 / 2, 1))
    assert curve.false_reject == pytest.approx((2 / 3, 1 / 3, 1 / 3, 0, 0))
    assert curve.identified == pytest.approx((1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3))
    assert curve.equal_error == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert curve.equal_error_threshold == pytest.approx(0.4)
    assert (curve.known, curve.unknown) == (3, 2)
    assert json.loads(json.dumps(curve.to_dict()))["equal_error"] == curve.equal_error


def test_open_set_where_known_and_unknown_are_apart() -> None:
    curve = open_set(points(0.9, 0.8, 0.2), ["a", "a", "x"], points(1), ["a"])
    assert curve.equal_error == 0 and curve.equal_error_threshold == pytest.approx(0.8)


def test_open_set_is_thinned_but_keeps_its_ends() -> None:
    rng = np.random.default_rng(1)
    queries = points(*rng.random(3000))
    asked = ["a" if value else "x" for value in rng.integers(0, 2, 3000)]
    whole, thin = (open_set(queries, asked, points(1), ["a"], points=count) for count in (10**6, 50))
    assert len(whole.thresholds) == len(np.unique(queries)) and len(thin.thresholds) == 50
    assert (thin.thresholds[0], thin.thresholds[-1]) == (whole.thresholds[0], whole.thresholds[-1])
    places = [whole.thresholds.index(level) for level in thin.thresholds]
    assert thin.false_accept == tuple(whole.false_accept[place] for place in places)
    for column in (whole.false_accept, whole.identified):
        assert (np.diff(column) >= 0).all()
    assert (np.diff(whole.false_reject) <= 0).all() and whole.false_accept[-1] == 1 and whole.false_reject[-1] == 0


def test_shares_without_queries_are_minus_one() -> None:
    known = open_set(points(0.5), ["a"], points(1), ["a"])
    assert (known.false_accept, known.false_reject, known.identified, known.equal_error) == ((-1,), (0,), (1,), -1)
    unknown = open_set(points(0.5), ["x"], points(1), ["a"])
    assert (unknown.false_accept, unknown.false_reject, unknown.identified) == ((1,), (-1,), (-1,))
    nobody = retrieval_metrics(points(0.5), ["x"], points(1), ["a"])
    assert (nobody.recall1, nobody.mAP, nobody.unknown) == (-1, -1, 1)
    empty = retrieval_metrics(np.zeros((0, 1), np.float32), [], points(1), ["a"])
    assert (empty.recall1, empty.queries) == (-1, 0)
    assert open_set(np.zeros((0, 1), np.float32), [], points(1), ["a"]).thresholds == ()
    alone = open_set(points(1), ["a"], points(1), ["a"], np.array([0]))
    assert (alone.thresholds, alone.unknown) == ((), 1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"queries: features must have .* got \[2, 1\] and 1 labels"):
        retrieval_metrics(points(1, 2), ["a"], points(1), ["a"])
    with pytest.raises(DatasetError, match="gallery: the features of row 1 are not all finite"):
        retrieval_metrics(points(1), ["a"], points(1, np.nan), ["a", "a"])
    with pytest.raises(DatasetError, match=r"the gallery must hold features \[G, 1\] as the queries do, got \[1, 2\]"):
        retrieval_metrics(points(1), ["a"], np.ones((1, 2), np.float32), ["a"])
    with pytest.raises(DatasetError, match="the gallery must hold features"):
        open_set(points(1), ["a"], np.zeros((0, 1), np.float32), [])


def test_results_are_json() -> None:
    metrics = retrieval_metrics(points(1), [7], points(0.5), [7])
    again = json.loads(json.dumps(metrics.to_dict()))
    assert (again["recall1"], again["recall5"], again["mAP"]) == (1, 1, 1)
    assert again["per_label"] == {"7": {"recall1": 1, "recall5": 1, "mAP": 1, "queries": 1}}
