"""Learning rates of the schedules, compared with the schedulers of PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from mammoseg.errors import UserError
from mammoseg.schedulers import step_with_warmup


def make_optimizer() -> Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.8)


def rates_by_step(optimizer: Optimizer, scheduler: LRScheduler, n_steps: int, every: int = 1) -> list[float]:
    """Learning rate of each step, with a scheduler that is stepped after every `every` steps."""
    rates = []
    for step in range(1, n_steps + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % every == 0:
            scheduler.step()
    return rates


@pytest.mark.parametrize("warmup_epochs", [0, 0.5, 1, 2.5])
def test_step_with_warmup_equals_step_decay_after_the_warmup(warmup_epochs: float) -> None:
    optimizer, reference = make_optimizer(), make_optimizer()
    scheduler = step_with_warmup(optimizer, steps_per_epoch=4, step_size=3, gamma=0.5, warmup_epochs=warmup_epochs)
    rates = rates_by_step(optimizer, scheduler, 40)
    expected = rates_by_step(reference, StepLR(reference, step_size=3, gamma=0.5), 40, every=4)
    n_warmup = round(4 * warmup_epochs)
    assert rates[n_warmup:] == pytest.approx(expected[n_warmup:])
    warmup = [rate * (step + 1) / (n_warmup + 1) for step, rate in enumerate(expected[:n_warmup])]
    assert rates[:n_warmup] == pytest.approx(warmup)


def test_negative_warmup_raises() -> None:
    with pytest.raises(UserError, match=r"warmup_epochs must be at least 0, got -1"):
        step_with_warmup(make_optimizer(), 4, 3, warmup_epochs=-1)
