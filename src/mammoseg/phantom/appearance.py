"""Appearance of synthetic mammograms: density of the breast, and size and contrast of masses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mammoseg import validate


@dataclass(frozen=True)
class Appearance:
    """Parameters that determine how difficult the segmentation is.

    Attributes:
        glandular_fraction: Range of the glandular fraction of the breast by ACR category.
        mass_radius_mm: Median radius of masses in mm.
        mass_radius_sigma: Standard deviation of the logarithm of the radius.
        mass_radius_range_mm: Smallest and largest radius in mm.
        mass_contrast: Difference of grey value between a mass and its surroundings by ACR category.
    """

    glandular_fraction: Mapping[int, tuple[float, float]]
    mass_radius_mm: float
    mass_radius_sigma: float
    mass_radius_range_mm: tuple[float, float]
    mass_contrast: Mapping[int, float]


APPEARANCES = {
    # Medians for ACR 1 to 4, prepared at 128x128, and those of CBIS-DDSM in parentheses: percent density 0.26, 0.31,
    # 0.46 and 0.60 (0.17, 0.28, 0.43 and 0.51); contrast-to-noise ratio of masses 2.7, 2.0, 1.4 and 1.3 (1.9, 1.6,
    # 1.2 and 1.0); fraction of the image that is covered by masses 0.64 % (0.68 %).
    "realistic": Appearance(
        glandular_fraction={1: (0.02, 0.06), 2: (0.08, 0.16), 3: (0.22, 0.34), 4: (0.40, 0.52)},
        mass_radius_mm=6.2,
        mass_radius_sigma=0.42,
        mass_radius_range_mm=(2.5, 19),
        mass_contrast={1: 0.12, 2: 0.115, 3: 0.105, 4: 0.09},
    ),
    # The images of versions 0.1 and 0.2, which a small network learns within minutes.
    "simple": Appearance(
        glandular_fraction={1: (0.08, 0.20), 2: (0.27, 0.45), 3: (0.53, 0.70), 4: (0.78, 0.90)},
        mass_radius_mm=10.5,
        mass_radius_sigma=0.35,
        mass_radius_range_mm=(5, 19),
        mass_contrast={1: 0.30, 2: 0.27, 3: 0.22, 4: 0.18},
    ),
}


def get_appearance(name: str) -> Appearance:
    """Return the parameters of an appearance.

    Args:
        name: Key of `APPEARANCES`.

    Raises:
        UserError: If the name is unknown.
    """
    validate.one_of("appearance", name, tuple(APPEARANCES))
    return APPEARANCES[name]
