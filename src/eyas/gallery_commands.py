"""`eyas gallery …`: one typed function a verb; what they do is in `eyas.gallery`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from eyas.gallery_care_commands import (
    Device,
    Index,
    Json,
    Model,
    ModelDir,
    Pictures,
    Verbose,
    blame,
    calibrate,
    doctor,
    optimise,
    selftest,
    snapshot,
    tell,
    verify,
)
from eyas.terminal import exit_codes, say

gallery = typer.Typer(
    help="Build, change, search and check a gallery of reference pictures.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Detector = Annotated[str | None, typer.Option("--detector", help="detector for --crop auto: a name or a folder")]
Crop = Annotated[
    Literal["boxes", "none", "auto"],
    typer.Option("--crop", help="boxes: as the list says; none: whole pictures; auto: what --detector finds"),
]
SkipBad = Annotated[bool, typer.Option("--skip_bad", help="leave out what cannot be used, and say what")]
Thumbnails = Annotated[bool, typer.Option("--thumbnails", help="keep a small picture of each item")]
Batch = Annotated[int, typer.Option("--batch_size", min=1, help="pictures in one run of the network")]
Label = Annotated[str | None, typer.Option("--label", help="this label alone")]
Where = Annotated[list[str] | None, typer.Option("--where", help="metadata: key=value, key<3, ...; may be repeated")]

for verb in (verify, calibrate, doctor, blame, snapshot, optimise, selftest):
    gallery.command()(verb)


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
        tell(build_gallery(source, index, ingest, index_type, metric), form)


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
        tell(add_to_gallery(source, index, ingest, label), form)


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
        tell(remove_from_gallery(index, ids, file, label, path, where), form)


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
        tell(show_gallery(index, ids), form)


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


@gallery.command("export")
def export_to(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="new folder, or .parquet file")],
    index: Index,
    to: Annotated[
        Literal["paddlex", "npy", "parquet"], typer.Option("--to", help="paddlex: vector.index and id_map.yaml")
    ] = "paddlex",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an earlier export")] = False,
    verbose: Verbose = False,
) -> None:
    """Write the gallery in another form: for PaddleX, NumPy or Parquet."""
    from eyas.gallery.exchange import export_gallery

    with exit_codes(verbose):
        for path in export_gallery(index, target, to, overwrite):
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
        tell(import_gallery(source, index, FeatureModel(model, model_dir)), form)


@gallery.command()
def undo(index: Index, form: Json = "text", verbose: Verbose = False) -> None:
    """Take back the last change."""
    from eyas.gallery.content import undo_in_gallery

    with exit_codes(verbose):
        tell(undo_in_gallery(index), form)


@gallery.command()
def history(index: Index, form: Json = "text", verbose: Verbose = False) -> None:
    """List the last changes, the newest first."""
    from eyas.gallery.content import gallery_history

    with exit_codes(verbose):
        for line in gallery_history(index, form):
            say(line)
