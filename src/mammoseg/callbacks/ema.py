"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Sequence

import lightning
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from typing_extensions import override

from mammoseg import validate


class EMA(WeightAveraging):
    """Validates, tests and saves the exponential moving average (EMA) of weights and batch-normalisation statistics.

    After step n, the average is decay * average + (1 - decay) * weights, with a smaller decay of (1 + n) / (10 + n) in
    the first steps. With a constant decay, as in Lightning's `EMAWeightAveraging`, the average of a short run would
    consist largely of the initial weights: 37 % after 1000 steps with a decay of 0.999.

    Args:
        decay: Decay in (0, 1); the average covers about the last 1 / (1 - decay) steps.

    Raises:
        UserError: If `decay` is not in this range.

    Example:
        >>> average = EMA(decay=0.999)
        >>> [round(average.decay_after(step), 3) for step in (1, 90, 100000)]
        [0.182, 0.91, 0.999]

    Source: The decay in the first steps is that of `tf.train.ExponentialMovingAverage` with `num_updates`.
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__(multi_avg_fn=self._update)
        self.decay = validate.probability("callbacks.ema.decay", decay)

    @property
    @override
    def state_key(self) -> str:
        """Key of the state in checkpoints, that of Lightning's callback, which earlier versions used."""
        return "EMAWeightAveraging"

    def decay_after(self, step: int) -> float:
        """Return the decay after a number of optimizer steps."""
        return min(self.decay, (1 + step) / (10 + step))

    @override
    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Move the average to the device of the network, which is moved there after `setup`."""
        assert self._average_model is not None
        self._average_model.to(pl_module.device)

    def _update(self, averaged: Sequence[Tensor], current: Sequence[Tensor], _: Tensor | int) -> None:
        """Update the average in place; the argument of `AveragedModel` is ignored, since reading it waits for a GPU."""
        step = self._latest_update_step + 1
        get_ema_multi_avg_fn(self.decay_after(step))(averaged, current, step)  # type: ignore[no-untyped-call]  # torch
