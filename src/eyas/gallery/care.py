"""`eyas gallery verify`, `doctor`, `blame`, `calibrate` and the like: whether a gallery can be trusted."""

import json
import logging
from pathlib import Path

from eyas.doctor.examine import examine
from eyas.doctor.page import write_findings
from eyas.gallery.reports import Report
from eyas.index import Gallery
from eyas.index.calibration import calibrate
from eyas.index.selftest import selftest
from eyas.progress import progress_bar
from eyas.saving import target_file, write_text

log = logging.getLogger(__name__)


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
