"""Cells of CSV files that a spreadsheet would evaluate are escaped, and every text is read back unchanged."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammoseg.csv_cells import escape_cell, escape_row, unescape_cell, unescape_row
from mammoseg.predict.prediction_table import encode_csv
from mammoseg.reports.table import Table
from mammoseg.runs import results

FORMULAS = ["=1+1", "+1+cmd|' /C calc'!A0", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1"]
NUMBERS = ["-1", "-1.5", "+31.94 [21.34, 46.95]", "-0.00 [-0.05, 0.05]", "-1e-05", "-inf", "-"]


@given(st.text(st.sampled_from("'=+-@\t\r1e.a ")) | st.text())
def test_every_text_is_read_back(text: str) -> None:
    escaped = escape_cell(text)
    assert unescape_cell(escaped) == text
    assert escaped == text or escaped.startswith("'")


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_escaped(text: str) -> None:
    assert escape_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_not_escaped(text: str) -> None:
    assert escape_cell(text) == text
    assert escape_cell(-1.5) == -1.5


@pytest.mark.parametrize("name", FORMULAS[:-1])  # a carriage return would end the row
def test_results_are_escaped_and_read_back(tmp_path: Path, name: str) -> None:
    row = {
        **dict.fromkeys(results.RUN_COLUMNS, "x"),
        **{"case": name, "patient": name, "side": "L", "view": "CC", "density": 2},
        **{"tp": 1, "fp": 2, "fn": 3, "tn": 4},
    }
    results.write_results(tmp_path / "results.csv", [row])
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as lines:
        (raw,) = csv.DictReader(lines)
    assert raw["case"] == f"'{name}"
    (read,) = results.read_results(tmp_path / "results.csv")
    assert (read["case"], read["patient"], read["tp"]) == (name, name, 1)


def test_predictions_and_tables_are_escaped() -> None:
    content = encode_csv(["file", "x"], [{"file": "=1+1.png", "x": "-1.0"}]).decode()
    assert content == "file,x\n'=1+1.png,-1.0\n"
    assert unescape_row(next(csv.DictReader(io.StringIO(content)))) == {"file": "=1+1.png", "x": "-1.0"}
    table = Table("name", "title", ["method", "DSC"], [["=method", "−0.5"]])
    assert table.csv() == "method,DSC\n'=method,-0.5\n"
    assert escape_row({"a": "=1", "b": -1}) == {"a": "'=1", "b": -1}
