"""`eyas dataset convert|split|slice`: datasets turned into other ones, with a summary of what was kept and left out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eyas.errors import ConfigError
from eyas.terminal import exit_codes, say

if TYPE_CHECKING:
    from eyas.data.summary import Summary

dataset = typer.Typer(
    help="Convert, split or slice a dataset.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Source = Annotated[Path, typer.Argument(metavar="DATASET", help="folder of the dataset; its layout is recognised")]
Target = Annotated[Path, typer.Argument(metavar="TARGET", help="new or empty folder")]
Images = Annotated[Literal["link", "copy"], typer.Option("--images", help="how pictures come into the new folder")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="the same seed gives the same result")]
Group = Annotated[
    str | None, typer.Option("--group", help="keep together: folder, frames, or a regular expression with one group")
]
Percent = Annotated[float | None, typer.Option(min=0, max=100)]


@dataset.command()
def convert(
    source: Source,
    target: Target,
    to: Annotated[Literal["coco", "voc", "labelme", "yolo"], typer.Option("--to", help="format to write")] = "coco",
    format: Annotated[str | None, typer.Option("--from", help="format to read, where it is not recognised")] = None,
    val: Annotated[
        float, typer.Option("--val", min=0, max=99, help="percent for a part val, where there is none")
    ] = 20,
    images: Images = "link",
    seed: Seed = 0,
) -> None:
    """Write a dataset in another format."""
    from eyas.data.convert import convert_dataset

    with exit_codes():
        _tell(convert_dataset(source, target, to, format=format, seed=seed, val_percent=val, images=images))


@dataset.command()
def split(  # noqa: PLR0913 - one parameter a flag
    source: Source,
    train: Percent = None,
    val: Percent = None,
    gallery: Percent = None,
    query: Percent = None,
    group: Group = None,
    disjoint: Annotated[bool, typer.Option("--disjoint", help="labels of the part train are in no other part")] = False,
    seed: Seed = 0,
) -> None:
    """Divide the pictures anew, in place; the files as they first were are kept as .bak."""
    from eyas.data.labelled_split import split_labelled
    from eyas.data.split import split_dataset

    with exit_codes():
        if train is None:
            raise ConfigError("--train: not given. Expected percentages that add up to 100, as in --train 80 --val 20")
        if gallery is None and query is None:
            _tell(split_dataset(source, train, 100 - train if val is None else val, seed=seed, group=group))
        elif gallery is None or query is None or val is not None:
            raise ConfigError("expected --train and --val for boxes, or --train, --gallery and --query for labels")
        else:
            _tell(split_labelled(source, train, gallery, query, seed=seed, disjoint=disjoint))


@dataset.command()
def slice(
    source: Source,
    target: Target,
    tile: Annotated[int, typer.Option("--tile", min=32, help="side of a tile in pixels")] = 640,
    overlap: Annotated[float, typer.Option("--overlap", min=0, max=0.9, help="share of a tile")] = 0.25,
    min_visible: Annotated[
        float, typer.Option("--min_visible", min=0, max=1, help="least share of a box for it to count in a tile")
    ] = 0.4,
    negatives: Annotated[
        float, typer.Option("--negatives", min=0, help="tiles without objects, as a share of those with")
    ] = 0.1,
    seed: Seed = 0,
) -> None:
    """Cut a dataset into tiles, which come as a dataset in COCO's format."""
    from eyas.data.slice import slice_dataset

    with exit_codes():
        _tell(slice_dataset(source, target, (tile, tile), overlap, min_visible, negatives, seed))


@dataset.command()
def join(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="COCO results of tiles")],
    tiles: Annotated[Path, typer.Argument(metavar="TILES", help="COCO file of the tiles")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="COCO results of the pictures, to be written")],
) -> None:
    """Bring detections of tiles back to the pictures that they were cut from; doubles are not merged."""
    from eyas.data.faults import strictly
    from eyas.data.textfiles import read_json
    from eyas.data.tiles import join_tiles
    from eyas.saving import write_text

    with exit_codes():
        records = strictly(lambda report: read_json(predictions, report))
        if not isinstance(records, list):
            raise ConfigError(f"{predictions}: expected a list of COCO results, got a {type(records).__name__}")
        joined = join_tiles(records, tiles)
        write_text(target, json.dumps(joined) + "\n")
        say(f"{len(joined)} detections in {target}")


def _tell(summary: "Summary") -> None:
    for line in summary.lines():
        say(line)
