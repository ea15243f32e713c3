"""No file that eyas opens can run code: nothing that unpickles, evaluates or unpacks blindly stands in the source.

The source is searched as a syntax tree; then galleries and folders of PaddleX are opened in a process that notes every
name that an unpickler looks up, also one in a library or in a child process.
"""

import ast
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest

SOURCE = Path(__file__).parents[1] / "src" / "eyas"

MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "code", "codeop", "imp"}
"""Never imported.  `pickletools` may be: it reads the names of instructions and carries none out."""
NAMES = {"eval", "exec", "compile", "__import__", "breakpoint"}
CALLS = {
    "extractall", "extract", "unpack_archive", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all",
    "system", "popen", "getoutput", "getstatusoutput", "read_pickle", "to_pickle", "load_state_dict_from_url",
}  # fmt: skip
"""Never called as attributes, whatever the object."""
LOADS = {"torch", "yaml", "pickle", "jit", "hub", "package"}
"""`.load`, `.loads` and `.load_all` of these are never called."""
SAFE_LOADERS = {"_Loader", "SafeLoader", "CSafeLoader"}


def faults(text: str) -> list[str]:
    """What in a module could run code that a file brings, with its line."""
    return [f"line {line}: {what}" for node in ast.walk(ast.parse(text)) for line, what in _faults_of(node)]


def _faults_of(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Import):
        found = [alias.name for alias in node.names]
        yield from ((node.lineno, f"import {name}") for name in found if name.split(".")[0] in MODULES)
    elif isinstance(node, ast.ImportFrom):
        if (node.module or "").split(".")[0] in MODULES:
            yield node.lineno, f"from {node.module} import"
        bad = CALLS | {"Unpickler", "UnsafeLoader", "FullLoader", "Loader"}
        yield from ((node.lineno, f"import of {alias.name}") for alias in node.names if alias.name in bad)
    elif isinstance(node, ast.Attribute) and node.attr in ("Unpickler", "UnsafeLoader", "FullLoader", "Loader"):
        yield node.lineno, f".{node.attr}"
    elif isinstance(node, ast.Call):
        yield from _faults_of_call(node)


def _faults_of_call(node: ast.Call) -> Iterator[tuple[int, str]]:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    for name in ("shell", "allow_pickle"):
        value = given.get(name, ast.Constant(False))
        if not (isinstance(value, ast.Constant) and value.value is False):
            yield node.lineno, f"{name}= something else than False"
    if None in given and isinstance(node.func, ast.Attribute) and node.func.attr in ("load", "Popen", "run"):
        yield node.lineno, f"{node.func.attr}(**…): what is given cannot be seen"
    if isinstance(node.func, ast.Name) and node.func.id in NAMES | CALLS:
        yield node.lineno, f"{node.func.id}()"
    if isinstance(node.func, ast.Attribute):
        owner = ast.unparse(node.func.value)
        what = f"{owner}.{node.func.attr}()"
        loads = node.func.attr in ("load", "loads", "load_all") and owner.split(".")[-1] in LOADS
        if loads or node.func.attr in CALLS:
            yield node.lineno, what
        if node.func.attr == "load" and owner in ("np", "numpy") and "allow_pickle" not in given:
            yield node.lineno, f"{what} without allow_pickle=False"
        if owner == "yaml" and node.func.attr in ("compose", "parse", "scan", "compose_all"):
            loader = given.get("Loader", node.args[1] if len(node.args) > 1 else None)
            if loader is None or ast.unparse(loader).split(".")[-1] not in SAFE_LOADERS:
                yield node.lineno, f"{what} without a safe loader"


def test_nothing_in_the_source_runs_what_a_file_brings() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 100
    found = [f"{file.relative_to(SOURCE)} {fault}" for file in files for fault in faults(file.read_text("utf-8"))]
    assert found == []


