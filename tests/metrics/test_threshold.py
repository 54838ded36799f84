"""Probabilities in 256 steps."""

from __future__ import annotations

import math

import torch
from torch.testing import assert_close

from mammoseg.metrics import N_LEVELS, quantise_probs


def test_a_level_counts_the_steps_below_the_probability() -> None:
    probability = torch.rand(2, 1, 50, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = torch.logit(probability).float()
    steps = torch.arange(1, N_LEVELS, dtype=torch.float64) / N_LEVELS
    expected = (torch.sigmoid(logits.double())[..., None] > steps).sum(dim=-1)
    assert_close(quantise_probs(logits), expected.to(torch.uint8))
    assert expected.unique().numel() > 250


def test_the_level_127_parts_the_mask_at_one_half_to_the_last_bit() -> None:
    least = math.ulp(0.0) * 2**1000  # a sigmoid of single precision gives 0.5 for it
    logits = torch.tensor([-math.inf, -50.0, -1e-20, 0.0, least, 1e-20, 50.0, math.inf])
    assert quantise_probs(logits).tolist()[:2] == [0, 0]
    assert quantise_probs(logits).tolist()[-2:] == [255, 255]
    assert_close(quantise_probs(logits) > 127, logits > 0)


def test_half_precision_is_taken_as_it_is() -> None:
    logits = torch.linspace(-8, 8, 500)
    for kind in (torch.bfloat16, torch.float16):
        assert_close(quantise_probs(logits.to(kind)), quantise_probs(logits.to(kind).float()))
