"""What may be asked for before a check: a conversion and a new split, which do change the dataset's folder."""

import logging
from pathlib import Path

from eyas.data.convert import PADDLEX_TYPES, convert_in_place
from eyas.data.labelled_split import convert_labelled, split_labelled
from eyas.data.split import split_dataset
from eyas.data.summary import Summary
from eyas.errors import ConfigError
from eyas.schema import CheckDataset, Split

log = logging.getLogger(__name__)


def prepare_dataset(settings: CheckDataset, root: Path, recognition: bool) -> None:
    """Convert and divide the dataset in `root`, each where `settings` enable it; the originals are kept as `.bak`.

    Raises ConfigError where a type or a percentage is missing or wrong, and DatasetError as the two steps do.
    """
    if settings.convert.enable:
        _tell(_convert(settings.convert.src_dataset_type, root, recognition), "Convert dataset successfully !")
    if settings.split.enable:
        _tell(_split(settings.split, root, recognition), "Split dataset successfully !")


def _convert(source_type: str | None, root: Path, recognition: bool) -> Summary:
    if source_type is None:
        expected = "LabelMe" if recognition else ", ".join(PADDLEX_TYPES)
        raise ConfigError(f"CheckDataset.convert.src_dataset_type: not given. Expected one of: {expected}")
    if not recognition:
        return convert_in_place(root, source_type)
    if source_type.lower() != "labelme":
        raise ConfigError(f"CheckDataset.convert.src_dataset_type: unknown {source_type!r}. Expected LabelMe")
    return convert_labelled(root, "flags")


def _split(split: Split, root: Path, recognition: bool) -> Summary:
    train, val, gallery, query = split.train_percent, split.val_percent, split.gallery_percent, split.query_percent
    if recognition:
        if train is None or gallery is None or query is None:
            raise _missing("train_percent, gallery_percent and query_percent")
        return split_labelled(root, train, gallery, query)
    if train is None or val is None:
        raise _missing("train_percent and val_percent")
    return split_dataset(root, train, val)


def _missing(keys: str) -> ConfigError:
    return ConfigError(f"CheckDataset.split: {keys} must all be given. Expected percentages that add up to 100")


def _tell(summary: Summary, done: str) -> None:
    for line in summary.lines():
        log.info("%s", line)
    log.info("%s", done)
