"""Splits of the cases into train, val and test. A patient is in one part only, unless the split allows otherwise."""

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

from mammoseg.data.store import Case
from mammoseg.errors import UserError
from mammoseg.files import atomic_write_text
from mammoseg.validate import positive_int, probability

log = logging.getLogger(__name__)

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row numbers of the store in each part, ascending. Shapes: (N_train,), (N_val,), (N_test,)."""

    train: Indices
    val: Indices
    test: Indices

    def parts(self) -> dict[str, Indices]:
        return {"train": self.train, "val": self.val, "test": self.test}

    def write(self, path: Path, cases: Sequence[Case]) -> None:
        """Write a table with the columns case, patient, density and part, from which the split can be reproduced."""
        atomic_write_text(path, self._table(cases))

    def differs_from(self, path: Path, cases: Sequence[Case]) -> bool:
        """Whether `path`, which `write` has written, is the table of another split or of other cases."""
        return path.read_text(encoding="utf-8") != self._table(cases)

    def _table(self, cases: Sequence[Case]) -> str:
        part_of = {int(row): part for part, rows in self.parts().items() for row in rows}
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["case", "patient", "density", "part"])
        for row in sorted(part_of):
            case = cases[row]
            table.writerow([case.case, case.patient, case.density, part_of[row]])
        return text.getvalue()


class Splitter(ABC):
    """Maps cases to a `Split`. Deterministic: the same cases and options give the same parts."""

    allows_patient_overlap = False

    def __call__(self, cases: Sequence[Case]) -> Split:
        split = self.split(cases)
        for part, rows in split.parts().items():
            if len(rows) == 0:
                raise UserError(
                    f"the {part} part is empty: {len(cases)} images of {len({c.patient for c in cases})} "
                    "patients are too few for this split; use more cases or another split"
                )
        self.check_patients(split, cases)
        return split

    @abstractmethod
    def split(self, cases: Sequence[Case]) -> Split: ...

    def check_patients(self, split: Split, cases: Sequence[Case]) -> None:
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
    """k-fold cross-validation; the held-out fold is halved into validation and test (the paper's 80/10/10 of §4.1).

    Groups are kept in one fold and stratified by density: they are shuffled, ranked by density and then by number of
    images, and assigned to the folds in snake order. So folds differ by at most one group, however few there are
    (scikit-learn's StratifiedGroupKFold leaves folds empty on small sets).

    Args:
        folds: Number of folds, at least 2.
        fold: The held-out fold, 0 to folds - 1.
        seed: Of the shuffle; the folds of one seed partition the cases.

    Raises:
        UserError: If `folds` or `fold` is out of range, or there are fewer groups than folds.
    """

    def __init__(self, folds: int = 5, fold: int = 0, seed: int = 0) -> None:
        self.folds = positive_int("split.folds", folds, minimum=2)
        if not 0 <= fold < folds:
            raise UserError(f"split.fold must be between 0 and {folds - 1} for split.folds={folds}, got {fold}")
        self.fold = fold
        self.seed = seed

    @staticmethod
    @abstractmethod
    def group(case: Case) -> str:
        """Identifier of the group of a case; cases of one group are in one fold."""

    def split(self, cases: Sequence[Case]) -> Split:
        rows = np.arange(len(cases))
        fold = self.assign_folds(cases, rows, self.folds)
        held_out = rows[fold == self.fold]
        half = self.assign_folds(cases, held_out, 2)
        return Split(train=rows[fold != self.fold], val=held_out[half == 0], test=held_out[half == 1])

    def assign_folds(self, cases: Sequence[Case], rows: Indices, folds: int) -> Indices:
        """The fold of each of `rows`, (N,) in 0 to folds - 1."""
        groups: dict[str, list[Case]] = {}
        for row in rows.tolist():
            groups.setdefault(self.group(cases[row]), []).append(cases[row])
        if len(groups) < folds:
            what = "image" if self.allows_patient_overlap else "patient"
            raise UserError(
                f"{len(groups)} {what}(s) are too few for {folds} parts; use more cases or a smaller split.folds"
            )
        rng = np.random.default_rng(self.seed)
        shuffled = rng.permutation(sorted(groups)).tolist()
        ranked = sorted(shuffled, key=lambda name: (max(case.density for case in groups[name]), -len(groups[name])))
        snake_order = [*range(folds), *reversed(range(folds))]
        label = rng.permutation(folds)  # otherwise fold 0 would always get the first group
        fold_of = {name: label[snake_order[rank % (2 * folds)]] for rank, name in enumerate(ranked)}
        return np.array([fold_of[self.group(cases[row])] for row in rows.tolist()])


class PatientKFold(KFold):
    """Folds of patients."""

    @staticmethod
    def group(case: Case) -> str:
        return case.patient


class ImageKFold(KFold):
    """Folds of single images, apparently the paper's way. Patients leak between parts, with a warning."""

    allows_patient_overlap = True

    @staticmethod
    def group(case: Case) -> str:
        return case.case


class Official(Splitter):
    """The dataset's own parts. Without a validation part, some training patients are held out for it.

    Args:
        val_share: Fraction of the training patients to hold out; 0.1 in the paper.
        seed: Of their choice.

    Raises:
        UserError: If `val_share` is not between 0 and 1, or the dataset has no parts.
    """

    def __init__(self, val_share: float = 0.1, seed: int = 0) -> None:
        self.val_share = probability("split.val_share", val_share)
        self.seed = seed

    def split(self, cases: Sequence[Case]) -> Split:
        part = np.array([case.split for case in cases])
        if not {"train", "test"} <= set(part):
            raise UserError(
                "split=official needs a dataset with train and test parts, and this one has none; "
                "use split=patient_kfold"
            )
        train, val, test = (np.flatnonzero(part == name) for name in ("train", "val", "test"))
        if len(val) == 0:
            patient = np.array([cases[row].patient for row in train.tolist()])
            patients = np.unique(patient)
            count = max(round(self.val_share * len(patients)), 1)
            chosen = np.random.default_rng(self.seed).choice(patients, count, replace=False)
            held_out = np.isin(patient, chosen)
            train, val = train[~held_out], train[held_out]
        return Split(train=train, val=val, test=test)
