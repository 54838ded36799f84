"""Metrics: what the paper's tables report, with torchmetrics' Metric interface."""

from mammoseg.metrics.calibration import BINS, expected_calibration_error, reliability
from mammoseg.metrics.pixel import (
    DSC,
    FORMULAS,
    Accuracy,
    MeanOverImages,
    Pooled,
    RelativeAreaDifference,
    Sensitivity,
    count,
)
from mammoseg.metrics.threshold import LEVELS, levels

__all__ = [
    "BINS",
    "DSC",
    "FORMULAS",
    "LEVELS",
    "Accuracy",
    "MeanOverImages",
    "Pooled",
    "RelativeAreaDifference",
    "Sensitivity",
    "count",
    "expected_calibration_error",
    "levels",
    "reliability",
]
