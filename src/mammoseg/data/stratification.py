"""Balanced assignment of groups of images, such as patients, by density and by having a mass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mammoseg.data.balanced_assignment import assign_groups
from mammoseg.data.split_result import Indices
from mammoseg.data.store import Case
from mammoseg.density import ACRDensity


def assign_balanced(
    cases: Sequence[Case], groups: Sequence[str], weights: Indices, folds: Indices, seed: int, by_mass: bool = False
) -> Indices:
    """Assign groups of cases to parts, balanced by density and, if requested, by having a mass; see `assign_groups`.

    Args:
        cases: N cases.
        groups: Group of each case, (N,).
        weights: Relative sizes of the parts, (P,).
        folds: Fold of each part, (P,).
        seed: Random seed.
        by_mass: Whether the images of a density with and without a mass are different categories. Those with a mass of
            all densities together are essential, so that no part lacks them if the groups allow it.

    Returns:
        (N,) part of each case, 0 to P - 1.
    """
    names, group_of = np.unique(np.array(groups), return_inverse=True)
    n_densities = len(ACRDensity)
    counts = np.zeros((len(names), 2 * n_densities + 1 if by_mass else n_densities), dtype=np.int64)
    for group, case in zip(group_of.tolist(), cases, strict=True):
        counts[group, case.density - 1 + (n_densities if by_mass and not case.has_mass else 0)] += 1
        if by_mass:
            counts[group, -1] += case.has_mass
    rng = np.random.default_rng(seed)
    return np.asarray(assign_groups(counts, weights, folds, rng, n_essential=int(by_mass))[group_of])
