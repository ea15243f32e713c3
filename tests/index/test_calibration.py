"""Thresholds from a rate of false accepts: what they do to labels that the gallery has never seen."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.flat_gallery import FlatGallery

from eyas.errors import ConfigError, GalleryError
from eyas.index.calibration import Calibration, calibrate
from eyas.index.leave_one_out import balanced_sample, leave_one_out, pairwise_nearness
from eyas.index.records import Metric

Floats = np.ndarray[Any, np.dtype[np.float32]]
WIDTH = 32


def unit(vectors: np.ndarray[Any, Any]) -> Floats:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def drawn(labels: int, each: int, seed: int, spread: float = 0.6) -> tuple[Floats, list[str]]:
    """`each` noisy views of every one of `labels` directions, which come in crowded and in lonely regions."""
    rng = np.random.default_rng(seed)
    regions = rng.standard_normal((6, WIDTH)) * np.linspace(0.2, 1.6, 6)[:, None]
    centres = unit(regions[rng.integers(6, size=labels)] + rng.standard_normal((labels, WIDTH)))
    views = np.repeat(centres, each, axis=0) + spread * rng.standard_normal((labels * each, WIDTH)) / np.sqrt(WIDTH)
    return unit(views), [f"label {place}" for place in range(labels) for _ in range(each)]


def split(labels: int, each: int, seed: int, metric: Metric = "IP") -> tuple[FlatGallery, Floats]:
    """A gallery of half of the labels, and the vectors of the others."""
    vectors, names = drawn(2 * labels, each, seed)
    known = labels * each
    return FlatGallery(vectors[:known], names[:known], metric), vectors[known:]


def accepted(gallery: FlatGallery, calibration: Calibration, queries: Floats) -> float:
    """The share of queries whose best hit is within the threshold of its label."""
    found = gallery.search(queries, 1)
    limits = np.array([calibration.threshold(found.labels[place]) for place in found.label_ids[:, 0]])
    scores = found.scores[:, 0]
    return float((scores >= limits if gallery.metric == "IP" else scores <= limits).mean())


@pytest.mark.parametrize("metric", ["IP", "L2", "hamming"])
@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_new_labels_are_accepted_at_the_rate_named(metric: Metric, rate: float) -> None:
    shares = []
    for seed in range(12):
        gallery, strangers = split(80, 6, seed, metric)
        shares.append(accepted(gallery, calibrate(gallery, false_accept_rate=rate), strangers))
    # 12 galleries of 80 labels against 80 new ones: the mean is known to about a quarter of the rate.
    assert 0.4 * rate < np.mean(shares) < 1.3 * rate


def test_the_share_said_is_the_share_counted() -> None:
    gallery, _ = split(60, 8, 3)
    found = calibrate(gallery, false_accept_rate=0.05)
    state, vectors = gallery.state(), gallery.vectors()
    product = vectors @ vectors.T
    np.fill_diagonal(product, -2)
    same = state.label_ids[:, None] == state.label_ids[None]
    other, own = np.where(same, -2, product), np.where(same, product, -2)
    limits = np.array([found.threshold(name) for name in state.labels])
    nearest = state.label_ids[other.argmax(axis=1)]
    assert found.false_accept == pytest.approx((other.max(axis=1) >= limits[nearest]).mean())
    assert found.false_accept <= 0.05 < found.false_accept_high
    assert found.false_reject == pytest.approx((own.max(axis=1) < limits[state.label_ids]).mean())
    assert found.confused == pytest.approx((other.max(axis=1) > own.max(axis=1)).mean())
    assert (found.labels, found.items, found.asked) == (60, 480, 480)


def test_one_threshold_in_three_units() -> None:
    """Of rows of length 1 the squared distance is 2 minus twice the product, so the two calibrations say the same."""
    product, distance = (calibrate(split(40, 6, 1, metric)[0], false_accept_rate=0.05) for metric in ("IP", "L2"))
    for name in ("label 0", "label 7", "never seen"):
        assert distance.threshold(name) == pytest.approx(2 - 2 * product.threshold(name), abs=1e-4)
    assert distance.false_reject == pytest.approx(product.false_reject, abs=1e-9)


def test_a_higher_rate_costs_fewer_known_objects() -> None:
    found = calibrate(split(60, 6, 5)[0], false_accept_rate=0.05)
    assert [one.false_accept_rate for one in found.prices] == [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]
    thresholds, prices = ([getattr(one, key) for one in found.prices] for key in ("threshold", "false_reject"))
    assert thresholds == sorted(thresholds, reverse=True)
    assert prices == sorted(prices, reverse=True)
    at = next(one for one in found.prices if one.false_accept_rate == 0.05)
    assert (at.threshold, at.false_reject) == (found.global_threshold, found.false_reject)


def test_labels_in_a_crowd_have_a_stricter_threshold() -> None:
    rng = np.random.default_rng(0)
    twins = unit(rng.standard_normal((1, WIDTH)) + 0.15 * rng.standard_normal((12, WIDTH)))
    lonely = unit(rng.standard_normal((40, WIDTH)))
    views = np.repeat(np.concatenate([twins, lonely]), 6, axis=0)
    vectors = unit(views + 0.05 * rng.standard_normal(views.shape))
    names = [f"{'twin' if place < 12 else 'lonely'} {place}" for place in range(52) for _ in range(6)]
    found = calibrate(FlatGallery(vectors, names), false_accept_rate=0.05)
    strict = [limit for name, limit in found.per_label.items() if name.startswith("twin")]
    loose = [limit for name, limit in found.per_label.items() if name.startswith("lonely")]
    assert len(strict) >= 4 and len(loose) >= 4
    assert min(strict) > max(loose)
    assert found.threshold("lonely 99") == found.global_threshold


def test_labels_of_few_pictures_use_the_global_threshold() -> None:
    found = calibrate(split(60, 4, 2)[0], false_accept_rate=0.05)
    assert found.per_label == {}
    assert found.threshold("label 3") == found.global_threshold


def test_pictures_cut_from_one_file_are_not_compared() -> None:
    vectors, names = drawn(40, 6, 7)
    burst = np.concatenate([vectors, vectors])  # every picture a second time, from the same file
    sources = [f"{place % len(vectors)}.jpg" for place in range(len(burst))]
    alone = calibrate(FlatGallery(vectors, names), false_accept_rate=0.05)
    twice = calibrate(FlatGallery(burst, names * 2, sources=sources), false_accept_rate=0.05)
    copies = calibrate(FlatGallery(burst, names * 2), false_accept_rate=0.05)
    assert twice.false_reject == pytest.approx(alone.false_reject, abs=0.03)
    assert copies.false_reject == 0.0  # what it would look like if the copies counted


def test_a_label_photographed_often_weighs_no_more() -> None:
    """100 views of one odd label do not move the threshold of 40 others."""
    vectors, names = drawn(41, 6, 9)
    odd = unit(vectors[:1] + 0.05 * np.random.default_rng(1).standard_normal((200, WIDTH)) / np.sqrt(WIDTH))
    few = calibrate(FlatGallery(vectors, names), false_accept_rate=0.05)
    more = calibrate(FlatGallery(np.concatenate([vectors, odd]), [*names, *["label 0"] * 200]), false_accept_rate=0.05)
    assert more.global_threshold == pytest.approx(few.global_threshold, abs=0.02)


def test_it_is_kept_and_knows_when_it_is_old() -> None:
    gallery, _ = split(60, 6, 4)
    assert Calibration.load(gallery) is None
    made = calibrate(gallery, false_accept_rate=0.05)
    assert not made.stale
    assert Calibration.load(gallery) == made
    gallery.generation += 1
    kept = Calibration.load(gallery)
    assert kept is not None and kept.stale and kept == made
    assert kept.lines()[-1] == "the gallery has changed since: calibrate again"
    assert json.loads(json.dumps(kept.to_dict()))["generation"] == 1


def test_a_kept_calibration_that_is_broken_is_told() -> None:
    gallery, _ = split(60, 6, 4)
    calibrate(gallery, false_accept_rate=0.05)
    gallery.set_setting("calibration", {"global_threshold": 0.5})
    with pytest.raises(GalleryError, match="cannot be read .*prices.*calibrate the gallery again"):
        Calibration.load(gallery)


def test_a_gallery_too_small_says_what_is_missing() -> None:
    with pytest.raises(GalleryError, match="has 3 labels: too few .* at least 5"):
        calibrate(FlatGallery(*drawn(3, 40, 0)))
    message = "rate of 0.01 needs the weight of 99 pictures, and there are 50 .*Add pictures, or name a rate of 0.02 or"
    with pytest.raises(GalleryError, match=message):
        calibrate(FlatGallery(*drawn(10, 5, 0)))
    assert calibrate(FlatGallery(*drawn(10, 5, 0)), false_accept_rate=0.02).false_accept == 0.0
    vectors, names = drawn(10, 5, 0)
    with pytest.raises(GalleryError, match="all pictures come from one file"):
        calibrate(FlatGallery(vectors, names, sources=["shelf.jpg"] * 50))


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, float("nan")])
def test_a_rate_that_is_none(rate: float) -> None:
    with pytest.raises(ConfigError, match="expected a share between 0 and 1"):
        calibrate(FlatGallery(*drawn(10, 5, 0)), false_accept_rate=rate)


def test_single_pictures_have_no_false_rejects() -> None:
    found = calibrate(FlatGallery(*drawn(200, 1, 0)), false_accept_rate=0.05)
    assert (found.false_reject, found.confused) == (-1.0, -1.0)
    assert len(found.lines()) == 2


@given(
    st.lists(st.integers(1, 9), min_size=5, max_size=40),
    st.floats(0.05, 0.9),
    st.sampled_from(["IP", "L2", "hamming"]),
    st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_never_more_than_the_rate_of_the_gallery_itself(
    sizes: list[int], rate: float, metric: Metric, seed: int
) -> None:
    """Where no label has a threshold of its own, the promise holds to the letter for the gallery's own strangers."""
    rng = np.random.default_rng(seed)
    names = [f"{place}" for place, size in enumerate(sizes) for _ in range(min(size, 4))]
    gallery = FlatGallery(rng.standard_normal((len(names), 8)), names, metric)
    try:
        found = calibrate(gallery, false_accept_rate=rate)
    except GalleryError as error:
        assert "Add pictures" in str(error)
        return
    assert found.per_label == {}
    assert found.false_accept <= rate


