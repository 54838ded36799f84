"""Examinations: grouping by study or by the user's table, and the rows of exams.csv."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from helpers import confidential_dicom
from mammoseg.errors import UserError
from mammoseg.predict.exams import ExamLabel, add_exams, exam_rows, label_studies, read_exams
from mammoseg.predict.exposures import read_exposures
from mammoseg.predict.inputs import find_images
from mammoseg.predict.prediction_table import TableRow


def row(file: str, side: str, view: str, probability: str, masses: int = 0) -> TableRow:
    return {"file": file, "side": side, "view": view, "highest_probability": probability, "masses": masses}


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "exams.csv").write_text(text)
    return tmp_path / "exams.csv"


def test_studies_are_numbered_without_their_uids(tmp_path: Path) -> None:
    pixels = confidential_dicom.phantom().pixels[::8, ::8]
    for name, study in (("b", "1.2.9"), ("a", "1.2.3"), ("c", "1.2.9"), ("d", "")):
        confidential_dicom.write(tmp_path / name, pixels, StudyInstanceUID=study)
    exposures = read_exposures(find_images(tmp_path, tmp_path / "output"))
    assert exposures["d"].study == ""
    assert label_studies(exposures) == {"a": ExamLabel("1"), "b": ExamLabel("2"), "c": ExamLabel("2")}


def test_rows_per_breast_and_examination() -> None:
    rows = [
        *[row("a.png", "L", "CC", "0.9000", 2)] * 2,  # one row per mass
        row("b.png", "L", "MLO", "0.1000"),
        row("c.png", "R", "CC", "1.0000", 1),
        row("d.png", "", "", "0.9900"),
        row("e.png", "L", "CC", "0.5000"),
        row("f.png", "R", "CC", "0.7000", 1),
    ]
    labels = {f"{name}.png": ExamLabel("P1") for name in "abcd"} | {"f.png": ExamLabel("P2")}
    table = exam_rows(add_exams(rows, labels))
    assert [tuple(line.get(name, "") for name in ("exam", "level", "side", "images", "views")) for line in table] == [
        ("P1", "breast", "L", 2, "CC, MLO"),
        ("P1", "breast", "R", 1, "CC"),
        ("P1", "exam", "", 4, "CC, MLO"),
        ("P2", "breast", "R", 1, "CC"),
        ("P2", "exam", "", 1, "CC"),
    ]
    assert [(line["highest_probability"], line["masses"]) for line in table] == [
        *(("0.9000", 2), ("1.0000", 1), ("1.0000", 3)),
        *(("0.7000", 1), ("0.7000", 1)),
    ]


def test_side_and_view_of_the_table_take_precedence(tmp_path: Path) -> None:
    path = write(tmp_path, "File;Exam;Side;View\nsub/a.png;P1;left;mlo\nb.png;P1;;\n")
    labels = read_exams(path, ["sub/a.png", "b.png"])
    assert labels == {"sub/a.png": ExamLabel("P1", "L", "MLO"), "b.png": ExamLabel("P1")}
    first, second = add_exams([row("sub/a.png", "R", "CC", "0.5"), row("b.png", "R", "CC", "0.5")], labels)
    assert (first["side"], first["view"], first["exam"]) == ("L", "MLO", "P1")
    assert (second["side"], second["view"], second["exam"]) == ("R", "CC", "P1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,patient\na.png,1\n", "missing columns: exam; the first line is file, patient; exams requires a CSV"),
        ("file,exam,exam\na.png,1,2\n", "each column must occur once, got exam twice"),
        ("file,exam\na.png,1\na.png,2\n", r"line 3: each file must occur once, got a\.png twice"),
        ("file,exam\na.png,\n", "line 2: file and exam must not be blank"),
        ("file,exam,side\na.png,1,middle\n", "line 2: side must be LEFT, RIGHT, L, R or blank, got middle"),
        ("file,exam\na.png,Doe, Jane\n", "line 2: must have at most 2 cells"),
        ("file,exam\n/data/a.png,1\n", r"column file must contain paths relative to input, such as a\.png; none"),
        ("", "missing columns: file, exam"),
    ],
)
def test_invalid_tables_are_errors(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_exams(write(tmp_path, text), ["a.png"])


def test_a_missing_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; set exams to a CSV table"):
        read_exams(tmp_path / "absent.csv", ["a.png"])


def test_files_without_a_row_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert [*read_exams(write(tmp_path, "file,exam\na.png,1\n"), ["a.png", "b.png"])] == ["a.png"]
    assert "1 file of the input without a row" in caplog.text


def test_rows_without_a_file_of_the_input_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "file,exam\na.png,1\nsub\\b.png,1\nc.png,2\n")
    read_exams(path, ["a.png", "sub/b.png"])
    assert f"2 rows of {path} without a file of the input, such as c.png" in caplog.text
