"""Losses of other authors, wrapped or reimplemented to return one value per sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.losses import AsymmetricUnifiedFocalLoss, DiceLoss, FocalLoss, GeneralizedDiceLoss, TverskyLoss
from torch import Tensor

from mammoseg.errors import UserError
from mammoseg.losses import BCE, SSL, Dice, PerSample


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 24, 24, generator=generator)
    return logits, (torch.rand(3, 1, 24, 24, generator=generator) < 0.3).float()


@pytest.mark.parametrize("loss_class", [DiceLoss, TverskyLoss, GeneralizedDiceLoss])
def test_equals_monai_without_reduction(loss_class: type, batch: tuple[Tensor, Tensor]) -> None:
    logits, mask = batch
    expected = loss_class(sigmoid=True, reduction="none")(logits, mask).flatten(1).mean(dim=1)
    torch.testing.assert_close(PerSample(loss_class(sigmoid=True))(logits, mask), expected)


def test_focal_equals_its_formula(batch: tuple[Tensor, Tensor]) -> None:
    logits, mask = batch
    prob = torch.sigmoid(logits)
    prob_true_class = torch.where(mask > 0, prob, 1 - prob)
    expected = (-((1 - prob_true_class) ** 2) * prob_true_class.log()).mean(dim=(1, 2, 3))
    torch.testing.assert_close(PerSample(FocalLoss(gamma=2.0))(logits, mask), expected)


def test_unified_focal_equals_its_formula(batch: tuple[Tensor, Tensor]) -> None:
    """Yeung et al. 2022 with weight 1/2, gamma 1/2 and delta 0.6; MONAI averages the focal part over both classes."""
    logits, mask = batch
    loss = PerSample(AsymmetricUnifiedFocalLoss(weight=0.5, gamma=0.5, delta=0.6), prediction_type="probability")
    prob = torch.sigmoid(logits).double().clamp(1e-7, 1 - 1e-7)
    for sample in range(3):
        p, y = prob[sample], mask[sample].double()
        entropy = -(0.6 * y * p.log() + 0.4 * (1 - y) * p**0.5 * (1 - p).log())
        index = [
            (a * b).sum() / ((a * b).sum() + 0.6 * (a * (1 - b)).sum() + 0.4 * ((1 - a) * b).sum())
            for a, b in ((1 - y, 1 - p), (y, p))
        ]
        tversky = ((1 - index[0]) + (1 - index[1]) ** 0.5) / 2
        assert loss(logits, mask)[sample].item() == pytest.approx(
            float(0.5 * entropy.mean() / 2 + 0.5 * tversky), rel=1e-4
        )


def test_invalid_prediction_type_raises() -> None:
    with pytest.raises(UserError, match="must be one of logits, probability"):
        PerSample(DiceLoss(), prediction_type="odds")


def test_weighted_cross_entropy_equals_its_formula(batch: tuple[Tensor, Tensor]) -> None:
    logits, mask = batch
    prob = torch.sigmoid(logits)
    expected = -(0.7 * mask * prob.log() + 0.2 * (1 - mask) * (1 - prob).log()).mean(dim=(1, 2, 3))
    torch.testing.assert_close(BCE(positive=0.7, negative=0.2)(logits, mask), expected)


def test_ssl_equals_its_formula(batch: tuple[Tensor, Tensor]) -> None:
    """Zhao et al. 2019, with explicit sums over each window."""
    logits, mask = batch
    p, y = torch.sigmoid(logits)[0, 0].double().numpy(), mask[0, 0].double().numpy()
    weights = np.exp(-((np.arange(-1, 2)[:, None] ** 2 + np.arange(-1, 2) ** 2) / (2 * 1.5**2)))
    weights /= weights.sum()

    def standardise(image: np.ndarray) -> np.ndarray:
        padded = np.pad(image, 1)
        out = np.empty_like(image)
        for (row, column), value in np.ndenumerate(image):
            window = padded[row : row + 3, column : column + 3]
            mean = (weights * window).sum()
            out[row, column] = (value - mean + 0.01) / (np.sqrt((weights * window**2).sum() - mean**2) + 0.01)
        return out

    error = np.abs(standardise(y) - standardise(p))
    selected = error > 0.1 * error.max()
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    assert SSL()(logits, mask)[0].item() == pytest.approx((error * entropy)[selected].mean(), rel=1e-5)


def test_dice_equals_monai(batch: tuple[Tensor, Tensor]) -> None:
    logits, mask = batch
    expected = DiceLoss(sigmoid=True, reduction="none", smooth_nr=1.0, smooth_dr=1.0)(logits, mask).flatten()
    torch.testing.assert_close(Dice(factor=2, eps=1.0)(logits, mask), expected)
