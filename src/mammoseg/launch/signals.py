"""Signals that announce preemption on a cluster, and requeueing of Slurm jobs.

Slurm sends SIGTERM before preemption and at the time limit. SIGUSR1 and SIGUSR2 can be requested earlier
(`sbatch --signal=USR1@120`, signal_delay_s of submitit).
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
from typing import Any

log = logging.getLogger(__name__)

# Windows, on which the Python API can be imported, has neither SIGUSR1 nor SIGUSR2.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))
REQUEUE_STATES = ("PREEMPTED", "TIMEOUT")  # not CANCELLED: a cancelled job must not restart


class GracefulExit(SystemExit):
    """Raised after a graceful stop on a signal; the run can be resumed.

    Args:
        signum: Number of the signal. The exit status is 128 + `signum`, as in a shell.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signal.Signals(signum)
        self.status = 128 + signum


def forward_signal(signum: int, previous: Any) -> None:
    """Call the handler that was installed before, such as submitit's, or requeue the job.

    Must be called after the checkpoint is saved.

    Args:
        signum: Number of the signal.
        previous: Handler installed before, as returned by `signal.getsignal`.
    """
    if callable(previous):
        previous(signum, None)
    else:
        requeue(signum)


def requeue(signum: int) -> None:
    """Requeue this Slurm job unless it was cancelled; outside Slurm, do nothing.

    Args:
        signum: Number of the signal that stopped the job.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if signum == signal.SIGTERM and slurm_job_state(job) not in REQUEUE_STATES:
        return
    result = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
    if result.returncode == 0:
        log.warning("requeued Slurm job %s; it resumes if its command sets the run folder (hydra.run.dir)", job)
    else:
        log.error("Slurm cannot requeue job %s: %s", job, result.stderr.strip())


def slurm_job_state(job: str) -> str:
    """Return the state of a Slurm job, such as "PREEMPTED"; empty if it is unknown.

    Args:
        job: Job id, with the index of the array task if any.
    """
    result = subprocess.run(
        ["scontrol", "show", "job", "-o", job], capture_output=True, text=True, timeout=60, check=False
    )
    match = re.search(r"JobState=(\w+)", result.stdout)
    return match.group(1) if match else ""
