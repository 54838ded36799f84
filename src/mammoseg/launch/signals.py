"""Signals by which a cluster announces preemption, and requeueing of Slurm jobs.

SIGTERM precedes preemption and the end of the time limit; SIGUSR1 and SIGUSR2 can be requested some time before
(`sbatch --signal=USR1@120`, submitit's signal_delay_s).
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
REQUEUE_STATES = ("PREEMPTED", "TIMEOUT")  # not CANCELLED: scancel is meant to end the job


class GracefulExit(SystemExit):
    """Raised after a graceful stop on a signal; the run can be resumed.

    Args:
        signum: The signal. The exit status is 128 + `signum`, as a shell reports it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signal.Signals(signum)
        self.status = 128 + signum


def forward_signal(signum: int, previous: Any) -> None:
    """After the checkpoint is saved, call the previously installed handler (e.g. submitit's), or requeue the job."""
    if callable(previous):
        previous(signum, None)
    else:
        requeue(signum)


def requeue(signum: int) -> None:
    """Requeue this Slurm job, unless it was cancelled; outside Slurm do nothing."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if signum == signal.SIGTERM and slurm_job_state(job) not in REQUEUE_STATES:
        return
    result = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
    if result.returncode == 0:
        log.warning("requeued Slurm job %s; it resumes if its command names the run folder (hydra.run.dir)", job)
    else:
        log.error("Slurm cannot requeue job %s: %s", job, result.stderr.strip())


def slurm_job_state(job: str) -> str:
    """The state of a Slurm job, such as PREEMPTED; empty if Slurm does not know it."""
    result = subprocess.run(
        ["scontrol", "show", "job", "-o", job], capture_output=True, text=True, timeout=60, check=False
    )
    match = re.search(r"JobState=(\w+)", result.stdout)
    return match.group(1) if match else ""
