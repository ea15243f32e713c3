"""Pictures that probably have a wrong label, and pictures that are like no other."""

import numpy as np

from eyas.doctor.findings import Mislabel, Outlier
from eyas.doctor.neighbours import Bools, Ints, Neighbourhood, Numbers, own_distances
from eyas.index.gallery import Gallery

SOFTNESS = 0.15
"""A neighbour that is this part of the usual distance farther than the nearest weighs e times less."""
LEAST_SHARE = 0.6
LEAST_RATIO = 1.3
ENOUGH = 0.9
"""Of the votes that pictures of a label usually give to it."""
FAR = 3.5
"""Standard deviations, told by the median of the absolute deviations, of the logarithm of the nearest distance."""


def find_mislabels(gallery: Gallery, near: Neighbourhood) -> tuple[Mislabel, ...]:
    """Pictures whose neighbours speak for one other label, the surest first.

    The neighbours of a picture vote, near ones with more weight. After Northcutt, Jiang, Chuang (Confident learning,
    JAIR 2021) a picture is suspected where another label gets about what pictures of that label usually give to
    theirs, and its own label less than usual: so labels that look alike and mix all over are not suspected picture by
    picture. The other label must have `LEAST_SHARE`, and its nearest picture must be `LEAST_RATIO` times nearer.
    It is done twice: a wrong label speaks against the right ones around it, so the second time no picture listens to
    one that was suspected more than itself.
    """
    if not np.isfinite(near.distances).any():
        return ()
    everyone = np.ones(len(near.of), np.bool_)
    suspected = {one.id: _sureness(one) for one in _suspects(gallery, near, everyone)}
    strength = np.array([suspected.get(number, 0.0) for number in near.state.ids.tolist()])
    ignored = (near.places >= 0) & (strength[near.places] > strength[:, None])
    found = _suspects(gallery, near.without(ignored), strength == 0)
    return tuple(sorted(found, key=lambda one: (-_sureness(one), one.id)))


def _sureness(one: Mislabel) -> float:
    return one.share * min(one.ratio, 10.0)


def _suspects(gallery: Gallery, near: Neighbourhood, trusted: Bools) -> list[Mislabel]:
    labels, votes = len(near.state.labels), _votes(near)
    own = np.where(near.is_own, votes, 0).sum(axis=1)
    counts = np.bincount(near.of, minlength=labels)
    usual = np.bincount(near.of, weights=own, minlength=labels) / np.maximum(counts, 1)
    probable, share = _strongest_other(near, votes)
    there, distance = near.nearest(near.is_other & (near.neighbour_labels == probable[:, None]))
    # The only picture of a label has nothing of its own to be near to: its neighbours say nothing against it.
    suspected = (share >= np.maximum(ENOUGH * usual[probable], LEAST_SHARE)) & (own < usual[near.of])
    rows = np.flatnonzero(suspected & (counts[near.of] > 1) & (there >= 0))
    ratios = own_distances(gallery, near, rows, trusted) / np.maximum(distance[rows], 1e-9)
    names, ids = near.state.labels, near.state.ids
    return [
        Mislabel(
            int(ids[row]), names[near.of[row]], names[probable[row]], float(share[row]),
            ratio, int(ids[there[row]]),
        )
        for row, ratio in zip(rows.tolist(), ratios.tolist(), strict=True)
        if LEAST_RATIO <= ratio < np.inf
    ]  # fmt: skip


def _votes(near: Neighbourhood) -> Numbers:
    """The weight of each neighbour, [N, k], summing to 1 (to 0 for a picture without neighbours)."""
    nearest = near.distances.min(axis=1, keepdims=True)
    usual = float(np.median(nearest[np.isfinite(nearest)]))
    with np.errstate(invalid="ignore"):
        weights = np.exp(-(near.distances - nearest) / max(SOFTNESS * usual, 1e-9))
    weights = np.where(near.places >= 0, weights, 0.0)
    votes: Numbers = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    return votes


def _strongest_other(near: Neighbourhood, votes: Numbers) -> tuple[Ints, Numbers]:
    """(the other label with the most votes, its votes) of each picture, [N]; (0, 0.0) without one."""
    labels, best, most = near.neighbour_labels, np.zeros(len(votes), np.int64), np.zeros(len(votes))
    for rank in range(labels.shape[1]):
        total = np.where(labels == labels[:, rank : rank + 1], votes, 0).sum(axis=1)
        better = near.is_other[:, rank] & (total > most)
        best[better], most[better] = labels[better, rank], total[better]
    return best, most


def find_outliers(near: Neighbourhood) -> tuple[Outlier, ...]:
    """Pictures that are far from every other one, whatever its label: the farthest first."""
    there, distance = near.nearest(near.places >= 0)
    known = np.isfinite(distance)
    if not known.any():
        return ()
    logs = np.log(np.maximum(distance, 1e-6))
    middle = float(np.median(logs[known]))
    spread = 1.4826 * float(np.median(np.abs(logs[known] - middle)))
    rows = np.flatnonzero(known & (logs > middle + FAR * max(spread, 0.05)))
    state = near.state
    found = [
        Outlier(
            int(state.ids[row]), state.labels[near.of[row]], int(state.ids[there[row]]),
            state.labels[near.of[there[row]]], float(np.exp(logs[row] - middle)),
        )
        for row in rows.tolist()
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda one: (-one.times_usual, one.id)))
