"""`eyas gallery remove`, `list`, `show`, `search`, `undo` and `history`: what a gallery holds."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from eyas.errors import ConfigError
from eyas.gallery.models import FeatureModel
from eyas.gallery.reports import Form, Report, as_json, conditions, line_of, line_of_change, report_of
from eyas.index import Gallery, ModelIdentity
from eyas.index.lists import read_ids
from eyas.inputs import iter_inputs


def remove_from_gallery(
    index: Path,
    ids: Sequence[int] | None,
    file: Path | None,
    labels: Sequence[str] | None,
    paths: Sequence[str] | None,
    where: Sequence[str] | None,
) -> Report:
    """The items with those ids (given and in `file`), or all that meet every other condition, taken out."""
    chosen = [*(ids or ()), *(read_ids(file) if file is not None else ())]
    if chosen and (labels or paths or where):
        raise ConfigError("remove: give numbers, or --label, --path and --where, not both.")
    with Gallery.open(index) as gallery:
        if chosen:
            return report_of(gallery, gallery.remove(chosen))
        sources = None if paths is None else [name for path in paths for name in _spellings(path)]
        report = report_of(gallery, gallery.remove(labels=labels, sources=sources, where=conditions(where)))
        if not report["removed"]:
            report["lines"] = [f"no item is like that, so nothing was removed; `eyas gallery list --index {index}`"]
        return report


def _spellings(path: str) -> set[str]:
    """A path as it was given, and as a list that named the same file could have spelt it."""
    spellings = {path, os.path.normpath(path), os.path.normpath(Path(path).absolute())}
    with suppress(ValueError):  # Windows: another drive
        spellings.add(os.path.relpath(path))
    return spellings


def undo_in_gallery(index: Path) -> Report:
    """The last change taken back."""
    with Gallery.open(index) as gallery:
        return report_of(gallery, gallery.undo())


def gallery_history(index: Path, form: Form) -> Iterator[str]:
    """The last changes, the newest first."""
    with Gallery.open(index) as gallery:
        entries = gallery.history()
        if form == "json":
            yield as_json([entry.to_dict() for entry in entries])
        else:
            yield from map(line_of_change, entries)


def list_gallery(
    index: Path,
    label: str | None,
    where: Sequence[str] | None,
    page: tuple[int | None, int],
    counts: bool,
    form: Form,
) -> Iterator[str]:
    """The lines of a list: of the items on a page (limit, offset), or of the labels with their `counts`."""
    with Gallery.open(index) as gallery:
        if counts:
            found = gallery.counts()
            yield from [as_json(found)] if form == "json" else [f"{count:>8}  {name}" for name, count in found.items()]
            return
        items = gallery.list(label=label, where=conditions(where), limit=page[0], offset=page[1])
        yield from [as_json([item.to_dict() for item in items])] if form == "json" else map(line_of, items)


def show_gallery(index: Path, ids: Sequence[int] | None) -> Report:
    """What a gallery is, or what the items `ids` are."""
    with Gallery.open(index) as gallery:
        if ids:
            items = gallery.get(ids)
            lines = [f"{key:14}{value}" for item in items for key, value in item.to_dict().items()]
            return {"items": [item.to_dict() for item in items], "lines": lines}
        model, size = gallery.info.model, sum(file.stat().st_size for file in index.rglob("*") if file.is_file())
        report = {
            "path": str(index),
            "items": len(gallery),
            "labels": len(gallery.labels),
            "index_type": gallery.kind,
            "metric_type": gallery.metric,
            "width": gallery.width,
            "model": None if model is None else model.name,
            "model_fingerprint": None if model is None else model.fingerprint,
            "generation": gallery.generation,
            "megabytes": round(size / 1e6, 1),
            "calibrated": gallery.setting("calibration") is not None,
        }
        return {**report, "lines": [f"{key:18}{value}" for key, value in report.items()]}


def search_gallery(
    pictures: Sequence[str], index: Path, topk: int, where: Sequence[str] | None, model: FeatureModel, form: Form
) -> Iterator[str]:
    """For each picture the nearest items, whatever their distance: lines, or one JSON object a picture."""
    with Gallery.open(index) as gallery:
        embedder = model.open(gallery)
        gallery.check_model(ModelIdentity.of(embedder.manifest))
        for sample in iter_inputs(list(pictures)):
            feature = embedder(sample.load())
            found = gallery.search(feature[None], topk, where=conditions(where)).named(0)
            items = gallery.get([number for number, _, _ in found])
            pairs = [
                {"score": round(score, 6), **item.to_dict()} for (_, _, score), item in zip(found, items, strict=True)
            ]
            if form == "json":
                yield as_json({"input_path": sample.input_path, "page_index": sample.page_index, "matches": pairs})
            else:
                yield str(sample.input_path)
                yield from (
                    f"{score:>10.4f}  {line_of(item)}" for (_, _, score), item in zip(found, items, strict=True)
                )
