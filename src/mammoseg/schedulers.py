"""Learning-rate schedulers, and resolution of the number of steps from the trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from mammoseg.errors import UserError
from mammoseg.optimizers import LR_SCALE

AUTO = "auto"


def cosine_with_warmup(optimizer: Optimizer, total_steps: int, warmup: float = 0.05) -> LambdaLR:
    """Linear warm-up to the learning rate of the optimizer, followed by cosine annealing to 0.

    Args:
        optimizer: The optimizer; its learning rates are the maxima of the schedule.
        total_steps: Number of optimizer steps after which the learning rate is 0.
        warmup: Fraction of the steps with increasing learning rate, in [0, 1).

    Returns:
        The scheduler, to be stepped after each optimizer step.

    Raises:
        UserError: If `warmup` is not in [0, 1).

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> scheduler = cosine_with_warmup(optimizer, total_steps=10, warmup=0.2)
        >>> [round(scheduler.lr_lambdas[0](step), 2) for step in (0, 1, 2, 6, 10)]
        [0.33, 0.67, 1.0, 0.5, 0.0]
    """
    return _decay_with_warmup(optimizer, total_steps, warmup, lambda progress: 0.5 * (1 + math.cos(math.pi * progress)))


def polynomial_with_warmup(
    optimizer: Optimizer, total_steps: int, power: float = 0.9, warmup: float = 0.05
) -> LambdaLR:
    """Linear warm-up to the learning rate of the optimizer, followed by polynomial decay to 0.

    Args:
        optimizer: The optimizer; its learning rates are the maxima of the schedule.
        total_steps: Number of optimizer steps after which the learning rate is 0.
        power: Exponent of the decay, positive.
        warmup: Fraction of the steps with increasing learning rate, in [0, 1).

    Returns:
        The scheduler, to be stepped after each optimizer step.

    Raises:
        UserError: If `power` is not positive or `warmup` is not in [0, 1).

    Source of the decay: Isensee et al., "nnU-Net", Nature Methods 18, 2021.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> scheduler = polynomial_with_warmup(optimizer, total_steps=10, power=2, warmup=0.2)
        >>> [round(scheduler.lr_lambdas[0](step), 2) for step in (0, 1, 2, 6, 10)]
        [0.33, 0.67, 1.0, 0.25, 0.0]
    """
    if power <= 0:
        raise UserError(f"scheduler.scheduler.power must be positive, got {power}")
    return _decay_with_warmup(optimizer, total_steps, warmup, lambda progress: (1 - progress) ** power)


def _decay_with_warmup(
    optimizer: Optimizer, total_steps: int, warmup: float, decay: Callable[[float], float]
) -> LambdaLR:
    """Linear warm-up, followed by a decay; `decay` maps the progress since the warm-up, in [0, 1], to the factor."""
    if not 0 <= warmup < 1:
        raise UserError(f"scheduler.scheduler.warmup must be in [0, 1), got {warmup}")
    n_warmup = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < n_warmup:
            return (step + 1) / (n_warmup + 1)
        return decay(min((step - n_warmup) / max(total_steps - n_warmup, 1), 1.0))

    return LambdaLR(optimizer, factor)


def step_with_warmup(
    optimizer: Optimizer, steps_per_epoch: int, step_size: int, gamma: float = 0.5, warmup_epochs: float = 1.0
) -> LambdaLR:
    """Linear warm-up to the learning rate of the optimizer, and step decay as by `torch.optim.lr_scheduler.StepLR`.

    Args:
        optimizer: The optimizer; its learning rates are the maxima of the schedule.
        steps_per_epoch: Number of optimizer steps per epoch.
        step_size: Number of epochs between reductions of the learning rate, counted from the start of training.
        gamma: Factor of each reduction.
        warmup_epochs: Number of epochs with increasing learning rate, >= 0; it need not be an integer.

    Returns:
        The scheduler, to be stepped after each optimizer step.

    Raises:
        UserError: If `warmup_epochs` is negative.

    Source of warm-up: Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017, §2.2.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> scheduler = step_with_warmup(optimizer, steps_per_epoch=4, step_size=2, warmup_epochs=0.75)
        >>> [scheduler.lr_lambdas[0](step) for step in (0, 1, 2, 3, 7, 8)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 0.5]
    """
    if warmup_epochs < 0:
        raise UserError(f"scheduler.scheduler.warmup_epochs must be at least 0, got {warmup_epochs}")
    n_warmup = round(warmup_epochs * steps_per_epoch)

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / (n_warmup + 1)) * float(gamma ** (step // (step_size * steps_per_epoch)))

    return LambdaLR(optimizer, factor)


def resolve_numbers_of_steps(scheduler: Any, trainer: lightning.Trainer) -> Any:
    """Replace "auto" as `total_steps` or `steps_per_epoch` of a scheduler by the number of optimizer steps.

    Args:
        scheduler: Function that builds the scheduler from an optimizer, usually a `functools.partial`.
        trainer: The trainer that fits the model.

    Returns:
        `scheduler`, with the numbers of steps in the run and per epoch in place of "auto".

    Raises:
        UserError: If the number of steps is not known in advance.
    """
    if not isinstance(scheduler, partial):
        return scheduler
    counts = {"total_steps": count_optimizer_steps, "steps_per_epoch": count_steps_per_epoch}
    resolved = {name: count(trainer) for name, count in counts.items() if scheduler.keywords.get(name) == AUTO}
    return partial(scheduler, **resolved)


def scale_max_lr(scheduler: Any, optimizer: Optimizer) -> Any:
    """Multiply the maximum learning rate of a scheduler, such as `OneCycleLR`, by the factor of each parameter group.

    Other schedulers multiply the learning rates of the optimizer, which include the factors.

    Args:
        scheduler: Function that builds the scheduler from an optimizer, usually a `functools.partial`.
        optimizer: The optimizer; see `optimizers.build_optimizer` for the factors.

    Returns:
        `scheduler`, with a list as `max_lr` if the factors differ.
    """
    factors = [group.get(LR_SCALE, 1.0) for group in optimizer.param_groups]
    max_lr = scheduler.keywords.get("max_lr") if isinstance(scheduler, partial) else None
    if not isinstance(max_lr, int | float) or set(factors) == {1.0}:
        return scheduler
    return partial(scheduler, max_lr=[max_lr * factor for factor in factors])


def check_total_steps(scheduler: Any, interval: str, trainer: lightning.Trainer) -> None:
    """Check that a one-cycle schedule is not shorter than the run, since it cannot be continued after its last step.

    Args:
        scheduler: The scheduler.
        interval: When it is stepped, "epoch" or "step".
        trainer: The trainer that fits the model.

    Raises:
        UserError: If `total_steps` is too low.
    """
    if not isinstance(scheduler, OneCycleLR) or accumulates_by_schedule(trainer):
        return
    required = count_optimizer_steps(trainer) if interval == "step" else trainer.max_epochs or 1
    if scheduler.total_steps < required:
        raise UserError(
            f"scheduler.scheduler.total_steps must be at least {required}, the {interval}s of the run, or auto, got "
            f"{scheduler.total_steps}"
        )


def accumulates_by_schedule(trainer: lightning.Trainer) -> bool:
    """Return True if the number of batches per optimizer step depends on the epoch."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks)


