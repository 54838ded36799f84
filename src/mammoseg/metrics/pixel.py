"""Segmentation metrics that are computed from the pixel counts TP, FP, FN and TN.

The metrics are pooled as in the paper's tables: the counts are summed over the test set before the metric is computed.
That the paper does so is inferred from its Table 2, in which five of six rows satisfy
Delta A = ``|2 sensitivity/DSC - 2|``, an identity that holds for pooled metrics but not for means over images.

To add a metric, define a subclass of `PooledPixelMetric`. It is registered in `PIXEL_METRICS` and thereby included in
training, tables and figures. It is also available for earlier runs, since all metrics are computed from the counts when
results.csv is read.
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
from typing_extensions import override

from mammoseg.density import ACRDensity

METRIC_UNITS = ("%", "")


def confusion_counts(mask_pred: Tensor, mask: Tensor) -> Tensor:
    """Count the true positive, false positive, false negative and true negative pixels of each image.

    Args:
        mask_pred: Predicted masks of shape (B, 1, H, W) in {0, 1}.
        mask: Ground truth of shape (B, 1, H, W) in {0, 1}.

    Returns:
        Counts of shape (B, 4), int64, in the order TP, FP, FN, TN.

    Example:
        >>> import torch
        >>> confusion_counts(torch.tensor([[[[1, 1, 0, 0]]]]), torch.tensor([[[[1, 0, 1, 0]]]]))
        tensor([[1, 1, 1, 1]])
    """
    pred, true = mask_pred.flatten(1).bool(), mask.flatten(1).bool()
    tp = (pred & true).sum(dim=1)
    fp = pred.sum(dim=1) - tp
    fn = true.sum(dim=1) - tp
    return torch.stack([tp, fp, fn, pred.shape[1] - tp - fp - fn], dim=1)


class PooledPixelMetric(Metric):
    """Base class of metrics that are computed from pixel counts, pooled over all images.

    Subclasses define `formula` and the class attributes below. A subclass with a `key` is registered in
    `PIXEL_METRICS`, in order of definition. The counts are int64, since float32 cannot represent all integers above
    2^24, the number of pixels of 256 images.

    Args:
        **kwargs: Arguments of `torchmetrics.Metric`.

    Shapes:
        mask_pred and mask (B, 1, H, W) in {0, 1}, density (B,) in {0, 1, 2, 3} -> float64 scalar.

    Attributes:
        key: Name in logs and column names, such as "dsc".
        title: Name in tables and figures, such as "Sensitivity".
        short_name: Abbreviation for narrow columns, such as "Sens."; `title` by default.
        unit: "%" if fractions are displayed in percent, "" if values are displayed unscaled.
        value_range: Minimum and maximum possible value.
        higher_is_better: Whether higher values are better.
        heading: `title` with an arrow that indicates the direction; set on registration.
        counts: State of shape (4, 4), int64: TP, FP, FN and TN (columns) of each density category (rows).

    Example:
        >>> import torch
        >>> class Specificity(PooledPixelMetric):  # registered if it also defines key, title and higher_is_better
        ...     @staticmethod
        ...     def formula(tp, fp, fn, tn):
        ...         return tn / (tn + fp)
        >>> metric = Specificity()
        >>> mask_pred, mask = torch.tensor([1, 0, 0, 0]).view(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
        >>> metric.update(mask_pred, mask, torch.tensor([0]))
        >>> metric.compute()
        tensor(0.7500, dtype=torch.float64)
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
        if cls.unit not in METRIC_UNITS:
            raise ValueError(f"{cls.__name__}.unit must be one of {METRIC_UNITS}, got {cls.unit!r}")
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
        """Add the counts of a batch.

        Args:
            mask_pred: Predicted masks of shape (B, 1, H, W) in {0, 1}.
            mask: Ground truth of shape (B, 1, H, W) in {0, 1}.
            density: ACR density category of each image in {0, 1, 2, 3}, shape (B,).
        """
        self.counts.index_add_(0, density, confusion_counts(mask_pred, mask))

    def compute(self) -> Tensor:
        """Return the pooled value, a float64 scalar; NaN where the formula is undefined."""
        return self.formula(*self.counts.sum(dim=0).double())

    def by_density(self) -> Tensor:
        """Return the pooled value of each ACR category, shape (4,)."""
        return self.formula(*self.counts.double().unbind(dim=1))

    @staticmethod
    @abstractmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        """Compute the metric elementwise.

        Args:
            tp: True positive pixels, a floating-point tensor of any shape.
            fp: False positive pixels, of the same shape.
            fn: False negative pixels, of the same shape.
            tn: True negative pixels, of the same shape.

        Returns:
            Values of the same shape; NaN where the metric is undefined.
        """

    @classmethod
    def scale(cls) -> int:
        """Return the factor by which displayed values are multiplied: 100 for percentages, otherwise 1."""
        return 100 if cls.unit == "%" else 1

    @classmethod
    def axis_label(cls) -> str:
        """Return the label of plot axes, such as "DSC (%) ↑"."""
        return cls.heading.replace(cls.title, f"{cls.title} ({cls.unit})") if cls.unit else cls.heading

    @classmethod
    def format(cls, value: float) -> str:
        """Format a value with two decimals; an undefined value (NaN) becomes a dash."""
        return "–" if math.isnan(value) else f"{cls.scale() * value:.2f}"


PIXEL_METRICS: dict[str, type[PooledPixelMetric]] = {}


class DSC(PooledPixelMetric):
    """Dice similarity coefficient 2 TP / (2 TP + FP + FN); higher is better.

    Range: [0, 1]; NaN if neither mask contains a positive pixel.

    Source: Aliniya et al., §4.2.

    Example:
        >>> import torch
        >>> metric = DSC()
        >>> metric.update(torch.tensor([[[[1, 1, 0, 0]]]]), torch.tensor([[[[1, 0, 1, 0]]]]), torch.tensor([0]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    key = "dsc"
    title = "DSC"
    higher_is_better = True

    @staticmethod
    @override
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        return 2 * tp / (2 * tp + fp + fn)


class RelativeAreaDifference(PooledPixelMetric):
    """Relative area difference ``|A_pred - A_true| / A_true`` (Delta A); lower is better.

    Range: [0, inf); NaN without mass pixels. Equals ``|2 sensitivity/DSC - 2|`` for the same counts.

    Source: Aliniya et al., §4.2.

    Example:
        >>> import torch
        >>> metric = RelativeAreaDifference()
        >>> metric.update(torch.tensor([[[[1, 1, 1, 0]]]]), torch.tensor([[[[1, 0, 1, 0]]]]), torch.tensor([0]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    key = "area_difference"
    title = "ΔA"
    value_range = (0.0, math.inf)
    higher_is_better = False

    @staticmethod
    @override
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        area = tp + fn
        return torch.where(area > 0, (fp - fn).abs() / area, torch.nan)


class Sensitivity(PooledPixelMetric):
    """Sensitivity (recall) TP / (TP + FN); higher is better.

    Range: [0, 1]; NaN without mass pixels.

    Source: Aliniya et al., §4.2.

    Example:
        >>> import torch
        >>> metric = Sensitivity()
        >>> metric.update(torch.tensor([[[[1, 1, 0, 0]]]]), torch.tensor([[[[1, 0, 1, 0]]]]), torch.tensor([0]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    key = "sensitivity"
    title = "Sensitivity"
    short_name = "Sens."
    higher_is_better = True

    @staticmethod
    @override
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        return tp / (tp + fn)


class Accuracy(PooledPixelMetric):
    """Accuracy (TP + TN) / all pixels; higher is better.

    Range: [0, 1]; NaN without pixels. Since masses are small, an empty prediction often has an accuracy above 0.99.

    Source: Aliniya et al., §4.2.

    Example:
        >>> import torch
        >>> metric = Accuracy()
        >>> metric.update(torch.tensor([[[[1, 0, 0, 0]]]]), torch.tensor([[[[1, 0, 1, 0]]]]), torch.tensor([0]))
        >>> metric.compute()
        tensor(0.7500, dtype=torch.float64)
    """

    key = "accuracy"
    title = "Accuracy"
    short_name = "Acc."
    higher_is_better = True

    @staticmethod
    @override
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        return (tp + tn) / (tp + fp + fn + tn)


def metrics_from_counts(counts: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Compute all registered metrics from pixel counts.

    Args:
        counts: Array of shape (..., 4) with TP, FP, FN and TN.

    Returns:
        Arrays of shape (...) by key of the metric; NaN where undefined.

    Example:
        >>> import numpy as np
        >>> float(metrics_from_counts(np.array([[1, 1, 1, 1]]))["dsc"][0])
        0.5
    """
    columns = torch.from_numpy(np.ascontiguousarray(counts, dtype=np.float64)).unbind(dim=-1)
    return {key: metric.formula(*columns).numpy() for key, metric in PIXEL_METRICS.items()}
