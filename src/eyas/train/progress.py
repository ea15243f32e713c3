"""What a run says while it trains: a bar on stderr, train.log, metrics.jsonl, and TensorBoard on request."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from eyas.errors import missing_extra
from eyas.train.task import Terms, Validation

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
LOG = "train.log"

Write = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Step:
    """One training step as measured: seconds `waited` for the batch and `seconds` in all, waiting included."""

    epoch: int
    index: int
    rate: float
    images: int
    waited: float
    seconds: float


class Progress:
    """Collects steps and says their means every `every` steps. `write` gets every record; `advance` moves the bar."""

    def __init__(
        self, epochs: int, steps_per_epoch: int, every: int, write: Write, advance: Callable[[str], None]
    ) -> None:
        self.epochs, self.per_epoch, self.every = epochs, steps_per_epoch, every
        self._write, self._advance = write, advance
        self._steps: list[tuple[Step, Terms]] = []

    def step(self, step: Step, terms: Terms) -> None:
        """Note one step; write a record at every log interval and at the end of an epoch."""
        self._steps.append((step, terms))
        self._advance(f"epoch {step.epoch + 1}/{self.epochs}")
        if (step.index + 1) % self.every and step.index + 1 < self.per_epoch:
            return
        steps, losses = [s for s, _ in self._steps], [t for _, t in self._steps]
        self._steps = []
        seconds = sum(s.seconds for s in steps)
        record: dict[str, Any] = {"epoch": step.epoch + 1, "step": step.index + 1, "learning_rate": step.rate}
        means = {f.name: sum(float(getattr(t, f.name)) for t in losses) / len(losses) for f in fields(losses[0])}
        record |= {f"loss_{name}": mean for name, mean in means.items()}
        record["images_per_second"] = sum(s.images for s in steps) / seconds
        record["data_share"] = sum(s.waited for s in steps) / seconds
        self._write(record)
        left = (self.epochs - step.epoch) * self.per_epoch - step.index - 1
        parts = " ".join(f"{name} {mean:.4f}" for name, mean in means.items() if name != "total")
        log.info(
            "epoch %d/%d step %d/%d loss %.4f (%s) lr %.6f %.1f images/s data %.0f%% eta %s",
            step.epoch + 1, self.epochs, step.index + 1, self.per_epoch, means["total"], parts, step.rate,
            record["images_per_second"], 100 * record["data_share"], _clock(left * seconds / len(steps)),
        )  # fmt: skip

    def validated(self, epoch: int, found: Validation, better: bool) -> None:
        """Note a validation at the end of `epoch`."""
        self._write({"epoch": epoch, "validation": dict(found.record)})
        figures = " ".join(f"{name} {value:.4f}" for name, value in found.figures.items())
        log.info("epoch %d %s%s", epoch, figures, " (best so far)" if better else "")


@contextmanager
def open_progress(
    output: Path, epochs: int, steps_per_epoch: int, every: int, done_steps: int, tensorboard: bool
) -> Iterator[Progress]:
    """A `Progress` that writes train.log, metrics.jsonl and (`tensorboard`) event files below `output`."""
    output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_log_file(output / LOG))
        file = stack.enter_context((output / METRICS).open("a", encoding="utf-8"))
        board = stack.enter_context(_tensorboard(output, steps_per_epoch)) if tensorboard else None

        def write(record: Mapping[str, Any]) -> None:
            file.write(json.dumps(record) + "\n")
            file.flush()
            if board is not None:
                board(record)

        advance = stack.enter_context(_bar(epochs * steps_per_epoch, done_steps))
        yield Progress(epochs, steps_per_epoch, every, write, advance)


def silent_progress(epochs: int, steps_per_epoch: int, every: int) -> Progress:
    """A `Progress` that says nothing, for the processes of a run that are not the first."""
    return Progress(epochs, steps_per_epoch, max(every, steps_per_epoch), lambda _: None, lambda _: None)


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("eyas")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


@contextmanager
def _bar(total: int, done: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr where that is a terminal; the function moves it by one step."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("training", total=total, completed=done)
        yield lambda text: bar.update(task, advance=1, description=text)


@contextmanager
def _tensorboard(output: Path, steps_per_epoch: int) -> Iterator[Write]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise missing_extra("tensorboard", "tensorboard") from error
    writer = SummaryWriter(str(output / "tensorboard"))

    def write(record: Mapping[str, Any]) -> None:
        values = record.get("validation", record)
        step = (
            record["epoch"] * steps_per_epoch
            if "validation" in record
            else ((record["epoch"] - 1) * steps_per_epoch + record["step"])
        )
        for name, value in values.items():
            if isinstance(value, float):
                writer.add_scalar(name, value, step)

    try:
        yield write
    finally:
        writer.close()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
