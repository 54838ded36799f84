"""Worker processes of launcher=joblib, started and reused by loky, the backend of joblib."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import Any

from omegaconf import DictConfig

from mammoseg.launch.gpus import assign_gpus
from mammoseg.processes import die_with_parent

SWEEP_PID = "MAMMOSEG_SWEEP_PID"  # environment variable with the process id of the sweep
PREFIX = "LokyProcess-"  # prefix of process names, followed by an index from 1


def is_loky_worker() -> bool:
    """Return True if this process is a worker of joblib."""
    return multiprocessing.current_process().name.startswith(PREFIX)


def init_loky_worker(cfg: DictConfig) -> None:
    """Initialise a worker: assign GPUs, and stop gracefully when the process of the sweep dies.

    Does nothing if this process is not a worker.

    Args:
        cfg: Composed config of the job.
    """
    if is_loky_worker():
        die_with_parent(signal.SIGTERM, int(os.environ[SWEEP_PID]))
        assign_gpus(cfg, int(multiprocessing.current_process().name.removeprefix(PREFIX)))


def exit_if_loky_worker(status: int) -> None:
    """Exit immediately if this process is a worker, since loky would block on returning the result to a dead parent."""
    if is_loky_worker():
        os._exit(status)


def return_or_exit_if_orphaned(result: Any) -> Any:
    """Return `result`; exit a worker whose parent is dead, since loky would block on returning the result."""
    if is_loky_worker() and os.getppid() != int(os.environ[SWEEP_PID]):
        os._exit(0)
    return result
