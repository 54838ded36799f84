"""Worker processes of launcher=joblib, which joblib's backend loky starts and reuses."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import Any

from omegaconf import DictConfig

from mammoseg.launch.gpus import assign_gpus
from mammoseg.processes import die_with_parent

SWEEP_PID = "MAMMOSEG_SWEEP_PID"  # environment variable: process id of the sweep
PREFIX = "LokyProcess-"  # of the names of loky's processes, which are numbered from 1


def is_worker() -> bool:
    """Whether this process is one of joblib's."""
    return multiprocessing.current_process().name.startswith(PREFIX)


def init_worker(cfg: DictConfig) -> None:
    """In a worker: assign its GPUs, and stop after the current step when the sweep's process dies."""
    if is_worker():
        die_with_parent(signal.SIGTERM, int(os.environ[SWEEP_PID]))
        assign_gpus(cfg, int(multiprocessing.current_process().name.removeprefix(PREFIX)))


def exit_if_worker(status: int) -> None:
    """Exit at once if this is a worker: loky would block on returning the result to a dead parent."""
    if is_worker():
        os._exit(status)


def return_or_exit_if_orphaned(result: Any) -> Any:
    """Return `result`; exit if the parent is dead, since returning the result through loky would block forever."""
    if is_worker() and os.getppid() != int(os.environ[SWEEP_PID]):
        os._exit(0)
    return result
