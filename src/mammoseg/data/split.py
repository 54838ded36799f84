"""Train, validation and test splits, disjoint by patient unless the splitter allows overlap."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.split_result import Indices, Split
from mammoseg.data.store import Case
from mammoseg.data.stratification import assign_balanced
from mammoseg.errors import UserError
from mammoseg.validate import boolean, one_of, positive_int, probability

log = logging.getLogger(__name__)

__all__ = ["ImageKFold", "KFold", "Official", "PatientKFold", "Split", "Splitter"]
MIN_FOLDS = 2
ASSIGNMENTS = ("balanced", "snake")
MAX_DENOMINATOR = 1000  # of the fraction of patients in the validation part


class Splitter(ABC):
    """Base class of splitters; the same cases and arguments always give the same split.

    Attributes:
        allows_patient_overlap: Whether images of one patient may be in different parts.
        by_mass: Whether stratified splits also balance the images with and without a mass; set by each call.
    """

    allows_patient_overlap = False
    by_mass = False

    def __call__(self, cases: Sequence[Case], by_mass: bool = False) -> Split:
        """Split the cases and check the result.

        Args:
            cases: Rows of the store.
            by_mass: See the attribute of that name. With False, the split does not depend on the masks, as in earlier
                versions.

        Returns:
            The split.

        Raises:
            UserError: If a part is empty, if the training or the validation part has no mass, or if patients overlap
                although the splitter does not allow it.
        """
        self.by_mass = by_mass
        split = self.split(cases)
        for part, rows in split.parts().items():
            if len(rows) == 0:
                raise UserError(
                    f"the {part} part is empty: {len(cases)} images of {len({c.patient for c in cases})} "
                    "patients are too few for this split; use more cases or a different split"
                )
            if part != "test" and not any(cases[row].has_mass for row in rows.tolist()):
                raise UserError(
                    f"the {part} part must contain an image with a mass, got {len(rows)} images without one; use more "
                    "images with a mass, or a different split or split.seed"
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
        train, val, test = ({cases[row].patient for row in rows} for rows in split.parts().values())
        shared = (train & (val | test)) | (val & test)
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
    """Grouped k-fold cross-validation, stratified by density and, with `by_mass`, by having a mass.

    The held-out fold is divided into two halves of equal size. The first is the validation part and the second the test
    part (80/10/10 for five folds, as in the paper), or both are tested.

    Args:
        folds: Number of folds, at least 2.
        fold: Index of the held-out fold, 0 to folds - 1.
        seed: Seed of the assignment; the folds of one seed partition the cases.
        assignment: Assignment of the groups to the halves of the folds: "balanced" balances the density categories as
            far as the groups allow, see `balanced_assignment`; "snake" is that of versions 0.1 and 0.2, the default for
            their checkpoints.
        test: "half" for the test of one half; "both" for the test of both, each with the checkpoint that is selected on
            the other half, so that the folds together test every image.

    Raises:
        UserError: If an argument is out of range, or there are fewer groups than folds.

    Source:
        Proportions: Aliniya et al., section 4.1.
    """

    def __init__(
        self, folds: int = 5, fold: int = 0, seed: int = 0, assignment: str = "snake", test: str = "half"
    ) -> None:
        self.folds = positive_int("split.folds", folds, minimum=MIN_FOLDS)
        if not 0 <= fold < folds:
            raise UserError(f"split.fold must be between 0 and {folds - 1} for split.folds={folds}, got {fold}")
        self.fold = fold
        self.seed = seed
        self.assignment = one_of("split.assignment", assignment, ASSIGNMENTS)
        self.test_both = one_of("split.test", test, ("half", "both")) == "both"

    @staticmethod
    @abstractmethod
    def group(case: Case) -> str:
        """Return the group of a case; all cases of a group are in the same half of a fold."""

    def split(self, cases: Sequence[Case]) -> Split:
        """Assign the cases to the parts; see the class."""
        rows = np.arange(len(cases))
        if self.assignment == "balanced":
            fold, half = np.divmod(self.assign_halves(cases), 2)
            held_out, half = rows[fold == self.fold], half[fold == self.fold]
        else:
            fold = self.deal(cases, rows, self.folds)
            held_out = rows[fold == self.fold]
            half = self.deal(cases, held_out, 2)
        return Split(rows[fold != self.fold], held_out[half == 0], held_out[half == 1], self.test_both)

    def assign_halves(self, cases: Sequence[Case]) -> Indices:
        """Assign cases to the halves of the folds, balanced by density and, with `by_mass`, by having a mass.

        Args:
            cases: Rows of the store.

        Returns:
            (N,) half of each row, 0 to 2 * folds - 1; halves 2 * k and 2 * k + 1 belong to fold k.

        Raises:
            UserError: If there are fewer groups than folds.
        """
        groups = [self.group(case) for case in cases]
        self.check_number_of_groups(len(set(groups)), self.folds)
        halves = np.arange(2 * self.folds)
        return assign_balanced(cases, groups, np.ones_like(halves), halves // 2, self.seed, self.by_mass)

    def deal(self, cases: Sequence[Case], rows: Indices, folds: int) -> Indices:
        """Assign rows to folds in snake order: shuffled, ranked by density and number of images, and dealt in turns.

        With `by_mass`, groups of a density that have a mass come before those without.

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
        self.check_number_of_groups(len(groups), folds)
        rng = np.random.default_rng(self.seed)
        shuffled = rng.permutation(sorted(groups)).tolist()
        ranked = sorted(shuffled, key=lambda name: self.rank(groups[name]))
        snake_order = [*range(folds), *reversed(range(folds))]
        label = rng.permutation(folds)  # otherwise the first group would always be in fold 0
        fold_of = {name: label[snake_order[rank % (2 * folds)]] for rank, name in enumerate(ranked)}
        return np.array([fold_of[self.group(cases[row])] for row in rows.tolist()])

    def rank(self, group: Sequence[Case]) -> tuple[int, bool, int]:
        """Return the key by which groups are sorted before they are dealt."""
        without_mass = self.by_mass and not any(case.has_mass for case in group)
        return max(case.density for case in group), without_mass, -len(group)

    def check_number_of_groups(self, n_groups: int, folds: int) -> None:
        """Check that there is a group for each fold.

        Raises:
            UserError: If there are fewer groups.
        """
        if n_groups < folds:
            group_name = "image" if self.allows_patient_overlap else "patient"
            remedy = "use more cases or a smaller split.folds" if self.folds > MIN_FOLDS else "use more cases"
            raise UserError(f"{n_groups} {group_name}(s) are too few for {folds} parts; {remedy}")


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
        stratify: Whether the validation part has the same proportions of density categories as the training part and,
            with `by_mass`, of images with a mass, as far as the patients allow. Otherwise, the patients are drawn at
            random, as in the paper.

    Raises:
        UserError: If `val_share` is not between 0 and 1, or the dataset has no official split.
    """

    def __init__(self, val_share: float = 0.1, seed: int = 0, stratify: bool = False) -> None:
        self.val_share = probability("split.val_share", val_share)
        self.seed = seed
        self.stratify = boolean("split.stratify", stratify)

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
            held_out = self.select_val([cases[row] for row in train.tolist()])
            train, val = train[~held_out], train[held_out]
        return Split(train=train, val=val, test=test)

    def select_val(self, cases: Sequence[Case]) -> NDArray[np.bool_]:
        """Select the patients of the validation part.

        Args:
            cases: Images of the official training part.

        Returns:
            (N,) whether each image is held out for validation.
        """
        patient = [case.patient for case in cases]
        if self.stratify:
            share = Fraction(self.val_share).limit_denominator(MAX_DENOMINATOR)
            weights = np.array([share.numerator, share.denominator - share.numerator])
            return np.equal(assign_balanced(cases, patient, weights, np.arange(2), self.seed, self.by_mass), 0)
        patients = np.unique(patient)
        n_val = max(round(self.val_share * len(patients)), 1)
        return np.isin(patient, np.random.default_rng(self.seed).choice(patients, n_val, replace=False))