def count_optimizer_steps(trainer: lightning.Trainer) -> int:
    """Return the total number of optimizer steps of a run.

    Lightning's `estimated_stepping_batches` has the same value, but loads the data before the checkpoint is restored,
    so a run that is resumed within an epoch would repeat data of that epoch.

    Args:
        trainer: The trainer during `fit`.

    Raises:
        UserError: If the number of steps is not known in advance.
    """
    if trainer.max_epochs is None or trainer.max_epochs < 1:
        raise UserError(
            f"scheduler.scheduler.total_steps=auto: trainer.max_epochs must be at least 1, got {trainer.max_epochs}"
        )
    steps = count_steps_per_epoch(trainer, setting="total_steps") * trainer.max_epochs
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)


def count_steps_per_epoch(trainer: lightning.Trainer, setting: str = "steps_per_epoch") -> int:
    """Return the number of optimizer steps per epoch.

    Args:
        trainer: The trainer during `fit`.
        setting: Name of the scheduler's argument, for the error message.

    Raises:
        UserError: If the number differs between epochs.
    """
    if accumulates_by_schedule(trainer):
        raise UserError(
            f"scheduler.scheduler.{setting} must be a number with callbacks=gradient_accumulation, got auto"
        )
    n_batches = len(trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
    limit = trainer.limit_train_batches
    n_batches = min(n_batches, limit) if isinstance(limit, int) else int(n_batches * limit)
    return math.ceil(n_batches / trainer.accumulate_grad_batches)
