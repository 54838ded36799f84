"""Metrics: what the paper's tables report, with torchmetrics' Metric interface."""

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

__all__ = [
    "DSC",
    "FORMULAS",
    "Accuracy",
    "MeanOverImages",
    "Pooled",
    "RelativeAreaDifference",
    "Sensitivity",
    "count",
]
