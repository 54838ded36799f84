"""Metrics compared with scikit-learn and with explicit formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
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
    PooledPixelMetric,
    RelativeAreaDifference,
    Sensitivity,
    confusion_counts,
    metrics_from_counts,
)

COUNTS = st.integers(0, 10**7)


def random_masks(seed: int, n_images: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask_pred, mask = (torch.rand(2, n_images, 1, 6, 7, generator=generator) > 0.6).unbind()
    return mask_pred, mask.float(), torch.randint(0, 4, (n_images,), generator=generator)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_pooled_values_equal_scikit_learn(seed: int, n_images: int) -> None:
    mask_pred, mask, density = random_masks(seed, n_images)
    true, pred = mask.flatten().int().numpy(), mask_pred.flatten().int().numpy()
    expected: dict[Any, float] = {
        DSC: f1_score(true, pred),
        Sensitivity: recall_score(true, pred),
        Accuracy: accuracy_score(true, pred),
        RelativeAreaDifference: abs(int(pred.sum()) - int(true.sum())) / true.sum(),
    }
    for metric_class, value in expected.items():
        metric = metric_class()
        metric.update(mask_pred, mask, density)
        assert metric.compute().item() == pytest.approx(value, rel=1e-12)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_pooled_value_does_not_depend_on_batches(seed: int, sizes: list[int]) -> None:
    mask_pred, mask, density = random_masks(seed, sum(sizes))
    single_batch, in_batches = DSC(), DSC()
    single_batch.update(mask_pred, mask, density)
    for batch in zip(*(torch.split(values, sizes) for values in (mask_pred, mask, density)), strict=True):
        in_batches.update(*batch)
    assert torch.equal(single_batch.compute(), in_batches.compute())
    assert torch.equal(single_batch.by_density().nan_to_num(-1), in_batches.by_density().nan_to_num(-1))


@given(tp=st.integers(1, 10**7), fp=COUNTS, fn=COUNTS, tn=COUNTS)
def test_area_difference_follows_from_dsc_and_sensitivity(tp: int, fp: int, fn: int, tn: int) -> None:
    """The identity is undefined without overlap, where TP is 0."""
    values = metrics_from_counts(np.array([tp, fp, fn, tn]))
    implied = abs(2 * values["sensitivity"] / values["dsc"] - 2)
    assert values["area_difference"] == pytest.approx(implied, rel=1e-9, abs=1e-9)


def test_counts_sum_to_the_number_of_pixels() -> None:
    mask_pred, mask, _ = random_masks(3, 8)
    counts = confusion_counts(mask_pred, mask)
    assert counts.sum(dim=1).tolist() == [42] * 8
    assert counts[:, 0].tolist() == (mask_pred * mask).sum(dim=(1, 2, 3)).int().tolist()
    assert (counts[:, 0] + counts[:, 1]).tolist() == mask_pred.sum(dim=(1, 2, 3)).int().tolist()


def test_by_density_equals_the_metric_of_each_category() -> None:
    mask_pred, mask, density = random_masks(5, 12)
    metric = DSC()
    metric.update(mask_pred, mask, density)
    for category in range(4):
        in_category = density == category
        single = DSC()
        single.update(mask_pred[in_category], mask[in_category], density[in_category])
        torch.testing.assert_close(metric.by_density()[category], single.compute(), equal_nan=True)


def test_undefined_values_are_nan() -> None:
    empty = torch.zeros(1, 1, 4, 4)
    density = torch.tensor([2])
    for metric_class, value in (
        (DSC, math.nan),
        (Sensitivity, math.nan),
        (RelativeAreaDifference, math.nan),
        (Accuracy, 1.0),
    ):
        metric = metric_class()
        metric.update(empty.bool(), empty, density)
        assert metric.compute().item() == pytest.approx(value, nan_ok=True), metric_class


def test_counts_are_exact_beyond_float32_precision() -> None:
    metric = Accuracy()
    metric.counts[0] = torch.tensor([0, 0, 0, 2**24])  # in float32, 2^24 + 1 = 2^24
    false_positive = torch.tensor([[[[1.0]]]])
    metric.update(false_positive.bool(), 0 * false_positive, torch.tensor([0]))
    assert metric.counts.sum().item() == 2**24 + 1
    assert metric.compute().item() == 2**24 / (2**24 + 1)


def test_mean_over_images_weights_images_equally() -> None:
    mask_pred, mask, density = random_masks(7, 10)
    metric = MeanOverImages(DSC)
    metric.update(mask_pred[:4], mask[:4], density[:4])
    metric.update(mask_pred[4:], mask[4:], density[4:])
    per_image = [
        f1_score(y.flatten().int().numpy(), p.flatten().int().numpy()) for p, y in zip(mask_pred, mask, strict=True)
    ]
    assert metric.compute().item() == pytest.approx(sum(per_image) / 10)


class PositivePredictiveValue(PooledPixelMetric):
    """Without a key, so that it is not registered; undefined for an empty prediction."""

    higher_is_better = True

    @staticmethod
    def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
        return tp / (tp + fp)


def test_undefined_images_are_counted_and_make_the_mean_nan() -> None:
    metric = MeanOverImages(PositivePredictiveValue)
    metric.update(
        torch.tensor([1.0, 0.0])[:, None, None, None].expand(2, 1, 2, 2).bool(),
        torch.ones(2, 1, 2, 2),
        torch.tensor([0, 1]),
    )
    assert metric.undefined.sum().item() == 1
    assert math.isnan(metric.compute().item())
    assert metric.by_density()[0].item() == 1.0


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
def test_an_image_without_a_mass_never_enters_a_mean_over_images(n_with: int, n_without: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (n_with + n_without, 1, 4, 4)
    mask = (torch.rand(shape, generator=generator) < 0.3).float()
    mask[:n_with, :, 0, 0], mask[n_with:] = 1, 0
    mask_pred = torch.rand(shape, generator=generator) < 0.4
    density = torch.randint(4, (len(mask),), generator=generator)
    order = torch.randperm(len(mask), generator=generator)
    for metric_class in PIXEL_METRICS.values():
        with_mass, every = MeanOverImages(metric_class), MeanOverImages(metric_class)
        with_mass.update(mask_pred[:n_with], mask[:n_with], density[:n_with])
        every.update(mask_pred[order], mask[order], density[order])
        assert every.compute().item() == pytest.approx(with_mass.compute().item(), nan_ok=True)
        torch.testing.assert_close(every.by_density(), with_mass.by_density(), equal_nan=True)


def test_collection_with_shared_counts_gives_the_same_values() -> None:
    collection = MetricCollection({name: metric() for name, metric in PIXEL_METRICS.items()})
    for seed in range(3):
        collection.update(*random_masks(seed, 4))
    for name, metric in PIXEL_METRICS.items():
        single = metric()
        for seed in range(3):
            single.update(*random_masks(seed, 4))
        assert torch.equal(collection.compute()[name], single.compute()), name
    assert len(collection.compute_groups) == 1, "all four metrics share one state"
