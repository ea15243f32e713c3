"""`eyas gallery verify`, `doctor`, `blame` and the like: whether a gallery can be trusted."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from eyas.terminal import exit_codes, say

Index = Annotated[Path, typer.Option("--index", "--index_dir", metavar="DIR", help="folder of the gallery")]
Pictures = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="folder with gallery.txt, folder per label, list, or CSV file")
]
Model = Annotated[str | None, typer.Option("--model", "--model_name", help="feature model, see eyas models")]
ModelDir = Annotated[str | None, typer.Option("--model_dir", help="folder of your own feature model")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, gpu, gpu:0; without it a GPU if usable")]
Json = Annotated[Literal["text", "json"], typer.Option("--format", help="how results are written to stdout")]
Save = Annotated[Path | None, typer.Option("--save_path", help="folder for the report")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="more messages, and tracebacks")]


def verify(index: Index, form: Json = "text", verbose: Verbose = False) -> None:
    """Check every file, vector and record of a gallery."""
    from eyas.gallery.care import verify_gallery

    with exit_codes(verbose):
        report = verify_gallery(index)
        tell(report, form)
        if report["problems"]:
            raise typer.Exit(1)


def calibrate(
    index: Index,
    false_accept_rate: Annotated[
        float, typer.Option("--false_accept_rate", "--far", help="share of unknown objects that may be accepted")
    ] = 0.01,
    form: Json = "text",
    verbose: Verbose = False,
) -> None:
    """Find thresholds from the gallery itself; used where rec_threshold is "calibrated"."""
    from eyas.gallery.care import calibrate_gallery

    with exit_codes(verbose):
        tell(calibrate_gallery(index, false_accept_rate), form)


def doctor(index: Index, save_path: Save = None, form: Json = "text", verbose: Verbose = False) -> None:
    """Look for duplicates, wrong labels, outliers, labels that are confused, and what to photograph next."""
    from eyas.gallery.care import examine_gallery

    with exit_codes(verbose):
        tell(examine_gallery(index, save_path), form)


def blame(  # noqa: PLR0913 - one parameter a flag
    source: Pictures,
    index: Index,
    pipeline: Annotated[str, typer.Option("--pipeline", help="pipeline name or file")] = "PP-ShiTuV2",
    model: Model = None,
    model_dir: ModelDir = None,
    detector: Annotated[
        str | None, typer.Option("--detector", help="a name, a folder, or none: the whole picture")
    ] = None,
    rec_threshold: Annotated[
        str | None, typer.Option("--rec_threshold", help="least score of a match, or calibrated")
    ] = None,
    device: Device = None,
    save_path: Save = None,
    form: Json = "text",
    verbose: Verbose = False,
) -> None:
    """Run the pipeline on labelled pictures and say of each error what is at fault."""
    from eyas.gallery.care import blame_gallery

    with exit_codes(verbose):
        parts = (model, model_dir, detector, device)
        tell(blame_gallery(source, index, pipeline, parts, rec_threshold, save_path), form)


def snapshot(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="new folder")], index: Index, verbose: Verbose = False
) -> None:
    """Copy the gallery as it is now into a new folder; writes may go on meanwhile."""
    from eyas.gallery.care import snapshot_gallery

    with exit_codes(verbose):
        say(str(snapshot_gallery(index, target)))


def optimise(index: Index, form: Json = "text", verbose: Verbose = False) -> None:
    """Put all vectors into one new search structure, without what was removed."""
    from eyas.gallery.care import optimise_gallery

    with exit_codes(verbose):
        tell(optimise_gallery(index), form)


def selftest(
    folder: Annotated[Path | None, typer.Option("--folder", help="new folder on the disk to test")] = None,
    kills: Annotated[int, typer.Option("--kills", min=1, help="how often the writing process is killed")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="the same seed chooses the same changes")] = 0,
    form: Json = "text",
    verbose: Verbose = False,
) -> None:
    """Kill a writing process again and again, and count what is lost: nothing may be."""
    from eyas.gallery.care import run_selftest

    with exit_codes(verbose):
        report = run_selftest(folder, kills, seed)
        tell(report, form)
        if not report["sound"]:
            raise typer.Exit(1)


def tell(report: dict[str, object], form: str) -> None:
    """A report on stdout: its sentences, or as JSON all but those."""
    lines = report.pop("lines")
    if form == "json":
        say(json.dumps(report, ensure_ascii=False))
    elif isinstance(lines, list):
        for line in lines:
            say(line)
