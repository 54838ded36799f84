"""A line per epoch in the terminal and in the run's log."""

from __future__ import annotations

import logging
import time

import lightning
from lightning.pytorch.callbacks import Callback

log = logging.getLogger(__name__)


class EpochSummary(Callback):
    """Logs losses, validation metrics and duration at the end of each training epoch."""

    def __init__(self) -> None:
        self.start_time = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # A run that is resumed in the middle of an epoch does not call on_train_epoch_start for it.
        self.start_time = time.monotonic()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.start_time = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        log.info(
            "epoch %d/%s  train loss %.4f  val loss %.4f  val DSC %.4f  val sensitivity %.4f  %.0f s",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            *(metrics.get(name, float("nan")) for name in ("train/loss", "val/loss", "val/dsc", "val/sensitivity")),
            time.monotonic() - self.start_time,
        )
