"""Which pictures of a gallery are nearly the same, and how many different views each label has."""

import numpy as np

from eyas.doctor.findings import Duplicates
from eyas.doctor.looks import alike_pairs
from eyas.doctor.neighbours import Ints, Neighbourhood
from eyas.index.gallery import Gallery

OWN_PART, OTHER_PART = 0.5, 0.1
"""Near duplicates are closer than half the usual distance to the nearest picture of the own label, or than a tenth of
that to the nearest one of another label: the second is for galleries of bursts, where the usual own one is a copy."""
LOOK = 1.6
"""Pairs up to so many times the limit are looked at."""


def duplicate_limit(near: Neighbourhood) -> float:
    """The distance below which two pictures are near duplicates, from the usual distances of this gallery."""
    usual = []
    for wanted, part in ((near.is_own, OWN_PART), (near.is_other, OTHER_PART)):
        distances = near.nearest(wanted)[1]
        known = distances[np.isfinite(distances)]
        usual.append(part * float(np.median(known)) if len(known) else 0.0)
    return max(usual)


Links = tuple[Ints, Ints]
"""Rows of pictures, and of what they are near duplicates of."""


def duplicate_links(gallery: Gallery, near: Neighbourhood, limit: float) -> Links:
    """All pairs closer than `limit`, and those closer than `LOOK` times as much whose pictures look the same too."""
    rows, ranks = np.nonzero(near.distances < limit)
    ours, others = alike_pairs(gallery, near, limit, LOOK * limit)
    return np.concatenate([rows, ours]), np.concatenate([near.places[rows, ranks], others])


def find_duplicates(near: Neighbourhood, links: Links) -> tuple[Duplicates, ...]:
    """Groups of near duplicates: first those of several labels, then the largest."""
    groups = _groups(len(near.of), *links)
    order = np.argsort(groups, kind="stable")
    found = []
    for part in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(part) > 1:
            ids, labels = tuple(near.state.ids[part].tolist()), np.unique(near.of[part]).tolist()
            names = tuple(sorted(near.state.labels[label] for label in labels))
            found.append(Duplicates(ids, names, float(near.distances[part, 0].max())))
    return tuple(sorted(found, key=lambda one: (-len(one.labels), -len(one.ids), one.ids)))


def different_views(near: Neighbourhood, links: Links) -> Ints:
    """The view of each picture, [N]: equal for near duplicates of one label and for pictures of it from one file."""
    same_label = near.of[links[0]] == near.of[links[1]]
    order = np.lexsort((near.photos, near.of))
    together = (np.diff(near.photos[order]) == 0) & (np.diff(near.of[order]) == 0)
    ours = np.concatenate([links[0][same_label], order[:-1][together]])
    return _groups(len(near.of), ours, np.concatenate([links[1][same_label], order[1:][together]]))


def _groups(count: int, ours: Ints, others: Ints) -> Ints:
    """The smallest member of the group of each of `count` things, where `ours[i]` and `others[i]` belong together."""
    roots = list(range(count))
    for one, other in zip(ours.tolist(), others.tolist(), strict=True):
        low, high = sorted((_root(roots, one), _root(roots, other)))
        roots[high] = low
    return np.array([_root(roots, place) for place in range(count)], np.int64)


def _root(roots: list[int], place: int) -> int:
    while roots[place] != place:
        roots[place] = roots[roots[place]]
        place = roots[place]
    return place
