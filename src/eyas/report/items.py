"""The picture behind an item of a gallery."""

from pathlib import Path

from eyas.errors import InputError
from eyas.index.gallery import Gallery
from eyas.index.records import Item
from eyas.report.marks import RGB
from eyas.vision.image import decode_image, read_image


def item_picture(gallery: Gallery, item: Item) -> RGB | None:
    """What the gallery knows of the look of `item`: its thumbnail, which shows the very part that is in the gallery.

    Else the file that it came from; None where that cannot be read (any more).
    """
    thumbnail = gallery.thumbnail(item.id)
    try:
        if thumbnail is not None:
            return decode_image(thumbnail, f"the thumbnail of item {item.id}")
        return None if item.source is None else read_image(Path(item.source))
    except InputError:
        return None
