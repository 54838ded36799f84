"""Segmentation, detection and calibration metrics.

To add a metric that is computed from pixel counts, subclass `PooledPixelMetric`; see `mammoseg.metrics.pixel`.
"""

from mammoseg.metrics.calibration import N_CALIBRATION_BINS, expected_calibration_error, reliability_sums
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
from mammoseg.metrics.quantise import N_LEVELS, quantise_probs

__all__ = [
    "DSC",
    "N_CALIBRATION_BINS",
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
