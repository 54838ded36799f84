"""Summary of each epoch in the log."""

from __future__ import annotations

import logging
import time

import lightning
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from mammoseg.terminal import format_duration

log = logging.getLogger(__name__)


class EpochSummary(Callback):
    """Logs losses, validation metrics, duration and remaining time at the end of each training epoch.

    DSC and sensitivity are in percent; epochs are counted from 1.
    """

    def __init__(self) -> None:
        self.start_time = 0.0
        self.durations: list[float] = []

    @override
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the timer; `on_train_epoch_start` is not called for an epoch that is resumed midway."""
        self.start_time = time.monotonic()
        self.durations = []

    @override
    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the timer."""
        self.start_time = time.monotonic()

    @override
    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the summary."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        train_loss, val_loss, dsc, sensitivity = (
            metrics.get(name, float("nan")) for name in ("train/loss", "val/loss", "val/dsc", "val/sensitivity")
        )
        self.durations.append(time.monotonic() - self.start_time)
        epoch = trainer.current_epoch + 1
        log.info(
            "epoch %d/%s  train loss %.4f  val loss %.4f  val DSC %.2f %%  val sensitivity %.2f %%  %.0f s%s",
            *(epoch, trainer.max_epochs, train_loss, val_loss, 100 * dsc, 100 * sensitivity, self.durations[-1]),
            self._remaining_time(epoch, trainer.max_epochs),
        )

    def _remaining_time(self, epoch: int, max_epochs: int | None) -> str:
        """Return the estimated time of the remaining epochs; empty after the last epoch or without a last epoch."""
        n_epochs_left = (max_epochs or 0) - epoch
        if n_epochs_left <= 0:
            return ""
        later = self.durations[1:] or self.durations  # the first epoch includes initialisation
        return f"  about {format_duration(n_epochs_left * sum(later) / len(later))} left"
