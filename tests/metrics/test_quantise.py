"""Probabilities quantised to 256 levels."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.testing import assert_close

from mammoseg.metrics import N_LEVELS, quantise_probs


def test_level_counts_the_steps_below_the_probability() -> None:
    probability = torch.rand(2, 1, 50, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = torch.logit(probability).float()
    steps = torch.arange(1, N_LEVELS, dtype=torch.float64) / N_LEVELS
    expected = (torch.sigmoid(logits.double())[..., None] > steps).sum(dim=-1)
    assert_close(quantise_probs(logits), expected.to(torch.uint8))
    assert len(np.unique(expected.numpy())) > 250


def test_levels_above_127_are_exactly_the_probabilities_above_one_half() -> None:
    smallest = math.ulp(0.0) * 2**1000  # its float32 sigmoid is 0.5
    logits = torch.tensor([-math.inf, -50.0, -1e-20, 0.0, smallest, 1e-20, 50.0, math.inf])
    assert quantise_probs(logits).tolist()[:2] == [0, 0]
    assert quantise_probs(logits).tolist()[-2:] == [255, 255]
    assert_close(quantise_probs(logits) > 127, logits > 0)


def test_half_precision_equals_float32_of_the_same_values() -> None:
    logits = torch.linspace(-8, 8, 500)
    for dtype in (torch.bfloat16, torch.float16):
        assert_close(quantise_probs(logits.to(dtype)), quantise_probs(logits.to(dtype).float()))
