"""The examination of a whole gallery."""

import numpy as np

from eyas.doctor.duplicates import different_views, duplicate_limit, duplicate_links, find_duplicates
from eyas.doctor.findings import Findings
from eyas.doctor.labels import count_views, find_confusable, find_thin, find_wishes, first_answers
from eyas.doctor.neighbours import Progress, neighbourhood
from eyas.doctor.suspects import find_mislabels, find_outliers
from eyas.errors import ConfigError, GalleryError
from eyas.index.gallery import Gallery

NEIGHBOURS = 10
LEAST_VIEWS = 5


def examine(
    gallery: Gallery,
    *,
    neighbours: int = NEIGHBOURS,
    least_views: int = LEAST_VIEWS,
    progress: Progress | None = None,
) -> Findings:
    """What is wrong with `gallery`, or could be better: each picture is searched for among the others.

    `neighbours` of each are looked at; a label should have `least_views` different ones. `progress(done, all)` is told
    after each batch. Raises GalleryError for a gallery of fewer than two pictures, ConfigError for numbers below 1.
    """
    for what, value in (("neighbours", neighbours), ("least_views", least_views)):
        if value < 1:
            raise ConfigError(f"{what}: expected 1 or more, got {value}.")
    if len(gallery) < 2:
        raise GalleryError(f"{gallery.path} has {len(gallery)} pictures. Expected at least 2, to compare them.")
    near = neighbourhood(gallery, neighbours, progress)
    limit = duplicate_limit(near)
    links = duplicate_links(gallery, near, limit)
    mislabels = find_mislabels(gallery, near)
    trusted = ~np.isin(near.state.ids, [one.id for one in mislabels])
    views = count_views(near, different_views(near, links))
    confusable = find_confusable(gallery, near, trusted)
    counts = np.bincount(near.of, minlength=len(near.state.labels))
    answers = first_answers(near, np.ones(len(near.of), np.bool_))
    asked = (counts[near.of] > 1) & (answers >= 0)
    nearest = near.nearest(near.places >= 0)[1]
    return Findings(
        generation=near.state.generation,
        pictures=len(near.of),
        labels=int((counts > 0).sum()),
        right=float((answers == near.of)[asked].mean()) if asked.any() else -1.0,
        usual_distance=float(np.median(nearest[np.isfinite(nearest)])) if np.isfinite(nearest).any() else 0.0,
        duplicate_limit=limit,
        duplicates=find_duplicates(near, links),
        mislabels=mislabels,
        outliers=find_outliers(near),
        confusable=confusable,
        thin=find_thin(near, views, least_views),
        wishes=find_wishes(near, views, least_views, trusted, confusable),
    )
