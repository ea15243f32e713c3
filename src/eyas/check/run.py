"""`eyas check_dataset`: what is wrong with a dataset, and PaddleX's files about it."""

import logging
from contextlib import suppress
from pathlib import Path

from eyas.check.checks import CheckResult, check_detection, check_recognition
from eyas.check.demo import MOST, spread, write_demo
from eyas.check.outputs import FAULT_TEXT, FOLDER, clear_demo, counted, write_faults, write_histogram, write_result
from eyas.check.prepare import prepare_dataset
from eyas.check.progress import progress_bar
from eyas.config import module_configs
from eyas.data.labelled import LabelledImages
from eyas.data.labelled_layout import find_labelled
from eyas.data.layout import find_layout
from eyas.data.sample import Dataset
from eyas.errors import ConfigError, DatasetError
from eyas.schema import ModuleConfig

log = logging.getLogger(__name__)

REPORT = "report.html"

_SHOWN = 10  # kinds of errors in the message of a dataset that does not pass


def run(config: ModuleConfig) -> CheckResult:
    """Check the dataset in `Global.dataset_dir` and write what was found into `Global.output`.

    A dataset for a feature model, or one that holds nothing else, has images with labels, any other one images with
    boxes. Nothing is written into the dataset, unless CheckDataset.convert or CheckDataset.split is enabled. Raises
    ConfigError, and DatasetError where no dataset is recognised or the check finds an error; the faults, the histogram
    and the report are written then too.
    """
    root, output = _places(config)
    settings = config.check_dataset
    recognition = _is_recognition(config.global_.model, root)
    prepare_dataset(settings, root, recognition)
    if recognition:
        result = check_recognition(root, settings.decode, progress_bar)
    else:
        train = config.train
        result = check_detection(root, train.input_size, train.keep_ratio, settings.decode, progress_bar)
    log.info("%s: %s", root, result.layout.description)
    write_faults(output, result.faults)
    write_histogram(output, result.statistics)
    for severity, sentence in result.faults.summary():
        if severity != "error":
            log.log(logging.WARNING if severity == "warning" else logging.INFO, "%s", sentence)
    if result.statistics.tiling is not None:
        for reason in result.statistics.tiling.reasons:
            log.info("%s", reason)
    log.info("%s: %s", counted(result.faults), output / FOLDER / FAULT_TEXT)
    folder = clear_demo(output)
    demo = {name: _demo(part, folder) for name, part in result.splits.items()}
    _write_report(output, result)
    if not result.check_pass:
        raise DatasetError(_failure(root, output, result))
    write_result(output, result.statistics, root, demo)
    return result


def _is_recognition(model: str, root: Path) -> bool:
    """Whether the images of `root` have labels instead of boxes: the model says so, or the dataset alone does."""
    file = module_configs().get(model)
    if file is not None and file.parent.name == "image_feature":
        return True
    try:
        find_layout(root)
    except DatasetError:
        with suppress(DatasetError):
            find_labelled(root)
            return True
    return False


def _places(config: ModuleConfig) -> tuple[Path, Path]:
    """(the dataset's folder, the output folder). Raises ConfigError where one is missing or inside the other."""
    if config.global_.dataset_dir is None:
        raise ConfigError("Global.dataset_dir: not given. Say where the dataset is: -o Global.dataset_dir=PATH")
    root, output = Path(config.global_.dataset_dir), Path(config.global_.output)
    if output.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            f"Global.output: {output} lies inside the dataset {root}, where nothing is written. Expected a folder "
            "beside it: -o Global.output=PATH"
        )
    return root, output


def _write_report(output: Path, result: CheckResult) -> None:
    from eyas.report.dataset import write_check_report  # the page is drawn from the numbers of this room

    write_check_report(output / FOLDER / REPORT, result.statistics, result.faults, result.splits)


def _demo(part: Dataset | LabelledImages, folder: Path) -> list[str]:
    """Write pictures of a split; those that show something come before empty ones."""
    if isinstance(part, LabelledImages):
        return write_demo([part.paths[place] for place in spread(len(part))], None, (), folder)
    there = [sample for sample in part.samples if sample.path not in part.embedded]
    full = [sample for sample in there if len(sample.boxes_xyxy)]
    pool = full if len(full) >= MOST else there
    chosen = [pool[place] for place in spread(len(pool))]
    return write_demo([sample.path for sample in chosen], chosen, part.classes.names, folder)


def _failure(root: Path, output: Path, result: CheckResult) -> str:
    kinds = [sentence for severity, sentence in result.faults.summary() if severity == "error"]
    more = [f"  … and {len(kinds) - _SHOWN} more kinds"] if len(kinds) > _SHOWN else []
    return "\n".join(
        [
            f"the dataset {root} does not pass the check: {counted(result.faults)}.",
            "Please try to resolve the issue as follows:",
            *(f"  {sentence}" for sentence in kinds[:_SHOWN]),
            *more,
            f"All of them are in {output / FOLDER / FAULT_TEXT}.",
        ]
    )
