"""Galleries are read from a gallery.txt, a folder for each label, or a CSV file; what is wrong is named by line."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eyas.errors import GalleryError
from eyas.index.lists import Picture, read_gallery, read_ids


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the pictures that the lists name; nothing opens them here."""
    for name in ("images/a.jpg", "images/b.jpg", "images/a b.jpg", "images/a b c.jpg", "images/ü.png", "plain"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def listed(root: Path, text: str, encoding: str = "utf-8") -> list[tuple[str, str]]:
    (root / "gallery.txt").write_bytes(text.encode(encoding))
    return pairs(root, read_gallery(root))


def pairs(root: Path, pictures: list[Picture]) -> list[tuple[str, str]]:
    return [(picture.path.relative_to(root).as_posix(), picture.label) for picture in pictures]


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ("images/a.jpg 3", "images/a.jpg", "3"),
        ("images/a.jpg\t3", "images/a.jpg", "3"),
        ("images/a.jpg red shoe", "images/a.jpg", "red shoe"),
        ("images/a.jpg   red  shoe  ", "images/a.jpg", "red  shoe"),
        ("images/a.jpg\t\tred shoe\t", "images/a.jpg", "red shoe"),
        ('images/a.jpg " red shoe "', "images/a.jpg", " red shoe "),
        ('images/a.jpg "8"" pan"', "images/a.jpg", '8" pan'),
        ("images/a.jpg 'a' and 'b'", "images/a.jpg", "'a' and 'b'"),
        ("images/a.jpg L'Oréal n° 5", "images/a.jpg", "L'Oréal n° 5"),
        ('images/a.jpg 8" pan', "images/a.jpg", '8" pan'),
        ('"images/a b.jpg" red shoe', "images/a b.jpg", "red shoe"),
        ("'images/a b.jpg'\tred shoe", "images/a b.jpg", "red shoe"),
        ("images/a b.jpg\tred shoe", "images/a b.jpg", "red shoe"),
        ("images/a b.jpg red shoe", "images/a b.jpg", "red shoe"),
        ("images/a b c.jpg c.jpg", "images/a b c.jpg", "c.jpg"),
        ("images/ü.png 元气森林 柠檬", "images/ü.png", "元气森林 柠檬"),
        ("images\\a.jpg shoe", "images/a.jpg", "shoe"),
        ("./images/a.jpg shoe", "images/a.jpg", "shoe"),
        ("plain a b.jpg", "plain", "a b.jpg"),
    ],
)
def test_a_line(root: Path, line: str, path: str, label: str) -> None:
    assert listed(root, line + "\n") == [(path, label)]


