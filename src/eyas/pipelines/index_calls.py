"""What the calls that build and change an index were given: PaddleX's old keywords, or its new ones, told apart."""

import logging
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyas.errors import ConfigError, GalleryError, InputError
from eyas.index.gallery import Gallery
from eyas.index.lists import read_gallery, read_ids
from eyas.index.pictures import Picture
from eyas.index.records import content_hash
from eyas.inputs import iter_inputs
from eyas.pipelines.gallery_builder import LabelledArray

log = logging.getLogger(__name__)

AnyPath = str | PathLike[str]
GalleryImages = AnyPath | Sequence[AnyPath | NDArray[np.uint8]]
"""The folder that a list's paths are seen from, or the pictures themselves: paths, or arrays (BGR)."""
GalleryLabels = AnyPath | Sequence[str]
"""A list file, or the label of each picture."""


def is_old(function: str, new: Mapping[str, object], old: Mapping[str, object]) -> bool:
    """Whether the arguments of the `old` form were given, not those of the `new` one; None stands for left out.

    Raises ConfigError for a mixture, and where one is missing, save `gallery_label`: a folder may be read without.
    """
    given_new, given_old = (_given(form) for form in (new, old))
    ways = f"Give {_listed(list(new))}; or, as in earlier versions of PaddleX, {_listed(list(old))}."
    if given_new and given_old:
        raise ConfigError(f"{function}: {_listed([*given_new, *given_old])} do not go together. {ways}")
    chosen, given = (old, given_old) if given_old else (new, given_new)
    missing = [name for name in chosen if name not in given and name != "gallery_label"]
    if missing:
        raise ConfigError(f"{function}: {_listed(missing)} must be given. {ways}")
    return chosen is old


def gallery_pictures(
    images: GalleryImages | None, labels: GalleryLabels | None, problems: list[str] | None = None
) -> list[Picture | LabelledArray]:
    """The pictures that the new form names: by a folder and a list in it, or one by one with their labels.

    With `problems`, what is wrong in a list file is told there and left out.
    Raises GalleryError for what cannot be used, ConfigError where the two do not fit each other.
    """
    if isinstance(images, (str, PathLike)) and (labels is None or isinstance(labels, (str, PathLike))):
        root = Path(images)
        return [
            *(
                read_gallery(root, problems=problems)
                if labels is None
                else read_gallery(labels, root, problems=problems)
            )
        ]
    if isinstance(images, (str, PathLike)) or labels is None or isinstance(labels, (str, PathLike)):
        raise ConfigError(
            "gallery_imgs and gallery_label do not fit each other: expected a folder and a list file, or a list of "
            f"pictures and one of labels, got {_kind(images)} and {_kind(labels)}."
        )
    pictures = list(images if images is not None else ())
    if len(pictures) != len(labels):
        raise ConfigError(f"gallery_imgs has {len(pictures)} pictures and gallery_label {len(labels)} labels.")
    return [_labelled(*pair, f"gallery_imgs[{place}]") for place, pair in enumerate(zip(pictures, labels, strict=True))]


def ids_of(remove_ids: AnyPath | Sequence[int]) -> list[int]:
    """The ids given: a list of them, or a text file with one in each line."""
    if isinstance(remove_ids, (str, PathLike)):
        return read_ids(remove_ids)
    return list(remove_ids)


def ids_named(gallery: Gallery, pictures: Sequence[Picture]) -> list[int]:
    """The ids of the items that are one of `pictures`, by file or content, with its label.

    Those that are not there are logged.  Raises GalleryError where none is.
    """
    digests = [content_hash(one.path.read_bytes(), one.box) for one in pictures]
    sources = {spelling for one in pictures for spelling in (str(one.path), str(one.path.absolute()))}
    near = {*gallery.find(hashes=digests).tolist(), *gallery.find(sources=sorted(sources)).tolist()}
    keys = [
        {(one.label, digest), (one.label, one.path.absolute())} for one, digest in zip(pictures, digests, strict=True)
    ]
    wanted = set().union(*keys)
    chosen, seen = [], set()
    for item in gallery.get(sorted(near)):
        path = None if item.source is None else Path(item.source).absolute()
        own = {(item.label, item.content_hash), (item.label, path)} & wanted
        if own:
            chosen.append(item.id)
            seen |= own
    absent = [one.where for one, key in zip(pictures, keys, strict=True) if not key & seen]
    if absent:
        told = (
            f"{len(absent)} of {len(pictures)} pictures are not in the index with that label: {', '.join(absent[:10])}"
        )
        if not chosen:
            raise GalleryError(f"{told}. Nothing was removed. Expected pictures that are there.")
        log.warning("%s", told)
    return chosen


def _labelled(picture: object, label: object, where: str) -> Picture | LabelledArray:
    if not isinstance(label, str):
        raise ConfigError(f"{where}: expected a text as its label, got {label!r:.80}.")
    if isinstance(picture, (str, PathLike)):
        return Picture(Path(picture), label, where=where)
    try:
        (item,) = iter_inputs(picture)
        return LabelledArray(item.load(), label, where=where)
    except (InputError, ValueError) as error:
        raise GalleryError(f"{where}: expected a path or a picture as an array: {error}") from error


def _given(form: Mapping[str, object]) -> list[str]:
    return [name for name, value in form.items() if value is not None]


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _kind(value: object) -> str:
    return (
        "nothing" if value is None else "a path" if isinstance(value, (str, PathLike)) else f"a {type(value).__name__}"
    )
