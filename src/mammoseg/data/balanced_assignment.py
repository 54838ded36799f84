"""Assignment of groups of images, such as patients, to the parts of a split, balanced by category."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
RESTARTS = 16  # of the search; with these, it finds the best assignment of almost every table of up to ten groups
EMPTY = 10**6  # weight of a part or fold without images; more than any number of absences


def assign_groups(counts: Integers, weights: Integers, folds: Integers, rng: np.random.Generator) -> Integers:
    """Assign groups to parts, at random among the assignments that are balanced best.

    Three criteria are minimised, each among assignments that are equal in the previous ones:

    1. the number of parts and folds without images, which is 0 if there are at least as many groups as parts;
    2. the number of absences: categories of which a part or a fold has no image;
    3. the imbalance: the squared difference between the number of images and the number proportional to the weights,
       summed over parts and folds, and over the categories and their total.

    From random starts, groups are moved to another part or exchanged, as long as this is an improvement; the best
    result is returned. All numbers are integers, so it is the same on all platforms.

    Args:
        counts: Number of images of each category in each group, (G, C).
        weights: Relative sizes of the parts, (P,).
        folds: Fold to which each part belongs, (P,), numbered from 0.
        rng: Generator of the random numbers.

    Returns:
        Part of each group, (G,).

    Source:
        The criteria are those of Sechidis et al., "On the Stratification of Multi-Label Data" (2011), here for groups.

    Example:
        >>> counts = np.array([[2, 0], [2, 0], [0, 1], [0, 1]])
        >>> part = assign_groups(counts, np.array([1, 1]), np.array([0, 1]), np.random.default_rng(0))
        >>> sorted(part[:2].tolist()), sorted(part[2:].tolist())
        ([0, 1], [0, 1])
    """
    with_total = np.column_stack([counts.sum(axis=1), counts])
    kinds, kind_of = np.unique(with_total, axis=0, return_inverse=True)
    kind_of = kind_of.ravel()
    n_of_kind = np.bincount(kind_of)
    searches = [_Search(kinds, n_of_kind, weights, folds, rng) for _ in range(RESTARTS)]
    for search in searches:
        while search.improve():
            pass
    return min(searches, key=_Search.criteria).deal(kind_of)


class _Search:
    """Local search from a random assignment.

    Parts and folds are called sets; the sets of a part are the part and its fold.

    Args:
        kinds: Distinct rows of numbers of images, in total and by category, (K, 1 + C).
        n_of_kind: Number of groups with each of these rows, (K,).
        weights: Relative sizes of the parts, (P,).
        folds: Fold of each part, (P,).
        rng: Generator of the random numbers.

    Attributes:
        n_groups: Number of groups of each kind in each part, (P, K).
        images: Numbers of images in each set, (P + F, 1 + C).
        excess: Their differences from the proportional numbers, multiplied by the sum of the weights.
    """

    def __init__(
        self, kinds: Integers, n_of_kind: Integers, weights: Integers, folds: Integers, rng: np.random.Generator
    ) -> None:
        n_parts, self.rng, self.total_weight = len(weights), rng, int(weights.sum())
        self.kinds = np.vstack([kinds, np.zeros_like(kinds[:1])])  # the last one is no group, for moves
        self.sets = np.column_stack([np.arange(n_parts), n_parts + folds])  # (P, 2)
        members = np.arange(n_parts + int(folds.max()) + 1)[:, None, None] == self.sets
        is_member = members.any(axis=2).astype(np.int64)  # (P + F, P)
        start = [np.bincount(rng.integers(n_parts, size=n), minlength=n_parts) for n in n_of_kind.tolist()]
        self.n_groups = np.column_stack(start)
        self.images = is_member @ self.n_groups @ kinds
        self.excess = self.total_weight * self.images - np.outer(is_member @ weights, n_of_kind @ kinds)

    def criteria(self) -> tuple[int, int]:
        """Return the weighted number of absences, and the imbalance multiplied by the squared sum of the weights."""
        return int(_absences(self.images).sum()), int((self.excess**2).sum())

    def deal(self, kind_of: Integers) -> Integers:
        """Return the part of each group, (G,), at random among the groups of a kind, which are interchangeable.

        Args:
            kind_of: Kind of each group, (G,).
        """
        part = np.empty_like(kind_of)
        for kind in range(self.n_groups.shape[1]):
            members = self.rng.permutation(np.flatnonzero(kind_of == kind))
            part[members] = np.repeat(np.arange(len(self.n_groups)), self.n_groups[:, kind])
        return part

    def improve(self) -> bool:
        """Move or exchange groups of each kind and part as long as this is an improvement; return whether any was."""
        n_parts, n_kinds = self.n_groups.shape
        improved = False
        for index in self.rng.permutation(n_parts * n_kinds).tolist():
            part, kind = divmod(index, n_kinds)
            while self.n_groups[part, kind] and self._improve_group(part, kind):
                improved = True
        return improved

    def _improve_group(self, part: int, kind: int) -> bool:
        """Make the best move or exchange of one group of a kind in a part, if it is an improvement."""
        available = np.ones((len(self.n_groups), len(self.kinds)), dtype=np.bool_)
        available[:, :-1] = self.n_groups > 0
        available[part], available[:, kind] = False, False
        others, other_kinds = np.nonzero(available)
        if len(others) == 0:
            return False
        absences, imbalance = self._changes(part, others, self.kinds[kind] - self.kinds[other_kinds])
        best = np.flatnonzero(absences == absences.min())
        best = best[imbalance[best] == imbalance[best].min()]
        choice = best[self.rng.integers(len(best))]
        if (absences[choice], imbalance[choice]) >= (0, 0):
            return False
        self._exchange(part, kind, int(others[choice]), int(other_kinds[choice]))
        return True

    def _changes(self, part: int, others: Integers, moved: Integers) -> tuple[Integers, Integers]:
        """Compute the changes of the criteria if images are moved.

        Args:
            part: Part that loses images.
            others: Part that gains them in each of N alternatives, (N,).
            moved: Numbers of images in each alternative, (N, 1 + C).

        Returns:
            Change of the weighted absences, (N,), and change of the imbalance divided by twice the sum of the weights,
            (N,).
        """
        loses, gains = self.sets[part], self.sets[others]
        change = moved[:, None] * (gains != loses)[:, :, None]  # (N, 2, 1 + C); 0 within a fold
        images, other_images = self.images[loses], self.images[gains]
        before, after = _absences(images) + _absences(other_images), _absences(images - change)
        after = after + _absences(other_images + change)
        gradient = self.excess[gains] - self.excess[loses]
        return (after - before).sum(axis=-1), (change * (gradient + self.total_weight * change)).sum(axis=(1, 2))

    def _exchange(self, part: int, kind: int, other: int, other_kind: int) -> None:
        moved = self.kinds[kind] - self.kinds[other_kind]
        for loses, gains, exchanged in ((part, other, kind), (other, part, other_kind)):
            if exchanged < self.n_groups.shape[1]:
                self.n_groups[loses, exchanged] -= 1
                self.n_groups[gains, exchanged] += 1
        for changed, sign in ((part, -1), (other, 1)):
            self.images[self.sets[changed]] += sign * moved
            self.excess[self.sets[changed]] += sign * self.total_weight * moved


def _absences(images: Integers) -> Integers:
    """Count the categories without images in sets, (..., 1 + C) -> (...).

    A set without any images has EMPTY more, so that no number of absences outweighs it.
    """
    return np.asarray((images[..., 1:] == 0).sum(axis=-1) + EMPTY * (images[..., 0] == 0))
