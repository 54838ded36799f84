"""Layer-wise learning-rate decay: learning rates of the parameter groups, and their schedules."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from mammoseg.errors import UserError
from mammoseg.losses import DensityASP
from mammoseg.models.encoder import encoder_stages
from mammoseg.models.unet import UNet
from mammoseg.optimizers import build_optimizer
from mammoseg.schedulers import cosine_with_warmup, scale_max_lr
from mammoseg.segmenter import Segmenter

SGD = partial(torch.optim.SGD, lr=0.8)
N_STAGES = 5


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[nn.Parameter, float]:
    return {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}


def test_without_decay_the_network_is_one_group() -> None:
    net = UNet(1)
    (group,) = build_optimizer(SGD, net, nn.Identity()).param_groups
    assert list(map(id, group["params"])) == list(map(id, net.parameters()))
    assert group["lr"] == 0.8
    assert "name" not in group


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_weight_decay_does_not_change_the_parameters_of_the_loss(layer_decay: float) -> None:
    net, criterion = UNet(1), nn.Linear(1, 1)
    before = [parameter.detach().clone() for parameter in (*net.parameters(), *criterion.parameters())]
    optimizer = build_optimizer(partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5), net, criterion, layer_decay)
    for parameter in (*net.parameters(), *criterion.parameters()):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    n_loss = len(list(criterion.parameters()))
    changed = [not torch.equal(a, b) for a, b in zip(before, (*net.parameters(), *criterion.parameters()), strict=True)]
    assert not any(changed[-n_loss:])
    assert any(changed[:-n_loss])


@given(layer_decay=st.floats(0.01, 0.99))
def test_learning_rates_decay_towards_the_input(layer_decay: float) -> None:
    """BEiT and timm multiply the rate of layer i of n, where the last one is the head, by layer_decay^(n - 1 - i)."""
    net, criterion = UNet(1), nn.Linear(1, 1)
    rates = learning_rates(build_optimizer(SGD, net, criterion, layer_decay))
    assert set(rates) == {*net.parameters(), *criterion.parameters()}
    for stage, modules in enumerate(encoder_stages(net, "test")):
        expected = 0.8
        for _ in range(N_STAGES - stage):
            expected *= layer_decay
        (rate,) = {rates.pop(parameter) for parameter in modules.parameters()}
        assert rate == pytest.approx(expected)
    assert set(rates.values()) == {0.8}


SCHEDULES: list[partial[Any]] = [
    partial(StepLR, step_size=2, gamma=0.5),
    partial(cosine_with_warmup, total_steps=8, warmup=0.25),
    partial(OneCycleLR, max_lr=0.8, total_steps=8),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["step", "cosine", "one_cycle"])
def test_schedules_keep_the_ratios_of_the_learning_rates(schedule: partial[Any]) -> None:
    reference = build_optimizer(SGD, UNet(1), nn.Identity())
    optimizer = build_optimizer(SGD, UNet(1), nn.Identity(), 0.5)
    schedulers: list[LRScheduler] = [
        scale_max_lr(schedule, reference)(reference),
        scale_max_lr(schedule, optimizer)(optimizer),
    ]
    for _ in range(7):
        (rate,) = (group["lr"] for group in reference.param_groups)
        expected = [rate * 0.5**exponent for exponent in (5, 4, 3, 2, 1, 0)]
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(expected)
        for trained, scheduler in zip((reference, optimizer), schedulers, strict=True):
            trained.step()
            scheduler.step()


def test_a_scheduler_is_not_changed_without_decay() -> None:
    assert scale_max_lr(SCHEDULES[2], build_optimizer(SGD, UNet(1), nn.Identity())) is SCHEDULES[2]


@pytest.mark.parametrize("layer_decay", [0, 1.5, -1])
def test_invalid_factor_raises(layer_decay: float) -> None:
    with pytest.raises(UserError, match=rf"layer_decay must be above 0 and at most 1, got {layer_decay}"):
        Segmenter(UNet(1), DensityASP([0.5] * 4), layer_decay=layer_decay)


def test_network_without_encoder_raises() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1))
    with pytest.raises(
        UserError, match=r"layer_decay requires a network with the attribute encoder_stages.*Sequential"
    ):
        Segmenter(net, DensityASP([0.5] * 4), layer_decay=0.5)
    net.encoder_stages = [["1"]]  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"encoder_stages must contain names of modules of the network, got 1"):
        Segmenter(net, DensityASP([0.5] * 4), layer_decay=0.5)
