"""What the command line shows and returns: results on stdout, messages on stderr, exit codes."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from eyas.errors import ConfigError, EyasError

if TYPE_CHECKING:
    from eyas.saving import Result

log = logging.getLogger(__name__)

INTERRUPTED = 130


class Format(StrEnum):
    """How results are written to stdout."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    pretty = "pretty"


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to the `sys.stderr` of the moment, which a progress bar may have replaced."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


@contextmanager
def messages() -> Iterator[None]:
    """Show what eyas logs on stderr; the one place of the package that installs a log handler."""
    logger, handler = logging.getLogger("eyas"), _Stderr()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextmanager
def exit_codes(verbose: bool = False, quiet: bool = False) -> Iterator[None]:
    """Run a command: an EyasError is one line on stderr (and a traceback if `verbose`) and its exit code.

    Anything unexpected keeps its traceback and returns 1, an interruption 130, a closed pipe 1 in silence.
    """
    logger = logging.getLogger("eyas")
    before = logger.level
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError as error:
        # The reader has gone, as `head` does; Python would complain again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from error
    except EyasError as error:
        if verbose:
            traceback.print_exc()
        sys.stderr.write(f"eyas: {error}\n")
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        sys.stderr.write("eyas: interrupted\n")
        raise typer.Exit(INTERRUPTED) from error
    except Exception as error:
        traceback.print_exc()
        raise typer.Exit(1) from error
    finally:
        logger.setLevel(before)


@contextmanager
def failures_to(output: Path, mode: str) -> Iterator[None]:
    """Note a failure as `{mode}_result.json` with `done_flag` false, as PaddleX does, and let it go on.

    Wrong use is no failed run, and leaves no file: what is wrong may be `output` itself.
    """
    try:
        yield
    except ConfigError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        names = [f"{mode}_result.json", *(["train_results.json"] if mode == "train" else [])]
        result = {"done_flag": False, "err_type": str(type(error)), "err_msg": str(error)}
        from eyas.saving import write_text

        output.mkdir(parents=True, exist_ok=True)
        for name in names:
            write_text(output / name, json.dumps(result, indent=4, ensure_ascii=False) + "\n")
        raise


def say(text: str) -> None:
    """One line on stdout."""
    from eyas.saving import write_line  # loads numpy, which `eyas --help` has no use for

    write_line(text)


def show(results: "Iterable[Result]", form: Format) -> int:
    """Write each result to stdout as it comes; how many there were."""
    count = 0
    try:
        for count, result in enumerate(_with_progress(results), start=1):
            _show_one(result, form, first=count == 1)
    finally:
        if form is Format.json:
            say("]" if count else "[]")
    return count


def _show_one(result: "Result", form: Format, first: bool) -> None:
    if form is Format.pretty:
        result.print()
    elif form is Format.text:
        say(result.str)
    elif form is Format.jsonl:
        say(json.dumps(result.to_dict(), ensure_ascii=False))
    else:  # an array that is written as it grows, so that memory stays flat
        say(("[" if first else ",") + json.dumps(result.to_dict(), ensure_ascii=False))
    sys.stdout.flush()


def _with_progress(results: "Iterable[Result]") -> "Iterator[Result]":
    """`results`, counted on stderr where that is a terminal and stdout is not."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed} images"), TimeElapsedColumn(), TextColumn("{task.fields[name]}"))
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as progress:
        task = progress.add_task("", total=None, name="")
        for result in results:
            progress.update(task, advance=1, name=result.input_path or "")
            yield result
