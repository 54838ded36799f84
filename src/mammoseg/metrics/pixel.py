"""Segmentation metrics that follow from the pixel counts TP, FP, FN and TN.

The paper's tables are pooled: counts are summed over the test set first and divided once. Five of the six rows of
its Table 2 satisfy the identity that follows from pooling, Delta A = ``|2 sensitivity/DSC - 2|``, which means over
images would violate.

To add a metric, add one subclass of `PooledPixelMetric` here. Defining it registers it in `PIXEL_METRICS`, from which
training, every table and every figure take their list of metrics. Results of earlier runs gain it too, since every
metric is computed from the counts when results.csv is read.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from mammoseg.density import ACRDensity

UNITS = ("%", "")


def confusion_counts(mask_pred: Tensor, mask: Tensor) -> Tensor:
    """Count true positive, false positive, false negative and true negative pixels of each image.

    Args:
        mask_pred: Predicted masks (B, 1, H, W) in {0, 1}.
        mask: True masks, same shape.

    Returns:
        (B, 4) int64 in the order TP, FP, FN, TN.
    """
    pred, true = mask_pred.flatten(1).bool(), mask.flatten(1).bool()
    tp = (pred & true).sum(dim=1)
    fp = pred.sum(dim=1) - tp
    fn = true.sum(dim=1) - tp
    return torch.stack([tp, fp, fn, pred.shape[1] - tp - fp - fn], dim=1)


class PooledPixelMetric(Metric):
    """A formula on pixel counts, pooled over all pixels seen.

    Shapes: update(mask_pred, mask, density), (B, 1, H, W) in {0, 1} twice and (B,) in 0..3; compute ->
    float64 scalar, NaN where the formula is undefined. `by_density()` -> (4,), the same per ACR category.
    The state is 16 int64 sums: float32 would stop counting at 16.8 million pixels, 256 images.

    Subclasses define `formula` and the class attributes below; a subclass with a `key` is registered in
    `PIXEL_METRICS`, in order of definition.

    Attributes:
        key: Name in logs, columns and code, such as "dsc".
        title: Name in tables and figures, such as "Sensitivity".
        short_name: Name where space is short, such as "Sens."; `title` by default.
        unit: "%" if fractions are displayed in percent, "" if values are displayed as they are.
        value_range: Smallest and largest value.
        higher_is_better: Direction.
        heading: `title` with an arrow for the direction; set on registration.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    short_name: ClassVar[str]
    heading: ClassVar[str]
    unit: ClassVar[Literal["%", ""]] = "%"
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    full_state_update = False
    counts: Tensor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "key" not in cls.__dict__:
            return  # an abstract intermediate class
        if cls.unit not in UNITS:
            raise ValueError(f"{cls.__name__}.unit must be one of {UNITS}, got {cls.unit!r}")
        if not isinstance(cls.higher_is_better, bool):
            raise ValueError(f"{cls.__name__}.higher_is_better must be True or False, got {cls.higher_is_better!r}")
        if cls.key in PIXEL_METRICS:
            raise ValueError(f"metric key {cls.key!r} is already used by {PIXEL_METRICS[cls.key].__name__}")
        cls.short_name = cls.__dict__.get("short_name", cls.title)
        cls.heading = f"{cls.title} {'↑' if cls.higher_is_better else '↓'}"
        PIXEL_METRICS[cls.key] = cls

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zero = torch.zeros(len(ACRDensity), 4, dtype=torch.int64)
        self.add_state("counts", zero, dist_reduce_fx="sum")

    def update(self, mask_pred: Tensor, mask: Tensor, density: Tensor) -> None:
        self.counts.index_add_(0, density, confusion_counts(mask_pred, mask))

    def compute(self) -> Tensor:
        return self.formula(*self.counts.sum(dim=0).double())

    def by_density(self) -> Tensor:
        return self.formula(*self.counts.double().unbind(dim=1))

    @staticmethod
    @abstractmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        """Counts of any one shape -> values of that shape; 0/0 is NaN."""

    @classmethod
    def scale(cls) -> int:
        """Factor from a value to its displayed number: 100 for percent."""
        return 100 if cls.unit == "%" else 1

    @classmethod
    def label(cls) -> str:
        """Heading with the unit, for axes."""
        return f"{cls.heading}, {cls.unit}" if cls.unit else cls.heading

    @classmethod
    def show(cls, value: float) -> str:
        """The value as displayed, with two decimals; a dash where it is undefined, never 0."""
        return "–" if math.isnan(value) else f"{cls.scale() * value:.2f}"


