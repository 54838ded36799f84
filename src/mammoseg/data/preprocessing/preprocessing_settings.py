"""The settings that decide what a preprocessed image looks like."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mammoseg.data.preprocessing.fingerprints import hash_json
from mammoseg.errors import UserError
from mammoseg.validate import one_of

VERSION = 3  # raise it when the same settings give other arrays
SIZE_MULTIPLE = 16  # the networks halve the image four times
ASPECTS = ("stretch", "pad")
NORMALISATIONS = ("minmax", "percentile", "zscore")
FLIPS = ("none", "left", "right")


@dataclass(frozen=True)
class PreprocessingSettings:
    """Settings of `preprocess`, named `dataset.size` and so on by the user.

    Attributes:
        size: Side of the square images in pixels, a multiple of 16.
        crop: Whether to crop to the breast and blank what is outside of it; otherwise the image is kept as it is.
        aspect: "stretch" fills the square, as the paper's resizing does (its accuracies imply masses of 2.5 % of the
            pixels on INbreast, which only a crop filled to the square gives); "pad" keeps the aspect ratio.
        normalise: "minmax" to [0, 1], "percentile" the same between the 0.5th and 99.5th percentile, "zscore" to mean
            0 and standard deviation 1; each over the pixels of the breast.
        flip: "left" or "right" mirrors images so that all chest walls are on that side; "none" does not.

    Raises:
        UserError: If a setting is invalid.
    """

    size: int = 256
    crop: bool = True
    aspect: str = "stretch"
    normalise: str = "minmax"
    flip: str = "none"

    def __post_init__(self) -> None:
        if self.size < SIZE_MULTIPLE or self.size % SIZE_MULTIPLE:
            raise UserError(f"dataset.size must be a positive multiple of {SIZE_MULTIPLE}, got {self.size}")
        one_of("dataset.aspect", self.aspect, ASPECTS)
        one_of("dataset.normalise", self.normalise, NORMALISATIONS)
        one_of("dataset.flip", self.flip, FLIPS)

    @property
    def digest(self) -> str:
        """Identifies the settings and `VERSION` in names of caches and stores."""
        return hash_json([VERSION, asdict(self)])
