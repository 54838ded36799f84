"""Graceful stop on a signal: complete the optimizer step, save a checkpoint and exit."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from mammoseg.launch import distributed
from mammoseg.launch.signals import SIGNALS, GracefulExit, forward_signal

log = logging.getLogger(__name__)


class PreemptionCallback(Callback):
    """Saves a checkpoint and stops training after the optimizer step during which a signal arrived.

    This callback must come after all callbacks that act at the end of a batch, so that the checkpoint includes their
    changes. A handler that was installed before, such as submitit's, is called after the checkpoint is saved.

    Args:
        last: Path of the checkpoint, from which the run can be resumed.

    Attributes:
        received: Number of the signal that arrived, or None.

    Raises:
        GracefulExit: In the training loop, after the checkpoint is saved.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self.received: int | None = None
        self._replaced_handlers: dict[int, Any] = {}  # restored at the end
        self._external_handlers: dict[int, Any] = {}  # such as submitit's
        self._step_before_batch = 0

    @override
    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Store the current handlers."""
        # Lightning installs its own handler after this hook.
        self._external_handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}

    @override
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Install the handler."""
        if threading.current_thread() is threading.main_thread():
            self._replaced_handlers = {signum: signal.signal(signum, self._on_signal) for signum in SIGNALS}

    @override
    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop if the signal arrived at the end of the previous epoch."""
        # The signal arrived during or after the epoch's last step, and ModelCheckpoint has written last.ckpt since.
        if trainer.strategy.reduce_boolean_decision(self.received is not None, all=False):
            self._stop(trainer.current_epoch)

    @override
    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Store the optimizer step."""
        self._step_before_batch = trainer.global_step

    @override
    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Save a checkpoint and stop if a signal arrived."""
        if trainer.is_last_batch:  # a resumed run would skip the validation of this epoch
            return
        if trainer.global_step == self._step_before_batch:  # checkpoints do not contain accumulated gradients
            return
        received = self.received is not None
        if trainer.strategy.reduce_boolean_decision(received, all=False):  # all ranks stop after the same step
            trainer.save_checkpoint(self.last)
            self._stop(trainer.current_epoch + 1)

    @override
    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop if the signal arrived during or after the last step, and restore the handlers."""
        if self.received is not None:  # ModelCheckpoint has written last.ckpt
            self._stop(trainer.current_epoch)
        self._restore_handlers()

    @override
    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Restore the handlers."""
        self._restore_handlers()

    def _on_signal(self, signum: int, _: FrameType | None) -> None:
        self.received = signum

    def _restore_handlers(self) -> None:
        for signum, handler in self._replaced_handlers.items():
            signal.signal(signum, handler)
        self._replaced_handlers = {}

    def _stop(self, epoch: int) -> None:
        signum = self.received or signal.SIGTERM  # another rank may have received the signal
        log.warning("%s: stopped in epoch %d; the run can be resumed", signal.Signals(signum).name, epoch)
        self._restore_handlers()
        if not distributed.is_worker() and distributed.rank() == 0:
            forward_signal(signum, self._external_handlers.get(signum))
        raise GracefulExit(signum)
