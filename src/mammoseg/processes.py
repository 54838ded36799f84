"""Processes that work beside this one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor


def pool(workers: int, begin: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """Spawned, not forked: torch and OpenCV threads do not survive a fork. `begin` is called first in each."""
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        # Inside a job of joblib; a spawned process would look for a start method of that name, and die.
        multiprocessing.set_start_method("spawn", force=True)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), begin)
