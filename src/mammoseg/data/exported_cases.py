"""case_names.csv: the names under which images were exported for another program, such as nnU-Net."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mammoseg.csv_cells import escape_row, unescape_row
from mammoseg.errors import UserError
from mammoseg.files import atomic_write

CASE_NAMES_FILE = "case_names.csv"


@dataclass(frozen=True)
class ExportedCase:
    """A row of case_names.csv; the fields are the columns.

    Attributes:
        name: Name of the image in the export.
        case: Identifier of the image in the dataset.
        patient: Identifier of the patient.
        part: Part of the split: train, val or test.
        image_hash: Hash of the prepared image, see `fingerprints.hash_array`.
    """

    name: str
    case: str
    patient: str
    part: str
    image_hash: str


def write_case_names(path: Path, cases: Iterable[ExportedCase]) -> None:
    """Write case_names.csv atomically."""
    with atomic_write(path) as file:
        table = csv.DictWriter(file, [field.name for field in fields(ExportedCase)], lineterminator="\n")
        table.writeheader()
        table.writerows(escape_row(asdict(case)) for case in cases)


def read_case_names(path: Path) -> list[ExportedCase]:
    """Read case_names.csv.

    Raises:
        UserError: If the file does not exist or is damaged, or contains a name or an image twice.
    """
    columns = [field.name for field in fields(ExportedCase)]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # Excel adds a byte order mark
            rows = [unescape_row(row) for row in csv.DictReader(file)]
        cases = [ExportedCase(**{name: row[name] for name in columns}) for row in rows]
        if not cases or not all(row[name] for row in rows for name in columns):
            raise ValueError
    except OSError as error:
        raise UserError(
            f"case_names={path}: cannot be read ({error.strerror}); choose the file of the export"
        ) from error
    except (KeyError, ValueError, csv.Error) as error:
        raise UserError(
            f"case_names={path}: must be a table with the columns {', '.join(columns)}; export the images again"
        ) from error
    for column in ("name", "case"):
        values = [getattr(case, column) for case in cases]
        if len(set(values)) < len(values):
            raise UserError(f"case_names={path}: the column {column} must not contain a value twice; export again")
    return cases
