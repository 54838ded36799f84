"""Breast-mass segmentation in whole mammograms: the Density-ASP loss, its baselines, and reproducible comparisons.

The names in `__all__` are the public API. They are imported on first use, so that the package is fast to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from mammoseg.data.datamodule import MammogramDataModule
    from mammoseg.density import ACRDensity
    from mammoseg.errors import UserError
    from mammoseg.hub import push_to_hub
    from mammoseg.losses import ASP, DensityASP, HybridPixel, HybridRegion
    from mammoseg.metrics import DSC, Accuracy, RelativeAreaDifference, Sensitivity
    from mammoseg.models.arf_net import ARFNet
    from mammoseg.models.au_net import AUNet
    from mammoseg.predictor import Prediction, Predictor, load
    from mammoseg.segmenter import Segmenter

_MODULES = {
    "mammoseg.data.datamodule": ("MammogramDataModule",),
    "mammoseg.density": ("ACRDensity",),
    "mammoseg.errors": ("UserError",),
    "mammoseg.hub": ("push_to_hub",),
    "mammoseg.losses": ("ASP", "DensityASP", "HybridPixel", "HybridRegion"),
    "mammoseg.metrics": ("DSC", "Accuracy", "RelativeAreaDifference", "Sensitivity"),
    "mammoseg.models.arf_net": ("ARFNet",),
    "mammoseg.models.au_net": ("AUNet",),
    "mammoseg.predictor": ("Prediction", "Predictor", "load"),
    "mammoseg.segmenter": ("Segmenter",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ASP",
    "DSC",
    "ACRDensity",
    "ARFNet",
    "AUNet",
    "Accuracy",
    "DensityASP",
    "HybridPixel",
    "HybridRegion",
    "MammogramDataModule",
    "Prediction",
    "Predictor",
    "RelativeAreaDifference",
    "Segmenter",
    "Sensitivity",
    "UserError",
    "load",
    "push_to_hub",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
