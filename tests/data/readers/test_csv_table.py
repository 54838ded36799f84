"""CSV reader: delimiters, line endings and encodings."""

from __future__ import annotations

from pathlib import Path

import pytest

from mammoseg.data.readers.csv_table import read_csv, read_csv_rows
from mammoseg.errors import UserError


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_read_csv_supports_all_dialects(tmp_path: Path, delimiter: str, ending: str, encoding: str) -> None:
    rows = [["case", " path "], ["a", '"line\nbreak "'], [], ["b"]]
    path = tmp_path / "t.csv"
    path.write_bytes(ending.join(delimiter.join(row) for row in rows).encode(encoding))
    columns, records = read_csv(path)
    assert columns == ["case", "path"]
    assert records == [(3, {"case": "a", "path": "line\nbreak"}), (5, {"case": "b"})]


def test_windows_1252_is_the_encoding_of_text_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("a,b\nHäußler,1\n".encode("cp1252"))
    assert read_csv_rows(tmp_path / "t.csv") == [(1, ["a", "b"]), (2, ["Häußler", "1"])]
    (tmp_path / "t.csv").write_bytes(b"a,b\n\x81,1\n")  # undefined in Windows-1252
    assert read_csv_rows(tmp_path / "t.csv") == [(1, ["a", "b"]), (2, ["\N{REPLACEMENT CHARACTER}", "1"])]


def test_a_separator_line_of_excel_sets_the_delimiter(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"sep=;\r\na,b;c\r\n1;2\r\n")
    assert read_csv_rows(tmp_path / "t.csv") == [(2, ["a,b", "c"]), (3, ["1", "2"])]


def test_a_damaged_encoding_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfea")
    with pytest.raises(UserError, match=r"t\.csv: damaged or not readable"):
        read_csv(tmp_path / "t.csv")


def test_a_quotation_mark_that_is_not_closed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'case,view\na,"CC\nb,MLO\nc,CC\n')
    with pytest.raises(UserError, match=r"t\.csv: damaged or not readable"):
        read_csv(tmp_path / "t.csv")


def test_an_empty_table_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"")
    assert read_csv(tmp_path / "t.csv") == ([], [])


def test_a_table_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t\.csv: damaged or not readable"):
        read_csv(tmp_path / "t.csv")
