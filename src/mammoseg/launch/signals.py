"""Signals by which a cluster takes its machine back, and the way back into its queue.

SIGTERM comes before preemption and at the end of the time limit; SIGUSR1 and SIGUSR2 are what clusters are asked to
send some time before (`sbatch --signal=USR1@120`, submitit's signal_delay_s).
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
from typing import Any

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
ENDED_BY_SLURM = ("PREEMPTED", "TIMEOUT")  # not CANCELLED: who calls scancel does not want the job again


class Stopped(SystemExit):
    """The run was told to stop by a signal, and can be gone on with. The shell's status for it: 128 + the number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = signal.Signals(number)


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
