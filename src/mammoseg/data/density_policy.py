"""Choice of the ACR density of each image: from the dataset, estimated, or assumed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mammoseg.data.preprocessing.density_model import score_to_category
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.density import ACRDensity
from mammoseg.validate import one_of

log = logging.getLogger(__name__)

DENSITY_SOURCES = ("given", "estimated")
MISSING_DENSITY_OPTIONS = ("error", "drop", "estimate", *ACRDensity)


@dataclass(frozen=True)
class DensityPolicy:
    """The settings `dataset.density` and `dataset.missing_density`.

    Attributes:
        source: "given" to use the densities of the dataset, "estimated" to use the estimate for all images.
        missing: Treatment of images without a density: "error", "drop", "estimate", or an ACR category 1 to 4 to
            assume.

    Raises:
        UserError: If a setting is invalid.

    Example:
        >>> density, estimate = DensityPolicy().resolve(ACRDensity.FATTY, density_score=3.2)
        >>> int(density), int(estimate)
        (1, 3)
    """

    source: str = "given"
    missing: str | int = "error"

    def __post_init__(self) -> None:
        one_of("dataset.density", self.source, DENSITY_SOURCES)
        one_of("dataset.missing_density", self.missing, MISSING_DENSITY_OPTIONS)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by configuration key, as plain values."""
        return {"density": self.source, "missing_density": self.missing}

    def apply(self, mammograms: Sequence[Mammogram], rejected: RejectedCases) -> list[Mammogram]:
        """Apply the treatment of missing densities.

        Args:
            mammograms: The images.
            rejected: Receives the images without a density if `missing` is "error".

        Returns:
            The images that have a density, or whose density will be estimated.
        """
        if self.source == "estimated":
            return list(mammograms)
        accepted, dropped = [], []
        for mammogram in mammograms:
            if mammogram.density is not None or self.missing == "estimate":
                accepted.append(mammogram)
            elif isinstance(self.missing, int):
                accepted.append(replace(mammogram, density=ACRDensity(self.missing)))
            elif self.missing == "drop":
                dropped.append(mammogram.case)
            else:
                rejected.add(mammogram.case, "no ACR density; set dataset.missing_density=drop, =estimate, or =1 to =4")
        if dropped:
            log.warning("%d images without an ACR density dropped, the first is %s", len(dropped), dropped[0])
        return accepted

    def resolve(self, dataset_density: ACRDensity | None, density_score: float) -> tuple[ACRDensity, ACRDensity]:
        """Select the density of an image from that of the dataset and the estimate.

        Args:
            dataset_density: ACR category in the dataset, or None.
            density_score: Estimated density of the patient, in [1, 4].

        Returns:
            The density to use, and the estimate.
        """
        estimate = score_to_category(density_score)
        if self.source == "estimated" or dataset_density is None:
            return estimate, estimate
        return dataset_density, estimate