def test_a_sample_has_every_label() -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(50), rng.integers(1, 200, 50)))
    rows = balanced_sample(labels, 400, seed=1)
    counts = np.bincount(labels[rows], minlength=50)
    assert (len(rows), len(set(rows.tolist()))) == (400, 400)
    assert (np.diff(rows) > 0).all()
    full = counts.max()
    assert (np.minimum(np.bincount(labels), full - 1) <= counts).all()
    assert (rows == balanced_sample(labels, 400, seed=1)).all()
    assert (rows != balanced_sample(labels, 400, seed=2)).any()


def test_a_sample_says_nearly_what_all_say() -> None:
    gallery, _ = split(250, 8, 6)
    state = gallery.state()
    some, everything = leave_one_out(gallery, state, pairs=0), leave_one_out(gallery, state)
    assert (len(some.rows), len(everything.rows)) == (1000, 2000)
    assert (some.own == everything.own[some.rows]).all()
    assert (some.other == everything.other[some.rows]).all()
    assert (some.found == everything.found[some.rows]).all()


def test_nearness_is_the_metric_s() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((3, 9)).astype(np.float32), rng.standard_normal((4, 9)).astype(np.float32)
    differ = ((one[:, None] > 0) != (two[None] > 0)).sum(axis=2)
    assert (pairwise_nearness(one, two, "hamming") == -differ).all()
    assert pairwise_nearness(one, two, "L2") == pytest.approx(-((one[:, None] - two[None]) ** 2).sum(axis=2), abs=1e-5)
    assert pairwise_nearness(one, two, "IP") == pytest.approx((one[:, None] * two[None]).sum(axis=2), abs=1e-5)
