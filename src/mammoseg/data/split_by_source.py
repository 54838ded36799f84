"""Split of a union of datasets: each dataset is split by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mammoseg.data.split import Official, PatientKFold, Splitter
from mammoseg.data.split_result import Split
from mammoseg.data.store import Case
from mammoseg.errors import UserError


class BySource(Splitter):
    """Official parts of the datasets that have them, and k-fold cross-validation over the patients of the others.

    The official parts are the same in all folds. A dataset is split in the same way by itself as in a union.

    Args:
        folds: See `KFold`.
        fold: See `KFold`.
        seed: Seed of the assignment in both kinds of split.
        assignment: See `KFold`.
        val_share: See `Official`.
        stratify: See `Official`.

    Raises:
        UserError: If an argument is invalid.

    Example:
        >>> split = BySource(folds=5, fold=0)(store.cases)  # doctest: +SKIP
    """

    def __init__(
        self,
        folds: int = 5,
        fold: int = 0,
        seed: int = 0,
        assignment: str = "balanced",
        val_share: float = 0.1,
        stratify: bool = False,
    ) -> None:
        self.k_fold = PatientKFold(folds=folds, fold=fold, seed=seed, assignment=assignment)
        self.official = Official(val_share=val_share, seed=seed, stratify=stratify)

    def split(self, cases: Sequence[Case]) -> Split:
        """Assign the cases to the parts; see the class.

        Raises:
            UserError: If a dataset has too few patients.
        """
        self.official.by_mass = self.k_fold.by_mass = self.by_mass
        source_of = np.array([case.source for case in cases])
        parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
        for source in dict.fromkeys(source_of.tolist()):
            rows = np.flatnonzero(source_of == source)
            own = [cases[row] for row in rows.tolist()]
            has_parts = {"train", "test"} <= {case.split for case in own}
            try:
                split = (self.official if has_parts else self.k_fold).split(own)
            except UserError as error:
                raise UserError(f"{source}: {error}") from error
            for name, positions in split.parts().items():
                parts[name] += rows[positions].tolist()
        train, val, test = (np.array(sorted(parts[name]), dtype=np.int64) for name in ("train", "val", "test"))
        return Split(train, val, test)
