"""Learning-rate schedules, and the arguments of a schedule that only the trainer knows."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import lightning
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mammoseg.errors import UserError

AUTO = "auto"


def cosine_with_warmup(optimizer: Optimizer, total_steps: int, warmup: float = 0.05) -> LambdaLR:
    """Linear warm-up to the optimizer's learning rate, then a half cosine to 0.

    Args:
        optimizer: Its learning rates are the peaks of the schedule.
        total_steps: Calls of `scheduler.step()` until the learning rate is 0.
        warmup: Share of the steps, in [0, 1), in which the learning rate rises.

    Returns:
        The scheduler, to be stepped after each optimizer step.

    Raises:
        UserError: If `warmup` is not in [0, 1).
    """
    if not 0 <= warmup < 1:
        raise UserError(f"scheduler.scheduler.warmup must be in [0, 1), got {warmup}")
    warmup_steps = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    return LambdaLR(optimizer, factor)


def resolve_total_steps(scheduler: Any, trainer: lightning.Trainer) -> Any:
    """Replace `total_steps="auto"` of a partial by the number of optimizer steps of the training.

    Args:
        scheduler: Callable that builds a scheduler from an optimizer.
        trainer: The trainer that fits the model; its epochs, batches and gradient accumulation determine the number.

    Returns:
        `scheduler`, with the number of steps where its `total_steps` is "auto".

    Raises:
        UserError: If the number of steps is not known in advance.
    """
    if not isinstance(scheduler, partial) or scheduler.keywords.get("total_steps") != AUTO:
        return scheduler
    total_steps = trainer.estimated_stepping_batches
    if not math.isfinite(total_steps) or total_steps < 1:
        raise UserError(
            f"scheduler.scheduler.total_steps=auto needs a limit such as trainer.max_epochs, "
            f"got {trainer.max_epochs} epochs"
        )
    return partial(scheduler, total_steps=int(total_steps))
