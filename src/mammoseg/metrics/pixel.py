"""The paper's four metrics, all from the same counts of true/false positive/negative pixels.

The tables of the paper are pooled: counts are summed over the test set first, and divided once. Five of
the six rows of its Table 2 satisfy the identity that follows from that, Delta A = |2 sensitivity/DSC - 2|,
which means over images would break.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from mammoseg.density import ACRDensity


def count(mask_pred: Tensor, mask: Tensor) -> Tensor:
    """Pixels of each image that are true positive, false positive, false negative, true negative.

    Shapes: mask_pred, mask (B, 1, H, W) in {0, 1} -> (B, 4) int64.
    """
    pred, true = mask_pred.flatten(1).bool(), mask.flatten(1).bool()
    tp = (pred & true).sum(dim=1)
    fp = pred.sum(dim=1) - tp
    fn = true.sum(dim=1) - tp
    return torch.stack([tp, fp, fn, pred.shape[1] - tp - fp - fn], dim=1)


class Pooled(Metric):
    """A formula on pixel counts, pooled over all pixels seen.

    Shapes: update(mask_pred, mask, density), (B, 1, H, W) in {0, 1} twice and (B,) in 0..3; compute ->
    float64 scalar, NaN where the formula has no value. `by_density()` -> (4,), the same per ACR category.
    The state is 16 int64 sums: single precision would stop counting at 16.8 million pixels, 256 images.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zero = torch.zeros(len(ACRDensity), 4, dtype=torch.int64)
        self.add_state("counts", zero, dist_reduce_fx="sum")

    def update(self, mask_pred: Tensor, mask: Tensor, density: Tensor) -> None:
        self.counts.index_add_(0, density, count(mask_pred, mask))

    def compute(self) -> Tensor:
        return self.formula(*self.counts.sum(dim=0).double())

    def by_density(self) -> Tensor:
        return self.formula(*self.counts.double().unbind(dim=1))

    @staticmethod
    @abstractmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        """Counts of any one shape -> values of that shape; 0/0 is NaN."""


class DSC(Pooled):
    """Dice similarity coefficient 2 TP / (2 TP + FP + FN); higher is better.

    Value: [0, 1]; NaN if no pixel is positive in truth or prediction. Source: Aliniya et al., §4.2.
    """

    higher_is_better = True

    @staticmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        return 2 * tp / (2 * tp + fp + fn)


class RelativeAreaDifference(Pooled):
    """Relative area difference |A_pred - A_true| / A_true (Delta A); lower is better.

    Value: [0, inf); NaN if no true pixel was seen. Source: Aliniya et al., §4.2; equals
    |2 sensitivity/DSC - 2| on the same counts.
    """

    higher_is_better = False

    @staticmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        area = tp + fn
        return torch.where(area > 0, (fp - fn).abs() / area, torch.nan)


class Sensitivity(Pooled):
    """Sensitivity TP / (TP + FN); higher is better.

    Value: [0, 1]; NaN if no true pixel was seen. Source: Aliniya et al., §4.2.
    """

    higher_is_better = True

    @staticmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        return tp / (tp + fn)


class Accuracy(Pooled):
    """Accuracy (TP + TN) / all pixels; higher is better, and above 0.99 for an empty prediction.

    Value: [0, 1]; NaN if no pixel was seen. Source: Aliniya et al., §4.2.
    """

    higher_is_better = True

    @staticmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        return (tp + tn) / (tp + fp + fn + tn)


class MeanOverImages(Metric):
    """The mean over images of one of the formulas above, every image counting the same.

    Shapes and arguments as for `Pooled`. `formula`: a leaf of `Pooled`, such as `DSC`.
    Value: float64; an image without a value makes the mean NaN, and so does seeing no image. `undefined`
    counts such images.
    """

    full_state_update = False
    total: Tensor
    images: Tensor
    undefined: Tensor

    def __init__(self, formula: type[Pooled], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.formula = formula.formula
        zero = torch.zeros(len(ACRDensity), dtype=torch.float64)
        self.add_state("total", zero, dist_reduce_fx="sum")
        self.add_state("images", zero.long(), dist_reduce_fx="sum")
        self.add_state("undefined", zero.long(), dist_reduce_fx="sum")

    def update(self, mask_pred: Tensor, mask: Tensor, density: Tensor) -> None:
        values = self.formula(*count(mask_pred, mask).double().unbind(dim=1))
        self.total.index_add_(0, density, values)
        self.images.index_add_(0, density, torch.ones_like(density))
        self.undefined.index_add_(0, density, values.isnan().long())

    def compute(self) -> Tensor:
        return self.total.sum() / self.images.sum()

    def by_density(self) -> Tensor:
        return self.total / self.images


# Their names in logs and tables, in the order of the paper's tables.
FORMULAS: dict[str, Any] = {
    "dsc": DSC,
    "area_difference": RelativeAreaDifference,
    "sensitivity": Sensitivity,
    "accuracy": Accuracy,
}
