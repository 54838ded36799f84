"""What a person sees in the terminal while a run goes on."""

from __future__ import annotations

import logging
import time

import lightning
from lightning.pytorch.callbacks import Callback

log = logging.getLogger(__name__)


class EpochLines(Callback):
    """One line an epoch, in the terminal and in the run's log."""

    def __init__(self) -> None:
        self.started = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.started = time.monotonic()  # of a run that goes on in the midst of an epoch

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
        log.info(
            "epoch %d/%s  train loss %.4f  val loss %.4f  val DSC %.4f  val sensitivity %.4f  %.0f s",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            *(seen.get(name, float("nan")) for name in ("train/loss", "val/loss", "val/dsc", "val/sensitivity")),
            time.monotonic() - self.started,
        )
