"""Hostile and odd files: every one is told in words, none stalls or crashes the reader."""

from pathlib import Path

import pytest

from eyas.data.faults import Fault, FaultList, Unusable, strictly
from eyas.data.textfiles import read_json, read_lines, read_text, read_xml, read_yaml
from eyas.errors import DatasetError

BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation>&b;</annotation>"""


def one(read: object, file: Path) -> tuple[object, Fault | None]:
    faults = FaultList()
    value = read(file, faults)  # type: ignore[operator]
    assert len(faults.kept) <= 1
    return value, faults.kept[0] if faults.kept else None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Ü".encode(), "Ü"),
        ("Ü".encode("utf-8-sig"), "Ü"),
        ("Ü".encode("utf-16"), "Ü"),
        (b"", ""),
        (b'<?xml version="1.0" encoding="ISO-8859-1"?>\xdc', '<?xml version="1.0" encoding="ISO-8859-1"?>Ü'),
    ],
)
def test_encodings_that_are_read_silently(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "a").write_bytes(data)
    assert one(read_text, tmp_path / "a") == (text, None)


def test_gbk_is_read_with_a_warning_and_noise_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("行人".encode("gbk"))
    text, fault = one(read_text, tmp_path / "a")
    assert text == "行人" and fault is not None and (fault.severity, fault.code) == ("warning", "wrong-encoding")
    (tmp_path / "a").write_bytes(b"\xff\xff\x80")
    text, fault = one(read_text, tmp_path / "a")
    assert text is None and fault is not None and fault.severity == "error"


def test_files_that_are_not_there_or_too_large(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, tmp_path / ("a" * 300), tmp_path / "a\0"):
        value, fault = one(read_text, path)
        assert value is None and fault is not None and fault.code == "file-unreadable"
    (tmp_path / "a").write_text("12345")
    faults = FaultList()
    assert read_text(tmp_path / "a", faults, limit=4) is None
    assert str(faults.kept[0]).endswith("has 5 bytes; the limit is 4")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (BOMB.encode(), "xml-entities"),
        (BOMB.encode("utf-16"), "xml-entities"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "xml-entities"),
        (b"<a><b></a>", "not-xml"),
        (b"", "not-xml"),
        (b"\0<a/>", "not-xml"),
        (b"<a>&undefined;</a>", "not-xml"),
    ],
)
def test_xml_that_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "a.xml").write_bytes(data)
    value, fault = one(read_xml, tmp_path / "a.xml")
    assert value is None and fault is not None and (fault.severity, fault.code) == ("error", code)


def test_deep_nesting_is_survived(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("<a>" * 100_000 + "</a>" * 100_000)
    root, fault = one(read_xml, file)
    assert fault is None and root is not None
    del root
    file.write_text("[" * 100_000)
    assert one(read_json, file)[0] is None
    for text in ("[" * 20_000 + "]" * 20_000, "- " * 2_000):
        file.write_text(text)
        assert one(read_yaml, file)[0] is None


def test_json_and_yaml_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "a"
    for text in ("", "{", "null", "nonsense"):
        file.write_text(text)
        value, fault = one(read_json, file)
        assert value is None and fault is not None and fault.code == "not-json"
    file.write_text("names: !!python/object/apply:os.system [ls]")
    value, fault = one(read_yaml, file)
    assert value is None and fault is not None and fault.code == "not-yaml"


def test_lines_are_numbered_and_blank_ones_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one \r\n\r\n  two\n")
    assert list(read_lines(tmp_path / "a", FaultList())) == [("line 1", "one"), ("line 3", "two")]


def test_a_fault_reads_as_a_sentence_and_as_plain_values() -> None:
    fault = Fault(
        "error", "wrong-value", Path("a.json"), "x must be 1, got nan", "record 3", "x", float("nan"), "Mend."
    )
    assert str(fault) == "a.json: record 3: x must be 1, got nan. Mend."
    assert fault.to_dict() == {
        "severity": "error",
        "code": "wrong-value",
        "file": "a.json",
        "record": "record 3",
        "field": "x",
        "value": "nan",
        "message": "x must be 1, got nan",
        "fix": "Mend.",
    }
    assert len(Fault("info", "a", Path("b"), "c", value="x" * 1000).to_dict()["value"]) == 200
    assert Fault("info", "a", Path("b"), "c", value=[1, float("inf")]).to_dict()["value"] == [1, "inf"]


def test_a_list_counts_all_faults_and_keeps_some() -> None:
    faults = FaultList(limit=2)
    for number in range(5):
        faults(Fault("warning", "a", Path(str(number)), "m"))
    faults(Unusable("b", "n").fault(Path("x"), "r"))
    assert [fault.file.name for fault in faults.kept] == ["0", "1"]
    assert (faults.count("warning"), faults.count("error"), faults.count("info")) == (5, 1, 0)
    assert faults.summary() == [("warning", "5 x a, the first: 0: m"), ("error", "x: r: n")]


def test_a_strict_reading_stops_at_an_error_and_logs_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    def read(report: FaultList) -> str:
        report(Fault("warning", "a", Path("f"), "something"))
        report(Fault("warning", "a", Path("g"), "something"))
        return "done"

    assert strictly(read) == "done"  # type: ignore[arg-type]
    assert [record.getMessage() for record in caplog.records] == ["2 x a, the first: f: something"]
    with pytest.raises(DatasetError, match="f: wrong"):
        strictly(lambda report: report(Fault("error", "a", Path("f"), "wrong")))
