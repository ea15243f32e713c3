"""A gallery of reference pictures: `Gallery` keeps their features and finds the nearest ones."""

from eyas.index.gallery import Gallery
from eyas.index.records import Change, Item, Kind, Matches, Metric, ModelIdentity, NewItem

__all__ = ["Change", "Gallery", "Item", "Kind", "Matches", "Metric", "ModelIdentity", "NewItem"]