def test_the_safe_yaml_loader_is_one() -> None:
    import yaml

    from eyas import yaml12

    assert issubclass(yaml12._Loader, yaml.SafeLoader)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "import _pickle as p", "import marshal", "import shelve",
        "import joblib", "from code import interact", "eval('1')", "exec(text)", "compile(text, '', 'exec')",
        "__import__(name)", "torch.load(path)", "torch.load(path, weights_only=True)", "torch.jit.load(path)",
        "torch.hub.load(repo)", "np.load(path)", "numpy.load(path, mmap_mode='r')", "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)", "np.load(path, **options)", "yaml.load(text)", "yaml.load(text, Loader)",
        "yaml.unsafe_load(text)", "yaml.full_load(text)", "yaml.load_all(text)", "yaml.compose(text)",
        "yaml.compose(text, Loader=yaml.FullLoader)", "class L(yaml.UnsafeLoader): pass",
        "from yaml import Loader", "tar.extractall(path)", "archive.extract(name)", "shutil.unpack_archive(path)",
        "subprocess.run(command, shell=True)", "subprocess.Popen(command, shell=flag)", "os.system('x')",
        "os.popen('x')", "frame.read_pickle(path)", "pickle.Unpickler(stream)", "from shutil import unpack_archive",
    ],
)  # fmt: skip
def test_each_of_these_would_be_found(line: str) -> None:
    assert faults(line)


@pytest.mark.parametrize(
    "line",
    ["import pickletools", "json.loads(text)", "np.load(path, allow_pickle=False)", "ast.literal_eval(text)",
     "model.eval()", "yaml.compose(text, Loader=_Loader)", "subprocess.run(command, check=True)", "re.compile(x)"],
)  # fmt: skip
def test_none_of_these_is(line: str) -> None:
    assert faults(line) == []


HOOK = """
import os, sys

def note(event, arguments):
    if event in ("pickle.find_class", "marshal.load"):
        with open(os.environ["EYAS_TEST_NOTES"], "a") as stream:
            stream.write(f"{event} {arguments}\\n")

sys.addaudithook(note)
with open(os.environ["EYAS_TEST_NOTES"], "a") as stream:
    stream.write("hooked\\n")
"""

WORK = """
import sys
from pathlib import Path
import numpy as np
from eyas.index import Gallery, NewItem
from eyas.index.exchange import FORMS, export_index, import_index

place = Path(sys.argv[1])
found = import_index(place / "paddlex")
assert found.labels == ("milk", "juice", "tea"), found.labels
with Gallery.create(place / "g", width=8) as gallery:
    gallery.build(found.vectors, found.items)
    gallery.optimise()
    gallery.set_setting("x", [1])
    gallery.snapshot(place / "copy")
    for form in FORMS:
        if form != "parquet":
            export_index(gallery, place / f"as-{form}", form)
for name in ("g", "copy"):
    with Gallery.open(place / name) as gallery:
        assert gallery.search(found.vectors, 1).ids[:, 0].tolist() == [0, 1, 2]
        assert gallery.verify() == [] and gallery.history()[0].kind == "build"
for form in FORMS:
    if form != "parquet":
        assert len(import_index(place / f"as-{form}").vectors) == 3
"""


def noted(place: Path, code: str, *arguments: object) -> list[str]:
    """What the hook noted while `code` ran: the processes that carried it, and names that an unpickler looked up."""
    (place / "hook").mkdir()
    (place / "hook" / "sitecustomize.py").write_text(HOOK)
    paths = [str(place / "hook"), str(SOURCE.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "EYAS_TEST_NOTES": str(place / "notes.txt")}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    return (place / "notes.txt").read_text().splitlines()


def paddlex_folder(folder: Path) -> None:
    """A folder as older versions of PaddleX saved it: the labels in a pickle."""
    folder.mkdir()
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(8))
    index.add_with_ids(np.eye(3, 8, dtype=np.float32), np.arange(3))
    faiss.write_index(index, str(folder / "vector.index"))
    labels = {np.int64(0): "milk", np.int64(1): "juice", np.int64(2): "tea"}
    (folder / "id_map.pkl").write_bytes(pickle.dumps(labels, 4))


def test_galleries_and_folders_of_paddlex_are_opened_without_unpickling(tmp_path: Path) -> None:
    paddlex_folder(tmp_path / "paddlex")
    notes = noted(tmp_path, WORK, tmp_path)
    assert len(notes) > 1 and set(notes) == {"hooked"}  # also in the process that reads the Faiss file


def test_the_hook_would_see_it(tmp_path: Path) -> None:
    paddlex_folder(tmp_path / "paddlex")
    code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
    assert any("pickle.find_class" in line for line in noted(tmp_path, code, tmp_path / "paddlex" / "id_map.pkl"))
