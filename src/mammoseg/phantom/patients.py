"""Random patients of synthetic datasets: their views and densities."""

from __future__ import annotations

import numpy as np

from mammoseg.density import ACRDensity

# Fractions of patients by ACR category; closer to uniform than INbreast's 39:34:20:7 %, so that small datasets contain
# all four.
DENSITY_FRACTIONS = (0.30, 0.30, 0.25, 0.15)


def n_negatives(cases: int, fraction: float) -> int:
    """Return the number of images without a mass that makes up a fraction of all images, at least 1.

    Args:
        cases: Number of images with a mass.
        fraction: Fraction of all images that have no mass, in (0, 1).

    Example:
        >>> n_negatives(30, fraction=0.25)
        10
    """
    return max(round(cases * fraction / (1 - fraction)), 1)


def sample_patient_views(
    rng: np.random.Generator, n_images: int, sides: tuple[str, str]
) -> list[list[tuple[str, str]]]:
    """Sample patients with one to four views each, until there are `n_images` images.

    Args:
        rng: Source of randomness.
        n_images: Number of images.
        sides: Names of the left and right side.

    Returns:
        The (side, view) of each image of each patient.

    Example:
        >>> patients = sample_patient_views(np.random.default_rng(0), 10, sides=("L", "R"))
        >>> sum(map(len, patients)), patients[0]
        (10, [('L', 'CC'), ('L', 'MLO'), ('R', 'CC'), ('R', 'MLO')])
    """
    views = [(side, view) for side in sides for view in ("CC", "MLO")]
    patients: list[list[tuple[str, str]]] = []
    while (n_missing := n_images - sum(map(len, patients))) > 0:
        n_views = min(int(rng.integers(1, 5)), n_missing)
        patients.append([views[index] for index in sorted(rng.permutation(4)[:n_views])])
    return patients


def sample_densities(rng: np.random.Generator, n_patients: int) -> list[int]:
    """Sample an ACR category per patient from `DENSITY_FRACTIONS`; with four or more patients, each category occurs.

    Args:
        rng: Source of randomness.
        n_patients: Number of patients.

    Returns:
        (n_patients,) categories 1 to 4.
    """
    required = list(ACRDensity)[:n_patients]
    others = rng.choice(list(ACRDensity), n_patients - len(required), p=DENSITY_FRACTIONS).tolist()
    return [int(category) for category in rng.permutation(required + others)]
