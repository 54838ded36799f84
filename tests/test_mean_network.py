"""Logits of the mean probability, against the definition in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mammoseg.conf import conf_dir
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.ensemble import Ensemble
from mammoseg.mean_network import MeanNetwork, flips_of, logits_of_mean, mirrors_at_random

IMAGE = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def networks() -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)]


def mean_probability(logits: Tensor) -> Tensor:
    return torch.sigmoid(logits.double()).mean(dim=0)


@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=5))
def test_the_mean_of_probabilities(values: list[float]) -> None:
    logits = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(torch.sigmoid(logits_of_mean(logits)), mean_probability(logits), rtol=1e-9, atol=1e-15)


def test_saturated_logits_remain_finite() -> None:
    logits = torch.tensor([[500.0, -500.0, 500.0], [500.0, -500.0, -500.0]])
    torch.testing.assert_close(logits_of_mean(logits), torch.tensor([500.0, -500.0, 0.0]), atol=1e-4, rtol=0)


def test_only_active_networks_are_averaged() -> None:
    members = networks()
    ensemble = MeanNetwork(members)
    with torch.inference_mode():
        single = [member(IMAGE) for member in members]
        for active in ((0, 1, 2), (0, 2)):
            ensemble.active = active
            expected = mean_probability(torch.stack([single[index] for index in active]))
            torch.testing.assert_close(torch.sigmoid(ensemble(IMAGE)).double(), expected, atol=1e-6, rtol=0)
        ensemble.active = (1,)
        assert torch.equal(ensemble(IMAGE), single[1])


def test_flips_are_those_of_prediction() -> None:
    for flip, mirrored, n_flips in (("none", False, 4), ("left", False, 2), ("left", True, 4)):
        settings_ = PreprocessingSettings(size=16, flip=flip)
        predictor = Ensemble(networks(), settings_, 0.5, True, torch.device("cpu"), mirrored=mirrored)
        assert predictor.members == n_flips * len(predictor.networks)
        expected, _ = predictor(IMAGE[:, 0].numpy())
        with torch.inference_mode():
            probs = torch.sigmoid(MeanNetwork(networks(), flips_of(flip, mirrored))(IMAGE))[:, 0]
        np.testing.assert_allclose(probs.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"), [("none", False), ("flip_affine", True), ("strong", True), ("strong_monai", True)]
)
def test_mirroring_is_read_from_the_config_of_the_augmentation(name: str, expected: bool) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [f"augment={name}"])
    assert mirrors_at_random([cfg]) is expected
    if expected:
        cfg.augment.transforms = cfg.augment.transforms[1:]
        assert not mirrors_at_random([cfg])


@pytest.mark.parametrize(
    "augment",
    [
        None,
        "flip",
        {"_target_": "mine.Augment", "transforms": None},
        {"transforms": ["flip", 3]},
        {"transforms": {"flip": 0.5}},
        {"transforms": [{"p": 0.5}, {"_target_": None}]},
        {"transforms": [{"_target_": "albumentations.HorizontalFlip", "p": 0}]},
    ],
)
def test_other_augmentations_do_not_mirror(augment: Any) -> None:
    assert not mirrors_at_random([{"augment": augment}])
    assert not mirrors_at_random([{}])


def test_nested_flips_mirror_if_all_networks_were_trained_with_them() -> None:
    flip = {"_target_": "albumentations.HorizontalFlip"}
    nested = {"augment": {"transforms": [{"_target_": "albumentations.OneOf", "transforms": [flip]}]}}
    assert mirrors_at_random([nested])
    assert not mirrors_at_random([nested, {"augment": None}])
