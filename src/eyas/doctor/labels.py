"""Labels that are taken for each other, labels with few views, and what to photograph next."""

from collections import defaultdict

import numpy as np

from eyas.doctor.findings import Confusable, ThinLabel, Wish
from eyas.doctor.neighbours import Bools, Ints, Neighbourhood, Numbers
from eyas.index.gallery import Gallery

EXAMPLES = 3
LEAST_CONFUSED = 2
LEAST_NEED = 0.2
_BATCH = 8192


def first_answers(near: Neighbourhood, trusted: Bools) -> Ints:
    """The label of the nearest other picture that is `trusted` [N], for each picture; -1 without one."""
    there, _ = near.nearest((near.places >= 0) & trusted[near.places])
    return np.where(there >= 0, near.of[there], -1)


def find_confusable(gallery: Gallery, near: Neighbourhood, trusted: Bools) -> tuple[Confusable, ...]:
    """Pairs of labels, the most confused first.

    Only pictures that are `trusted` [N] ask and answer: a wrong label is no likeness. A single case is no pair, unless
    the two labels have no more than four pictures between them.
    """
    answers, counts = first_answers(near, trusted), np.bincount(near.of, minlength=len(near.state.labels))
    cases: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in np.flatnonzero(trusted & (answers >= 0) & (answers != near.of) & (counts[near.of] > 1)).tolist():
        first, second = sorted((int(near.of[row]), int(answers[row])))
        cases[first, second].append(row)
    kept = {
        pair: rows
        for pair, rows in cases.items()
        if len(rows) >= LEAST_CONFUSED or counts[list(pair)].sum() <= 2 * LEAST_CONFUSED
    }
    centres, spread = _centres(gallery, near) if kept else (np.zeros((0, 0)), np.zeros(0))
    found = []
    for (first, second), rows in kept.items():
        apart = float(np.linalg.norm(centres[first] - centres[second])) / max(spread[first] + spread[second], 1e-9)
        one, other = sorted((near.state.labels[first], near.state.labels[second]))
        pictures = int(counts[first] + counts[second])
        found.append(Confusable((one, other), len(rows), pictures, apart, _examples(near, rows, trusted)))
    return tuple(sorted(found, key=lambda one: (-one.confused / one.pictures, one.separation, one.labels)))


def _examples(near: Neighbourhood, rows: list[int], trusted: Bools) -> tuple[tuple[int, int], ...]:
    there, distance = near.nearest((near.places >= 0) & trusted[near.places])
    worst = sorted(rows, key=lambda row: (float(distance[row]), row))[:EXAMPLES]
    ids = near.state.ids
    return tuple((int(ids[row]), int(ids[there[row]])) for row in worst)


def _centres(gallery: Gallery, near: Neighbourhood) -> tuple[Numbers, Numbers]:
    """(the mean vector of each label [L, D], the root of the mean squared distance to it [L]), in one pass."""
    labels, of = len(near.state.labels), near.of
    sums, squares = np.zeros((labels, gallery.width)), np.zeros(labels)
    for start in range(0, len(of), _BATCH):
        block = slice(start, start + _BATCH)
        vectors = gallery.vectors(near.state.ids[block]).astype(np.float64)
        np.add.at(sums, of[block], vectors)
        np.add.at(squares, of[block], (vectors**2).sum(axis=1))
    counts = np.maximum(np.bincount(of, minlength=labels), 1)
    centres = sums / counts[:, None]
    return centres, np.sqrt(np.maximum(squares / counts - (centres**2).sum(axis=1), 0))


def count_views(near: Neighbourhood, views: Ints) -> Ints:
    """How many different views each label has, [L]."""
    pairs = np.unique(np.stack([near.of, views]), axis=1)
    return np.bincount(pairs[0], minlength=len(near.state.labels)).astype(np.int64)


def find_thin(near: Neighbourhood, view_counts: Ints, least_views: int) -> tuple[ThinLabel, ...]:
    """Labels with fewer than `least_views` different views, the thinnest first."""
    counts = np.bincount(near.of, minlength=len(near.state.labels))
    rows = np.flatnonzero((counts > 0) & (view_counts < least_views)).tolist()
    found = [ThinLabel(near.state.labels[row], int(counts[row]), int(view_counts[row])) for row in rows]
    return tuple(sorted(found, key=lambda one: (one.views, one.pictures, one.label)))


def find_wishes(
    near: Neighbourhood, view_counts: Ints, least_views: int, trusted: Bools, confusable: tuple[Confusable, ...]
) -> tuple[Wish, ...]:
    """What to photograph, the most needed first.

    The need of a label is the share of its pictures that would be recognised wrongly from the others, drawn towards
    the gallery's own share as if two more had been asked, and the part of `least_views` that it lacks.
    """
    labels = len(near.state.labels)
    counts, answers = np.bincount(near.of, minlength=labels), first_answers(near, trusted)
    asked = trusted & (answers >= 0) & (counts[near.of] > 1)
    tried = np.bincount(near.of[asked], minlength=labels)
    wrong = np.bincount(near.of[asked & (answers != near.of)], minlength=labels)
    overall = wrong.sum() / max(1, tried.sum())
    errors, lacking = (wrong + 2 * overall) / (tried + 2), np.maximum(0, 1 - view_counts / least_views)
    need = np.where(tried > 0, errors, 0.5) + lacking
    rivals: dict[str, str] = {}
    for pair in confusable:
        for one, other in (pair.labels, pair.labels[::-1]):
            rivals.setdefault(one, other)
    found = []
    for row in np.flatnonzero((counts > 0) & (need >= LEAST_NEED) & ((wrong > 0) | (lacking > 0))).tolist():
        name = near.state.labels[row]
        reason = _reason(
            name, (int(view_counts[row]), int(counts[row])), (int(wrong[row]), int(tried[row])), rivals.get(name)
        )
        found.append(Wish(name, float(need[row]), reason))
    return tuple(sorted(found, key=lambda one: (-one.need, one.label)))


def _reason(name: str, views: tuple[int, int], wrong: tuple[int, int], rival: str | None) -> str:
    """`views`: (different ones, pictures); `wrong`: (taken for another label, asked)."""
    seen = f"{views[0]} different view{'s' * (views[0] != 1)} in {views[1]} picture{'s' * (views[1] != 1)}"
    told = f"{name!r}, {seen}"
    if wrong[0]:
        told += f"; {wrong[0]} of {wrong[1]} are taken for another label"
    if rival is not None:
        told += f", most often {rival!r}: show what tells the two apart"
    elif views[0] == 1:
        told += ": take it from other sides, at other distances, in other light"
    return told
