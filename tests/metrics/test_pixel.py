"""Metrics against scikit-learn and against formulas by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score
from torch import Tensor
from torchmetrics import MetricCollection

from mammoseg.metrics import (
    DSC,
    PIXEL_METRICS,
    Accuracy,
    MeanOverImages,
    RelativeAreaDifference,
    Sensitivity,
    confusion_counts,
)


def images(seed: int, number: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask_pred, mask = (torch.rand(2, number, 1, 6, 7, generator=generator) > 0.6).unbind()
    return mask_pred, mask.float(), torch.randint(0, 4, (number,), generator=generator)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_pooled_values_equal_scikit_learns(seed: int, number: int) -> None:
    mask_pred, mask, density = images(seed, number)
    true, pred = mask.flatten().int().numpy(), mask_pred.flatten().int().numpy()
    expected: dict[Any, float] = {
        DSC: f1_score(true, pred),
        Sensitivity: recall_score(true, pred),
        Accuracy: accuracy_score(true, pred),
        RelativeAreaDifference: abs(int(pred.sum()) - int(true.sum())) / true.sum(),
    }
    for kind, value in expected.items():
        metric = kind()
        metric.update(mask_pred, mask, density)
        assert metric.compute().item() == pytest.approx(value, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_batches_do_not_matter_to_pooling(seed: int, sizes: list[int]) -> None:
    mask_pred, mask, density = images(seed, sum(sizes))
    at_once, in_batches = DSC(), DSC()
    at_once.update(mask_pred, mask, density)
    for part in zip(*(values.split(sizes) for values in (mask_pred, mask, density)), strict=True):
        in_batches.update(*part)
    assert torch.equal(at_once.compute(), in_batches.compute())
    assert torch.equal(at_once.by_density().nan_to_num(-1), in_batches.by_density().nan_to_num(-1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_the_area_difference_follows_from_dsc_and_sensitivity(seed: int, number: int) -> None:
    metrics = {name: metric() for name, metric in PIXEL_METRICS.items()}
    for metric in metrics.values():
        metric.update(*images(seed, number))
    value = {name: metric.compute().item() for name, metric in metrics.items()}
    assert value["area_difference"] == pytest.approx(abs(2 * value["sensitivity"] / value["dsc"] - 2), abs=1e-9)


def test_counts_add_up_to_all_pixels() -> None:
    mask_pred, mask, _ = images(3, 8)
    counts = confusion_counts(mask_pred, mask)
    assert counts.sum(dim=1).tolist() == [42] * 8
    assert counts[:, 0].tolist() == (mask_pred * mask).sum(dim=(1, 2, 3)).int().tolist()
    assert (counts[:, 0] + counts[:, 1]).tolist() == mask_pred.sum(dim=(1, 2, 3)).int().tolist()


def test_each_density_is_pooled_by_itself() -> None:
    mask_pred, mask, density = images(5, 12)
    metric = DSC()
    metric.update(mask_pred, mask, density)
    for category in range(4):
        some = density == category
        alone = DSC()
        alone.update(mask_pred[some], mask[some], density[some])
        torch.testing.assert_close(metric.by_density()[category], alone.compute(), equal_nan=True)


def test_undefined_is_nan() -> None:
    nothing = torch.zeros(1, 1, 4, 4)
    density = torch.tensor([2])
    for kind, value in ((DSC, math.nan), (Sensitivity, math.nan), (RelativeAreaDifference, math.nan), (Accuracy, 1.0)):
        metric = kind()
        metric.update(nothing.bool(), nothing, density)
        assert metric.compute().item() == pytest.approx(value, nan_ok=True), kind


def test_counting_goes_on_beyond_single_precision() -> None:
    metric = Accuracy()
    metric.counts[0] = torch.tensor([0, 0, 0, 2**24])  # where float32 stops: 2^24 + 1 = 2^24
    one_wrong = torch.tensor([[[[1.0]]]])
    metric.update(one_wrong.bool(), 0 * one_wrong, torch.tensor([0]))
    assert metric.counts.sum().item() == 2**24 + 1
    assert metric.compute().item() == 2**24 / (2**24 + 1)


def test_the_mean_over_images_weighs_images_alike() -> None:
    mask_pred, mask, density = images(7, 10)
    metric = MeanOverImages(DSC)
    metric.update(mask_pred[:4], mask[:4], density[:4])
    metric.update(mask_pred[4:], mask[4:], density[4:])
    each = [
        f1_score(y.flatten().int().numpy(), p.flatten().int().numpy()) for p, y in zip(mask_pred, mask, strict=True)
    ]
    assert metric.compute().item() == pytest.approx(sum(each) / 10)


def test_images_without_a_value_are_counted_not_dropped() -> None:
    metric = MeanOverImages(Sensitivity)
    metric.update(
        torch.ones(2, 1, 2, 2).bool(),
        torch.tensor([1.0, 0.0])[:, None, None, None].expand(2, 1, 2, 2),
        torch.tensor([0, 1]),
    )
    assert metric.undefined.sum().item() == 1
    assert math.isnan(metric.compute().item())
    assert metric.by_density()[0].item() == 1.0


def test_a_collection_that_shares_counts_gives_the_same_values() -> None:
    together = MetricCollection({name: metric() for name, metric in PIXEL_METRICS.items()})
    for seed in range(3):
        together.update(*images(seed, 4))
    for name, metric in PIXEL_METRICS.items():
        alone = metric()
        for seed in range(3):
            alone.update(*images(seed, 4))
        assert torch.equal(together.compute()[name], alone.compute()), name
    assert len(together.compute_groups) == 1, "one count serves all four"
