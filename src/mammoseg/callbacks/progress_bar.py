"""Progress bar of training and test on a terminal."""

from __future__ import annotations

import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar
from rich import progress as rich_progress
from typing_extensions import override

from mammoseg.terminal import console

LOSS_INTERVAL_S = 0.5  # reading the loss waits for the device


class TrainingProgressBar(ProgressBar):
    """Shows the epoch, counted from 1, the batches of all epochs, the remaining time, the loss and the validation DSC.

    The bar shares its console with log messages, which are printed above it. It is shown only on a terminal and by the
    process of rank 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disabled = not console().is_terminal
        self.bar: rich_progress.Progress | None = None
        self.task = rich_progress.TaskID(0)
        self.loss = ""
        self.dsc = ""
        self.loss_time = 0.0

    @override
    def disable(self) -> None:
        """Do not show the bar."""
        self.disabled = True
        self._stop()

    @override
    def enable(self) -> None:
        """Show the bar."""
        self.disabled = not console().is_terminal

    @override
    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Start the bar."""
        epochs = trainer.max_epochs or -1
        total = epochs * int(trainer.num_training_batches) if epochs > 0 else None
        self._start("training", total, completed=trainer.current_epoch * int(trainer.num_training_batches))
        self._read_dsc(trainer)
        self._update(trainer)

    @override
    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Show the epoch, and the validation DSC of the previous one."""
        self._read_dsc(trainer)
        self._update(trainer)

    @override
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Advance the bar, and show the loss of the batch at most every `LOSS_INTERVAL_S` seconds."""
        if self.bar is None:
            return
        now = time.monotonic()
        if now - self.loss_time >= LOSS_INTERVAL_S and isinstance(outputs, dict) and "loss" in outputs:
            self.loss, self.loss_time = f"loss {float(outputs['loss']):.4f}", now
        self.bar.advance(self.task)
        self._update(trainer)

    @override
    def on_validation_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Show that the network is validated."""
        if not trainer.sanity_checking:
            self._update(trainer, "validation")

    @override
    def on_test_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Start the bar."""
        self._start("test", sum(map(int, trainer.num_test_batches)))

    @override
    def on_test_batch_end(self, *_: Any) -> None:
        """Advance the bar."""
        if self.bar is not None:
            self.bar.advance(self.task)

    @override
    def on_train_end(self, *_: Any) -> None:
        """Remove the bar."""
        self._stop()

    @override
    def on_test_end(self, *_: Any) -> None:
        """Remove the bar."""
        self._stop()

    @override
    def on_exception(self, *_: Any) -> None:
        """Remove the bar."""
        self._stop()

    def _start(self, description: str, total: int | None, completed: int = 0) -> None:
        self._stop()
        if self.disabled:
            return
        columns = (
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(bar_width=20),
            rich_progress.TaskProgressColumn(show_speed=True),
            rich_progress.TimeRemainingColumn(),
            rich_progress.TextColumn("left  {task.fields[metrics]}"),
        )
        self.bar = rich_progress.Progress(*columns, console=console(), transient=True)
        self.task = self.bar.add_task(description, total=total, completed=completed, metrics="")
        self.bar.start()

    def _update(self, trainer: lightning.Trainer, phase: str = "") -> None:
        """Show the epoch, the loss, the validation DSC and the phase."""
        if self.bar is None:
            return
        last = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        self.bar.update(
            self.task,
            description=f"epoch {trainer.current_epoch + 1}{last}",
            metrics="  ".join(filter(None, (self.loss, self.dsc, phase))),
        )

    def _read_dsc(self, trainer: lightning.Trainer) -> None:
        """Read the validation DSC. Once per epoch, since reading a metric waits for the device."""
        dsc = None if self.bar is None else trainer.callback_metrics.get("val/dsc")
        self.dsc = "" if dsc is None else f"val DSC {100 * float(dsc):.2f} %"

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
