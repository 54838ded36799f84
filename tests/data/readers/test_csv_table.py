"""CSV reader: delimiters, line endings and encodings."""

from __future__ import annotations

from pathlib import Path

import pytest

from mammoseg.data.readers.csv_table import read_csv, read_csv_rows
from mammoseg.errors import UserError


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_read_csv_supports_all_dialects(tmp_path: Path, delimiter: str, ending: str, encoding: str) -> None:
    rows = [["case", " path "], ["a", '"line\nbreak "'], [], ["b"]]
    path = tmp_path / "t.csv"
    path.write_bytes(ending.join(delimiter.join(row) for row in rows).encode(encoding))
    columns, records = read_csv(path)
    assert columns == ["case", "path"]
    assert records == [(3, {"case": "a", "path": "line\nbreak"}), (5, {"case": "b"})]


def test_invalid_bytes_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff,1\n")
    assert read_csv_rows(tmp_path / "t.csv") == [(1, ["a", "b"]), (2, ["\N{REPLACEMENT CHARACTER}", "1"])]


def test_an_empty_table_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"")
    assert read_csv(tmp_path / "t.csv") == ([], [])


def test_a_table_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t\.csv: damaged or not readable"):
        read_csv(tmp_path / "t.csv")
