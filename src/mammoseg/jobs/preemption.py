"""A cluster takes its machine back: checkpoint after the step in hand, stop, and, under Slurm, queue again.

SIGTERM comes before preemption and at the end of the time limit; SIGUSR1 and SIGUSR2 are what clusters are asked to
send some time before (`sbatch --signal=USR1@120`, submitit's signal_delay_s).
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from mammoseg.jobs import distributed

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
ENDED_BY_SLURM = ("PREEMPTED", "TIMEOUT")  # not CANCELLED: who calls scancel does not want the job again


class Stopped(SystemExit):
    """The run was told to stop by a signal, and can be gone on with. The shell's status for it: 128 + the number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = signal.Signals(number)


class Preemption(Callback):
    """Stops training after the step in which a signal arrived, with a checkpoint at `last` to go on from.

    Raises Stopped from the training loop. Where somebody else had a handler, submitit for one, it is called
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

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
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
        if not distributed.launched() and distributed.rank() == 0:
            hand_on(number, self.theirs.get(number))
        raise Stopped(number)


def hand_on(number: int, other: Any) -> None:
    """Once the checkpoint is written: to the handler that was there before, else to Slurm."""
    if callable(other):
        other(number, None)
    else:
        requeue(number)


def requeue(number: int) -> None:
    """Queue this Slurm job again, unless it was cancelled; nothing to do outside Slurm."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if number == signal.SIGTERM and state(job) not in ENDED_BY_SLURM:
        return
    asked = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60)
    if asked.returncode == 0:
        log.warning("Slurm job %s queued again; it finds its folder where the line names it (hydra.run.dir)", job)
    else:
        log.error("Slurm does not queue job %s again: %s", job, asked.stderr.strip())


def state(job: str) -> str:
    shown = subprocess.run(["scontrol", "show", "job", "-o", job], capture_output=True, text=True, timeout=60)
    found = re.search(r"JobState=(\w+)", shown.stdout)
    return found.group(1) if found else ""
