"""Which cases train, which validate, which test. A patient never stands in two parts, unless asked for."""

from __future__ import annotations

import csv
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.store import Case
from mammoseg.errors import UserError
from mammoseg.files import atomic_write

log = logging.getLogger(__name__)

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row numbers of the store in each part, ascending."""

    train: Rows
    val: Rows
    test: Rows

    def parts(self) -> dict[str, Rows]:
        return {"train": self.train, "val": self.val, "test": self.test}

    def write(self, path: Path, cases: Sequence[Case]) -> None:
        """As a table case,patient,density,part: what a reader of the results needs to repeat them."""
        part_of = {int(row): part for part, rows in self.parts().items() for row in rows}
        with atomic_write(path) as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["case", "patient", "density", "part"])
            for row in sorted(part_of):
                case = cases[row]
                table.writerow([case.case, case.patient, case.density, part_of[row]])


class Splitter(ABC):
    """cases -> Split. Deterministic: the same cases and options give the same parts."""

    shares_patients = False

    def __call__(self, cases: Sequence[Case]) -> Split:
        split = self.divide(cases)
        for part, rows in split.parts().items():
            if len(rows) == 0:
                raise UserError(
                    f"the {part} part is empty: {len(cases)} images of {len({c.patient for c in cases})} "
                    "patients are too few for this split; use more cases or another split"
                )
        self.check_patients(split, cases)
        return split

    @abstractmethod
    def divide(self, cases: Sequence[Case]) -> Split: ...

    def check_patients(self, split: Split, cases: Sequence[Case]) -> None:
        patients = {part: {cases[row].patient for row in rows} for part, rows in split.parts().items()}
        shared = (patients["train"] & (patients["val"] | patients["test"])) | (patients["val"] & patients["test"])
        if not shared:
            return
        if not self.shares_patients:
            raise UserError(
                f"{len(shared)} patients stand in more than one part (first: {min(shared)}); mend the split "
                "column of the dataset, or use split=patient_kfold"
            )
        log.warning(
            "split=image_kfold: %d patients have images in more than one part, so test results are "
            "optimistic; split=patient_kfold keeps patients apart",
            len(shared),
        )


class KFold(Splitter):
    """k folds; in each the held-out part is halved into validation and test (the paper's 80/10/10 of §4.1).

    Folds hold whole groups, stratified by density: groups are shuffled, ranked by density and then by their number
    of images, and dealt like cards, back and forth. So folds differ by at most one group, however few there are
    (scikit-learn's StratifiedGroupKFold leaves folds empty on small sets).
    `fold`: 0 to folds - 1, the one that is held out. `seed`: of the shuffle; folds of one seed partition the cases.
    """

    def __init__(self, folds: int = 5, fold: int = 0, seed: int = 0) -> None:
        if folds < 2:
            raise UserError(f"split.folds={folds}, but it takes at least 2")
        if not 0 <= fold < folds:
            raise UserError(f"split.fold={fold}, but split.folds={folds} gives 0 to {folds - 1}")
        self.folds = folds
        self.fold = fold
        self.seed = seed

    @staticmethod
    @abstractmethod
    def group(case: Case) -> str:
        """Cases of one group stay together."""

    def divide(self, cases: Sequence[Case]) -> Split:
        rows = np.arange(len(cases))
        fold = self.deal(cases, rows, self.folds)
        held_out = rows[fold == self.fold]
        half = self.deal(cases, held_out, 2)
        return Split(train=rows[fold != self.fold], val=held_out[half == 0], test=held_out[half == 1])

    def deal(self, cases: Sequence[Case], rows: Rows, folds: int) -> Rows:
        """The fold of each of `rows`."""
        groups: dict[str, list[Case]] = {}
        for row in rows.tolist():
            groups.setdefault(self.group(cases[row]), []).append(cases[row])
        if len(groups) < folds:
            what = "image" if self.shares_patients else "patient"
            raise UserError(
                f"{len(groups)} {what}(s) cannot be dealt into {folds} parts; use more cases or a smaller split.folds"
            )
        rng = np.random.default_rng(self.seed)
        shuffled = rng.permutation(sorted(groups)).tolist()
        ranked = sorted(shuffled, key=lambda name: (max(case.density for case in groups[name]), -len(groups[name])))
        back_and_forth = [*range(folds), *reversed(range(folds))]
        label = rng.permutation(folds)  # or fold 0 would always begin
        fold_of = {name: label[back_and_forth[place % (2 * folds)]] for place, name in enumerate(ranked)}
        return np.array([fold_of[self.group(cases[row])] for row in rows.tolist()])


class PatientKFold(KFold):
    """Folds of whole patients."""

    @staticmethod
    def group(case: Case) -> str:
        return case.patient


class ImageKFold(KFold):
    """Folds of single images: the paper's apparent way. Patients leak, with a warning."""

    shares_patients = True

    @staticmethod
    def group(case: Case) -> str:
        return case.case


class Official(Splitter):
    """The dataset's own parts; where it has no validation part, a share of its training patients is taken.

    `val_share`: of the training patients, 0.1 as in the paper. `seed`: of that choice.
    """

    def __init__(self, val_share: float = 0.1, seed: int = 0) -> None:
        if not 0 < val_share < 1:
            raise UserError(f"split.val_share={val_share}, but it is a share between 0 and 1")
        self.val_share = val_share
        self.seed = seed

    def divide(self, cases: Sequence[Case]) -> Split:
        part = np.array([case.split for case in cases])
        if not {"train", "test"} <= set(part):
            raise UserError(
                "split=official needs a dataset that says train or test for its cases, and this one does not; "
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
