"""A bar on stderr, where that is a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from eyas.check.images import Advance


@contextmanager
def progress_bar(total: int, title: str) -> Iterator[Advance]:
    """A function that moves the bar by a number of images."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.advance(task, done)
