"""Faults of recognition lists: `path label` a line in train.txt, gallery.txt and query.txt."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.check.seeded_coco import OUTSIDE
from tests.check.seeding import LABELS, Case, Expected, Kind, put


def list_file(case: Case) -> Path:
    """The list of the part that is damaged."""
    return case.annotation(Path())


def line_kind(code: str, field: str, change: Callable[[Case, str, str], str]) -> Kind:
    """Exchange a line of a list; `change` is given its path and label."""

    def kind(case: Case) -> Expected:
        file = list_file(case)
        lines = file.read_text().splitlines()
        place = case.rng.randrange(len(lines))
        lines[place] = change(case, *lines[place].split())
        put(file, "\n".join(lines) + "\n")
        return Expected("error", code, case.name(file), f"line {place + 1}", field)

    return kind


def missing_file(case: Case) -> Expected:
    """A line names a file that is not there."""
    file = list_file(case)
    path = case.picture()
    put(file, file.read_text().replace(path.name, "gone.jpg"))
    return Expected("error", "image-missing", *case.spot(path), "file_name")


def listed_twice(case: Case) -> Expected:
    """A line is there again, at the end of the list."""
    file = list_file(case)
    lines = file.read_text().splitlines()
    put(file, "\n".join([*lines, case.rng.choice(lines)]) + "\n")
    return Expected("error", "image-twice", case.name(file), f"line {len(lines) + 1}", "file_name")


def first_line(case: Case) -> Expected:
    """The line by which a list is recognised is damaged."""
    file = list_file(case)
    first, *lines = file.read_text().splitlines()
    put(file, "\n".join([first.split()[0], *lines]) + "\n")
    return Expected("error", "wrong-value", case.name(file), "line 1")


def two_labels(case: Case) -> Expected:
    """An image is there again, with another label."""
    file = list_file(case)
    lines = file.read_text().splitlines()
    path, label = case.rng.choice(lines).split()
    put(file, "\n".join([*lines, f"{path} {(int(label) + 1) % len(LABELS)}"]) + "\n")
    record = f"line {len(lines) + 1}"
    return Expected("error", "label-conflict", case.name(file), record, "label", ("image-twice",))


def label_not_in_gallery(case: Case) -> Expected:
    gone = case.rng.randrange(len(LABELS))
    file = case.root / "gallery.txt"
    lines = [line for line in file.read_text().splitlines() if line.split()[1] != str(gone)]
    put(file, "\n".join(lines) + "\n")
    return Expected("warning", "label-not-in-gallery", "query.txt", "", "label")


def query_in_gallery(case: Case) -> Expected:
    """A line of the gallery is in the query too, so that the image finds itself."""
    gallery, query = (case.root / f"{part}.txt" for part in ("gallery", "query"))
    lines = query.read_text().splitlines()
    put(query, "\n".join([*lines, case.rng.choice(gallery.read_text().splitlines())]) + "\n")
    return Expected("warning", "leak-same", "query.txt", f"line {len(lines) + 1}", "file_name")


def word_among_numbers(case: Case) -> Expected:
    """A label is no number, and no file names the labels."""
    (case.root / "label.txt").unlink()
    named = line_kind("label-no-number", "label", lambda _, path, __: f"{path} boot")(case)
    return replace(named, severity="warning", also=("label-not-in-gallery",))


def label_without_name(case: Case) -> Expected:
    file = case.root / "label.txt"
    lines = file.read_text().splitlines()
    del lines[case.rng.randrange(len(lines))]
    put(file, "\n".join(lines) + "\n")
    return Expected("warning", "label-without-name", "label.txt")


def no_list(case: Case) -> Expected:
    """The gallery or the query has no line."""
    put(case.root / case.rng.choice(["gallery.txt", "query.txt"]), case.rng.choice(["", "\n\n"]))
    return Expected("error", "split-missing", ".")


KINDS: dict[str, tuple[tuple[str, ...], Kind]] = {
    "lists: line with a missing file": (("lists",), missing_file),
    "lists: line without a label": (("lists",), line_kind("wrong-value", "", lambda _, path, __: path)),
    "lists: first line without a label": (("lists",), first_line),
    "lists: label that is no number": (
        ("lists",),
        line_kind("label-no-number", "label", lambda case, path, _: f"{path} {case.rng.choice(['boot', '1.5'])}"),
    ),
    "lists: word among the labels": (("lists",), word_among_numbers),
    "lists: path out of the dataset": (
        ("lists",), line_kind("path-outside", "path", lambda case, _, label: f"{case.rng.choice(OUTSIDE)} {label}"),
    ),
    "lists: image twice": (("lists",), listed_twice),
    "lists: image with two labels": (("lists",), two_labels),
    "lists: label of the query that the gallery lacks": (("lists",), label_not_in_gallery),
    "lists: image of the gallery in the query": (("lists",), query_in_gallery),
    "lists: label without a name": (("lists",), label_without_name),
    "lists: no line in gallery or query": (("lists",), no_list),
}  # fmt: skip
