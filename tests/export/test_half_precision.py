"""Effect of half precision on the predictions."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mammoseg.export.half_precision import (
    BATCH_SIZE,
    RoundingEffect,
    describe_rounding,
    rounded_to_half,
    rounding_effect,
)


def affine(weight: float, bias: float) -> nn.Module:
    """Network that maps a pixel to weight * pixel + bias."""
    network = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), (weight, bias), strict=True):
            parameter.fill_(value)
    return network


def test_the_effect_is_that_of_the_rounded_parameters() -> None:
    weight, bias = 1.0003, -0.30004
    images = np.random.default_rng(0).normal(size=(2 * BATCH_SIZE + 3, 16, 16)).astype(np.float32)
    network = affine(weight, bias)
    effect = rounding_effect(network, rounded_to_half(network, Path("x.ckpt")), images, threshold=0.45)
    exact, rounded = (
        1 / (1 + np.exp(-(dtype(weight).astype(np.float64) * images + dtype(bias).astype(np.float64))))
        for dtype in (np.float32, np.float16)
    )
    assert effect is not None
    assert (effect.images, effect.pixels) == (len(images), images.size)
    assert effect.max_probability_change == pytest.approx(np.abs(exact - rounded).max(), abs=1e-6)
    assert effect.max_probability_change > 1e-5
    assert effect.changed_pixels == ((exact > 0.45) != (rounded > 0.45)).sum()
    assert effect == rounding_effect(network, rounded_to_half(network, Path("x.ckpt")), images, threshold=0.45)


def test_changed_pixels_are_those_on_different_sides_of_the_threshold() -> None:
    images = np.zeros((1, 4, 4), np.float32)
    images[0, 0, :3] = 1
    effect = rounding_effect(affine(1, -0.5), affine(-1, -0.5), images, threshold=0.5)
    assert effect is not None
    assert effect.changed_pixels == 3
    expected = torch.sigmoid(torch.tensor(0.5)) - torch.sigmoid(torch.tensor(-1.5))
    assert effect.max_probability_change == pytest.approx(float(expected), abs=1e-6)


def test_the_network_itself_is_not_rounded() -> None:
    network = affine(1.0003, 0)
    before = copy.deepcopy(network.state_dict())
    rounded_to_half(network, Path("x.ckpt"))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_unknown_effect_is_stated() -> None:
    network = affine(1, 0)
    assert rounding_effect(network, network, np.zeros((0, 16, 16), np.float32), threshold=0.5) is None
    assert describe_rounding(None).endswith("was not measured, since no prepared test images were available.")
    text = describe_rounding(RoundingEffect(32, 2_097_152, 0.00123, 1234))
    assert text.endswith(
        "On 32 test images, the rounding changes the probability of a pixel by at most 0.0012 and the predicted class "
        "of 1,234 of 2,097,152 pixels."
    )
