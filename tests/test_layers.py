"""The layers of docs/architecture.md, read from the source: who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.fakes import tiny_bundle

import eyas

PACKAGE = Path(eyas.__file__).parent

# Room -> level. A room is a folder or a file directly under src/eyas; it may import rooms of lower levels.
LEVELS = {
    "errors": 0,
    **dict.fromkeys(["saving", "results", "recognitions", "progress", "yaml12", "schema", "pipeline_schema"], 1),
    **dict.fromkeys(["problems", "compat", "config", "fields"], 1),
    **dict.fromkeys(["vision", "paths", "fetch", "inputs", "data", "metrics", "bundle"], 2),
    **dict.fromkeys(["store", "archive", "cache", "download", "paddle"], 2),
    "convert": 3,
    "backends": 3,
    "index": 3,
    "pipelines": 4,
    "report": 4,
    "doctor": 5,
    "gallery": 6,
    **dict.fromkeys(["check", "evaluate", "predict"], 5),
    **dict.fromkeys(["models", "export", "train"], 6),
    **dict.fromkeys(["terminal", "commands", "dataset_commands", "gallery_commands", "gallery_care_commands"], 7),
    **dict.fromkeys(["cli", "__main__", "__init__"], 7),
}
TORCH_HALF = ("models", "export", "train")
TORCH_PACKAGES = {"torch", "onnx", "safetensors"}

# Within a level, what may import what.
WITHIN = {
    "results": {"saving"},
    "recognitions": {"saving"},
    "problems": {"schema"},
    "pipeline_schema": {"schema"},
    "config": {"compat", "pipeline_schema", "problems", "saving", "schema", "yaml12"},
    "inputs": {"fetch", "paths", "vision"},
    "fetch": {"vision"},
    "paths": {"vision"},
    "data": {"vision"},
    "metrics": {"data"},
    "bundle": {"cache", "vision"},
    "store": {"archive", "bundle", "cache", "download"},
    "archive": {"cache"},
    "download": {"cache", "fetch"},
    "paddle": {"vision"},
    "export": {"models"},
    "train": {"models", "export"},
    "doctor": {"check"},
    "commands": {"terminal"},
    "dataset_commands": {"terminal"},
    "gallery_commands": {"gallery_care_commands", "terminal"},
    "gallery_care_commands": {"terminal"},
    "cli": {"commands", "dataset_commands", "gallery_commands", "terminal"},
    "__main__": {"cli"},
}

# Upward imports that are meant, each inside a function.
UPWARD = {
    ("results", "vision"): "a result draws itself",
    ("recognitions", "vision"): "a result draws itself",
    ("saving", "vision"): "a picture is encoded",
    ("convert", "models"): "weights are opened as the network that they are of",
    ("convert", "export"): "weights become a checked bundle",
    ("evaluate", "models"): "weights are evaluated by the network that trained",
    ("evaluate", "export"): "weights are found as export finds them",
    ("evaluate", "train"): "weights are evaluated on the device that training would use",
}

# Packages that may be imported at the top of a file of the numpy half; all others inside the function that needs them.
AT_THE_TOP = {
    **dict.fromkeys(["saving", "results", "fields"], {"numpy"}),
    "schema": {"pydantic"},
    "pipeline_schema": {"pydantic"},
    "problems": {"pydantic"},
    "config": {"pydantic"},
    "yaml12": {"yaml"},
    **dict.fromkeys(["vision", "data", "inputs", "bundle", "check", "report"], {"numpy", "cv2", "PIL"}),
    "paddle": {"numpy"},
    **dict.fromkeys(["download"], {"rich"}),
    **dict.fromkeys(["metrics", "backends", "pipelines", "evaluate", "index", "recognitions", "doctor"], {"numpy"}),
    **dict.fromkeys(["cli", "commands", "dataset_commands", "terminal"], {"typer"}),
    **dict.fromkeys(["gallery_commands", "gallery_care_commands"], {"typer"}),
}

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """The full names that a file imports, and whether it does so at its top; type checking does not count."""
    inner = {id(node) for function in ast.walk(tree) if isinstance(function, _FUNCTIONS) for node in ast.walk(function)}
    typing_only = {
        id(node) for block in ast.walk(tree) if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }  # fmt: skip
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, id(node) not in inner
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for name in node.names:
                full = f"{node.module}.{name.name}" if node.module == "eyas" else str(node.module)
                yield full, id(node) not in inner


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports(file: Path) -> None:
    room = room_of(file)
    for name, at_top in imports(ast.parse(file.read_text(encoding="utf-8"))):
        package, *rest = name.split(".")
        if package == "eyas":
            check_own(room, rest[0] if rest else "__init__", at_top)
        elif package not in sys.stdlib_module_names:
            check_foreign(room, package, at_top)


def check_own(room: str, other: str, at_top: bool) -> None:
    assert other in LEVELS, f"{other} has no level in this test"
    if other == room or other in WITHIN.get(room, ()) or LEVELS[other] < LEVELS[room]:
        return
    assert (room, other) in UPWARD, f"{room} must not import {other}"
    assert not at_top, f"{room} may import {other} inside a function alone"


def check_foreign(room: str, package: str, at_top: bool) -> None:
    if room in TORCH_HALF:
        return
    assert package not in TORCH_PACKAGES, f"{room} is in the half without torch"
    if at_top:
        assert package in AT_THE_TOP.get(room, ()), f"{room} imports {package} at its top"


def test_every_room_has_a_level() -> None:
    assert {room_of(file) for file in FILES} <= set(LEVELS)
    assert {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py"} <= set(LEVELS)


BLOCKED = """
import sys
for name in ("torch", "onnx", "safetensors", "hotcoco", "onnxruntime", "matplotlib", "faiss", "pyarrow"):
    sys.modules[name] = None
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_the_numpy_half_imports_without_any_extra() -> None:
    names = [
        ".".join(["eyas", *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        for file in FILES
        if room_of(file) not in (*TORCH_HALF, "__main__")
    ]
    done = subprocess.run([sys.executable, "-c", BLOCKED, *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_eyas_loads_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import eyas\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['eyas']"


def test_prediction_needs_no_extra(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path).path
    Image.new("RGB", (80, 60), "grey").save(tmp_path / "a.png")
    code = BLOCKED.replace("sys.argv[1:]", "()") + "from eyas.cli import main; main()"
    arguments = ["predict", str(tmp_path / "a.png"), "--model_dir", str(bundle), "--save_path", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("{'res': ")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_res.json", "a_res.png"]


def test_a_layer_violation_is_found() -> None:
    with pytest.raises(AssertionError, match="vision must not import pipelines"):
        check_own("vision", "pipelines", True)
    with pytest.raises(AssertionError, match="inside a function alone"):
        check_own("results", "vision", True)
    with pytest.raises(AssertionError, match="half without torch"):
        check_foreign("evaluate", "torch", False)
    with pytest.raises(AssertionError, match="at its top"):
        check_foreign("backends", "openvino", True)
