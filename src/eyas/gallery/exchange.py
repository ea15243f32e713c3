"""`eyas gallery export` and `import`: galleries in the forms of other programs."""

from pathlib import Path
from typing import Literal

from eyas.errors import ConfigError, GalleryError
from eyas.gallery.fresh import fresh_gallery
from eyas.gallery.models import FeatureModel
from eyas.gallery.reports import Report, report_of
from eyas.index import Gallery, ModelIdentity
from eyas.index.exchange import export_index, import_index
from eyas.pipelines.index_files import is_gallery


def export_gallery(
    index: Path, target: Path, form: Literal["paddlex", "npy", "parquet"], overwrite: bool
) -> list[Path]:
    """The gallery in another form, in place of an earlier export with `overwrite`; the files that were written."""
    with Gallery.open(index) as gallery:
        return export_index(gallery, target, form, overwrite=overwrite)


def import_gallery(source: Path, index: Path, model: FeatureModel) -> Report:
    """A new gallery of an index of PaddleX, or of vectors with labels, that `model` has made, where it is named."""
    if is_gallery(index):
        raise ConfigError(
            f"{index} is a gallery already. Expected a new folder: an import never mixes with what is there."
        )
    found = import_index(source)
    identity, width = found.model, found.vectors.shape[1]
    named = model.name is not None or model.folder is not None
    if named:
        identity = ModelIdentity.of(model.open(None).manifest)
        if identity.width != width:
            raise GalleryError(
                f"{source} holds vectors of {width} numbers, and the model {identity.name} makes {identity.width}. "
                "Expected the model that made them."
            )
    kind, metric = found.kind or "HNSW32", found.metric or "IP"
    with fresh_gallery(index, width=width, kind=kind, metric=metric, model=identity) as gallery:
        report = report_of(gallery, gallery.append(found.vectors, found.items))
        if named:
            model.remember(gallery)
        return report
