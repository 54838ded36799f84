"""Specifications of the images of a synthetic CBIS-DDSM dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.phantom.patients import sample_densities, sample_patient_views

TEST_FRACTION = 0.22  # of the patients
SEVERAL_MASSES_PROBABILITY = 0.15  # two or three masses in an image
SWAPPED_PROBABILITY = 0.1  # the columns of mask and crop are swapped
RESIZED_PROBABILITY = 0.08  # the mask has a different size than the image


@dataclass(frozen=True)
class LesionSpec:
    """Specification of one mass.

    Attributes:
        abnormality: Identifier within the image.
        swapped: Whether the columns of mask and crop are swapped.
        scale: Size of the mask relative to the image; 1 for the same size.
    """

    abnormality: int
    swapped: bool
    scale: float


@dataclass(frozen=True)
class CbisDdsmImageSpec:
    """Specification of one image.

    Attributes:
        patient: Identifier of the patient, such as P_00001.
        part: Training or Test.
        side: Laterality, LEFT or RIGHT.
        view: View position, CC or MLO.
        density: ACR category, 1 to 4.
        lesions: The masses.
        seed: Seed of the image.
    """

    patient: str
    part: str
    side: str
    view: str
    density: int
    lesions: tuple[LesionSpec, ...]
    seed: tuple[int, int]

    @property
    def name(self) -> str:
        """Name of the image, such as Mass-Training_P_00001_LEFT_CC."""
        return f"Mass-{self.part}_{self.patient}_{self.side}_{self.view}"

    @property
    def masses(self) -> int:
        """Number of masses."""
        return len(self.lesions)


@dataclass(frozen=True)
class ImageFile:
    """One image file of the dataset.

    Attributes:
        subject: Name of the image, followed by the abnormality for masks and crops.
        study: UID of the study.
        series: UID of the series.
        description: Series description.
        index: Position in the series, from 1.
        pixels: (H, W).
    """

    subject: str
    study: str
    series: str
    description: str
    index: int
    pixels: NDArray[Any]


def sample_cbis_ddsm_specs(cases: int, seed: int) -> list[CbisDdsmImageSpec]:
    """Sample the specifications of all images: one to four per patient, with one density and one part per patient.

    Args:
        cases: Number of images.
        seed: Seed of the dataset.

    Returns:
        The specifications.

    Example:
        >>> specs = sample_cbis_ddsm_specs(cases=20, seed=0)
        >>> len(specs), sorted({spec.part for spec in specs})
        (20, ['Test', 'Training'])
    """
    rng = np.random.default_rng(seed)
    patients = sample_patient_views(rng, cases, sides=("LEFT", "RIGHT"))
    density = sample_densities(rng, len(patients))
    patient_ids = sorted(rng.choice(np.arange(1, 2000), len(patients), replace=False).tolist())
    n_test = max(round(TEST_FRACTION * len(patients)), 1)
    test_patients = set(rng.permutation(len(patients))[:n_test].tolist())
    images = [(patient, *view) for patient, patient_views in enumerate(patients) for view in patient_views]
    # The first three images have one irregularity each, so that every irregularity occurs.
    return [
        CbisDdsmImageSpec(
            patient=f"P_{patient_ids[patient]:05d}",
            part="Test" if patient in test_patients else "Training",
            side=side,
            view=view,
            density=density[patient],
            lesions=sample_lesions(rng, several=index == 0, swapped=index == 1, resized=index == 2),
            seed=(seed, index),
        )
        for index, (patient, side, view) in enumerate(images)
    ]


def sample_lesions(rng: np.random.Generator, *, several: bool, swapped: bool, resized: bool) -> tuple[LesionSpec, ...]:
    """Sample the specifications of the masses of one image.

    Args:
        rng: Source of randomness.
        several: Whether to force at least two masses.
        swapped: Whether to force swapped columns of mask and crop.
        resized: Whether to force resized masks.

    Returns:
        The specifications.
    """
    n_lesions = int(rng.integers(2, 4)) if several or rng.random() < SEVERAL_MASSES_PROBABILITY else 1
    first = 1 + int(rng.random() < 0.05)  # the identifiers of the real dataset do not always start at 1
    return tuple(
        LesionSpec(
            abnormality=first + index,
            swapped=bool(swapped or rng.random() < SWAPPED_PROBABILITY),
            scale=float(rng.uniform(0.8, 0.95)) if resized or rng.random() < RESIZED_PROBABILITY else 1.0,
        )
        for index in range(n_lesions)
    )
