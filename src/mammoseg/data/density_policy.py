"""How each image gets the ACR density that training and results use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mammoseg.data.preprocessing.density_estimate import acr_category
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.validate import one_of

log = logging.getLogger(__name__)

SOURCES = ("given", "estimated")
MISSING = ("error", "drop", "estimate", *ACRDensity)


@dataclass(frozen=True)
class DensityPolicy:
    """The settings `dataset.density`, `dataset.missing_density` and `dataset.density_cuts`.

    Attributes:
        source: "given", or "estimated" to use the estimate for all images.
        missing: For images without a given density: "error", "drop", "estimate", or the ACR category 1 to 4 to assume.
        cuts: Percent densities, as fractions, between the four estimated categories.

    Raises:
        UserError: If a setting is invalid.
    """

    source: str = "given"
    missing: str | int = "error"
    cuts: Sequence[float] = (0.169, 0.390, 0.567)

    def __post_init__(self) -> None:
        one_of("dataset.density", self.source, SOURCES)
        one_of("dataset.missing_density", self.missing, MISSING)
        cuts = list(self.cuts)
        if len(cuts) != len(ACRDensity) - 1 or cuts != sorted(cuts) or not all(0 <= cut <= 1 for cut in cuts):
            raise UserError(f"dataset.density_cuts must be three ascending numbers between 0 and 1, got {cuts}")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings under the names of the user, as plain values."""
        return {"density": self.source, "missing_density": self.missing, "density_cuts": list(self.cuts)}

    def apply(self, mammograms: Sequence[Mammogram], rejected: RejectedCases) -> list[Mammogram]:
        """The images that have a density or whose density will be estimated; the others are dropped or rejected."""
        if self.source == "estimated":
            return list(mammograms)
        accepted = []
        for mammogram in mammograms:
            if mammogram.density is not None or self.missing == "estimate":
                accepted.append(mammogram)
            elif isinstance(self.missing, int):
                accepted.append(replace(mammogram, density=ACRDensity(self.missing)))
            elif self.missing == "drop":
                log.warning("%s skipped: no ACR density", mammogram.case)
            else:
                rejected.add(mammogram.case, "no ACR density; set dataset.missing_density=drop, =estimate, or =1 to =4")
        return accepted

    def resolve(self, given: ACRDensity | None, percent_density: float) -> tuple[ACRDensity, ACRDensity]:
        """The density to use, and the estimate.

        Args:
            given: The density of the dataset.
            percent_density: As estimated, a fraction.

        Returns:
            The density to use, and the estimate.
        """
        estimate = acr_category(percent_density, self.cuts)
        return (estimate if self.source == "estimated" or given is None else given), estimate
