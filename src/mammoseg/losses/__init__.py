"""Losses: terms (logits, mask) -> (B,), and criteria (logits, mask, density) -> (B,) made of them."""

from mammoseg.losses.criterion import Criterion
from mammoseg.losses.hybrid import DensityASP, HybridPixel, HybridRegion
from mammoseg.losses.pixel import BCE, Dice
from mammoseg.losses.priority import ByDensity, Priority
from mammoseg.losses.region import RMI, SSIM
from mammoseg.losses.term import Term

__all__ = [
    "BCE",
    "RMI",
    "SSIM",
    "ByDensity",
    "Criterion",
    "DensityASP",
    "Dice",
    "HybridPixel",
    "HybridRegion",
    "Priority",
    "Term",
]
