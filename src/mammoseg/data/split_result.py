"""Result of a splitter: the images in each part, split.csv, and the images on which each checkpoint is tested."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mammoseg.csv_cells import escape_cells, unescape_row
from mammoseg.data.store import Case
from mammoseg.errors import UserError
from mammoseg.files import atomic_write_text

HALVES = ("half1", "half2")  # names of the parts of the held-out fold if both are tested
PARTS = ("train", "val", "test", *HALVES)  # in split.csv
Indices = NDArray[np.int64]


def read_parts(path: Path) -> list[dict[str, str]]:
    """Read split.csv.

    Args:
        path: Input file.

    Returns:
        Rows with the columns case, patient, density and part.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [unescape_row(row) for row in csv.DictReader(file)]
        if not rows or any(row["part"] not in PARTS or not row["case"] or not row["patient"] for row in rows):
            raise ValueError
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"{path}: damaged; restore the file or remove it") from error
    return rows


@dataclass(frozen=True)
class Selection:
    """Images that select a checkpoint, the one with the highest validation DSC, and images on which it is tested.

    Attributes:
        name: Name of the validation part if a split has several selections, otherwise empty.
        val: (N_val,) int64, rows of the store.
        test: (N_test,) int64.
    """

    name: str
    val: Indices
    test: Indices


@dataclass(frozen=True)
class Split:
    """Rows of the store in each part, in ascending order.

    Attributes:
        train: (N_train,) int64.
        val: (N_val,) int64.
        test: (N_test,) int64.
        test_both: Whether `val` and `test` are halves that are both tested, each with the checkpoint that has the
            highest DSC on the other one.
    """

    train: Indices
    val: Indices
    test: Indices
    test_both: bool = False

    def parts(self) -> dict[str, Indices]:
        """Return the rows by the name of the part: train, val and test; or train, half1 and half2."""
        names = ("train", *HALVES) if self.test_both else ("train", "val", "test")
        return dict(zip(names, (self.train, self.val, self.test), strict=True))

    def selections(self) -> list[Selection]:
        """Return the selections: one, or one for each half if both are tested."""
        if not self.test_both:
            return [Selection("", self.val, self.test)]
        return [Selection(HALVES[0], self.val, self.test), Selection(HALVES[1], self.test, self.val)]

    def write(self, path: Path, cases: Sequence[Case]) -> None:
        """Write split.csv, a table with the columns case, patient, density and part."""
        atomic_write_text(path, self._table(cases))

    def differs_from(self, path: Path, cases: Sequence[Case]) -> bool:
        """Return whether a table written by `write` describes a different split or different cases."""
        return path.read_bytes() != self._table(cases).encode()

    def _table(self, cases: Sequence[Case]) -> str:
        part_of = {int(row): part for part, rows in self.parts().items() for row in rows}
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["case", "patient", "density", "part"])
        for row in sorted(part_of):
            case = cases[row]
            table.writerow(escape_cells([case.case, case.patient, case.density, part_of[row]]))
        return text.getvalue()
