"""Every seeded fault is found and named, nothing else is, and the dataset stays as it was."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import pytest
from tests.check import seeded_coco, seeded_images, seeded_lists, seeded_perimage
from tests.check.seeding import FORMATS, Case, link_tree, write_clean

from eyas.check.checks import check_detection, check_recognition
from eyas.check.run import run
from eyas.config import load_module_config
from eyas.data.faults import Fault
from eyas.errors import DatasetError

SEEDS = range(5)
DETECTOR = "PP-YOLOE_plus_SOD-S"
KINDS = {**seeded_images.KINDS, **seeded_coco.KINDS, **seeded_perimage.KINDS, **seeded_lists.KINDS}
Clean = Callable[[str, int], Path]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """(format, seed) -> a clean dataset, written once."""
    home = tmp_path_factory.mktemp("clean")

    def written(format: str, seed: int) -> Path:
        folder = home / f"{format}_{seed}"
        return folder if folder.exists() else write_clean(folder, format, seed)

    return written


def found(root: Path, format: str) -> list[Fault]:
    """What the checker says about a dataset."""
    result = check_recognition(root) if format == "lists" else check_detection(root, (640, 640), False)
    return result.faults.kept


def told(fault: dict[str, str], root: Path) -> tuple[str, ...]:
    """The values of a fault that are compared; its file relative to the dataset."""
    file = Path(fault["file"]).relative_to(root).as_posix()
    return fault["severity"], fault["code"], file, fault["record"], fault["field"]


def digests(root: Path) -> dict[str, tuple[str, int]]:
    """Every file and folder, what is in it, and when it was changed."""
    return {
        path.relative_to(root).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime_ns,
        )
        for path in sorted(root.rglob("*"))
    }


def alarms(faults: list[Fault]) -> list[str]:
    """The errors and warnings, in words."""
    return [f"{fault.severity} {fault.code}: {fault}" for fault in faults if fault.severity != "info"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("format", FORMATS)
def test_a_clean_dataset_raises_no_alarm(clean: Clean, format: str, seed: int) -> None:
    root = clean(format, seed)
    before = digests(root)
    assert alarms(found(root, format)) == []
    assert digests(root) == before


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_seeded_fault_is_found(clean: Clean, tmp_path: Path, kind: str, seed: int) -> None:
    formats, damage = KINDS[kind]
    format = formats[seed % len(formats)]
    case = Case.of(link_tree(clean(format, seed), tmp_path / "set"), format, seed)
    expected = damage(case)
    before = digests(case.root)

    faults = found(case.root, format)

    lines = [told(fault.to_dict(), case.root) for fault in faults]
    assert lines.count(astuple(expected)[:5]) == 1, (expected, lines)
    assert {fault.code for fault in faults if fault.severity != "info"} <= {expected.code, *expected.also}
    assert digests(case.root) == before


@pytest.mark.parametrize("format", FORMATS)
def test_the_verb_writes_the_fault_into_its_report(clean: Clean, tmp_path: Path, format: str) -> None:
    case = Case.of(link_tree(clean(format, 0), tmp_path / "set"), format, 0)
    expected = seeded_images.truncated(case)
    before = digests(case.root)
    model = f"Global.model={'PP-ShiTuV2_rec' if format == 'lists' else DETECTOR}"
    output = tmp_path / "output"

    with pytest.raises(DatasetError, match=re.escape(expected.record)):
        run(load_module_config(DETECTOR, [f"Global.dataset_dir={case.root}", f"Global.output={output}", model]))

    lines = (output / "check_dataset" / "faults.jsonl").read_text(encoding="utf-8").splitlines()
    assert [told(json.loads(line), case.root) for line in lines] == [astuple(expected)[:5]]
    assert digests(case.root) == before
