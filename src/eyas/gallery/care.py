"""`eyas gallery verify`, `doctor`, `blame`, `calibrate` and the like: whether a gallery can be trusted."""

import json
import logging
from dataclasses import replace
from pathlib import Path

from eyas.config import load_pipeline_config, parse_value
from eyas.doctor.blame import blame
from eyas.doctor.blame_page import write_blame
from eyas.doctor.examine import examine
from eyas.doctor.page import write_findings
from eyas.errors import ConfigError
from eyas.gallery.recognise import open_recognition
from eyas.gallery.reports import Report
from eyas.index import Gallery
from eyas.index.calibration import calibrate
from eyas.index.lists import read_gallery
from eyas.index.selftest import selftest
from eyas.pipeline_schema import RecognitionPipeline
from eyas.progress import progress_bar
from eyas.saving import target_file, write_text

log = logging.getLogger(__name__)

Parts = tuple[str | None, str | None, str | None, str | None]
"""Name and folder of a feature model, detector, device; None: the pipeline file says it."""


def verify_gallery(index: Path) -> Report:
    """Every file, vector and record checked."""
    with Gallery.open(index) as gallery:
        problems = gallery.verify()
        sound = f"{len(gallery)} items of {len(gallery.labels)} labels: all is well"
        return {"items": len(gallery), "problems": problems, "lines": problems or [sound]}


def calibrate_gallery(index: Path, false_accept_rate: float) -> Report:
    """Thresholds from the gallery itself, kept in it."""
    with Gallery.open(index) as gallery:
        calibration = calibrate(gallery, false_accept_rate=false_accept_rate)
        return {**calibration.to_dict(), "lines": calibration.lines()}


def examine_gallery(index: Path, save_path: Path | None) -> Report:
    """What the doctor finds; with `save_path`, a page with pictures and a JSON file there."""
    with Gallery.open(index) as gallery:
        findings = examine(gallery)
        if save_path is not None:
            text = json.dumps(findings.to_dict(), indent=4, ensure_ascii=False) + "\n"
            write_text(target_file(save_path, "gallery_doctor.json", ()), text)
            log.info("%s", write_findings(save_path / "gallery_doctor.html", gallery, findings))
        return {**findings.to_dict(), "lines": findings.lines()}


def blame_gallery(
    source: Path, index: Path, pipeline: str, parts: Parts, rec_threshold: str | None, save_path: Path | None
) -> Report:
    """Which part of the pipeline is at fault for each error on the labelled pictures in `source`.

    With `save_path`, a page with pictures and a JSON file there.
    """
    file = load_pipeline_config(pipeline)
    if not isinstance(file, RecognitionPipeline):
        raise ConfigError(f"--pipeline {pipeline}: {file.pipeline_name} recognises nothing. Expected PP-ShiTuV2.")
    model, folder, detector, device = parts
    named = {"model_name": model, "model_dir": folder}
    opened = open_recognition(file, str(index), detector, named, {"device": device})
    options = opened.options
    if rec_threshold is not None:
        options = replace(options, rec_threshold=parse_value(rec_threshold))
    gallery = opened.gallery()
    with progress_bar("pictures") as told:
        outcome = blame(*opened.networks, gallery, read_gallery(source), options, progress=told)
    if save_path is not None:
        text = json.dumps(outcome.to_dict(), indent=4, ensure_ascii=False) + "\n"
        write_text(target_file(save_path, "blame.json", ()), text)
        log.info("%s", write_blame(save_path / "blame.html", gallery, outcome))
    return {**outcome.to_dict(), "lines": outcome.lines()}


def snapshot_gallery(index: Path, target: Path) -> Path:
    """A copy of the gallery at `target`."""
    with Gallery.open(index) as gallery:
        gallery.snapshot(target)
    return target


def optimise_gallery(index: Path) -> Report:
    """All vectors in one new search structure."""
    with Gallery.open(index) as gallery:
        with progress_bar("vectors") as told:
            gallery.optimise(told)
        return {"items": len(gallery), "lines": [f"{len(gallery)} vectors in one {gallery.kind} structure"]}


def run_selftest(folder: Path | None, kills: int, seed: int) -> Report:
    """The self-test's outcome."""
    with progress_bar("kills") as told:
        outcome = selftest(folder, kills, seed, progress=told)
    return {**outcome.to_dict(), "lines": outcome.lines()}
