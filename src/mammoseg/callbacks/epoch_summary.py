"""Summary of each epoch in the log."""

from __future__ import annotations

import logging
import time

import lightning
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

log = logging.getLogger(__name__)


class EpochSummary(Callback):
    """Logs losses, validation metrics and duration at the end of each training epoch."""

    def __init__(self) -> None:
        self.start_time = 0.0

    @override
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the timer; `on_train_epoch_start` is not called for an epoch that is resumed midway."""
        self.start_time = time.monotonic()

    @override
    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the timer."""
        self.start_time = time.monotonic()

    @override
    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the summary."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        log.info(
            "epoch %d/%s  train loss %.4f  val loss %.4f  val DSC %.4f  val sensitivity %.4f  %.0f s",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            *(metrics.get(name, float("nan")) for name in ("train/loss", "val/loss", "val/dsc", "val/sensitivity")),
            time.monotonic() - self.start_time,
        )
