"""Loss functions that return one value per sample.

Terms map (logits, mask) to (B,). Criteria are weighted sums of terms and map (logits, mask, density) to (B,).
"""

from mammoseg.losses.asp import ASP
from mammoseg.losses.clipped_gradient import ClippedGradient
from mammoseg.losses.criterion import Criterion
from mammoseg.losses.density_priority import ByDensity
from mammoseg.losses.hybrid import DensityASP, HybridPixel, HybridRegion
from mammoseg.losses.learned_priority import LearnedByRatio, UncertaintyByRatio
from mammoseg.losses.per_sample import PerSample
from mammoseg.losses.pixel import BCE, Dice
from mammoseg.losses.priority import ByRatio, Priority
from mammoseg.losses.region import RMI, SSIM, SSL
from mammoseg.losses.term import Term

__all__ = [
    "ASP",
    "BCE",
    "RMI",
    "SSIM",
    "SSL",
    "ByDensity",
    "ByRatio",
    "ClippedGradient",
    "Criterion",
    "DensityASP",
    "Dice",
    "HybridPixel",
    "HybridRegion",
    "LearnedByRatio",
    "PerSample",
    "Priority",
    "Term",
    "UncertaintyByRatio",
]
