"""`eyas gallery …`: one typed function a verb; what they do is in `eyas.gallery`."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from eyas.terminal import exit_codes, say

gallery = typer.Typer(
    help="Build, change, search and check a gallery of reference pictures.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Index = Annotated[Path, typer.Option("--index", "--index_dir", metavar="DIR", help="folder of the gallery")]
Pictures = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="folder with gallery.txt, folder per label, list, or CSV file")
]
Model = Annotated[str | None, typer.Option("--model", "--model_name", help="feature model, see eyas models")]
ModelDir = Annotated[str | None, typer.Option("--model_dir", help="folder of your own feature model")]
Detector = Annotated[str | None, typer.Option("--detector", help="detector for --crop auto: a name or a folder")]
Crop = Annotated[
    Literal["boxes", "none", "auto"],
    typer.Option("--crop", help="boxes: as the list says; none: whole pictures; auto: what --detector finds"),
]
SkipBad = Annotated[bool, typer.Option("--skip_bad", help="leave out what cannot be used, and say what")]
Thumbnails = Annotated[bool, typer.Option("--thumbnails", help="keep a small picture of each item")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, gpu, gpu:0; without it a GPU if usable")]
Batch = Annotated[int, typer.Option("--batch_size", min=1, help="pictures in one run of the network")]
Label = Annotated[str | None, typer.Option("--label", help="this label alone")]
Where = Annotated[list[str] | None, typer.Option("--where", help="metadata: key=value, key<3, ...; may be repeated")]
Json = Annotated[Literal["text", "json"], typer.Option("--format", help="how results are written to stdout")]
Save = Annotated[Path | None, typer.Option("--save_path", help="folder for the report")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="more messages, and tracebacks")]


@gallery.command()
def build(  # noqa: PLR0913 - one parameter a flag
    source: Pictures,
    index: Index,
    model: Model = None,
    model_dir: ModelDir = None,
    detector: Detector = None,
    crop: Crop = "boxes",
    index_type: Annotated[
        Literal["HNSW32", "IVF", "Flat"], typer.Option("--index_type", help="how neighbours are found")
    ] = "HNSW32",
    metric: Annotated[
        Literal["IP", "L2", "hamming"], typer.Option("--metric", "--metric_type", help="how vectors are compared")
    ] = "IP",
    skip_bad: SkipBad = False,
    thumbnails: Thumbnails = False,
    device: Device = None,
    batch_size: Batch = 16,
    form: Json = "text",
    verbose: Verbose = False,
) -> None:
    """Make a gallery of labelled pictures; one that is there holds exactly these afterwards (undo takes it back)."""
    from eyas.gallery.ingest import Ingest, build_gallery
    from eyas.gallery.models import FeatureModel

    with exit_codes(verbose):
        features = FeatureModel(model, model_dir, device)
        ingest = Ingest(features, detector, crop, skip_bad, thumbnails, batch_size)
        _tell(build_gallery(source, index, ingest, index_type, metric), form)


@gallery.command()
def add(  # noqa: PLR0913 - one parameter a flag
    source: Pictures,
    index: Index,
    label: Annotated[str | None, typer.Option("--label", help="label of the picture or folder SOURCE")] = None,
    model: Model = None,
    model_dir: ModelDir = None,
    detector: Detector = None,
    crop: Crop = "boxes",
    skip_bad: SkipBad = False,
    thumbnails: Thumbnails = False,
    device: Device = None,
    batch_size: Batch = 16,
    form: Json = "text",
    verbose: Verbose = False,
) -> None:
    """Add pictures; those that are there already stay, with the label that is given now."""
    from eyas.gallery.ingest import Ingest, add_to_gallery
    from eyas.gallery.models import FeatureModel

    with exit_codes(verbose):
        features = FeatureModel(model, model_dir, device)
        ingest = Ingest(features, detector, crop, skip_bad, thumbnails, batch_size)
        _tell(add_to_gallery(source, index, ingest, label), form)


@gallery.command()
def remove(  # noqa: PLR0913 - one parameter a flag
    index: Index,
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID...", help="numbers of items, see list")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="all items of that label; may be repeated")] = None,
    path: Annotated[list[str] | None, typer.Option("--path", help="all items of that picture; may be repeated")] = None,
    file: Annotated[Path | None, typer.Option("--ids", help="file with one number in each line")] = None,
    where: Where = None,
    form: Json = "text",
    verbose: Verbose = False,
) -> None:
    """Take items out, by number, label, path or metadata; `eyas gallery undo` brings them back."""
    from eyas.gallery.content import remove_from_gallery

    with exit_codes(verbose):
        _tell(remove_from_gallery(index, ids, file, label, path, where), form)


@gallery.command("list")
def list_items(  # noqa: PLR0913 - one parameter a flag
    index: Index,
    label: Label = None,
    where: Where = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="at most so many")] = None,
    offset: Annotated[int, typer.Option("--offset", min=0, help="leave out so many first")] = 0,
    labels: Annotated[bool, typer.Option("--labels", help="the labels and how many items each has")] = False,
    form: Json = "text",
    verbose: Verbose = False,
) -> None:
    """List the items, or with --labels the labels."""
    from eyas.gallery.content import list_gallery

    with exit_codes(verbose):
        for line in list_gallery(index, label, where, (limit, offset), labels, form):
            say(line)


@gallery.command()
def show(
    index: Index,
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID...", help="items to show")] = None,
    form: Json = "text",
    verbose: Verbose = False,
) -> None:
    """Say what a gallery is and how much it holds, or what some of its items are."""
    from eyas.gallery.content import show_gallery

    with exit_codes(verbose):
        _tell(show_gallery(index, ids), form)


@gallery.command()
def search(  # noqa: PLR0913 - one parameter a flag
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURE...", help="pictures, folders, URLs")],
    index: Index,
    topk: Annotated[int, typer.Option("--topk", min=1, help="how many items for each picture")] = 5,
    where: Where = None,
    model: Model = None,
    model_dir: ModelDir = None,
    device: Device = None,
    form: Json = "text",
    verbose: Verbose = False,
) -> None:
    """Find the items nearest to whole pictures; no detector and no threshold is used."""
    from eyas.gallery.content import search_gallery
    from eyas.gallery.models import FeatureModel

    with exit_codes(verbose):
        for line in search_gallery(pictures, index, topk, where, FeatureModel(model, model_dir, device), form):
            say(line)


@gallery.command()
def verify(index: Index, form: Json = "text", verbose: Verbose = False) -> None:
    """Check every file, vector and record of a gallery."""
    from eyas.gallery.care import verify_gallery

    with exit_codes(verbose):
        report = verify_gallery(index)
        _tell(report, form)
        if report["problems"]:
            raise typer.Exit(1)


@gallery.command()
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
        _tell(calibrate_gallery(index, false_accept_rate), form)


@gallery.command()
def doctor(index: Index, save_path: Save = None, form: Json = "text", verbose: Verbose = False) -> None:
    """Look for duplicates, wrong labels, outliers, labels that are confused, and what to photograph next."""
    from eyas.gallery.care import examine_gallery

    with exit_codes(verbose):
        _tell(examine_gallery(index, save_path), form)


@gallery.command()
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
        _tell(blame_gallery(source, index, pipeline, parts, rec_threshold, save_path), form)


@gallery.command("export")
def export_to(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="new folder, or .parquet file")],
    index: Index,
    to: Annotated[
        Literal["paddlex", "npy", "parquet"], typer.Option("--to", help="paddlex: vector.index and id_map.yaml")
    ] = "paddlex",
    verbose: Verbose = False,
) -> None:
    """Write the gallery in another form: for PaddleX, NumPy or Parquet."""
    from eyas.gallery.exchange import export_gallery

    with exit_codes(verbose):
        for path in export_gallery(index, target, to):
            say(str(path))


@gallery.command("import")
def import_from(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="index folder of PaddleX, .npy folder, .parquet")],
    index: Index,
    model: Model = None,
    model_dir: ModelDir = None,
    form: Json = "text",
    verbose: Verbose = False,
) -> None:
    """Make a gallery of an index of PaddleX, or of vectors; --model says which model made them."""
    from eyas.gallery.exchange import import_gallery
    from eyas.gallery.models import FeatureModel

    with exit_codes(verbose):
        _tell(import_gallery(source, index, FeatureModel(model, model_dir)), form)


@gallery.command()
def undo(index: Index, form: Json = "text", verbose: Verbose = False) -> None:
    """Take back the last change."""
    from eyas.gallery.content import undo_in_gallery

    with exit_codes(verbose):
        _tell(undo_in_gallery(index), form)


@gallery.command()
def history(index: Index, form: Json = "text", verbose: Verbose = False) -> None:
    """List the last changes, the newest first."""
    from eyas.gallery.content import gallery_history

    with exit_codes(verbose):
        for line in gallery_history(index, form):
            say(line)


@gallery.command()
def snapshot(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="new folder")], index: Index, verbose: Verbose = False
) -> None:
    """Copy the gallery as it is now into a new folder; writes may go on meanwhile."""
    from eyas.gallery.care import snapshot_gallery

    with exit_codes(verbose):
        say(str(snapshot_gallery(index, target)))


@gallery.command()
def optimise(index: Index, form: Json = "text", verbose: Verbose = False) -> None:
    """Put all vectors into one new search structure, without what was removed."""
    from eyas.gallery.care import optimise_gallery

    with exit_codes(verbose):
        _tell(optimise_gallery(index), form)


@gallery.command()
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
        _tell(report, form)
        if not report["sound"]:
            raise typer.Exit(1)


def _tell(report: dict[str, object], form: str) -> None:
    """A report on stdout: its sentences, or as JSON all but those."""
    lines = report.pop("lines")
    if form == "json":
        say(json.dumps(report, ensure_ascii=False))
    elif isinstance(lines, list):
        for line in lines:
            say(line)
