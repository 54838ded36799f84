"""Settings of the preprocessing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mammoseg.data.preprocessing.fingerprints import hash_json
from mammoseg.errors import UserError
from mammoseg.validate import one_of, positive_int

VERSION = 7  # increment when the same settings give different arrays, hashes or density features
SIZE_MULTIPLE = 16  # the networks downsample four times by 2
CROPS = ("breast", "film", "none")
ASPECTS = ("stretch", "pad")
NORMALISATIONS = ("minmax", "percentile", "zscore")
FLIPS = ("none", "left", "right")


def crop_name(crop: Any) -> Any:
    """Return the name of a value of `dataset.crop` that is a truth value, as in version 0.2; others are unchanged."""
    return {True: "breast", False: "none"}[crop] if isinstance(crop, bool) else crop


@dataclass(frozen=True)
class PreprocessingSettings:
    """Settings of `preprocess`; the configuration keys are `dataset.size` and so on.

    Attributes:
        size: Side of the square images in pixels, a multiple of 16.
        crop: "breast" blanks the pixels outside the breast and crops to it; "film" blanks them and keeps the whole
            image; "none" keeps all pixels. True and False, as in version 0.2, are "breast" and "none".
        aspect: "stretch" fills the square; "pad" keeps the aspect ratio.
        normalise: "minmax" scales the grey values to [0, 1], "percentile" scales the 0.5th to 99.5th percentile to
            [0, 1] and clips, "zscore" scales to mean 0 and standard deviation 1. Statistics are those of the breast.
        flip: "left" or "right" mirrors images so that all chest walls are on that side; "none" disables it.

    Raises:
        UserError: If a setting is invalid.

    Example:
        >>> PreprocessingSettings(size=100)
        Traceback (most recent call last):
            ...
        mammoseg.errors.UserError: dataset.size must be a positive multiple of 16, got 100
    """

    size: int = 256
    crop: str | bool = "breast"
    aspect: str = "stretch"
    normalise: str = "minmax"
    flip: str = "none"

    def __post_init__(self) -> None:
        if positive_int("dataset.size", self.size) % SIZE_MULTIPLE:
            raise UserError(f"dataset.size must be a positive multiple of {SIZE_MULTIPLE}, got {self.size}")
        object.__setattr__(self, "crop", one_of("dataset.crop", crop_name(self.crop), CROPS))
        one_of("dataset.aspect", self.aspect, ASPECTS)
        one_of("dataset.normalise", self.normalise, NORMALISATIONS)
        one_of("dataset.flip", self.flip, FLIPS)

    @property
    def digest(self) -> str:
        """Hash of the settings and `VERSION`, used in the names of caches and stores."""
        return hash_json([VERSION, asdict(self)])
