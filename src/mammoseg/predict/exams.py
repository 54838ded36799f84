"""Examinations: which images show the same patient, and results per breast and per examination.

DICOM images are grouped by study. Study Instance UIDs are only compared; the output contains an index instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mammoseg.data.images.dicom_content import Exposure
from mammoseg.data.readers.cells import parse_side
from mammoseg.data.readers.csv_table import EXTRA_CELLS, check_columns, normalise_heading, read_csv
from mammoseg.errors import UserError
from mammoseg.predict.prediction_table import TableRow
from mammoseg.reports.table import format_count

log = logging.getLogger(__name__)

EXAM_COLUMNS = ("exam", "level", "side", "images", "views", "highest_probability", "masses")
LAYOUT = "a CSV table with the columns file and exam, and optionally side and view"


@dataclass(frozen=True)
class ExamLabel:
    """Examination of an image.

    Attributes:
        exam: Name of the examination.
        side: L or R; empty to use that of the DICOM header.
        view: View position; empty to use that of the DICOM header.
    """

    exam: str
    side: str = ""
    view: str = ""


def label_studies(exposures: Mapping[str, Exposure]) -> dict[str, ExamLabel]:
    """Number the studies of DICOM images from 1, in the order of the images.

    Args:
        exposures: Exposures by file. Images without a Study Instance UID belong to no examination.

    Returns:
        The examination of each image, by file.
    """
    studies = {exposure.study: None for exposure in exposures.values() if exposure.study}
    indices = {study: index for index, study in enumerate(studies, start=1)}
    return {file: ExamLabel(str(indices[exposure.study])) for file, exposure in exposures.items() if exposure.study}


def read_exams(path: Path, files: Sequence[str]) -> dict[str, ExamLabel]:
    """Read a table of examinations and check that it describes the input.

    Args:
        path: CSV table with the columns file, the path relative to the input folder with forward slashes, and exam, any
            name of the examination; side and view are optional.
        files: Files of the input.

    Returns:
        The examination of each image, by file.

    Raises:
        UserError: If the table cannot be read, a column is missing, a cell is invalid, a file occurs twice, or it
            contains no file of the input.
    """
    labels = read_table(path)
    n_missing = sum(file not in labels for file in files)
    if n_missing == len(files):
        raise UserError(f"{path}: column file must contain paths relative to input, such as {files[0]}; none matches")
    if n_missing:
        log.warning(
            "%s of the input without a row in the table of examinations, and therefore not in exams.csv",
            format_count(n_missing, "file"),
        )
    if unknown := sorted(labels.keys() - set(files)):
        log.warning(
            "%s of %s without a file of the input, such as %s", format_count(len(unknown), "row"), path, unknown[0]
        )
    return labels


def read_table(path: Path) -> dict[str, ExamLabel]:
    """Read a table of examinations; see `read_exams`."""
    if not path.is_file():
        raise UserError(f"exams={path}: no such file; set exams to {LAYOUT}")
    headings, records = read_csv(path)
    check_columns(path, headings, ("file", "exam"), f"exams requires {LAYOUT}, separated by commas, semicolons or tabs")
    labels: dict[str, ExamLabel] = {}
    for line, record in records:
        row = {normalise_heading(heading): cell for heading, cell in record.items()}
        where = f"{path}, line {line}"
        if EXTRA_CELLS in record:
            raise UserError(f"{where}: must have at most {len(headings)} cells; put cells with separators in quotes")
        file, exam = row.get("file", ""), row.get("exam", "")
        if not file or not exam:
            raise UserError(f"{where}: file and exam must not be blank")
        if file in labels:
            raise UserError(f"{where}: each file must occur once, got {file} twice; remove one of the lines")
        try:
            labels[file] = ExamLabel(exam, parse_side(row.get("side", "")), row.get("view", "").upper())
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
    return labels


def add_exams(rows: Iterable[TableRow], labels: Mapping[str, ExamLabel]) -> list[TableRow]:
    """Add the examination to rows of predictions.csv, and the side and view that a table of examinations states."""
    labelled: list[TableRow] = []
    for row in rows:
        label = labels.get(row["file"], ExamLabel(""))
        stated = {name: value for name, value in (("side", label.side), ("view", label.view)) if value}
        labelled.append({**row, "exam": label.exam, **stated})
    return labelled


def exam_rows(rows: Sequence[TableRow]) -> list[TableRow]:
    """Return the rows of exams.csv: for each examination, one per breast and one for the examination.

    Args:
        rows: Output of `add_exams`. Images without an examination are not included; images without a side are included
            only in the row of the examination.
    """
    images: dict[str, dict[str, TableRow]] = {}
    for row in rows:
        if row["exam"]:
            images.setdefault(row["exam"], {})[row["file"]] = row
    table: list[TableRow] = []
    for exam, by_file in images.items():
        breasts = {side: [row for row in by_file.values() if row["side"] == side] for side in ("L", "R")}
        table += [
            {"exam": exam, "level": "breast", "side": side, **summarise(breast)}
            for side, breast in breasts.items()
            if breast
        ]
        table.append({"exam": exam, "level": "exam", **summarise([*by_file.values()])})
    return table


def summarise(images: Sequence[TableRow]) -> TableRow:
    """Summarise the rows of several images, one of each image.

    Example:
        >>> summarise([{"view": view, "highest_probability": "0.5000", "masses": 1} for view in ("MLO", "CC", "CC")])
        {'images': 3, 'views': 'CC, MLO', 'highest_probability': '0.5000', 'masses': 3}
    """
    return {
        "images": len(images),
        "views": ", ".join(sorted({row["view"] for row in images if row["view"]})),
        "highest_probability": max((row["highest_probability"] for row in images), key=float),
        "masses": sum(row["masses"] for row in images),
    }
