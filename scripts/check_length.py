"""Fails where a source file is over 320 lines or a function over 50: crossing that usually means two ideas."""

import ast
import sys
from pathlib import Path

FILE_LINES, FUNCTION_LINES = 320, 50


def problems(path: Path) -> list[str]:
    """Sentences about what is too long in one file."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    found = [f"{path}: {lines} lines, at most {FILE_LINES}"] if lines > FILE_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}")
    return found


def main() -> int:
    root = Path(__file__).resolve().parent.parent / "src"
    found = [problem for path in sorted(root.rglob("*.py")) for problem in problems(path)]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
