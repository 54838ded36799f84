"""Train, validation and test splits, disjoint by patient unless the splitter allows overlap."""

from __future__ import annotations

import csv
import io
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mammoseg.csv_cells import escape_cells, unescape_row
from mammoseg.data.store import Case
from mammoseg.errors import UserError
from mammoseg.files import atomic_write_text
from mammoseg.validate import positive_int, probability

log = logging.getLogger(__name__)

MIN_FOLDS = 2
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Rows of the store in each part (train, val, test), in ascending order.

    Attributes:
        train: (N_train,) int64.
        val: (N_val,) int64.
        test: (N_test,) int64.
    """

    train: Indices
    val: Indices
    test: Indices

    def parts(self) -> dict[str, Indices]:
        """Return the rows by the name of the part."""
        return {"train": self.train, "val": self.val, "test": self.test}

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


def read_patients(path: Path) -> dict[str, list[str]]:
    """Read the patient of each image from split.csv, by part (train, val, test).

    Raises:
        UserError: If the file is damaged.
    """
    patients: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in map(unescape_row, csv.DictReader(file)):
                patients[row["part"]].append(row["patient"])
    except (KeyError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: damaged; restore it, or remove it to export without the numbers of images") from error
    return patients


class Splitter(ABC):
    """Base class of splitters; the same cases and arguments always give the same split.

    Attributes:
        allows_patient_overlap: Whether images of one patient may be in different parts.
    """

    allows_patient_overlap = False

    def __call__(self, cases: Sequence[Case]) -> Split:
        """Split the cases and check the result.

        Args:
            cases: Rows of the store.

        Returns:
            The split.

        Raises:
            UserError: If a part is empty, or if patients overlap although the splitter does not allow it.
        """
        split = self.split(cases)
        for part, rows in split.parts().items():
            if len(rows) == 0:
                raise UserError(
                    f"the {part} part is empty: {len(cases)} images of {len({c.patient for c in cases})} "
                    "patients are too few for this split; use more cases or a different split"
                )
        self.check_patients(split, cases)
        return split

    @abstractmethod
    def split(self, cases: Sequence[Case]) -> Split:
        """Assign the cases to the parts, without checking the result."""

    def check_patients(self, split: Split, cases: Sequence[Case]) -> None:
        """Check that the parts are disjoint by patient.

        Raises:
            UserError: If they are not and `allows_patient_overlap` is False; otherwise a warning is logged.
        """
        patients = {part: {cases[row].patient for row in rows} for part, rows in split.parts().items()}
        shared = (patients["train"] & (patients["val"] | patients["test"])) | (patients["val"] & patients["test"])
        if not shared:
            return
        if not self.allows_patient_overlap:
            raise UserError(
                f"{len(shared)} patients are in more than one part (first: {min(shared)}); fix the split column of the "
                "dataset, or use split=patient_kfold"
            )
        log.warning(
            "split=image_kfold: %d patients have images in more than one part, so test results are "
            "optimistic; split=patient_kfold avoids this",
            len(shared),
        )


class KFold(Splitter):
    """Grouped k-fold cross-validation, stratified by density.

    The held-out fold is divided equally into validation and test (80/10/10 for five folds, as in the paper). Groups are
    shuffled, ranked by density and then by number of images, and assigned to the folds in snake order, so the folds
    differ by at most one group. scikit-learn's StratifiedGroupKFold can leave folds empty on small datasets.

    Args:
        folds: Number of folds, at least 2.
        fold: Index of the held-out fold, 0 to folds - 1.
        seed: Seed of the shuffling; the folds of one seed partition the cases.

    Raises:
        UserError: If `folds` or `fold` is out of range, or there are fewer groups than folds.

    Source:
        Proportions: Aliniya et al., section 4.1.
    """

    def __init__(self, folds: int = 5, fold: int = 0, seed: int = 0) -> None:
        self.folds = positive_int("split.folds", folds, minimum=MIN_FOLDS)
        if not 0 <= fold < folds:
            raise UserError(f"split.fold must be between 0 and {folds - 1} for split.folds={folds}, got {fold}")
        self.fold = fold
        self.seed = seed

    @staticmethod
    @abstractmethod
    def group(case: Case) -> str:
        """Return the group of a case; all cases of a group are in the same fold."""

    def split(self, cases: Sequence[Case]) -> Split:
        """Assign the cases to the parts; see the class."""
        rows = np.arange(len(cases))
        fold = self.assign_folds(cases, rows, self.folds)
        held_out = rows[fold == self.fold]
        half = self.assign_folds(cases, held_out, 2)
        return Split(train=rows[fold != self.fold], val=held_out[half == 0], test=held_out[half == 1])

    def assign_folds(self, cases: Sequence[Case], rows: Indices, folds: int) -> Indices:
        """Assign rows to folds.

        Args:
            cases: All rows of the store.
            rows: (N,) rows to assign.
            folds: Number of folds.

        Returns:
            (N,) fold of each row, 0 to folds - 1.

        Raises:
            UserError: If there are fewer groups than folds.
        """
        groups: dict[str, list[Case]] = {}
        for row in rows.tolist():
            groups.setdefault(self.group(cases[row]), []).append(cases[row])
        if len(groups) < folds:
            group_name = "image" if self.allows_patient_overlap else "patient"
            remedy = "use more cases or a smaller split.folds" if self.folds > MIN_FOLDS else "use more cases"
            raise UserError(f"{len(groups)} {group_name}(s) are too few for {folds} parts; {remedy}")
        rng = np.random.default_rng(self.seed)
        shuffled = rng.permutation(sorted(groups)).tolist()
        ranked = sorted(shuffled, key=lambda name: (max(case.density for case in groups[name]), -len(groups[name])))
        snake_order = [*range(folds), *reversed(range(folds))]
        label = rng.permutation(folds)  # otherwise the first group would always be in fold 0
        fold_of = {name: label[snake_order[rank % (2 * folds)]] for rank, name in enumerate(ranked)}
        return np.array([fold_of[self.group(cases[row])] for row in rows.tolist()])


class PatientKFold(KFold):
    """k-fold cross-validation over patients; see `KFold`.

    Example:
        >>> splitter = PatientKFold(folds=5, fold=0)
        >>> split = splitter(store.cases)  # doctest: +SKIP
    """

    @staticmethod
    def group(case: Case) -> str:
        """Return the identifier of the patient."""
        return case.patient


class ImageKFold(KFold):
    """k-fold cross-validation over images, as the paper appears to use.

    Images of one patient can be in several parts, which is logged as a warning.
    """

    allows_patient_overlap = True

    @staticmethod
    def group(case: Case) -> str:
        """Return the identifier of the case."""
        return case.case


class Official(Splitter):
    """The dataset's official split.

    If it has no validation part, a fraction of the training patients is held out for validation.

    Args:
        val_share: Fraction of the training patients held out for validation; 0.1 in the paper. The name of
            the argument is that in the checkpoints of version 0.1.
        seed: Seed of the random selection of these patients.

    Raises:
        UserError: If `val_share` is not between 0 and 1, or the dataset has no official split.
    """

    def __init__(self, val_share: float = 0.1, seed: int = 0) -> None:
        self.val_share = probability("split.val_share", val_share)
        self.seed = seed

    def split(self, cases: Sequence[Case]) -> Split:
        """Assign the cases to the parts; see the class."""
        part = np.array([case.split for case in cases])
        if missing := {"train", "test"} - set(part.tolist()):
            counts = {name: int((part == name).sum()) for name in ("train", "val", "test")}
            listed = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise UserError(
                f"split=official requires images of the official train and test parts, got {listed} and "
                f"{len(part) - sum(counts.values())} without a part; add the {' and '.join(sorted(missing))} images, "
                "or use split=patient_kfold"
            )
        if n_excluded := int((part == "").sum()):
            log.warning(
                "split=official: %d of %d images have no part in the dataset's split column and are not used",
                n_excluded,
                len(part),
            )
        train, val, test = (np.flatnonzero(part == name) for name in ("train", "val", "test"))
        if len(val) == 0:
            patient = np.array([cases[row].patient for row in train.tolist()])
            patients = np.unique(patient)
            n_val = max(round(self.val_share * len(patients)), 1)
            val_patients = np.random.default_rng(self.seed).choice(patients, n_val, replace=False)
            held_out = np.isin(patient, val_patients)
            train, val = train[~held_out], train[held_out]
        return Split(train=train, val=val, test=test)
