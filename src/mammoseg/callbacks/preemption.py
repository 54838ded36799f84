"""Stops a run after the step in hand when a signal says so, with a checkpoint to go on from."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from mammoseg.launch import distributed
from mammoseg.launch.signals import SIGNALS, GracefulExit, forward_signal

log = logging.getLogger(__name__)


class Preemption(Callback):
    """Stops training after the step in which a signal arrived, with a checkpoint at `last` to go on from.

    Raises GracefulExit from the training loop. Where somebody else had a handler, submitit for one, it is called
    once the checkpoint is written.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self.told: int | None = None
        self.others: dict[int, Any] = {}  # handlers to put back
        self.theirs: dict[int, Any] = {}  # of submitit, say

    def note(self, number: int, frame: FrameType | None) -> None:
        self.told = number

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        # Before Lightning puts a handler of its own in front, which only makes a note.
        self.theirs = {number: signal.getsignal(number) for number in SIGNALS}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            self.others = {number: signal.signal(number, self.note) for number in SIGNALS}

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.strategy.reduce_boolean_decision(self.told is not None, all=False):
            self.stop(trainer.current_epoch)  # it came in the last step or after it, so last.ckpt is written already

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.is_last_batch:  # who goes on from here would go on without this epoch's validation
            return
        told = self.told is not None
        if trainer.strategy.reduce_boolean_decision(told, all=False):  # all ranks stop after the same step
            trainer.save_checkpoint(self.last)
            self.stop(trainer.current_epoch + 1)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.told is not None:  # it came after the last step, so last.ckpt is written already
            self.stop(trainer.current_epoch)
        self.restore()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self.restore()

    def restore(self) -> None:
        for number, handler in self.others.items():
            signal.signal(number, handler)
        self.others = {}

    def stop(self, epoch: int) -> None:
        number = self.told or signal.SIGTERM  # on this rank it may not have arrived
        log.warning("%s: stopped in epoch %d, to be gone on with", signal.Signals(number).name, epoch)
        self.restore()
        if not distributed.is_worker() and distributed.rank() == 0:
            forward_signal(number, self.theirs.get(number))
        raise GracefulExit(number)
