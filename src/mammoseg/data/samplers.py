"""Composition of the training batches: images are drawn from strata in fixed proportions, see `conf/sampler`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mammoseg import validate
from mammoseg.data.split_result import Indices
from mammoseg.data.store import PreparedStore
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.losses.mass_size import quantile_edges


@dataclass(frozen=True)
class Strata:
    """Strata of the training images and their shares of the samples of an epoch.

    Attributes:
        stratum: (N,) stratum of each image, 0 to K - 1; no stratum is empty.
        shares: (K,) fraction of the samples that is drawn from each stratum; they add up to 1.

    Example:
        >>> strata = Strata(np.array([0, 0, 0, 0, 0, 1]), np.array([0.5, 0.5]))
        >>> drawn = strata.stratum[strata.order(batch_size=2, rng=np.random.default_rng(0))]
        >>> drawn.reshape(3, 2).sum(axis=1).tolist()  # one image of stratum 1 in each batch
        [1, 1, 1]
    """

    stratum: Indices
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, labels: Indices, weights: dict[int, float]) -> Strata:
        """Create the strata from labels, without those that no image has.

        Args:
            labels: (N,) label of each image.
            weights: Weight of each label, proportional to its share.
        """
        present, stratum = np.unique(labels, return_inverse=True)
        shares = np.array([weights[int(label)] for label in present])
        return cls(stratum.ravel(), shares / shares.sum())

    def order(self, batch_size: int, rng: Generator) -> Indices:
        """Draw the images of an epoch, as many as there are images.

        The number of samples that have been drawn from a stratum is always as close as possible to its share, so with
        two strata, the numbers in the batches differ by at most 1. Within a stratum, every image is drawn once before
        any is drawn again. The samples of a batch are shuffled, so that a rank does not receive a single stratum.

        Args:
            batch_size: Number of samples of a batch.
            rng: Generator of the random numbers.

        Returns:
            (N,) indices of the images.
        """
        members = [np.flatnonzero(self.stratum == index) for index in range(len(self.shares))]
        n_samples = len(self.stratum)
        draws = [_repeated_permutations(rows, n_samples, rng) for rows in members]
        drawn, credit, order = [0] * len(members), np.zeros(len(members)), np.empty(n_samples, dtype=np.int64)
        priority = rng.permutation(len(members))  # decides ties, which would otherwise favour the first stratum
        for position in range(n_samples):
            credit += self.shares
            index = int(priority[credit[priority].argmax()])
            credit[index] -= 1
            order[position] = draws[index][drawn[index]]
            drawn[index] += 1
        for start in range(0, n_samples, batch_size):
            order[start : start + batch_size] = rng.permutation(order[start : start + batch_size])
        return order


def _repeated_permutations(rows: Indices, n_samples: int, rng: Generator) -> Indices:
    """Return at least `n_samples` rows: permutations of all of them, one after the other."""
    return np.concatenate([rng.permutation(rows) for _ in range(-(-n_samples // len(rows)))])


class TrainSampler(ABC):
    """Base class of the samplers of training images. An epoch has as many samples as there are training images."""

    @abstractmethod
    def strata(self, store: PreparedStore, rows: Indices) -> Strata:
        """Return the strata of the training images.

        Args:
            store: The prepared images.
            rows: (N,) rows of the training images.

        Raises:
            UserError: If the training images are not suitable.
        """


class NegativeFraction(TrainSampler):
    """Draws a fixed fraction of the samples of each batch from the images without a mass.

    If the fraction of a batch is not an integer, its number is rounded up in some batches and down in the others.

    Args:
        fraction: Fraction of the samples, in (0, 1).

    Raises:
        UserError: If `fraction` is not between 0 and 1.
    """

    def __init__(self, fraction: float = 0.5) -> None:
        self.fraction = validate.probability("sampler.fraction", fraction)

    def strata(self, store: PreparedStore, rows: Indices) -> Strata:
        """Return the images with a mass and those without; see the base class."""
        has_mass = store.has_mass[rows]
        if has_mass.all():
            raise UserError(
                f"sampler must be none if all {len(rows)} training images have a mass, got NegativeFraction; set "
                "dataset.negatives=all or sampler=none"
            )
        return Strata.of(has_mass.astype(np.int64), {0: self.fraction, 1: 1 - self.fraction})


class FewImages(TrainSampler):
    """Draws only the first training images with a mass, to test whether a network can overfit them.

    Args:
        images: Number of images, at least 1; all training images with a mass if there are fewer.

    Raises:
        UserError: If `images` is invalid.
    """

    def __init__(self, images: int = 4) -> None:
        self.images = validate.positive_int("sampler.images", images)

    def strata(self, store: PreparedStore, rows: Indices) -> Strata:
        """Return the images that are drawn and the others, with a share of 0; see the base class."""
        others = np.ones(len(rows), dtype=np.int64)
        others[np.flatnonzero(store.has_mass[rows])[: self.images]] = 0
        return Strata.of(others, {0: 1.0, 1: 0.0})


class BalancedDensity(TrainSampler):
    """Draws the ACR categories of the training images equally often."""

    def strata(self, store: PreparedStore, rows: Indices) -> Strata:
        """Return the ACR categories; see the base class."""
        return Strata.of(store.density[rows], dict.fromkeys(range(len(ACRDensity)), 1.0))


class BalancedMassSize(TrainSampler):
    """Draws masses of different sizes equally often in each batch.

    The training images with a mass are divided into groups of equal size by the fraction of mass pixels, from each of
    which the same number of samples is drawn. Images without a mass are drawn as often as without this sampler.

    Args:
        groups: Number of groups, at least 2; a batch size that is a multiple of it has every group in every batch.

    Raises:
        UserError: If `groups` is invalid.
    """

    def __init__(self, groups: int = 4) -> None:
        self.groups = validate.positive_int("sampler.groups", groups, minimum=2)

    def strata(self, store: PreparedStore, rows: Indices) -> Strata:
        """Return the groups by mass size, and the images without a mass as another one; see the base class."""
        fractions = store.mass_fraction[rows]
        sizes = np.sort(fractions[fractions > 0])
        if len(np.unique(sizes)) < self.groups:
            raise UserError(
                f"sampler.groups must be at most the number of different mass sizes of the training images "
                f"({len(np.unique(sizes))}), got {self.groups}"
            )
        group = 1 + np.searchsorted(quantile_edges(sizes, self.groups), fractions, side="right")
        labels = np.where(fractions > 0, group, 0)
        share_with_mass = len(sizes) / len(rows)
        weights = dict.fromkeys(range(1, self.groups + 1), share_with_mass / self.groups)
        return Strata.of(labels, {0: 1 - share_with_mass, **weights})
