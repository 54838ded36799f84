"""Multiprocessing helpers: file locks, spawned process pools, ending with the parent."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # errors of a file system without file locks
POLL_INTERVAL_S = 0.2


@contextmanager
def exclusive_lock(path: Path, wait_message: str) -> Iterator[None]:
    """Hold the file lock `path` during the block; the system releases it when its holder dies, even by SIGKILL.

    On a file system without locks a warning is logged and the block runs without one.

    Args:
        path: Lock file; it is created, with its parents, and stays.
        wait_message: Logged before waiting for another process that holds the lock.

    Raises:
        OSError: If the lock file cannot be created.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, fallback_to_soft=False)  # a soft lock would outlive a killed holder
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info(wait_message)
            lock.acquire(poll_interval=POLL_INTERVAL_S)
    except OSError as error:
        if isinstance(error, Timeout) or error.errno not in NO_LOCKS:
            raise
        log.warning("%s: this file system supports no locks; do not run two processes in this folder", path.parent)
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Return True if a process holds the lock `path` at this moment.

    False also where that cannot be determined: on a file system without locks, or for a lock file without write
    permission.
    """
    from filelock import FileLock, Timeout

    if not path.is_file():  # do not create one just to look
        return False
    try:
        with FileLock(path, fallback_to_soft=False).acquire(blocking=False):
            return False
    except Timeout:
        return True
    except OSError as error:
        if error.errno not in (*NO_LOCKS, errno.EACCES, errno.EROFS):
            raise
        return False


def spawn_pool(max_workers: int, initializer: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """Return a pool of spawned processes; torch and OpenCV threads do not survive a fork.

    Args:
        max_workers: Number of processes.
        initializer: Called once in each process before its first task.
    """
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        # Inside a job of joblib; a spawned process would fail to find a start method of that name.
        multiprocessing.set_start_method("spawn", force=True)
    return ProcessPoolExecutor(max_workers, multiprocessing.get_context("spawn"), initializer)


def die_with_parent(signal_number: signal.Signals, parent: int | None = None) -> None:
    """Have the system send `signal_number` to this process when its parent ends for any reason (Linux only).

    Args:
        signal_number: Signal to send.
        parent: Process id of the parent, to detect that it has ended before this call.
    """
    if sys.platform == "linux":
        import ctypes

        parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(parent_death_signal, signal_number)
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal_number)