def test_the_longest_name_that_is_there_counts_only_where_the_first_is_not(root: Path) -> None:
    (root / "images/a").write_bytes(b"x")
    assert listed(root, "images/a b.jpg red") == [("images/a", "b.jpg red")]
    (root / "images/a").unlink()
    (root / "images/a b").write_bytes(b"x")
    assert listed(root, "images/a b c.jpg red") == [("images/a b c.jpg", "red")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_ends_of_lines_and_blank_lines(root: Path, encoding: str) -> None:
    text = "images/a.jpg 鞋\r\n\r\n   \r\n\t\r\nimages/b.jpg\tb\r\n\r\n"
    assert listed(root, text, encoding) == [("images/a.jpg", "鞋"), ("images/b.jpg", "b")]


def test_separators_of_unicode_part_no_label(root: Path) -> None:
    assert listed(root, "images/a.jpg a\u2028b\u00a0\n") == [("images/a.jpg", "a\u2028b\u00a0")]


def test_equal_lines_count_once(root: Path) -> None:
    assert listed(root, "images/a.jpg x\nimages/b.jpg x\nimages/a.jpg x\n./images/a.jpg\tx") == [
        ("images/a.jpg", "x"),
        ("images/b.jpg", "x"),
    ]


BAD = """images/a.jpg shoe
images/none.jpg shoe
images/b.jpg
images/b.jpg\tx\ty
images/a.jpg boot
../outside.jpg shoe
/etc/hostname shoe
images/b.jpg a\x07b
images/b.jpg ""
my photo 1.jpg shoe
images/ü.png good
"""
TOLD = [
    "gallery.txt, line 2: there is no file 'images/none.jpg' in the folder",
    "gallery.txt, line 3: there is no label after the path 'images/b.jpg'",
    "gallery.txt, line 4: expected a path, a tab and a label, got 3 columns",
    "gallery.txt, line 6: the path '../outside.jpg' leads out of the folder",
    "gallery.txt, line 7: the path '/etc/hostname' leads out of the folder",
    "gallery.txt, line 8: label 'a\\x07b' holds the control character U+0007",
    "gallery.txt, line 9: the label is empty",
    "gallery.txt, line 10: there is no file 'my photo 1.jpg'",
    "gallery.txt, line 5: ",
]


def test_every_problem_is_named_with_its_line(root: Path) -> None:
    (root / "gallery.txt").write_text(BAD)
    with pytest.raises(GalleryError, match="gallery.txt has 9 problems") as raised:
        read_gallery(root)
    lines = str(raised.value).splitlines()
    assert len(lines) == 11 and lines[-1].startswith("Expected a path and a label on each line")
    for line, told in zip(lines[1:], TOLD, strict=False):
        assert line.strip().startswith(told)
    assert lines[9].endswith("a.jpg' is 'boot' here and 'shoe' in gallery.txt, line 1")


def test_problems_can_be_collected_and_the_good_pictures_kept(root: Path) -> None:
    (root / "gallery.txt").write_text(BAD)
    problems = ["an older one"]
    pictures = read_gallery(root, problems=problems)
    # Neither of two contradicting lines is kept.
    assert pairs(root, pictures) == [("images/ü.png", "good")]
    assert pictures[0].where == "gallery.txt, line 11"
    assert len(problems) == 10 and problems[0] == "an older one"


@pytest.mark.parametrize(
    "path", ["../x.jpg", "images/../../x.jpg", "/etc/hostname", "\\etc\\hostname", "..\\x.jpg", "images\\..\\..\\x.jpg"]
)
def test_no_file_outside_the_root_is_reached(root: Path, path: str) -> None:
    (root / "inner" / "images").mkdir(parents=True)
    (root / "x.jpg").write_bytes(b"x")
    file = root / "inner" / "list.txt"
    for text in (f"{path} shoe", f"{path}\tshoe", f'"{path}" shoe'):
        file.write_text(text)
        with pytest.raises(GalleryError, match="line 1: the path .* leads out of the folder"):
            read_gallery(file, root / "inner")
    file.write_text("images/../x.jpg shoe")
    assert len(read_gallery(file, root / "inner" / "..")) == 1


def test_a_thousand_problems_do_not_make_an_endless_message(root: Path) -> None:
    (root / "gallery.txt").write_text("".join(f"images/{number}.jpg x\n" for number in range(1000)))
    with pytest.raises(GalleryError, match="(?s)has 1000 problems.*… and 980 more") as raised:
        read_gallery(str(root / "gallery.txt"))
    assert len(str(raised.value).splitlines()) == 23


@pytest.mark.parametrize("label", ["x" * 257, "鞋" * 256 + "x", "€" * 257])
def test_labels_that_are_too_long(root: Path, label: str) -> None:
    with pytest.raises(GalleryError, match="line 1: a label of 257 characters, .* Expected no more than 256"):
        listed(root, f"images/a.jpg {label}")
    assert listed(root, f"images/a.jpg {'鞋' * 256}") == [("images/a.jpg", "鞋" * 256)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40).filter(str.strip),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([" ", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_label_goes_through_a_list(root: Path, labels: list[str], between: str, end: str) -> None:
    names = ("images/a.jpg", "images/b.jpg", "images/a b.jpg")
    quoted = ['"{}"'.format(label.replace('"', '""')) for label in labels]
    lines = [f'"{name}"{between}{label}{end}' for name, label in zip(names, quoted, strict=False)]
    assert listed(root, "".join(lines)) == list(zip(names, labels, strict=False))


def test_paths_are_seen_from_the_root(root: Path) -> None:
    (root / "lists").mkdir()
    file = root / "lists" / "mine.txt"
    file.write_text("a.jpg x\n")
    assert pairs(root, read_gallery(file, root / "images")) == [("images/a.jpg", "x")]
    assert pairs(root, read_gallery(str(file), Path(f"{root}/lists/../images/")))[0][1] == "x"
    with pytest.raises(GalleryError, match="no file 'a.jpg' in the folder"):
        read_gallery(file)
    file.write_text(f"{root}/images/a.jpg x\n")
    assert pairs(root, read_gallery(file, root)) == [("images/a.jpg", "x")]


def test_a_list_in_a_folder_beside_the_pictures(root: Path) -> None:
    (root / "lists").mkdir()
    file = root / "lists" / "drink_label.txt"
    file.write_text("images/a.jpg\tx\n")
    assert pairs(root, read_gallery(file)) == [("images/a.jpg", "x")]


def test_the_one_list_of_another_name_is_found(root: Path) -> None:
    (root / "readme.txt").write_text("Pictures of shoes.\n")
    (root / "label.txt").write_text("0 shoe\n1 boot\n")
    (root / ".hidden.txt").write_text("images/a.jpg hidden\n")
    (root / "image_list.txt").write_text("images/a.jpg shoe\n")
    assert pairs(root, read_gallery(root)) == [("images/a.jpg", "shoe")]
    (root / "second.txt").write_text("images/a.jpg boot\n")
    with pytest.raises(GalleryError, match=r"holds 2 lists: image_list.txt, second.txt. Expected one"):
        read_gallery(root)
    (root / "gallery.txt").write_text("images/b.jpg heel\n")
    assert pairs(root, read_gallery(root)) == [("images/b.jpg", "heel")]


def test_a_folder_for_each_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (
        *("red shoe/2.jpg", "red shoe/1.JPG", "red shoe/left/3.png", "靴子/a.jpg", "empty/notes.md"),
        *("red shoe/.hidden.jpg", ".git/x.jpg", "red shoe/.thumbs/1.jpg"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"x")
    caplog.set_level("INFO", "eyas")
    pictures = read_gallery(tmp_path)
    assert pairs(tmp_path, pictures) == [
        ("red shoe/1.JPG", "red shoe"),
        ("red shoe/2.jpg", "red shoe"),
        ("red shoe/left/3.png", "red shoe"),
        ("靴子/a.jpg", "靴子"),
    ]
    assert pictures[2].where == "red shoe/left/3.png"
    assert "4 pictures of 2 labels from the label folders of" in caplog.text
    (tmp_path / "loose.jpg").write_bytes(b"x")
    with pytest.raises(GalleryError, match="loose.jpg: lies in no folder of a label"):
        read_gallery(tmp_path)
    problems: list[str] = []
    assert len(read_gallery(tmp_path, problems=problems)) == 4 and len(problems) == 1


def test_a_table_with_metadata_and_boxes(root: Path) -> None:
    (root / "gallery.csv").write_text(
        "Label,path,x1,y1,x2,y2,metadata,price,code,shop,weight\n"
        'shoe,images/a.jpg,1,2,30.5,40,"{""colour"": ""red"", ""tags"": [1, 2]}",9.50,007,"North, 2nd floor",3\n'
        "boot,images/a.jpg,50,2,80,40,,12,123,,\n"
        "\n"
        '"a ""b""",images/b.jpg,,,,,,,,,-1e3\n'
        'shoe,images/a.jpg,1,2,30.5,40,"{""tags"": [1, 2], ""colour"": ""red""}",9.5,007,"North, 2nd floor",3\n'
    )
    shoe, boot, third = read_gallery(root)
    assert shoe.box == (1, 2, 30.5, 40) and boot.box == (50, 2, 80, 40) and third.box is None
    assert shoe.metadata == {
        **{"price": 9.5, "code": "007", "shop": "North, 2nd floor", "weight": 3},
        **{"colour": "red", "tags": [1, 2]},
    }
    assert boot.metadata == {"price": 12, "code": "123"}  # a column with one code that is no number has texts
    assert third.label == 'a "b"' and third.metadata == {"weight": -1000}
    assert [one.where for one in (shoe, boot, third)] == [f"gallery.csv, line {line}" for line in (2, 3, 5)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("box", ["1 2 3 4", '"[1, 2, 3, 4]"', '"1,2,3,4"'])
def test_delimiters_and_one_column_of_boxes(root: Path, delimiter: str, box: str) -> None:
    rows = [["image", "class", "box", "shop"], ["images/a.jpg", "red shoe", box, "a b"]]
    (root / "any.csv").write_text("\ufeff" + "\r\n".join(map(delimiter.join, rows)), newline="")
    (picture,) = read_gallery(root / "any.csv")
    assert picture == Picture(root / "images/a.jpg", "red shoe", {"shop": "a b"}, (1, 2, 3, 4), "any.csv, line 2")


def test_problems_of_a_table(root: Path) -> None:
    lines = [
        "path,label,xmin,ymin,xmax,ymax,metadata",
        "images/a.jpg,x,1,2,,4,",
        "images/a.jpg,x,5,2,3,4,",
        "images/a.jpg,x,1,2,3,nan,",
        "images/a.jpg,x,,,,,[1]",
        "images/a.jpg,x,,,,,\"{\"\"a\"\": NaN}\"",
        "images/a.jpg,,,,,,",
        "images/none.jpg,x",
        "images/a.jpg,x,,,,,,extra",
        "images/b.jpg,two",
        "images/b.jpg,three",
        "images/ü.png,\"over\ntwo lines\"",
        "images/ü.png,good,,,,,\"{\n}\"",
        f"images/ü.png,x,1,2,3,4,{'[' * 5000}",
    ]  # fmt: skip
    (root / "gallery.csv").write_text("\n".join(lines))
    problems: list[str] = []
    assert [(one.label, one.where) for one in read_gallery(root, problems=problems)] == [
        ("good", "gallery.csv, line 14")
    ]
    told = [
        (8 + 1, "8 values for 7 columns"),
        (2, "x2 must be a number, got ''"),
        (3, "the box 5, 2, 3, 4 holds nothing"),
        (4, "y2 must be a number, got 'nan'"),
        (5, "metadata must be a JSON object"),
        (6, "metadata must be a JSON object"),
        (7, "the label is empty"),
        (8, "there is no file 'images/none.jpg'"),
        (12, "label 'over\\ntwo lines' holds the control character"),
        (16, "metadata must be a JSON object"),
        (11, "'three' here and 'two' in gallery.csv, line 10"),
    ]
    assert len(problems) == len(told)
    for problem, (line, words) in zip(problems, told, strict=True):
        assert problem.startswith(f"gallery.csv, line {line}: ") and words in problem


def test_where_nothing_fits_it_is_said_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="there is no file or folder"):
        read_gallery(tmp_path / "none")
    with pytest.raises(GalleryError, match=r"it holds nothing. Expected gallery.txt with lines `path label`"):
        read_gallery(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"x")
    (tmp_path / "vector.index").write_bytes(b"x")
    with pytest.raises(GalleryError, match="it holds images/, vector.index. Expected gallery.txt"):
        read_gallery(tmp_path)
    (tmp_path / "gallery.txt").write_text("\n\n")
    with pytest.raises(GalleryError, match="names no picture"):
        read_gallery(tmp_path)
    (tmp_path / "gallery.txt").write_bytes(b"\xff\xfe\xfd\0")
    with pytest.raises(GalleryError):
        read_gallery(tmp_path)
    (tmp_path / "gallery.csv").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(GalleryError, match=r"columns \['a', 'b', 'c'\]. Expected the columns path and label"):
        read_gallery(tmp_path / "gallery.csv")


def test_ids(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes(b"\xef\xbb\xbf3\r\n\r\n 10 \r\n3\r\n0\r\n9223372036854775807")
    assert read_ids(file) == read_ids(str(file)) == [3, 10, 0, 9223372036854775807]
    file.write_text("1\n-1\n\n1.5\n9223372036854775808\n٣\n" + "9" * 5000)
    with pytest.raises(GalleryError) as raised:
        read_ids(file)
    assert [line.split(":")[0].strip() for line in str(raised.value).splitlines()[1:-1]] == [
        f"line {number}" for number in (2, 4, 5, 6, 7)
    ]
    file.write_text("\n")
    with pytest.raises(GalleryError, match="it names no id"):
        read_ids(file)
    with pytest.raises(GalleryError, match="cannot be read"):
        read_ids(tmp_path / "none.txt")


def test_metadata_is_plain(root: Path) -> None:
    (root / "gallery.csv").write_text("path,label,n\nimages/a.jpg,x,5\n")
    assert json.dumps(read_gallery(root)[0].metadata) == '{"n": 5}'
