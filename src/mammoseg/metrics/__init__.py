"""Metrics with torchmetrics' Metric interface, calibration and quantised probabilities.

A metric on pixel counts is one subclass of `PooledPixelMetric`; see `mammoseg.metrics.pixel`.
"""

from mammoseg.metrics.calibration import BINS, expected_calibration_error, reliability_sums
from mammoseg.metrics.mean_over_images import MeanOverImages
from mammoseg.metrics.pixel import (
    DSC,
    PIXEL_METRICS,
    Accuracy,
    PooledPixelMetric,
    RelativeAreaDifference,
    Sensitivity,
    confusion_counts,
    metrics_from_counts,
)
from mammoseg.metrics.threshold import N_LEVELS, quantise_probs

__all__ = [
    "BINS",
    "DSC",
    "N_LEVELS",
    "PIXEL_METRICS",
    "Accuracy",
    "MeanOverImages",
    "PooledPixelMetric",
    "RelativeAreaDifference",
    "Sensitivity",
    "confusion_counts",
    "expected_calibration_error",
    "metrics_from_counts",
    "quantise_probs",
    "reliability_sums",
]