PIXEL_METRICS: dict[str, type[PooledPixelMetric]] = {}


class DSC(PooledPixelMetric):
    """Dice similarity coefficient 2 TP / (2 TP + FP + FN); higher is better.

    Value: [0, 1]; NaN if no pixel is positive in truth or prediction. Source: Aliniya et al., §4.2.
    """

    key = "dsc"
    title = "DSC"
    higher_is_better = True

    @staticmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        return 2 * tp / (2 * tp + fp + fn)


class RelativeAreaDifference(PooledPixelMetric):
    """Relative area difference ``|A_pred - A_true| / A_true`` (Delta A); lower is better.

    Value: [0, inf); NaN if no true pixel was seen. Source: Aliniya et al., §4.2; equals
    ``|2 sensitivity/DSC - 2|`` on the same counts.
    """

    key = "area_difference"
    title = "ΔA"
    value_range = (0.0, math.inf)
    higher_is_better = False

    @staticmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        area = tp + fn
        return torch.where(area > 0, (fp - fn).abs() / area, torch.nan)


class Sensitivity(PooledPixelMetric):
    """Sensitivity TP / (TP + FN); higher is better.

    Value: [0, 1]; NaN if no true pixel was seen. Source: Aliniya et al., §4.2.
    """

    key = "sensitivity"
    title = "Sensitivity"
    short_name = "Sens."
    higher_is_better = True

    @staticmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        return tp / (tp + fn)


class Accuracy(PooledPixelMetric):
    """Accuracy (TP + TN) / all pixels; higher is better, and above 0.99 for an empty prediction.

    Value: [0, 1]; NaN if no pixel was seen. Source: Aliniya et al., §4.2.
    """

    key = "accuracy"
    title = "Accuracy"
    short_name = "Acc."
    higher_is_better = True

    @staticmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        return (tp + tn) / (tp + fp + fn + tn)


class MeanOverImages(Metric):
    """Mean over images of a metric on pixel counts; every image has the same weight.

    Shapes and arguments as for `PooledPixelMetric`.
    Value: float64; an image without a value makes the mean NaN, and so does seeing no image. `undefined`
    counts such images.

    Args:
        metric: A subclass of `PooledPixelMetric`, such as `DSC`.
    """

    full_state_update = False
    total: Tensor
    images: Tensor
    undefined: Tensor

    def __init__(self, metric: type[PooledPixelMetric], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.formula = metric.formula
        zero = torch.zeros(len(ACRDensity), dtype=torch.float64)
        self.add_state("total", zero, dist_reduce_fx="sum")
        self.add_state("images", zero.long(), dist_reduce_fx="sum")
        self.add_state("undefined", zero.long(), dist_reduce_fx="sum")

    def update(self, mask_pred: Tensor, mask: Tensor, density: Tensor) -> None:
        values = self.formula(*confusion_counts(mask_pred, mask).double().unbind(dim=1))
        self.total.index_add_(0, density, values)
        self.images.index_add_(0, density, torch.ones_like(density))
        self.undefined.index_add_(0, density, values.isnan().long())

    def compute(self) -> Tensor:
        return self.total.sum() / self.images.sum()

    def by_density(self) -> Tensor:
        return self.total / self.images


def metrics_from_counts(counts: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Every registered metric of given counts.

    Args:
        counts: (..., 4), TP, FP, FN and TN.

    Returns:
        Values (...) by key of the metric; NaN where undefined.
    """
    columns = torch.from_numpy(np.ascontiguousarray(counts, dtype=np.float64)).unbind(dim=-1)
    return {key: metric.formula(*columns).numpy() for key, metric in PIXEL_METRICS.items()}
