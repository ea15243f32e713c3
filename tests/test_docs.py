"""The documentation is true: every command and sample runs, every link leads somewhere, every key and file is named.

A mark on the line before a block changes how it is tested:
`<!-- test: skip REASON -->` it is not run, `<!-- test: slow -->` only `make test-slow` runs it, `<!-- test: instead
COMMAND -->` COMMAND is run in its place.
"""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import eyas

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(eyas.__file__).parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

BLOCK = re.compile(
    r"^(?:<!-- test: (?P<mark>.+?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
RUN = ("sh", "bash", "python")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is that of its first code line."""

    language: str
    code: str
    mark: str
    line: int

    @property
    def run(self) -> bool:
        return self.language in RUN and not self.mark.startswith("skip ")

    def command(self) -> list[str]:
        if self.mark.startswith("instead "):
            return ["bash", "-euc", self.mark.removeprefix("instead ")]
        if self.language == "python":
            return [sys.executable, "-c", self.code]
        return ["bash", "-euo", "pipefail", "-c", self.code]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = BLOCK.finditer(text)
    return [Block(m["language"], m["code"], m["mark"] or "", text.count("\n", 0, m.start("code")) + 1) for m in found]


def run_blocks(page: Path, blocks: Sequence[Block], folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ROOT": str(ROOT), "OMP_NUM_THREADS": "1", "EYAS_OFFLINE": "1"}
    for block in blocks:
        done = subprocess.run(
            block.command(), cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=280
        )
        where = f"{page.name}:{block.line}"
        assert done.returncode == 0, f"{where}\n{block.code}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def runnable(slow: bool) -> list[Path]:
    """The pages that have a block to run; with `slow`, a slow one."""
    return [p for p in PAGES if any(b.run and (b.mark == "slow" if slow else b.mark != "slow") for b in blocks_of(p))]


@pytest.mark.parametrize("page", runnable(slow=False), ids=lambda page: page.name)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    run_blocks(page, [block for block in blocks_of(page) if block.run and block.mark != "slow"], tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", runnable(slow=True), ids=lambda page: page.name)
def test_all_blocks_run(page: Path, tmp_path: Path) -> None:
    run_blocks(page, [block for block in blocks_of(page) if block.run], tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_are_well_formed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = blocks_of(page)
    assert text.count("```") == 2 * len(blocks), "a block has no language, or is not closed"
    assert len(re.findall(r"<!-- test:", text)) == sum(bool(block.mark) for block in blocks), (
        "a mark is not before a block"
    )
    for block in blocks:
        assert not block.mark or block.mark == "slow" or re.match(r"(skip|instead) \S", block.mark), block.mark


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_key_tables_are_those_of_the_schema(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert key_table().filled(text) == text, f"run: python scripts/key_table.py {page.relative_to(ROOT)}"


def test_every_section_has_a_key_table() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"<!-- keys: (\w+) -->", text)) == {
        "Global", "CheckDataset", "Train", "Evaluate", "Export", "Predict",
    }  # fmt: skip


def test_a_changed_default_is_noticed() -> None:
    table = key_table().table("Train")
    assert "| `Train.epochs_iters` | `50` | a whole number, 1 or more | epochs |\n" in table
    assert "| `Train.augment.min_side` | `8.0` | a number, 0 or more |" in table
    text = f"<!-- keys: Train -->\n{table.replace('`50`', '`51`')}<!-- end of keys -->"
    assert key_table().filled(text) != text


def key_table():  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("key_table", ROOT / "scripts" / "key_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_architecture_names_every_file() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = re.search(r"^```text\nsrc/eyas/\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert tree is not None
    named, folder = set(), ""
    for line in tree[1].splitlines():
        names = re.match(r" +((?:\w+\.py, )*\w+\.py|\w+/)", line)
        if names is not None and names[1].endswith("/"):
            folder = names[1]
        elif names is not None:
            named |= {(folder if line.startswith("    ") else "") + name for name in names[1].split(", ")}
    present = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") if file.stat().st_size}
    assert (present - named, named - present) == (set(), set())


def test_every_benchmark_has_its_command() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    scripts = {file.name for file in (ROOT / "benchmarks").glob("[!_]*.py")} - {"common.py"}
    assert scripts == set(re.findall(r"^python benchmarks/(\w+\.py)", text, re.MULTILINE))


def test_environment_variables_are_documented() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    used = set(re.findall(r"\bEYAS_[A-Z_]+\b", source))
    assert used and used <= set(re.findall(r"\bEYAS_[A-Z_]+\b", pages))
